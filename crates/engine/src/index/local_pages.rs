//! Index pages and `--find-links` pages on this machine that uv rejects as a whole. They are read like those of servers by
//! [`LenientPages`] reads those of servers: each file by itself.

use std::path::Path;

use url::Url;
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{File, Index, IndexUrl};
use uv_normalize::PackageName;
use uv_pypi_types::PypiFile;

use super::foreign_files;
use super::lenient_pages::LenientPages;
use crate::network::client::PageKind;

/// The files of a page that uv can use.
pub(crate) type Files = Vec<(DistFilename, File)>;

/// Returns the files on the page of `name` in `index`, a directory.
pub(crate) fn of_index(pages: &LenientPages, index: &IndexUrl, name: &PackageName) -> Files {
    let mut url = Url::from(index.url().clone());
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(name.as_ref()).push("");
    }
    let path = url.to_file_path().map(|path| path.join("index.html"));
    let named = |filename: &str| {
        let is_foreign = foreign_files::is_wheel_of(filename, name) == Some(false);
        DistFilename::try_from_filename(filename, name).filter(|_| !is_foreign)
    };
    path.map_or_else(
        |()| Vec::new(),
        |path| read(pages, &path, &url, PageKind::Index, named),
    )
}

/// Returns the files of a `--find-links` page, if it is local.
pub(crate) fn of_links(pages: &LenientPages, place: &Index) -> Option<Files> {
    let url = Url::from(place.url().url().clone());
    let path = url.to_file_path().ok().filter(|path| path.is_file())?;
    let named = DistFilename::try_from_normalized_filename;
    Some(read(pages, &path, &url, PageKind::FindLinks, named))
}

fn read(
    pages: &LenientPages,
    path: &Path,
    url: &Url,
    kind: PageKind,
    named: impl Fn(&str) -> Option<DistFilename>,
) -> Files {
    let Ok(bytes) = fs_err::read(path) else {
        return Vec::new();
    };
    let html = String::from_utf8_lossy(&bytes);
    let files = pages.files_of_html(&html, url, kind).into_iter();
    let files = files.filter_map(|file| {
        let file: PypiFile = serde_json::from_value(file).ok()?;
        let file = File::try_from_pypi(file, &url.as_str().into()).ok()?;
        Some((named(&file.filename)?, file))
    });
    files.collect()
}

//! Source distributions: unpacks one into a source tree, and finds metadata that needs no build.
//!
//! Supports the formats that pip supports, except `.tar.lzma`. Does not run a build backend.

use std::io::{self, BufRead as _, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use fs_err::File;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::limits::Limits;
use crate::metadata::{value, values};
use crate::safe_path::{components, invalid_entry};
use crate::unpack_dir::{FileAttributes, UnpackDir};
use crate::{tarball, zip_reader};

/// The suffix of source distributions that are zip files.
const ZIP_SUFFIX: &str = ".zip";

/// The suffixes of source distributions: those that pip recognizes, except those of the old LZMA format.
const SUFFIXES: [&str; 8] = [
    ".tar.gz", ZIP_SUFFIX, ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar",
];

/// The suffixes of the files that pip 24 and later find in a `--find-links` directory.
const FIND_LINKS_SUFFIXES: [&str; 3] = [".whl", ".tar.gz", ZIP_SUFFIX];

/// The metadata fields that a resolver needs and that must not be left to the build.
const NEEDED_FIELDS: [&str; 4] = [
    "Requires-Dist",
    "Requires-Python",
    "Provides-Extra",
    "Version",
];

/// Returns `name` without the suffix of a source distribution, or `None` if it has no such suffix. Ignores case.
#[must_use]
pub fn strip_sdist_suffix(name: &str) -> Option<&str> {
    SUFFIXES.iter().find_map(|suffix| {
        let (stem, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
        end.eq_ignore_ascii_case(suffix).then_some(stem)
    })
}

/// Returns whether `name` is that of a source distribution, as pip sees it.
#[must_use]
pub fn is_sdist_name(name: &str) -> bool {
    strip_sdist_suffix(name).is_some()
}

/// Returns whether pip 24 and later find a file called `name` in a `--find-links` directory. Older versions find source
/// distributions of [all formats](is_sdist_name).
#[must_use]
pub fn is_find_links_name(name: &str) -> bool {
    FIND_LINKS_SUFFIXES
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

/// An unpacked source distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackedSdist {
    /// The root of the source: the only directory at the top of the archive, or the directory that it was unpacked into if there
    /// are further entries at the top.
    pub root: PathBuf,
    /// The latest modification time of a file in the archive, if it has times.
    pub modified: Option<SystemTime>,
}

/// Unpacks the source distribution at `archive`, whose published file name is `filename`, into the directory `into`, which
/// must be empty or missing.
///
/// # Errors
/// [`Kind::Fetch`] if the archive is damaged, exceeds `limits`, or has an entry that the specification of source
/// distributions (PEP 721) forbids to unpack. The entries before that one stay in `into`.
pub fn unpack(
    archive: &Path,
    filename: &str,
    into: &Path,
    limits: &Limits,
) -> Result<UnpackedSdist> {
    let failed = || format!("failed to unpack {filename}");
    let file = File::open(archive).context(Kind::Fetch, failed)?;
    let size = file.metadata().context(Kind::Fetch, failed)?.len();
    let mut unpack_dir = UnpackDir::new(into, limits, size).context(Kind::Fetch, failed)?;
    let reader = BufReader::with_capacity(128 << 10, file.into_parts().0);
    let modified = unpack_reader(reader, filename, &mut unpack_dir)
        .and_then(|()| unpack_dir.finish())
        .context(Kind::Fetch, failed)?;
    let root = source_tree(into).context(Kind::Fetch, failed)?;
    Ok(UnpackedSdist { root, modified })
}

fn unpack_reader(
    mut reader: BufReader<std::fs::File>,
    filename: &str,
    into: &mut UnpackDir,
) -> Result<()> {
    // The name of a file at a URL may have no suffix, so the content decides as well.
    let is_zip = filename.to_ascii_lowercase().ends_with(ZIP_SUFFIX)
        || reader
            .fill_buf()
            .is_ok_and(|start| start.starts_with(zip_reader::SIGNATURE));
    if is_zip {
        return unpack_zip(reader, into);
    }
    if is_sdist_name(filename) {
        return tarball::unpack(reader, into);
    }
    let hint = "Use a .tar.gz, .tgz, .tar, .tar.bz2, .tar.xz or .zip file.";
    Err(Error::new(Kind::Fetch, "it is not in a supported format").with_hint(hint))
}

fn unpack_zip(reader: impl Read + Seek, into: &mut UnpackDir) -> Result<()> {
    let mut archive = zip_reader::open(reader)?;
    for entry in zip_reader::entries(&archive)? {
        into.count(&entry.path, entry.size)?;
        let parts = components(&entry.path)?;
        let modified = entry.modified.and_then(|seconds| {
            let since_epoch = Duration::from_secs(u64::try_from(seconds).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since_epoch)
        });
        if entry.directory {
            into.directory(&parts, modified)?;
            continue;
        }
        let attributes = FileAttributes {
            executable: entry.executable,
            modified,
            size: entry.size,
        };
        let damaged = || format!("entry `{}` is damaged", entry.path);
        let mut content = archive
            .by_index(entry.index)
            .context(Kind::Fetch, damaged)?;
        into.file(&parts, attributes, &mut content)?;
        // Reading to the end verifies the size and the checksum.
        if content.read(&mut [0]).context(Kind::Fetch, damaged)? != 0 {
            return Err(invalid_entry(&entry.path, "is longer than it states"));
        }
    }
    Ok(())
}

/// Finds the source tree in `directory`.
fn source_tree(directory: &Path) -> io::Result<PathBuf> {
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    match entries.as_slice() {
        [] => Err(io::Error::other("the archive is empty")),
        [only] if only.file_type()?.is_dir() => Ok(only.path()),
        _ => Ok(directory.to_owned()),
    }
}

/// Returns the bytes of `PKG-INFO` in the source tree `root` if a resolver may rely on them without a build: the metadata
/// version is 2.2 or later, and no field that it needs is `Dynamic` (PEP 643).
#[must_use]
pub fn static_metadata(root: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(root.join("PKG-INFO")).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let version = value(text, "Metadata-Version")?;
    let (major, minor) = version.split_once('.')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    let dynamic = values(text, "Dynamic");
    let is_dynamic = |needed: &&str| {
        let mut fields = dynamic.iter();
        fields.any(|field| field.eq_ignore_ascii_case(needed))
    };
    let is_complete = value(text, "Name").is_some() && value(text, "Version").is_some();
    let is_static = major == 2 && minor >= 2 && !NEEDED_FIELDS.iter().any(is_dynamic);
    (is_complete && is_static).then_some(bytes)
}

#[cfg(test)]
mod tests;

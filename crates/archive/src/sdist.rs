//! Source distributions: unpacks one into a source tree, and finds metadata that needs no build.
//!
//! Accepts the formats that pip does, but `.tar.lzma`. Never runs a build back end.

use std::io::{BufRead as _, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use fs_err::File;
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result};

use super::limits::Limits;
use super::metadata::{value, values};
use super::safe_path::components;
use super::unpack_dir::{Attributes, Destination};
use super::{tarball, zip_reader};

/// The file name extensions that pip takes for tar archives, but that of the old LZMA format.
const TAR_EXTENSIONS: [&str; 7] = [
    ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz",
];

/// The one that it takes for zip files.
const ZIP_EXTENSION: &str = ".zip";

/// The fields whose value a resolver needs: none may be left to the build.
const NEEDED_FIELDS: [&str; 4] = [
    "Requires-Dist",
    "Requires-Python",
    "Provides-Extra",
    "Version",
];

/// Whether a file of this name is a source distribution to pip.
#[must_use]
pub fn is_sdist_name(name: &str) -> bool {
    let endings = TAR_EXTENSIONS.iter().chain([&ZIP_EXTENSION]);
    endings.into_iter().any(|ending| name.ends_with(ending))
}

/// Unpacks the source distribution at `archive`, known as `filename`, into the directory `into`,
/// which must be empty or missing. Returns the source tree: the one directory at the top of the
/// archive, or `into` itself when there is more than that.
///
/// # Errors
/// [`Kind::Fetch`] for an archive that is damaged, that is larger than `limits`, or with an entry
/// that the specification of source distributions (PEP 721) forbids to unpack. What was unpacked
/// until then stays in `into`, and is inside it.
pub fn unpack(archive: &Path, filename: &str, into: &Path, limits: &Limits) -> Result<PathBuf> {
    let failed = || format!("failed to unpack {filename}");
    let file = File::open(archive).context(Kind::Fetch, failed)?;
    let size = file.metadata().context(Kind::Fetch, failed)?.len();
    let mut destination = Destination::new(into, limits, size).context(Kind::Fetch, failed)?;
    let reader = BufReader::with_capacity(128 << 10, file.into_parts().0);
    unpack_reader(reader, filename, &mut destination).context(Kind::Fetch, failed)?;
    destination.finish().context(Kind::Fetch, failed)?;
    top(into).context(Kind::Fetch, failed)
}

fn unpack_reader(
    mut reader: BufReader<std::fs::File>,
    filename: &str,
    into: &mut Destination,
) -> Result<()> {
    let name = filename.to_ascii_lowercase();
    // The name of a file at a URL without a suffix says nothing.
    if name.ends_with(ZIP_EXTENSION)
        || reader
            .fill_buf()
            .is_ok_and(|start| start.starts_with(b"PK\x03\x04"))
    {
        return unpack_zip(reader, into);
    }
    if TAR_EXTENSIONS
        .iter()
        .any(|extension| name.ends_with(extension))
    {
        return tarball::unpack(reader, into);
    }
    let hint = "A source distribution is a .tar.gz, .tgz, .tar, .tar.bz2, .tar.xz or .zip file.";
    Err(Error::new(Kind::Fetch, "it is in no known format").with_hint(hint))
}

fn unpack_zip(reader: impl Read + Seek, into: &mut Destination) -> Result<()> {
    let mut archive = zip_reader::open(reader)?;
    for entry in zip_reader::entries(&archive)? {
        into.count(&entry.path, entry.size)?;
        let parts = components(&entry.path)?;
        let modified = entry.modified.and_then(time);
        if entry.directory {
            into.directory(&parts, modified)?;
            continue;
        }
        let attributes = Attributes {
            executable: entry.executable,
            modified,
            size: entry.size,
        };
        let damaged = || format!("entry `{}` cannot be unpacked", entry.path);
        let mut content = archive
            .by_index(entry.index)
            .context(Kind::Fetch, damaged)?;
        into.file(&parts, attributes, &mut content)?;
        // Reading to the end checks the size and the check sum.
        if content.read(&mut [0]).context(Kind::Fetch, damaged)? != 0 {
            return Err(super::safe_path::refusal(
                &entry.path,
                "is longer than it says",
            ));
        }
    }
    Ok(())
}

fn time(seconds: i64) -> Option<SystemTime> {
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Finds the source tree below `into`.
fn top(into: &Path) -> std::io::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(into)? {
        found.push(entry?);
    }
    match found.as_slice() {
        [] => Err(std::io::Error::other("the archive is empty")),
        [only] if only.file_type()?.is_dir() => Ok(only.path()),
        _ => Ok(into.to_owned()),
    }
}

/// Returns the bytes of `PKG-INFO` in the source tree `root` if a resolver may rely on them
/// without a build: metadata version 2.2 or later, and nothing it needs is `Dynamic` (PEP 643).
#[must_use]
pub fn static_metadata(root: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(root.join("PKG-INFO")).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (major, minor) =
        value(text, "Metadata-Version")?
            .split_once('.')
            .and_then(|(major, minor)| {
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
            })?;
    let dynamic = values(text, "Dynamic");
    let left_open = NEEDED_FIELDS.iter().any(|needed| {
        dynamic
            .iter()
            .any(|field| field.eq_ignore_ascii_case(needed))
    });
    let complete = value(text, "Name").is_some() && value(text, "Version").is_some();
    ((major, minor) >= (2, 2) && major == 2 && complete && !left_open).then_some(bytes)
}

#[cfg(test)]
mod tests;

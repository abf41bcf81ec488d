//! Zip files: opens one, lists its entries with safe names, and reads an entry within bounds.
//!
//! Never writes, and never follows a name before it was judged.

use std::collections::HashSet;
use std::io::{Read, Seek};

use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result};
use zip::ZipArchive;

use super::safe_path::{components, invalid_entry};
use super::zip_layout;

/// The first bytes of a zip file with entries.
pub(crate) const SIGNATURE: &[u8] = b"PK\x03\x04";

/// What a zip file's directory says of one entry.
#[derive(Clone, Debug)]
pub(super) struct ZipEntry {
    /// The name without `.` and empty components, joined with `/`.
    pub(super) path: String,
    pub(super) index: usize,
    pub(super) directory: bool,
    pub(super) executable: bool,
    /// In bytes, inflated, as the directory says.
    pub(super) size: u64,
    /// In seconds since 1970-01-01, taking the local time that zip files have as UTC.
    pub(super) modified: Option<i64>,
}

/// Opens a zip file.
///
/// # Errors
/// What is not a zip file, whose directory is damaged or lists a name twice, or that readers may understand
/// differently ([`zip_layout`]).
pub(super) fn open<R: Read + Seek>(mut reader: R) -> Result<ZipArchive<R>> {
    zip_layout::check(&mut reader)?;
    let archive =
        ZipArchive::new(reader).context(Kind::Fetch, || "it is not a zip file".to_owned())?;
    if archive.has_duplicate_names() {
        return Err(Error::new(Kind::Fetch, "two entries have the same name"));
    }
    Ok(archive)
}

/// Lists the entries of `archive` in the order of its directory.
///
/// # Errors
/// The first entry with a name that is not safe, that is no file or directory, that is encrypted,
/// or whose name another file has too.
pub(super) fn entries<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Vec<ZipEntry>> {
    let mut files = HashSet::new();
    let mut entries = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = judged(archive, index)?;
        if !entry.directory && !files.insert(entry.path.clone()) {
            return Err(invalid_entry(&entry.path, "is there twice"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn judged<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> Result<ZipEntry> {
    let unreadable = || "an entry cannot be read".to_owned();
    let data = archive
        .by_index_data(index)
        .context(Kind::Fetch, unreadable)?;
    let name = data.name().context(Kind::Fetch, unreadable)?;
    let path = components(&name)?.join("/");
    let mode = data.unix_mode().unwrap_or(0);
    if path.is_empty() && !data.is_dir() {
        return Err(invalid_entry(&name, "has no name"));
    }
    // 0 stands for archives made where files have no type.
    if !matches!(mode & 0o170_000, 0 | 0o100_000 | 0o040_000) {
        return Err(invalid_entry(&name, "is neither a file nor a directory"));
    }
    if data.encrypted() {
        return Err(invalid_entry(&name, "is encrypted"));
    }
    Ok(ZipEntry {
        path,
        index,
        directory: data.is_dir(),
        executable: mode & 0o111 != 0,
        size: data.size(),
        modified: data.last_modified().and_then(seconds),
    })
}

/// Reads `entry` whole.
///
/// # Errors
/// An entry that inflates to more than `limit` bytes, or that is damaged.
pub(super) fn read<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    entry: &ZipEntry,
    limit: u64,
) -> Result<Vec<u8>> {
    let unreadable = || format!("entry `{}` cannot be read", entry.path);
    if entry.size > limit {
        return Err(invalid_entry(&entry.path, "is larger than it may be"));
    }
    let mut bytes = Vec::new();
    archive
        .by_index(entry.index)
        .context(Kind::Fetch, unreadable)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .context(Kind::Fetch, unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(invalid_entry(&entry.path, "is larger than it may be"));
    }
    Ok(bytes)
}

fn seconds(time: zip::DateTime) -> Option<i64> {
    let civil = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        i8::try_from(time.month()).ok()?,
        i8::try_from(time.day()).ok()?,
        i8::try_from(time.hour()).ok()?,
        i8::try_from(time.minute()).ok()?,
        i8::try_from(time.second()).ok()?,
        0,
    )
    .ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

//! Zip files: opens them, lists their entries with safe names, and reads entries up to a limit.

use std::collections::HashSet;
use std::io::{Read, Seek};

use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result};
use zip::ZipArchive;

use crate::safe_path::{components, invalid_entry};
use crate::zip_layout;

/// The first bytes of a zip file with entries.
pub(crate) const SIGNATURE: &[u8] = b"PK\x03\x04";

/// The description of an entry in the directory of a zip file.
#[derive(Clone, Debug)]
pub(crate) struct ZipEntry {
    /// The name without `.` and empty components, joined with `/`.
    pub(crate) path: String,
    pub(crate) index: usize,
    pub(crate) directory: bool,
    pub(crate) executable: bool,
    /// The stated inflated size in bytes.
    pub(crate) size: u64,
    /// The modification time in seconds since 1970-01-01, with the local time of zip files interpreted as UTC.
    pub(crate) modified: Option<i64>,
}

/// Opens a zip file.
///
/// # Errors
/// Fails if the file is not a zip file, if its directory is damaged or lists a name twice, or if readers may interpret the
/// file differently ([`zip_layout`]).
pub(crate) fn open<R: Read + Seek>(mut reader: R) -> Result<ZipArchive<R>> {
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
/// Fails at the first entry that has an unsafe name or the name of another file, is neither a file nor a directory, or is
/// encrypted.
pub(crate) fn entries<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Vec<ZipEntry>> {
    let mut files = HashSet::new();
    let mut entries = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = entry(archive, index)?;
        if !entry.directory && !files.insert(entry.path.clone()) {
            return Err(invalid_entry(&entry.path, "exists twice"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> Result<ZipEntry> {
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
    // Systems without file types write 0.
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

/// Reads the content of `entry`.
///
/// # Errors
/// Fails if the entry is damaged or inflates to more than `limit` bytes.
pub(crate) fn read<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    entry: &ZipEntry,
    limit: u64,
) -> Result<Vec<u8>> {
    let unreadable = || format!("entry `{}` cannot be read", entry.path);
    if entry.size > limit {
        return Err(invalid_entry(&entry.path, "exceeds its size limit"));
    }
    let mut bytes = Vec::new();
    archive
        .by_index(entry.index)
        .context(Kind::Fetch, unreadable)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .context(Kind::Fetch, unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(invalid_entry(&entry.path, "exceeds its size limit"));
    }
    Ok(bytes)
}

/// Returns the seconds since 1970-01-01 of a time in UTC.
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

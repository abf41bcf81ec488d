//! The layout of zip files: rejects files that readers may interpret differently.
//!
//! A zip file describes its entries twice: in a header before each entry, and in the central directory at its end. Readers
//! differ in which description they use, and in where they search for the directory. If the two disagree, pip may install other
//! files than those inspected here, so such a file is rejected, as it is by the public index.
//!
//! Implements sections 4.3.7 to 4.3.16 of APPNOTE.TXT 6.3.10. Does not inflate entries.

use std::io::{self, Read, Seek, SeekFrom};

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";

/// The flags that both descriptions must share: the data is encrypted, and a descriptor follows the data.
const ENCRYPTED: u16 = 1;
const DESCRIBED: u16 = 1 << 3;

/// The lengths of the fixed parts, in bytes.
const END_LENGTH: usize = 22;
const LOCATOR_LENGTH: usize = 20;
const END64_LENGTH: usize = 56;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// The largest length of the comment at the end, in bytes.
const MAX_COMMENT_LENGTH: usize = 0xffff;

/// The largest size of the central directory, in bytes.
const MAX_DIRECTORY_SIZE: u64 = 256 << 20;

/// An entry of the central directory.
struct CentralEntry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    size: u64,
    compressed: u64,
    offset: u64,
}

/// The offsets of the central directory and the number of its entries.
struct CentralDirectory {
    start: u64,
    end: u64,
    entries: u64,
}

/// Verifies that the zip file ends with its central directory, that its entries fill the bytes before the directory, and that
/// the header of each entry agrees with the directory.
///
/// # Errors
/// [`Kind::Fetch`] if readers may interpret the file differently, or if it cannot be read.
pub(crate) fn check(file: &mut (impl Read + Seek)) -> Result<()> {
    let unreadable = || "it is not a zip file".to_owned();
    let directory = find(file)?;
    if directory.end - directory.start > MAX_DIRECTORY_SIZE {
        return Err(ambiguous("its directory exceeds the size limit"));
    }
    let length = usize::try_from(directory.end - directory.start).unwrap_or(usize::MAX);
    let bytes = read(file, directory.start, length).context(Kind::Fetch, unreadable)?;
    let mut entries = entries(&bytes)?;
    if entries.len() as u64 != directory.entries {
        return Err(ambiguous(
            "its directory does not have the stated number of entries",
        ));
    }
    entries.sort_by_key(|entry| entry.offset);
    let starts = entries.iter().map(|entry| entry.offset);
    let bounds: Vec<u64> = starts.chain([directory.start]).collect();
    if bounds[0] != 0 {
        return Err(ambiguous("there is data before its first entry"));
    }
    for (entry, next) in entries.iter().zip(&bounds[1..]) {
        check_entry(file, entry, *next).map_err(|error| {
            let name = String::from_utf8_lossy(entry.name);
            ambiguous(&format!("entry `{name}` {error}"))
        })?;
    }
    Ok(())
}

/// Finds the central directory by the record at the end.
fn find(file: &mut (impl Read + Seek)) -> Result<CentralDirectory> {
    let unreadable = || "it is not a zip file".to_owned();
    let size = file
        .seek(SeekFrom::End(0))
        .context(Kind::Fetch, unreadable)?;
    let length = size.min((END_LENGTH + MAX_COMMENT_LENGTH + LOCATOR_LENGTH) as u64);
    let tail_start = size - length;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let tail = read(file, tail_start, length).context(Kind::Fetch, unreadable)?;
    let at = tail
        .windows(END.len())
        .rposition(|window| window == END)
        .ok_or_else(|| Error::new(Kind::Fetch, "it is not a zip file"))?;
    let record = &tail[at..];
    let comment = u16_at(record, 20).ok_or_else(|| Error::new(Kind::Fetch, unreadable()))?;
    if record.len() != END_LENGTH + usize::from(comment) {
        return Err(ambiguous("it does not end with its directory"));
    }
    let field = |at| u32_at(record, at).map_or(0, u64::from);
    let record_start = tail_start + at as u64;
    let mut directory = CentralDirectory {
        start: field(16),
        end: record_start,
        entries: u16_at(record, 10).map_or(0, u64::from),
    };
    let mut stated = field(12);
    let locator = at.checked_sub(LOCATOR_LENGTH).map(|start| &tail[start..at]);
    if let Some(locator) = locator.filter(|locator| locator.starts_with(LOCATOR64)) {
        let start = u64_at(locator, 8).unwrap_or(u64::MAX);
        let record = read(file, start, END64_LENGTH).context(Kind::Fetch, unreadable)?;
        let field = |at| u64_at(&record, at).unwrap_or(u64::MAX);
        let ends = start.saturating_add(field(4)).saturating_add(12);
        if !record.starts_with(END64) || ends != record_start - LOCATOR_LENGTH as u64 {
            return Err(ambiguous("it does not end with its directory"));
        }
        directory = CentralDirectory {
            start: field(48),
            end: start,
            entries: field(32),
        };
        stated = field(40);
    }
    // The comment, or the directory itself, could hide another end.
    if directory.start.checked_add(stated) != Some(directory.end) {
        return Err(ambiguous("its directory is not where it states"));
    }
    Ok(directory)
}

/// Reads the entries of the directory that is `bytes`.
fn entries(bytes: &[u8]) -> Result<Vec<CentralEntry<'_>>> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (entry, length) = entry(rest).ok_or_else(|| ambiguous("its directory is damaged"))?;
        entries.push(entry);
        rest = &rest[length..];
    }
    Ok(entries)
}

/// The entry at the beginning of `bytes`, and its length.
fn entry(bytes: &[u8]) -> Option<(CentralEntry<'_>, usize)> {
    let name_end = CENTRAL_LENGTH + usize::from(u16_at(bytes, 28)?);
    let extra_end = name_end + usize::from(u16_at(bytes, 30)?);
    let end = extra_end + usize::from(u16_at(bytes, 32)?);
    if !bytes.starts_with(CENTRAL) || bytes.len() < end {
        return None;
    }
    let (size, compressed) = (u32_at(bytes, 24)?, u32_at(bytes, 20)?);
    let offset = u32_at(bytes, 42)?;
    let mut wide = Zip64Field::find(&bytes[name_end..extra_end])?;
    let size = wide.value(size)?;
    let compressed = wide.value(compressed)?;
    let offset = wide.value(offset)?;
    let entry = CentralEntry {
        name: &bytes[CENTRAL_LENGTH..name_end],
        flags: u16_at(bytes, 8)?,
        method: u16_at(bytes, 10)?,
        crc: u32_at(bytes, 16)?,
        size,
        compressed,
        offset,
    };
    Some((entry, end))
}

/// The remaining values of the zip64 extra field.
struct Zip64Field<'a>(&'a [u8]);

impl<'a> Zip64Field<'a> {
    /// Finds the field in `extra`. Returns `None` if `extra` is damaged or has the field twice.
    fn find(mut extra: &'a [u8]) -> Option<Self> {
        let mut found = None;
        // Some writers pad with up to three zeros.
        while extra.len() >= 4 {
            let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let value = extra.get(4..4 + length)?;
            if kind == 1 && found.replace(value).is_some() {
                return None;
            }
            extra = &extra[4 + length..];
        }
        Some(Self(found.unwrap_or_default()))
    }

    /// Returns the next value if `narrow` is the placeholder for a value of 64 bits, and `narrow` otherwise.
    fn value(&mut self, narrow: u32) -> Option<u64> {
        if narrow != u32::MAX {
            return Some(narrow.into());
        }
        let value = u64_at(self.0, 0)?;
        self.0 = &self.0[8..];
        Some(value)
    }
}

/// Verifies that the header of `entry` agrees with the directory, and that the entry ends at `next`.
fn check_entry(
    file: &mut (impl Read + Seek),
    entry: &CentralEntry<'_>,
    next: u64,
) -> io::Result<()> {
    let disagree = |what: &str| Err(io::Error::other(format!("has {what}")));
    let header = read(file, entry.offset, LOCAL_LENGTH + entry.name.len())?;
    let short = |at| u16_at(&header, at).unwrap_or_default();
    let long = |at| u32_at(&header, at).unwrap_or_default();
    if !header.starts_with(LOCAL) {
        return disagree("no header");
    }
    if usize::from(short(26)) != entry.name.len() || header[LOCAL_LENGTH..] != *entry.name {
        return disagree("another name in its header");
    }
    if short(8) != entry.method || (short(6) ^ entry.flags) & (ENCRYPTED | DESCRIBED) != 0 {
        return disagree("another method in its header");
    }
    let is_described = entry.flags & DESCRIBED != 0;
    // A header may leave the sizes to the descriptor after the data.
    let agrees = |stated: u32, value: u64| {
        u64::from(stated) == value || stated == u32::MAX || is_described && stated == 0
    };
    if long(14) != entry.crc && !(is_described && long(14) == 0) {
        return disagree("another checksum in its header");
    }
    if !agrees(long(18), entry.compressed) || !agrees(long(22), entry.size) {
        return disagree("another size in its header");
    }
    let data = entry.offset + (header.len() + usize::from(short(28))) as u64;
    let end = data.saturating_add(entry.compressed);
    let length = next
        .checked_sub(end)
        .and_then(|it| usize::try_from(it).ok());
    match length {
        Some(0) if !is_described => Ok(()),
        Some(length @ (12 | 16 | 20 | 24)) if is_described => {
            if entry.describes(&read(file, end, length)?) {
                Ok(())
            } else {
                disagree("another size or checksum in the descriptor after its data")
            }
        }
        _ => disagree("an end that is not the start of the next entry"),
    }
}

impl CentralEntry<'_> {
    /// Returns whether `descriptor` (section 4.3.9) agrees with the directory. It consists of an optional signature, the
    /// checksum, and two sizes of four or eight bytes.
    fn describes(&self, descriptor: &[u8]) -> bool {
        let is_wide = descriptor.len() >= 20;
        let is_signed = matches!(descriptor.len(), 16 | 24);
        if is_signed && !descriptor.starts_with(DESCRIPTOR) {
            return false;
        }
        let start = if is_signed { 4 } else { 0 };
        let sizes = if is_wide {
            (
                u64_at(descriptor, start + 4),
                u64_at(descriptor, start + 12),
            )
        } else {
            let size = |at| u32_at(descriptor, at).map(u64::from);
            (size(start + 4), size(start + 8))
        };
        u32_at(descriptor, start) == Some(self.crc)
            && sizes == (Some(self.compressed), Some(self.size))
    }
}

/// Reads `length` bytes from the offset `start`.
fn read(file: &mut (impl Read + Seek), start: u64, length: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Returns the error of a file that readers may interpret differently.
fn ambiguous(what: &str) -> Error {
    Error::new(
        Kind::Fetch,
        format!("readers may interpret it differently: {what}"),
    )
}

#[cfg(test)]
mod tests;

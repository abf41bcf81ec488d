//! The layout of a zip file: one that only one reading is possible of.
//!
//! A zip file says twice what is in it: in a header before each entry, and in the directory at its end. Readers differ in
//! which of them they believe, and in where they look for the directory. Where the two disagree, what was inspected here
//! need not be what pip installs, so such a file is refused, as by the public index.
//!
//! Implements what APPNOTE.TXT 6.3.10 says of sections 4.3.7 to 4.3.16; never inflates anything.

use std::io::{self, Read, Seek, SeekFrom};

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";

/// The flags that readers must agree on: the data are encrypted; a descriptor follows them.
const ENCRYPTED: u16 = 1;
const DESCRIBED: u16 = 1 << 3;

/// The lengths of the fixed parts (bytes).
const END_LENGTH: usize = 22;
const LOCATOR_LENGTH: usize = 20;
const END64_LENGTH: usize = 56;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// The longest comment at the end (bytes).
const COMMENT: usize = 0xffff;

/// The largest directory that is read (bytes).
const DIRECTORY: u64 = 256 << 20;

/// An entry as the directory has it.
struct CentralEntry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    size: u64,
    compressed: u64,
    offset: u64,
}

/// Where the directory is (offsets).
struct CentralDirectory {
    start: u64,
    end: u64,
    entries: u64,
}

/// Checks that the directory of a zip file ends it, that its entries follow each other from its first byte to
/// the directory, and that each says of itself what the directory says.
///
/// # Errors
/// [`Kind::Fetch`] for a file that readers may take for different things, or that cannot be read.
pub(super) fn check(file: &mut (impl Read + Seek)) -> Result<()> {
    let unreadable = || "it is not a zip file".to_owned();
    let directory = find(file)?;
    if directory.end - directory.start > DIRECTORY {
        return Err(ambiguous("its directory is larger than it may be"));
    }
    let length = usize::try_from(directory.end - directory.start).unwrap_or(usize::MAX);
    let bytes = read(file, directory.start, length).context(Kind::Fetch, unreadable)?;
    let mut entries = entries(&bytes)?;
    if entries.len() as u64 != directory.entries {
        return Err(ambiguous(
            "its directory has another number of entries than it states",
        ));
    }
    entries.sort_by_key(|entry| entry.offset);
    let starts = entries.iter().map(|entry| entry.offset);
    let bounds: Vec<u64> = starts.chain([directory.start]).collect();
    if bounds[0] != 0 {
        return Err(ambiguous("there is something before its first entry"));
    }
    for (entry, next) in entries.iter().zip(&bounds[1..]) {
        check_entry(file, entry, *next).map_err(|error| {
            let name = String::from_utf8_lossy(entry.name);
            ambiguous(&format!("entry `{name}` {error}"))
        })?;
    }
    Ok(())
}

/// Finds the directory by the record at the end.
fn find(file: &mut (impl Read + Seek)) -> Result<CentralDirectory> {
    let unreadable = || "it is not a zip file".to_owned();
    let size = file
        .seek(SeekFrom::End(0))
        .context(Kind::Fetch, unreadable)?;
    let length = size.min((END_LENGTH + COMMENT + LOCATOR_LENGTH) as u64);
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
    let mut wide = Zip64Field::of(&bytes[name_end..extra_end])?;
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

/// The values of the extra field for zip64, in their order.
struct Zip64Field<'a>(&'a [u8]);

impl<'a> Zip64Field<'a> {
    /// Finds the field among those of `extra`; `None` if they are damaged, or it is there twice.
    fn of(mut extra: &'a [u8]) -> Option<Self> {
        let mut found = None;
        // Some writers pad with zeros that are no field.
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

    /// The value of a field that is `narrow` unless it does not fit there.
    fn value(&mut self, narrow: u32) -> Option<u64> {
        if narrow != u32::MAX {
            return Some(narrow.into());
        }
        let value = u64_at(self.0, 0)?;
        self.0 = &self.0[8..];
        Some(value)
    }
}

/// Checks that the header of `entry` says what the directory says, and that the entry ends at `next`.
fn check_entry(
    file: &mut (impl Read + Seek),
    entry: &CentralEntry<'_>,
    next: u64,
) -> io::Result<()> {
    let wrong = |what: &str| Err(io::Error::other(format!("has {what}")));
    let header = read(file, entry.offset, LOCAL_LENGTH + entry.name.len())?;
    let short = |at| u16_at(&header, at).unwrap_or_default();
    let long = |at| u32_at(&header, at).unwrap_or_default();
    if !header.starts_with(LOCAL) {
        return wrong("no header");
    }
    if usize::from(short(26)) != entry.name.len() || header[LOCAL_LENGTH..] != *entry.name {
        return wrong("another name in its header");
    }
    if short(8) != entry.method || (short(6) ^ entry.flags) & (ENCRYPTED | DESCRIBED) != 0 {
        return wrong("another method in its header");
    }
    let is_described = entry.flags & DESCRIBED != 0;
    // What follows the data says it where the header does not.
    let agrees = |stated: u32, value: u64| {
        u64::from(stated) == value || stated == u32::MAX || is_described && stated == 0
    };
    if long(14) != entry.crc && !(is_described && long(14) == 0) {
        return wrong("another checksum in its header");
    }
    if !agrees(long(18), entry.compressed) || !agrees(long(22), entry.size) {
        return wrong("another size in its header");
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
                wrong("another size or checksum behind its data")
            }
        }
        _ => wrong("another end than the next entry has a beginning"),
    }
}

impl CentralEntry<'_> {
    /// Whether `descriptor` (4.3.9) says what the directory says: checksum and sizes of four or eight bytes, behind a signature or
    /// without.
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

fn ambiguous(what: &str) -> Error {
    Error::new(
        Kind::Fetch,
        format!("readers may take it for different things: {what}"),
    )
}

#[cfg(test)]
mod tests;

//! Tar archives, compressed or not: reads one entry after the other into a [`UnpackDir`].
//!
//! Implements what PEP 721 asks of who unpacks a source distribution. Never takes owners, special
//! files, or modes other than the executable bit from an archive.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};
use wheelhouse_types::error::Context;
use wheelhouse_types::{Kind, Result};

use super::safe_path::{components, invalid_entry};
use super::unpack_dir::{FileAttributes, UnpackDir};
use wheelhouse_fs::interruption;

/// The most that the headers of one entry, long names included, may take.
const HEADER_LIMIT: u64 = 4 << 20;

/// The most that may follow the end of the archive: padding.
const PADDING_LIMIT: u64 = 64 << 20;

/// The most memory an xz stream may ask for, in KiB.
const XZ_MEMORY: u32 = 512 << 10;

/// An entry of an archive that is being read.
pub type TarEntry<'a> = Entry<'a, LimitedReader<Box<dyn Read>>>;

/// Unpacks the tar archive that `reader` reads, whose first bytes tell its compression.
///
/// # Errors
/// The first entry that must not be unpacked, and damage.
pub(super) fn unpack(reader: impl BufRead + 'static, into: &mut UnpackDir) -> Result<()> {
    for_each_entry(reader, &mut |entry| unpack_entry(entry, into))
}

/// Shows `visit` each entry of the tar archive that `reader` reads, whose first bytes tell its
/// compression.
///
/// # Errors
/// Whatever `visit` fails with, and damage.
pub fn for_each_entry(
    reader: impl BufRead + 'static,
    visit: &mut dyn FnMut(&mut TarEntry<'_>) -> Result<()>,
) -> Result<()> {
    let damaged = || "the archive is damaged or cut short".to_owned();
    let inflated = decompress(reader).context(Kind::Fetch, damaged)?;
    let allowance = Rc::new(Cell::new(HEADER_LIMIT));
    let mut archive = Archive::new(LimitedReader {
        inner: inflated,
        allowance: Rc::clone(&allowance),
    });
    let mut entries = archive.entries().context(Kind::Fetch, damaged)?;
    loop {
        allowance.set(HEADER_LIMIT);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.context(Kind::Fetch, damaged)?;
        // The padding of a body is read with the header that follows it.
        allowance.set(entry.size().saturating_add(HEADER_LIMIT));
        visit(&mut entry)?;
        io::copy(&mut entry, &mut io::sink()).context(Kind::Fetch, damaged)?;
    }
    allowance.set(PADDING_LIMIT);
    finish(&mut archive.into_inner()).context(Kind::Fetch, damaged)
}

/// Reads what follows the archive, so that the check sum of the compression is checked.
fn finish(rest: &mut dyn Read) -> io::Result<()> {
    match io::copy(rest, &mut io::sink()) {
        // What follows the last gzip member is no concern of the archive.
        Err(error) if error.to_string() == "invalid gzip header" => Ok(()),
        other => other.map(drop),
    }
}

/// Decompresses an archive, whose compression its first bytes tell.
///
/// # Errors
/// What reading the first bytes fails with, and a header that is not valid.
pub fn decompress(mut reader: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(reader)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY))
        }
        _ => Box::new(reader),
    })
}

/// A reader that fails rather than read more than it may.
pub struct LimitedReader<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interruption::check_io()?;
        let left = self.allowance.get();
        if left == 0 {
            return Err(io::Error::other("a header is larger than it may be"));
        }
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..wanted])?;
        self.allowance.set(left - count as u64);
        Ok(count)
    }
}

fn unpack_entry<R: Read>(entry: &mut Entry<'_, R>, into: &mut UnpackDir) -> Result<()> {
    let kind = entry.header().entry_type();
    let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    into.count(&raw, entry.size())?;
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let name = raw.trim_start_matches('/');
    let parts = components(name)?;
    let attributes = attributes(entry, &raw)?;
    // Before POSIX, a directory was a file whose name ends with a slash.
    let old_directory = kind == EntryType::Regular && name.ends_with('/');
    match kind {
        _ if kind.is_dir() || old_directory => into.directory(&parts, attributes.modified),
        _ if parts.is_empty() => Err(invalid_entry(&raw, "has no name")),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            into.file(&parts, attributes, entry)
        }
        EntryType::Symlink => into.link(&parts, PathBuf::from(target(entry, &raw)?)),
        EntryType::Link => {
            let target = target(entry, &raw)?;
            into.hard_link(&parts, &components(&target)?, attributes)
        }
        _ => Err(invalid_entry(
            &raw,
            "is neither a file, a directory nor a link",
        )),
    }
}

/// What the extended header (PAX) of an entry says of its time.
///
/// # Errors
/// Sparse files in the PAX formats, whose maps would be taken for content.
fn extended_time<R: Read>(entry: &mut Entry<'_, R>, name: &str) -> Result<Option<SystemTime>> {
    let unreadable = || invalid_entry(name, "has an extended header that cannot be read");
    let mut time = None;
    let Some(extensions) = entry.pax_extensions().map_err(|_| unreadable())? else {
        return Ok(None);
    };
    for extension in extensions {
        let extension = extension.map_err(|_| unreadable())?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            let fault = "is a sparse file in a format that is not supported";
            return Err(invalid_entry(name, fault));
        }
        if extension.key_bytes() == b"mtime" {
            time = std::str::from_utf8(extension.value_bytes())
                .ok()
                .and_then(instant);
        }
    }
    Ok(time)
}

/// Reads seconds since 1970-01-01 with a fraction, `1600000000.25`, without going through floating
/// point.
fn instant(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let since = Duration::new(seconds.parse().ok()?, digits.parse().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>, name: &str) -> Result<FileAttributes> {
    let extended = extended_time(entry, name)?;
    let header = entry.header();
    let mode = header
        .mode()
        .map_err(|_| invalid_entry(name, "has an unreadable mode"))?;
    // A time that cannot be read is that of unpacking, as with Python's tarfile.
    let plain = || {
        let seconds = header.mtime().ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    Ok(FileAttributes {
        executable: mode & 0o111 != 0,
        modified: extended.or_else(plain),
        size: entry.size(),
    })
}

fn target<R: Read>(entry: &Entry<'_, R>, name: &str) -> Result<String> {
    let target = entry
        .link_name_bytes()
        .ok_or_else(|| invalid_entry(name, "is a link without a target"))?;
    let target = String::from_utf8_lossy(&target).into_owned();
    let unusable = target.is_empty() || target.contains('\0') || target.len() > 4096;
    if unusable || Path::new(&target).is_absolute() {
        return Err(invalid_entry(
            name,
            "is a link that leads out of the archive",
        ));
    }
    Ok(target)
}

//! Tar archives, compressed or not: reads one entry after the other, and unpacks them.
//!
//! Implements the requirements of PEP 721 for unpacking source distributions. Owners, special files, and modes other than the
//! executable bit are not taken from an archive.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};
use wheelhouse_fs::interruption;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::safe_path::{components, invalid_entry};
use crate::unpack_dir::{FileAttributes, UnpackDir};

/// The largest size of the headers of one entry, including long names, in bytes.
const HEADER_LIMIT: u64 = 4 << 20;

/// The largest size of the padding after the end of the archive, in bytes.
const PADDING_LIMIT: u64 = 64 << 20;

/// The largest amount of memory that an xz stream may request, in KiB.
const XZ_MEMORY: u32 = 512 << 10;

/// An entry of an archive that is being read.
pub type TarEntry<'a> = Entry<'a, LimitedReader<Box<dyn Read>>>;

/// Unpacks a tar archive, whose first bytes identify its compression.
pub(crate) fn unpack(reader: impl BufRead + 'static, into: &mut UnpackDir) -> Result<()> {
    for_each_entry(reader, &mut |entry| unpack_entry(entry, into))
}

/// Calls `visit` with each entry of a tar archive, whose first bytes identify its compression.
///
/// # Errors
/// The first error of `visit`, or [`Kind::Fetch`] if the archive is damaged.
pub fn for_each_entry(
    reader: impl BufRead + 'static,
    visit: &mut dyn FnMut(&mut TarEntry<'_>) -> Result<()>,
) -> Result<()> {
    let damaged = || "the archive is damaged or truncated".to_owned();
    let decompressed = decompress(reader).context(Kind::Fetch, damaged)?;
    let limit = Rc::new(Cell::new(HEADER_LIMIT));
    let mut archive = Archive::new(LimitedReader {
        inner: decompressed,
        limit: Rc::clone(&limit),
    });
    let mut entries = archive.entries().context(Kind::Fetch, damaged)?;
    loop {
        limit.set(HEADER_LIMIT);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.context(Kind::Fetch, damaged)?;
        // The padding of the content is read with the next header.
        limit.set(entry.size().saturating_add(HEADER_LIMIT));
        visit(&mut entry)?;
        io::copy(&mut entry, &mut io::sink()).context(Kind::Fetch, damaged)?;
    }
    limit.set(PADDING_LIMIT);
    // Reading to the end verifies the checksum of the compression.
    match io::copy(&mut archive.into_inner(), &mut io::sink()) {
        Err(error)
            if error.get_ref().is_some_and(
                <dyn std::error::Error + std::marker::Send + std::marker::Sync + 'static>::is::<
                    TrailingData,
                >,
            ) =>
        {
            Ok(())
        }
        result => result.map(drop).context(Kind::Fetch, damaged),
    }
}

/// Decompresses an archive, whose first bytes identify its compression.
///
/// # Errors
/// The error of reading the first bytes, or of a compression header that is not valid.
pub fn decompress(mut reader: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(GzipReader {
            member: Some(GzDecoder::new(reader)),
            is_first: true,
        }),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(reader)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY))
        }
        _ => Box::new(reader),
    })
}

/// Decompresses all members of a gzip file. Fails with [`TrailingData`] at data after a member that is not a member, which
/// `flate2::bufread::MultiGzDecoder` does not distinguish from damage.
struct GzipReader<R> {
    /// `None` at the end.
    member: Option<GzDecoder<R>>,
    is_first: bool,
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else {
                return Ok(0);
            };
            match member.read(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    let rest = self.member.take().map(GzDecoder::into_inner);
                    if let Some(mut rest) = rest
                        && !rest.fill_buf()?.is_empty()
                    {
                        self.member = Some(GzDecoder::new(rest));
                        self.is_first = false;
                    }
                }
                Err(error)
                    if !self.is_first
                        && error.kind() == io::ErrorKind::InvalidInput
                        && member.header().is_none() =>
                {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingData));
                }
                result => return result,
            }
        }
    }
}

/// The error of data after the last member of a gzip file. It is ignored after the end of the tar archive.
#[derive(Debug)]
struct TrailingData;

impl fmt::Display for TrailingData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is data after the end of the gzip file")
    }
}

impl std::error::Error for TrailingData {}

/// A reader that fails when it exceeds its limit.
pub struct LimitedReader<R> {
    inner: R,
    limit: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interruption::check_io()?;
        let limit = self.limit.get();
        if limit == 0 {
            return Err(io::Error::other("a header exceeds the size limit"));
        }
        let length = usize::try_from(limit).map_or(buffer.len(), |limit| limit.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..length])?;
        self.limit.set(limit - count as u64);
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
    let is_old_directory = kind == EntryType::Regular && name.ends_with('/');
    match kind {
        _ if kind.is_dir() || is_old_directory => into.directory(&parts, attributes.modified),
        _ if parts.is_empty() => Err(invalid_entry(&raw, "has no name")),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            into.file(&parts, attributes, entry)
        }
        EntryType::Symlink => into.link(&parts, PathBuf::from(link_target(entry, &raw)?)),
        EntryType::Link => {
            let target = link_target(entry, &raw)?;
            into.hard_link(&parts, &components(&target)?, attributes)
        }
        _ => Err(invalid_entry(&raw, "is not a file, a directory or a link")),
    }
}

/// Returns the modification time in the extended (PAX) header of an entry.
///
/// # Errors
/// Fails for sparse files in the PAX formats, because their maps would be read as content.
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
                .and_then(parse_time);
        }
    }
    Ok(time)
}

/// Parses seconds since 1970-01-01 with a fraction, `1600000000.25`, without the rounding of floating point.
fn parse_time(text: &str) -> Option<SystemTime> {
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
        .map_err(|_| invalid_entry(name, "has a mode that cannot be parsed"))?;
    // Like Python's tarfile, ignores a time that cannot be parsed.
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

fn link_target<R: Read>(entry: &Entry<'_, R>, name: &str) -> Result<String> {
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

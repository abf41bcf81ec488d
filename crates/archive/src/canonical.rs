//! Canonical wheels: rewrites a wheel that a build backend wrote, so that its bytes depend on its files alone.
//!
//! Two builds of one source write the same files in another order, with other times, modes and compression. A canonical wheel
//! has its files sorted by name, those of the `dist-info` directory last and `RECORD` at the end, as the binary distribution
//! format recommends. All have one time and one compression level, and one of two modes. `RECORD` is written anew in the same
//! order. Entries of directories, extra fields, comments and bytecode beside its source are left out.
//!
//! A signature (`RECORD.jws`, `RECORD.p7s`) signs the bytes of `RECORD`, so these stay in a signed wheel, and all files too.
//!
//! The new file replaces the old one by a rename. Files are not held in memory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wheelhouse_fs::digest::{Digester, Digests};
use wheelhouse_fs::interruption;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::limits::Limits;
use crate::record::RecordDifference;
use crate::record_check::{difference, stated_algorithm};
use crate::safe_path::escape_for_display;
use crate::wheel::WheelReader;
use crate::zip_reader::ZipEntry;

/// The compression level, the default of Python's `zipfile` and of zlib.
const LEVEL: i64 = 6;

/// The size from which an entry gets fields of 64 bits, in bytes. Data that does not compress grows a little.
const LARGE: u64 = 0xff00_0000;

/// The size of one read, in bytes.
const CHUNK: usize = 256 << 10;

/// The times that a zip file can have, in seconds since 1970-01-01: 1980-01-01 to 2107-12-31.
const TIMES: std::ops::RangeInclusive<i64> = 315_532_800..=4_354_819_198;

/// Rewrites the wheel at `path`, whose file name is `filename`, in canonical form. `modified` is the time of all files, in seconds
/// since 1970-01-01 UTC. Returns the differences of the original files from the original `RECORD`, as
/// [`crate::verify_contents`] does.
///
/// # Errors
/// [`Kind::Fetch`] if [`crate::inspect`] would reject the directory of the wheel, if a file is damaged, or if the files
/// inflate to more than `limits` allow; [`Kind::Build`] if the new wheel cannot be written. The original is then unchanged.
pub fn canonicalize(
    path: &Path,
    filename: &str,
    modified: i64,
    limits: &Limits,
) -> Result<Vec<RecordDifference>> {
    let unwritable = || format!("failed to rewrite {filename}");
    let (mut wheel, size) = WheelReader::open(path, filename)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut file = tempfile::Builder::new()
        .tempfile_in(directory)
        .context(Kind::Build, unwritable)?;
    let rewriter = Rewriter {
        writer: ZipWriter::new(BufWriter::new(file.as_file_mut())),
        time: zip_time(modified),
        buffer: vec![0; CHUNK],
    };
    let rewritten = rewriter
        .rewrite(&mut wheel, limits.byte_limit(size))
        .map_err(|error| Error::new(error.kind(), unwritable()).caused_by(error))?;
    let size = file
        .as_file()
        .metadata()
        .context(Kind::Build, unwritable)?
        .len();
    // Sparse data that was not compressed before could now look like a decompression bomb.
    if rewritten.inflated <= limits.byte_limit(size) {
        file.persist(path).context(Kind::Build, unwritable)?;
    }
    Ok(rewritten.differences)
}

struct RewrittenWheel {
    differences: Vec<RecordDifference>,
    /// The size of its files in bytes.
    inflated: u64,
}

struct Rewriter<W: Write + Seek> {
    writer: ZipWriter<W>,
    time: DateTime,
    buffer: Vec<u8>,
}

impl<W: Write + Seek> Rewriter<W> {
    /// Writes the files of `wheel`; together they may inflate to `limit` bytes.
    fn rewrite<R: Read + Seek>(
        mut self,
        wheel: &mut WheelReader<R>,
        limit: u64,
    ) -> Result<RewrittenWheel> {
        let mut remaining = limit;
        let (mut recorded, mut differences) = wheel.record()?;
        let is_signed = wheel.is_signed();
        let stale = if is_signed {
            BTreeSet::new()
        } else {
            stale_bytecode(&wheel.entries)
        };
        recorded.retain(|path, _| !stale.contains(path));
        let record_path = format!("{}/RECORD", wheel.dist_info);
        let mut entries: Vec<ZipEntry> = wheel
            .entries
            .iter()
            .filter(|entry| !entry.directory && !stale.contains(&entry.path))
            .filter(|entry| is_signed || entry.path != record_path)
            .cloned()
            .collect();
        let own = format!("{}/", wheel.dist_info);
        entries.sort_by_cached_key(|entry| {
            let is_own = entry.path.starts_with(&own);
            (is_own, entry.path == record_path, entry.path.clone())
        });

        let mut record = String::new();
        for entry in entries {
            interruption::check()?;
            let path = &entry.path;
            let known = recorded.remove(path);
            let algorithm = known.as_ref().and_then(stated_algorithm);
            let mut digester = Digester::new(algorithm);
            self.start(path, entry.executable, entry.size)?;
            let damaged = || format!("entry `{}` is damaged", escape_for_display(path));
            // One byte more than allowed, to notice content that is too long.
            let mut content = wheel
                .archive
                .by_index(entry.index)
                .context(Kind::Fetch, damaged)?
                .take(remaining.saturating_add(1));
            loop {
                let count = content
                    .read(&mut self.buffer)
                    .context(Kind::Fetch, damaged)?;
                if count == 0 {
                    break;
                }
                digester.update(&self.buffer[..count]);
                self.writer
                    .write_all(&self.buffer[..count])
                    .context(Kind::Build, || unwritable(path))?;
            }
            drop(content);
            let digests = digester.finish();
            let Some(left) = remaining.checked_sub(digests.length) else {
                let path = escape_for_display(path);
                let message = format!("it inflates beyond the limit at `{path}`");
                return Err(Error::new(Kind::Fetch, message));
            };
            remaining = left;
            if !wheel.is_unlisted(path) {
                differences.extend(difference(path, known.as_ref(), &digests));
                add_row(&mut record, path, &digests);
            }
        }
        let missing = recorded.into_keys().filter(|path| !wheel.is_unlisted(path));
        differences.extend(missing.map(RecordDifference::Missing));
        if !is_signed {
            add_field(&mut record, &record_path);
            record.push_str(",,\n");
            self.start(&record_path, false, record.len() as u64)?;
            self.writer
                .write_all(record.as_bytes())
                .context(Kind::Build, || unwritable(&record_path))?;
        }
        let mut output = self
            .writer
            .finish()
            .context(Kind::Build, || unwritable(&record_path))?;
        output
            .flush()
            .context(Kind::Build, || unwritable(&record_path))?;
        Ok(RewrittenWheel {
            differences,
            inflated: limit - remaining,
        })
    }

    /// Starts the file `path` of `size` bytes.
    fn start(&mut self, path: &str, executable: bool, size: u64) -> Result<()> {
        let options = SimpleFileOptions::default()
            .system(zip::System::Unix)
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(self.time)
            .unix_permissions(if executable { 0o755 } else { 0o644 })
            .large_file(size >= LARGE);
        self.writer
            .start_file(path, options)
            .context(Kind::Build, || unwritable(path))
    }
}

fn unwritable(path: &str) -> String {
    format!("entry `{}` cannot be written", escape_for_display(path))
}

/// Returns the time of zip files for a time in seconds since 1970-01-01 UTC, or the nearest one that they can have.
fn zip_time(seconds: i64) -> DateTime {
    let seconds = seconds.clamp(*TIMES.start(), *TIMES.end());
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let civil = timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let part = |value: i8| u8::try_from(value).unwrap_or_default();
    DateTime::from_date_and_time(
        u16::try_from(civil.year()).unwrap_or_default(),
        part(civil.month()),
        part(civil.day()),
        part(civil.hour()),
        part(civil.minute()),
        // The resolution is two seconds.
        part(civil.second()) & !1,
    )
    .unwrap_or_default()
}

/// Returns the paths of the bytecode files whose source is in the wheel, too: Python would compile it again if the times
/// differ, and installers compile it anyway.
fn stale_bytecode(entries: &[ZipEntry]) -> BTreeSet<String> {
    let files: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| !entry.directory)
        .map(|entry| entry.path.as_str())
        .collect();
    files
        .iter()
        .filter(|path| source_of(path).is_some_and(|source| files.contains(source.as_str())))
        .map(|path| (*path).to_owned())
        .collect()
}

/// Returns the path of the source that the bytecode file `path` was compiled from (PEP 3147), if it is one.
fn source_of(path: &str) -> Option<String> {
    let stem = path
        .strip_suffix(".pyc")
        .or_else(|| path.strip_suffix(".pyo"))?;
    let (directory, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let Some(parent) = directory.strip_suffix("__pycache__") else {
        return Some(format!("{stem}.py"));
    };
    // `module.cpython-312.opt-1`
    let tagged = match name.rsplit_once('.') {
        Some((tagged, level)) if level.starts_with("opt-") => tagged,
        _ => name,
    };
    let (module, _) = tagged.rsplit_once('.')?;
    Some(format!("{parent}{module}.py"))
}

/// Adds the row of a file to the text of a `RECORD`.
fn add_row(record: &mut String, path: &str, digests: &Digests) {
    let digest = hex::decode(digests.sha256.to_string()).unwrap_or_default();
    add_field(record, path);
    record.push_str(",sha256=");
    URL_SAFE_NO_PAD.encode_string(digest, record);
    let _ = writeln!(record, ",{}", digests.length);
}

/// Adds a field as Python's `csv` module writes it by default.
fn add_field(record: &mut String, field: &str) {
    if field.contains([',', '"', '\r', '\n']) {
        record.push('"');
        record.push_str(&field.replace('"', "\"\""));
        record.push('"');
    } else {
        record.push_str(field);
    }
}

#[cfg(test)]
mod tests;

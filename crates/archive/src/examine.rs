//! Archives before others unpack them: reads one to its end without writing anything, within bounds.
//!
//! uv unpacks archives without bounds, and its parsers recurse. So the sizes of all entries are counted here first, a zip
//! file's also as they inflate, and the files that uv parses are judged.

use std::io::{self, BufRead as _, BufReader, Read, Seek};
use std::path::Path;

use fs_err::File;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::limits::{self as text_limits, Excess};
use wheelhouse_types::{Kind, Result};

use super::limits::{Limits, RemainingLimits};
use super::safe_path::{components, invalid_entry};
use super::{tarball, zip_reader};
use wheelhouse_fs::interruption;

/// The files that are parsed without a build, wherever they lie.
const METADATA: [&str; 2] = ["PKG-INFO", "METADATA"];
const PROJECT: &str = "pyproject.toml";

/// The deepest place of the files that are parsed: below the directory of an sdist, or a `dist-info` one.
const DEPTH: usize = 2;

/// Examines the archive at `path`, a wheel or a source distribution known as `filename`.
///
/// # Errors
/// [`Kind::Fetch`] for an archive that is damaged or exceeds `limits`, and for metadata that exceeds those of text.
pub fn examine(path: &Path, filename: &str, limits: &Limits) -> Result<()> {
    let failed = || format!("failed to unpack {filename}");
    let file = File::open(path).context(Kind::Fetch, failed)?;
    let size = file.metadata().context(Kind::Fetch, failed)?.len();
    let reader = BufReader::with_capacity(128 << 10, file.into_parts().0);
    examine_reader(reader, limits.remaining(size)).context(Kind::Fetch, failed)
}

fn examine_reader(mut reader: BufReader<std::fs::File>, mut left: RemainingLimits) -> Result<()> {
    if reader
        .fill_buf()
        .is_ok_and(|start| start.starts_with(b"PK\x03\x04"))
    {
        return examine_zip(reader, &mut left);
    }
    tarball::for_each_entry(reader, &mut |entry| {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        interruption::check()?;
        left.count(&name, entry.size())?;
        judge(&name, entry)
    })
}

fn examine_zip(reader: impl Read + Seek, left: &mut RemainingLimits) -> Result<()> {
    let mut archive = zip_reader::open(reader)?;
    let entries = zip_reader::entries(&archive)?;
    for entry in &entries {
        left.count(&entry.path, entry.size)?;
    }
    for entry in entries.iter().filter(|entry| !entry.directory) {
        interruption::check()?;
        let damaged = || format!("entry `{}` cannot be unpacked", entry.path);
        let content = archive
            .by_index(entry.index)
            .context(Kind::Fetch, damaged)?;
        // It may inflate to more than it says.
        let mut content = content.take(entry.size + 1);
        judge(&entry.path, &mut content)?;
        io::copy(&mut content, &mut io::sink()).context(Kind::Fetch, damaged)?;
        if content.limit() == 0 {
            return Err(invalid_entry(&entry.path, "is longer than it says"));
        }
    }
    Ok(())
}

/// Judges the file `name` if it is one that is parsed.
fn judge(name: &str, content: &mut dyn Read) -> Result<()> {
    let Ok(parts) = components(name.trim_start_matches('/')) else {
        return Ok(());
    };
    let Some((last, above)) = parts.split_last().filter(|_| parts.len() <= DEPTH) else {
        return Ok(());
    };
    let is_metadata = METADATA.contains(last) && above.len() < DEPTH;
    if !is_metadata && *last != PROJECT {
        return Ok(());
    }
    let limit = if is_metadata {
        text_limits::METADATA
    } else {
        text_limits::PYPROJECT
    };
    let refused = || format!("`{name}` in it cannot be read");
    let bytes = text_limits::read(content, limit).context(Kind::Fetch, refused)?;
    let judged: Result<(), Excess> = if is_metadata {
        text_limits::metadata(&bytes)
    } else {
        text_limits::pyproject(&String::from_utf8_lossy(&bytes))
    };
    judged.context(Kind::Fetch, || format!("`{name}` in it is refused"))
}

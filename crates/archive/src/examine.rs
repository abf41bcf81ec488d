//! The examination of an archive before another program unpacks it: reads it to its end without writing anything.
//!
//! uv unpacks archives without limits, and its parsers recurse. So this module counts the sizes of all entries, those of zip
//! files also while they inflate, and checks the files that uv parses.

use std::io::{self, BufRead as _, BufReader, Read, Seek};
use std::path::Path;

use fs_err::File;
use wheelhouse_fs::interruption;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::limits as text_limits;
use wheelhouse_types::{Kind, Result};

use crate::limits::{Limits, RemainingLimits};
use crate::safe_path::{components, invalid_entry};
use crate::{tarball, zip_reader};

/// The metadata files that are parsed without a build, in any directory.
const METADATA: [&str; 2] = ["PKG-INFO", "METADATA"];
const PYPROJECT: &str = "pyproject.toml";

/// The largest depth of the parsed files: directly in the top directory of an sdist, or in a `dist-info` directory.
const MAX_DEPTH: usize = 2;

/// Examines the wheel or source distribution at `path`, whose published file name is `filename`.
///
/// # Errors
/// [`Kind::Fetch`] if the archive is damaged or exceeds `limits`, or if its metadata exceeds the limits of text.
pub fn examine(path: &Path, filename: &str, limits: &Limits) -> Result<()> {
    let failed = || format!("failed to unpack {filename}");
    let file = File::open(path).context(Kind::Fetch, failed)?;
    let size = file.metadata().context(Kind::Fetch, failed)?.len();
    let mut reader = BufReader::with_capacity(128 << 10, file.into_parts().0);
    let mut remaining = limits.remaining(size);
    let is_zip = reader
        .fill_buf()
        .is_ok_and(|start| start.starts_with(zip_reader::SIGNATURE));
    if is_zip {
        return examine_zip(reader, &mut remaining).context(Kind::Fetch, failed);
    }
    tarball::for_each_entry(reader, &mut |entry| {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        interruption::check()?;
        remaining.count(&name, entry.size())?;
        check_text(&name, entry)
    })
    .context(Kind::Fetch, failed)
}

fn examine_zip(reader: impl Read + Seek, remaining: &mut RemainingLimits) -> Result<()> {
    let mut archive = zip_reader::open(reader)?;
    let entries = zip_reader::entries(&archive)?;
    for entry in &entries {
        remaining.count(&entry.path, entry.size)?;
    }
    for entry in entries.iter().filter(|entry| !entry.directory) {
        interruption::check()?;
        let damaged = || format!("entry `{}` is damaged", entry.path);
        let content = archive
            .by_index(entry.index)
            .context(Kind::Fetch, damaged)?;
        // The entry may inflate to more than its stated size.
        let mut content = content.take(entry.size + 1);
        check_text(&entry.path, &mut content)?;
        io::copy(&mut content, &mut io::sink()).context(Kind::Fetch, damaged)?;
        if content.limit() == 0 {
            return Err(invalid_entry(&entry.path, "is longer than it states"));
        }
    }
    Ok(())
}

/// Checks the limits of the file `name` if uv parses it.
fn check_text(name: &str, content: &mut dyn Read) -> Result<()> {
    let Ok(parts) = components(name.trim_start_matches('/')) else {
        return Ok(());
    };
    let Some((file, directories)) = parts.split_last().filter(|_| parts.len() <= MAX_DEPTH) else {
        return Ok(());
    };
    let is_metadata = METADATA.contains(file) && directories.len() < MAX_DEPTH;
    if !is_metadata && *file != PYPROJECT {
        return Ok(());
    }
    let limit = if is_metadata {
        text_limits::METADATA
    } else {
        text_limits::PYPROJECT
    };
    let bytes = text_limits::read(content, limit)
        .context(Kind::Fetch, || format!("its `{name}` cannot be read"))?;
    let checked = if is_metadata {
        text_limits::metadata(&bytes)
    } else {
        text_limits::pyproject(&String::from_utf8_lossy(&bytes))
    };
    checked.context(Kind::Fetch, || format!("its `{name}` exceeds a limit"))
}

//! The complete check of a wheel: inflates every entry and compares it with `RECORD`.
//!
//! Writes nothing, and inflates no more than an installer would.

use std::io::{BufReader, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs_err::File;
use wheelhouse_fs::digest::{Algorithm, Digests, digest_with};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::limits::Limits;
use crate::record::{RecordDifference, RecordEntry};
use crate::safe_path::escape_for_display;
use crate::wheel::WheelReader;

/// Compares every file of the wheel at `path` with `RECORD`. Returns the differences in the order of the archive, and an
/// empty list for a wheel that matches.
///
/// # Errors
/// [`Kind::Fetch`] if [`crate::inspect`] would reject the directory of the wheel, if a file is damaged, or if the files
/// inflate to more than `limits` allow.
pub fn verify_contents(
    path: &Path,
    filename: &str,
    limits: &Limits,
) -> Result<Vec<RecordDifference>> {
    let invalid = || format!("{filename} is not a valid wheel");
    let (mut wheel, size) = WheelReader::open(path, filename)?;
    compare(&mut wheel, limits.byte_limit(size)).context(Kind::Fetch, invalid)
}

/// Compares the files of `wheel` with its `RECORD`; together they may inflate to `remaining` bytes.
fn compare(
    wheel: &mut WheelReader<BufReader<File>>,
    mut remaining: u64,
) -> Result<Vec<RecordDifference>> {
    let (mut record, mut differences) = wheel.record()?;
    for entry in wheel.entries.clone() {
        if entry.directory {
            continue;
        }
        let path = entry.path;
        let recorded = record.remove(&path);
        let algorithm = recorded.as_ref().and_then(stated_algorithm);
        let damaged = || format!("entry `{}` is damaged", escape_for_display(&path));
        let digests = {
            let content = wheel
                .archive
                .by_index(entry.index)
                .context(Kind::Fetch, damaged)?;
            // One byte more than allowed, to notice content that is too long.
            let mut content = content.take(remaining.saturating_add(1));
            digest_with(&mut content, algorithm).context(Kind::Fetch, damaged)?
        };
        let Some(left) = remaining.checked_sub(digests.length) else {
            let message = format!(
                "it inflates beyond the limit at `{}`",
                escape_for_display(&path)
            );
            return Err(Error::new(Kind::Fetch, message));
        };
        remaining = left;
        if !wheel.is_unlisted(&path) {
            differences.extend(difference(&path, recorded.as_ref(), &digests));
        }
    }
    let missing = record.into_keys().filter(|path| !wheel.is_unlisted(path));
    differences.extend(missing.map(RecordDifference::Missing));
    Ok(differences)
}

/// Returns the algorithm of the digest in `recorded`, if wheels may use it.
pub(crate) fn stated_algorithm(recorded: &RecordEntry) -> Option<Algorithm> {
    // The specification allows sha256 and better.
    use Algorithm::{Sha256, Sha384, Sha512};
    let (name, _) = recorded.digest.split_once('=')?;
    Algorithm::from_name(name).filter(|algorithm| matches!(algorithm, Sha256 | Sha384 | Sha512))
}

/// Returns the difference of the file `path`, which has these `digests`, from its entry in `RECORD`.
pub(crate) fn difference(
    path: &str,
    recorded: Option<&RecordEntry>,
    digests: &Digests,
) -> Option<RecordDifference> {
    let path = path.to_owned();
    let Some(recorded) = recorded else {
        return Some(RecordDifference::Unlisted(path));
    };
    let Some(algorithm) = stated_algorithm(recorded) else {
        return Some(RecordDifference::NoDigest(path));
    };
    if recorded.size.is_some_and(|size| size != digests.length) {
        return Some(RecordDifference::Size(path));
    }
    let (_, encoded) = recorded.digest.split_once('=').unwrap_or_default();
    let stated = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    let is_equal = stated.ok().map(hex::encode) == digests.get(algorithm);
    (!is_equal).then_some(RecordDifference::Digest(path))
}

#[cfg(test)]
mod tests;

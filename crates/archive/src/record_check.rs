//! The deep check of a wheel: inflates every entry and compares it with `RECORD`.
//!
//! Never keeps what it inflates, and never inflates more than an installer would have to.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs_err::File;
use sha2::{Digest, Sha256, Sha384, Sha512};
use wheelhouse_types::error::Context;
use wheelhouse_types::{Error, Kind, Result, WheelFilename};

use super::limits::Limits;
use super::record::Recorded;
use super::safe_path::shown;
use super::wheel::Opened;
use super::zip_reader::ZipEntry;

/// How the differences end that [`is_contradiction`].
const OTHER_SIZE: &str = "has not the size that RECORD says";
const OTHER_DIGEST: &str = "has not the digest that RECORD says";

/// Whether `difference`, one of those of [`verify_contents`], is a file with other bytes than
/// `RECORD` says, rather than one that `RECORD` does not describe.
#[must_use]
pub fn is_contradiction(difference: &str) -> bool {
    difference.ends_with(OTHER_SIZE) || difference.ends_with(OTHER_DIGEST)
}

/// Compares every file of the wheel at `path` with `RECORD`, and returns what does not agree:
/// fragments that name the entry, in the order of the archive; none for a wheel that is whole.
///
/// # Errors
/// [`Kind::Fetch`] for what [`super::inspect`] refuses in a wheel's directory, a file that is
/// damaged, and one that inflates beyond `limits`.
pub fn verify_contents(path: &Path, filename: &str, limits: &Limits) -> Result<Vec<String>> {
    let damaged = || format!("{filename} is not a valid wheel");
    let parsed = WheelFilename::from_str(filename).context(Kind::Fetch, damaged)?;
    let file = File::open(path).context(Kind::Fetch, || format!("failed to read {filename}"))?;
    let size = file.metadata().context(Kind::Fetch, damaged)?.len();
    let mut wheel = Opened::new(BufReader::new(file), &parsed).context(Kind::Fetch, damaged)?;
    wheel
        .archive
        .validate_header_consistency()
        .context(Kind::Fetch, damaged)?;
    compare(&mut wheel, limits.ceiling(size)).context(Kind::Fetch, damaged)
}

fn compare<R: Read + Seek>(wheel: &mut Opened<R>, ceiling: u64) -> Result<Vec<String>> {
    let (mut recorded, mut differences) = wheel.record()?;
    let mut left = ceiling;
    for entry in wheel.entries.clone() {
        if entry.directory {
            continue;
        }
        let expected = recorded.remove(&entry.path);
        let measured = measure(wheel, &entry, expected.as_ref(), left)?;
        left -= measured.size;
        differences.extend(difference(wheel, &entry.path, expected.as_ref(), &measured));
    }
    differences.extend(absent(wheel, &recorded));
    Ok(differences)
}

/// What an entry was found to hold.
struct Measured {
    size: u64,
    /// In the algorithm of `RECORD`; `None` for an algorithm that wheels may not use.
    digest: Option<Vec<u8>>,
}

fn measure<R: Read + Seek>(
    wheel: &mut Opened<R>,
    entry: &ZipEntry,
    expected: Option<&Recorded>,
    left: u64,
) -> Result<Measured> {
    let damaged = || format!("entry `{}` is damaged", shown(&entry.path));
    let content = wheel
        .archive
        .by_index(entry.index)
        .context(Kind::Fetch, damaged)?;
    // One more than is left, so that the excess shows.
    let content = content.take(left.saturating_add(1));
    let algorithm = expected.map_or("", |recorded| algorithm(&recorded.digest));
    let measured = hashed_with(algorithm, content).context(Kind::Fetch, damaged)?;
    if measured.size > left {
        let place = shown(&entry.path);
        let message = format!("it inflates beyond what is sensible at `{place}`");
        return Err(Error::new(Kind::Fetch, message));
    }
    Ok(measured)
}

/// Reads `content` to its end; with `algorithm` if it is one that wheels may use.
fn hashed_with(algorithm: &str, content: impl Read) -> std::io::Result<Measured> {
    match algorithm {
        "sha256" => hashed::<Sha256>(content),
        "sha384" => hashed::<Sha384>(content),
        "sha512" => hashed::<Sha512>(content),
        _ => hashed::<Sha256>(content).map(|measured| Measured {
            digest: None,
            ..measured
        }),
    }
}

fn hashed<D: Digest>(mut content: impl Read) -> std::io::Result<Measured> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            let digest = Some(hasher.finalize().to_vec());
            return Ok(Measured { size, digest });
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

fn algorithm(digest: &str) -> &str {
    digest
        .split_once('=')
        .map_or("", |(algorithm, _)| algorithm)
}

fn difference<R: Read + Seek>(
    wheel: &Opened<R>,
    path: &str,
    expected: Option<&Recorded>,
    measured: &Measured,
) -> Option<String> {
    if wheel.is_unlisted(path) {
        return None;
    }
    let Some(expected) = expected else {
        return Some(format!("RECORD does not list {}", shown(path)));
    };
    let Some(digest) = &measured.digest else {
        return Some(format!("RECORD has no SHA-2 digest of {}", shown(path)));
    };
    if expected.size.is_some_and(|size| size != measured.size) {
        return Some(format!("{} {OTHER_SIZE}", shown(path)));
    }
    let (_, encoded) = expected.digest.split_once('=')?;
    let recorded = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    (recorded.as_ref() != Ok(digest)).then(|| format!("{} {OTHER_DIGEST}", shown(path)))
}

fn absent<R: Read + Seek>(wheel: &Opened<R>, recorded: &BTreeMap<String, Recorded>) -> Vec<String> {
    recorded
        .keys()
        .filter(|path| !wheel.is_unlisted(path))
        .map(|path| format!("RECORD lists {}, which is not there", shown(path)))
        .collect()
}

#[cfg(test)]
mod tests;

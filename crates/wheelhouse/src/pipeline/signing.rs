//! Signs a published wheelhouse: its manifest and the provenance of its built wheels.
//!
//! The signatures are one file beside the manifest, with an envelope in each line ([`SIGNATURES_NAME`]). It is written after the
//! manifest: if a run is interrupted in between, the signatures do not fit the manifest, and the next run replaces them.

use std::path::Path;

use tracing::{debug, instrument};
use wheelhouse_attest::{Envelope, MANIFEST_TYPE, STATEMENT_TYPE, SigningKey};
use wheelhouse_fs::input;
use wheelhouse_publish::{simple_index, write_file};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, SIGNATURES_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result};

/// Signs the manifest of the wheelhouse in `directory` and the provenance that it lists, unless the key has signed exactly
/// these before. Returns the number of signatures.
///
/// # Errors
/// When a file cannot be read or written, or the key cannot sign.
#[instrument(name = "sign", skip_all, fields(directory = %directory.display()))]
pub fn sign(directory: &Path, key: &SigningKey) -> Result<usize> {
    let payloads = payloads(directory)?;
    let path = directory.join(SIGNATURES_NAME);
    if has_signed(&path, &payloads, key) {
        debug!("the signatures are up to date");
        return Ok(payloads.len());
    }
    let mut bytes = Vec::new();
    for (payload_type, payload) in &payloads {
        let envelope = Envelope::sign(payload_type, payload, key)
            .context(Kind::Publish, || "failed to sign the wheelhouse".to_owned())?;
        bytes.extend(envelope.to_bytes());
    }
    write_file(&path, &bytes, 0o666)?;
    Ok(payloads.len())
}

/// Returns what is signed: the manifest first, then each statement, each with its type.
fn payloads(directory: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let read = |name: &str| {
        let path = directory.join(name);
        let failed = || format!("failed to read {}", path.display());
        input::read_regular(&path).context(Kind::Publish, failed)
    };
    let bytes = read(MANIFEST_NAME)?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|unusable| Error::new(Kind::Publish, format!("{MANIFEST_NAME} {unusable}")))?;
    let mut payloads = vec![(MANIFEST_TYPE, bytes)];
    for wheel in manifest.wheels.iter().filter(|wheel| wheel.built.is_some()) {
        let name = simple_index::provenance_name(&wheel.filename);
        if let Some(name) = name.filter(|name| manifest.files.contains(name)) {
            payloads.push((STATEMENT_TYPE, read(&name)?));
        }
    }
    Ok(payloads)
}

/// Returns whether the file at `path` has signatures of exactly `payloads` by the key. ECDSA signatures differ each time.
fn has_signed(path: &Path, payloads: &[(&str, Vec<u8>)], key: &SigningKey) -> bool {
    let Ok(bytes) = input::read_regular(path) else {
        return false;
    };
    let lines: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let is_signed = |(line, (payload_type, payload)): (&&[u8], &(&str, Vec<u8>))| {
        let envelope = Envelope::parse(line);
        envelope.is_ok_and(|envelope| {
            let signed = envelope.verify(payload_type, key.verifying_key());
            signed.as_ref() == Ok(payload)
        })
    };
    lines.len() == payloads.len() && lines.iter().zip(payloads).all(is_signed)
}

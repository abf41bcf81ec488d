//! Checks that a key has signed the manifest, and the provenance of the wheels that were built.

use wheelhouse_attest::{
    AttestError, Envelope, MANIFEST_TYPE, STATEMENT_TYPE, VerifyingKey, subject,
};
use wheelhouse_publish::simple_index;
use wheelhouse_types::manifest::{MANIFEST_NAME, SIGNATURES_NAME, Wheel};

use super::super::inventory::DirectoryInventory;
use super::super::report::{Check, CheckBuilder, CheckName, Finding};

const SIGN_HINT: &str = "Build or download it again with --sign.";

/// The contents that `key` has signed.
struct SignedPayloads {
    manifests: Vec<Vec<u8>>,
    statements: Vec<Vec<u8>>,
}

/// Checks the signatures of the directory with `key`.
pub(crate) fn check(inventory: &DirectoryInventory, key: &VerifyingKey) -> Check {
    let mut check = CheckBuilder::new(CheckName::Signatures);
    let Some(bytes) = inventory.read_file(SIGNATURES_NAME) else {
        check.fail(Finding::new(SIGNATURES_NAME, "is missing").hint(SIGN_HINT));
        return check.finish();
    };
    let signed = match read(&bytes, key) {
        Ok(signed) => signed,
        Err((line, error)) => {
            let message = format!("is damaged in line {line}: {error}");
            check.fail(Finding::new(SIGNATURES_NAME, message).hint(SIGN_HINT));
            return check.finish();
        }
    };
    check.count(
        signed.manifests.len() + signed.statements.len(),
        "signature",
    );
    let manifest_bytes = inventory.read_file(MANIFEST_NAME);
    let is_signed = |bytes: &Vec<u8>| signed.manifests.contains(bytes);
    if !manifest_bytes.as_ref().is_some_and(is_signed) {
        let message = if signed.manifests.is_empty() {
            "is not signed by this key"
        } else {
            "is not the one that was signed by this key"
        };
        check.fail(Finding::new(MANIFEST_NAME, message).hint(SIGN_HINT));
    }
    let wheels = inventory.manifest.iter().flat_map(|manifest| {
        let built = manifest.wheels.iter().filter(|wheel| wheel.built.is_some());
        built.filter_map(|wheel| {
            let name = simple_index::provenance_name(&wheel.filename)?;
            manifest.files.contains(&name).then_some((wheel, name))
        })
    });
    for (wheel, name) in wheels {
        check_statement(inventory, wheel, &name, &signed, &mut check);
    }
    check.finish()
}

/// Returns the payloads that `key` has signed, or the first line that is not an envelope.
fn read(bytes: &[u8], key: &VerifyingKey) -> Result<SignedPayloads, (usize, AttestError)> {
    let mut signed = SignedPayloads {
        manifests: Vec::new(),
        statements: Vec::new(),
    };
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let envelope = Envelope::parse(line).map_err(|error| (number + 1, error))?;
        signed.manifests.extend(envelope.verify(MANIFEST_TYPE, key));
        signed
            .statements
            .extend(envelope.verify(STATEMENT_TYPE, key));
    }
    Ok(signed)
}

/// Checks that the provenance of `wheel` in the file `name` is signed and about the wheel.
fn check_statement(
    inventory: &DirectoryInventory,
    wheel: &Wheel,
    name: &str,
    signed: &SignedPayloads,
    check: &mut CheckBuilder,
) {
    let Some(bytes) = inventory.read_file(name) else {
        // The check of files reports it.
        return;
    };
    if !signed.statements.contains(&bytes) {
        check.fail(Finding::new(name, "is not signed by this key").hint(SIGN_HINT));
        return;
    }
    let statement = serde_json::from_slice(&bytes).unwrap_or_default();
    if subject(&statement) != Some((&wheel.filename, wheel.sha256)) {
        let message = format!("is not about {}", wheel.filename);
        check.fail(Finding::new(name, message).hint(SIGN_HINT));
    }
}

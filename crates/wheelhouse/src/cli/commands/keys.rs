//! The keys of `--sign` and `--key`.

use std::path::Path;

use wheelhouse_attest::{AttestError, SigningKey, VerifyingKey};
use wheelhouse_fs::input;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::cli::process_env::ProcessEnv;

/// The variable with the password of an encrypted key, which cosign reads, too.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// Reads the private key at `path`, if one is named.
pub(crate) fn signing_key(path: Option<&Path>, process: &ProcessEnv) -> Result<Option<SigningKey>> {
    let password = process.environment.get(PASSWORD);
    path.map(|path| {
        let bytes = read(path, process)?;
        SigningKey::parse(&bytes, password).map_err(|error| unusable(path, error))
    })
    .transpose()
}

/// Reads the public key at `path`, if one is named.
pub(crate) fn verifying_key(
    path: Option<&Path>,
    process: &ProcessEnv,
) -> Result<Option<VerifyingKey>> {
    path.map(|path| {
        let bytes = read(path, process)?;
        VerifyingKey::parse(&bytes).map_err(|error| unusable(path, error))
    })
    .transpose()
}

fn read(path: &Path, process: &ProcessEnv) -> Result<Vec<u8>> {
    let failed = || format!("failed to read the key {}", path.display());
    input::read(&process.directory.join(path)).context(Kind::Input, failed)
}

fn unusable(path: &Path, error: AttestError) -> Error {
    let hint = match &error {
        AttestError::EncryptedPkcs8 => {
            Some("Decrypt it with `openssl pkcs8`, or use a key of cosign.")
        }
        AttestError::NoPassword => Some("Set COSIGN_PASSWORD to the password."),
        AttestError::WrongPassword => Some("Check COSIGN_PASSWORD."),
        AttestError::UnknownAlgorithm | AttestError::NotPem => {
            Some("Create one with `openssl genpkey -algorithm ed25519`.")
        }
        _ => None,
    };
    let message = format!("the key {} cannot be used", path.display());
    let failed = Error::new(Kind::Input, message).caused_by(error);
    match hint {
        Some(hint) => failed.with_hint(hint),
        None => failed,
    }
}

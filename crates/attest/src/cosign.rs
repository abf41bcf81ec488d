//! Private keys in the encrypted format of cosign: scrypt derives a key from the password, `NaCl`'s secretbox encrypts PKCS#8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;

use crate::error::AttestError;

/// The tags of PEM blocks in this format; the second is that of cosign 1.
pub(crate) const TAGS: [&str; 2] = [
    "ENCRYPTED SIGSTORE PRIVATE KEY",
    "ENCRYPTED COSIGN PRIVATE KEY",
];

/// The memory that the derivation may take (bytes). cosign writes parameters for 64 MiB.
const MAX_MEMORY: u64 = 256 << 20;

/// The passes that the derivation may take.
const MAX_PARALLELIZATION: u32 = 16;

#[derive(Deserialize)]
struct EncryptedKey {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Derivation {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Decrypts the contents of a PEM block, and returns the key in PKCS#8.
pub(crate) fn decrypt(contents: &[u8], password: Option<&str>) -> Result<Vec<u8>, AttestError> {
    let unknown = |what: &str| AttestError::UnknownEncryption(what.to_owned());
    let key: EncryptedKey =
        serde_json::from_slice(contents).map_err(|_| unknown("its description is not valid"))?;
    if key.kdf.name != "scrypt" || key.cipher.name != "nacl/secretbox" {
        return Err(unknown("it does not use scrypt and nacl/secretbox"));
    }
    let Parameters { n, r, p } = key.kdf.params;
    let memory = n
        .checked_mul(u64::from(r))
        .and_then(|blocks| blocks.checked_mul(128));
    if !n.is_power_of_two()
        || memory.is_none_or(|memory| memory > MAX_MEMORY)
        || p > MAX_PARALLELIZATION
    {
        return Err(unknown(
            "its parameters of scrypt are not valid or exceed 256 MiB",
        ));
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| unknown("N is too large"))?;
    let parameters = scrypt::Params::new(log_n, r, p, 32)
        .map_err(|_| unknown("its parameters of scrypt are not valid"))?;
    let decode = |text: &str| {
        STANDARD
            .decode(text)
            .map_err(|_| unknown("a field is not in base64"))
    };
    let (salt, nonce) = (decode(&key.kdf.salt)?, decode(&key.cipher.nonce)?);
    let nonce: [u8; 24] = nonce
        .try_into()
        .map_err(|_| unknown("its nonce does not have 24 bytes"))?;
    let ciphertext = decode(&key.ciphertext)?;
    let password = password.ok_or(AttestError::NoPassword)?;
    let mut derived = [0; 32];
    scrypt::scrypt(password.as_bytes(), &salt, &parameters, &mut derived)
        .map_err(|_| unknown("its parameters of scrypt are not valid"))?;
    open_secretbox(&derived, &nonce, &ciphertext).ok_or(AttestError::WrongPassword)
}

/// Decrypts and authenticates a message as `NaCl`'s `crypto_secretbox_open`: the authentication code of the encrypted message comes
/// first, and the first block of the key stream is the key of the code.
fn open_secretbox(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    let (code, encrypted) = sealed.split_first_chunk::<16>()?;
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut code_key = [0; 32];
    stream.apply_keystream(&mut code_key);
    let expected = Poly1305::new(&code_key.into()).compute_unpadded(encrypted);
    if expected != poly1305::Tag::from(*code) {
        return None;
    }
    let mut message = encrypted.to_vec();
    stream.apply_keystream(&mut message);
    Some(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rejects_excessive_and_unknown_parameters() {
        let key = |name: &str, n: u64, p: u64, nonce: &str| {
            json!({
                "kdf": {"name": name, "params": {"N": n, "r": 8, "p": p}, "salt": ""},
                "cipher": {"name": "nacl/secretbox", "nonce": nonce}, "ciphertext": "",
            })
            .to_string()
        };
        let nonce = STANDARD.encode([0; 24]);
        for text in [
            key("argon2", 1024, 1, &nonce),
            key("scrypt", 1000, 1, &nonce),
            key("scrypt", 1 << 40, 1, &nonce),
            key("scrypt", u64::MAX, 1, &nonce),
            key("scrypt", 0, 1, &nonce),
            key("scrypt", 1024, 0, &nonce),
            key("scrypt", 1024, 1 << 20, &nonce),
            key("scrypt", 1024, 1, ""),
            key("scrypt", 1024, 1, "?"),
            "[]".to_owned(),
        ] {
            let error = decrypt(text.as_bytes(), Some("x")).unwrap_err();
            assert!(
                matches!(error, AttestError::UnknownEncryption(_)),
                "{text}: {error}"
            );
        }
        let valid = key("scrypt", 1024, 1, &nonce);
        assert_eq!(
            decrypt(valid.as_bytes(), Some("x")),
            Err(AttestError::WrongPassword)
        );
    }
}

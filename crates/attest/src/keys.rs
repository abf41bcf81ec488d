//! Keys for signatures: Ed25519, and ECDSA with the curve P-256 and SHA-256.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};
use pem::Pem;
use wheelhouse_types::Sha256;

use crate::cosign;
use crate::error::AttestError;

/// A private key.
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    public: VerifyingKey,
}

#[derive(Debug)]
enum KeyPair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    /// `SubjectPublicKeyInfo` in DER.
    der: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Ed25519,
    Ecdsa,
}

/// The start of an Ed25519 key as `SubjectPublicKeyInfo` in DER (RFC 8410); the key follows.
const ED25519_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The start of an uncompressed P-256 key as `SubjectPublicKeyInfo` in DER (RFC 5480); the point follows.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl SigningKey {
    /// Parses a private key in PEM: PKCS#8, SEC 1 for ECDSA, or cosign's encrypted format with its `password`.
    ///
    /// # Errors
    /// The reason why the key cannot be used.
    pub fn parse(bytes: &[u8], password: Option<&str>) -> Result<Self, AttestError> {
        let pem = block(bytes, |tag| {
            tag.ends_with("PRIVATE KEY") || tag == "PUBLIC KEY"
        })?;
        match pem.tag() {
            "PRIVATE KEY" => Self::from_pkcs8(pem.contents()),
            "EC PRIVATE KEY" => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_der(algorithm, pem.contents());
                let pair = pair.map_err(|_| AttestError::UnknownAlgorithm)?;
                Self::new(KeyPair::Ecdsa(pair))
            }
            "ENCRYPTED PRIVATE KEY" => Err(AttestError::EncryptedPkcs8),
            tag if cosign::TAGS.contains(&tag) => {
                Self::from_pkcs8(&cosign::decrypt(pem.contents(), password)?)
            }
            tag => {
                let found = format!("a `{}`", tag.escape_debug());
                Err(AttestError::WrongKind(found, "a private key"))
            }
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, AttestError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Self::new(KeyPair::Ed25519(pair));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        Self::new(KeyPair::Ecdsa(
            pair.map_err(|_| AttestError::UnknownAlgorithm)?,
        ))
    }

    fn new(pair: KeyPair) -> Result<Self, AttestError> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &pair {
            KeyPair::Ed25519(pair) => pair.public_key().as_der(),
            KeyPair::Ecdsa(pair) => pair.public_key().as_der(),
        };
        let der = der.map_err(|_| AttestError::UnknownAlgorithm)?;
        Ok(Self {
            public: VerifyingKey::from_der(der.as_ref())?,
            pair,
        })
    }

    /// Returns the public key.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Returns the signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AttestError> {
        match &self.pair {
            KeyPair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            KeyPair::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| AttestError::SigningFailed),
        }
    }
}

impl VerifyingKey {
    /// Parses a public key in PEM, as `openssl pkey -pubout` and `cosign` write it.
    ///
    /// # Errors
    /// The reason why the key cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        let pem = block(bytes, |tag| tag.ends_with("KEY"))?;
        if pem.tag() != "PUBLIC KEY" {
            let found = format!("a `{}`", pem.tag().escape_debug());
            return Err(AttestError::WrongKind(found, "a public key"));
        }
        Self::from_der(pem.contents())
    }

    fn from_der(der: &[u8]) -> Result<Self, AttestError> {
        let has_form = |prefix: &[u8], length| {
            der.strip_prefix(prefix)
                .is_some_and(|key| key.len() == length)
        };
        let algorithm = if has_form(&ED25519_PREFIX, 32) {
            Algorithm::Ed25519
        } else if has_form(&P256_PREFIX, 65) {
            Algorithm::Ecdsa
        } else {
            return Err(AttestError::UnknownAlgorithm);
        };
        Ok(Self {
            algorithm,
            der: der.to_vec(),
        })
    }

    /// Returns the identifier of the key: the SHA-256 of its `SubjectPublicKeyInfo`, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        Sha256::of(&self.der).to_string()
    }

    /// Returns whether `signature` is one of `message` by this key.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Ed25519 => &ED25519,
            Algorithm::Ecdsa => &ECDSA_P256_SHA256_ASN1,
        };
        let key = UnparsedPublicKey::new(algorithm, &self.der);
        key.verify(message, signature).is_ok()
    }
}

/// Returns the first block of a PEM file whose tag is `wanted`: OpenSSL writes the parameters of a curve before its key.
fn block(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Pem, AttestError> {
    let blocks = pem::parse_many(bytes).map_err(|_| AttestError::NotPem)?;
    let mut blocks = blocks.into_iter();
    blocks
        .find(|block| wanted(block.tag()))
        .ok_or(AttestError::NotPem)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As `openssl genpkey -algorithm ed25519` writes it; for tests only.
    pub(crate) const ED25519: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAYcL2ysTIE8haTdBDo749HGXjw60P6aoiO7EMZ4jYyD
-----END PRIVATE KEY-----
";

    /// As `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it; for tests only.
    pub(crate) const ECDSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEAMo6QREd638Doh6
gWUMXCZduPk/FTg/j9netBEvFkOhRANCAASBkHImlHRq8C3lD6/NhJ3wX/2Q/SvX
9Nk7Vd6JJLGxV/9nakDaIEAVd4KqY193hdhDTI3txrFXXUmWeZWZg40C
-----END PRIVATE KEY-----
";

    /// As `openssl ecparam -name prime256v1 -genkey` writes it; for tests only.
    const SEC1: &str = "\
-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPqokh4wnMT1aGMoHhYdmWJBoB/CJcBWZF0k/405/5HGoAoGCCqGSM49
AwEHoUQDQgAE8iRMqr7NNZReKNdyvPnJweYIH7bDq3gUiI9AX+40fKZZx3IYx7en
6zE/Ykyd8lpXzh5BhgM/k19CV4Jl6GaJFQ==
-----END EC PRIVATE KEY-----
";

    /// A key with the curve P-384; for tests only.
    const P384: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCaqiV8hBdANpuv9co/
YnjfuwBE89lCXXrW6jyb1M+HKKyn631GCOZFepU0fovQ4vuhZANiAAScV9eWjr97
C2aVsnms65J7Ndd2cPvwo/DjwH702kuJm62e1U0M6yjk0a2x1Yh8nASfeMjgAC3L
N3f0iFKR5DggBKJWtIjpsIRzXnUmUcXISSVXEk49zLnbj0lMUw074w8=
-----END PRIVATE KEY-----
";

    /// [`ECDSA`] in the format of cosign, encrypted by libsodium with the password `correct horse`.
    const ENCRYPTED: &str = include_str!("fixtures/cosign.key");

    const ED25519_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAeW3fusHcvNne3+VmZFHMAOFVFoNDiB5lSGhQxqnlJAw=
-----END PUBLIC KEY-----
";

    const ECDSA_PUBLIC: &str = include_str!("fixtures/cosign.pub");

    fn private(pem: &str, password: Option<&str>) -> Result<SigningKey, AttestError> {
        SigningKey::parse(pem.as_bytes(), password)
    }

    #[test]
    fn reads_keys_of_openssl() {
        for (pem, public) in [(ED25519, ED25519_PUBLIC), (ECDSA, ECDSA_PUBLIC)] {
            let key = private(pem, None).unwrap();
            let public = VerifyingKey::parse(public.as_bytes()).unwrap();
            assert_eq!(*key.verifying_key(), public);
            let signature = key.sign(b"message").unwrap();
            assert!(public.has_signed(b"message", &signature));
            assert!(!public.has_signed(b"massage", &signature));
            assert!(!public.has_signed(b"message", &signature[1..]));
            assert_eq!(public.id().len(), 64);
        }
        let sec1 = private(SEC1, None).unwrap();
        assert_eq!(sec1.verifying_key().algorithm, Algorithm::Ecdsa);
    }

    #[test]
    fn decrypts_keys_of_cosign() {
        let key = private(ENCRYPTED, Some("correct horse")).unwrap();
        let plain = private(ECDSA, None).unwrap();
        assert_eq!(key.verifying_key(), plain.verifying_key());
        let wrong = private(ENCRYPTED, Some("wrong"));
        assert_eq!(wrong.unwrap_err(), AttestError::WrongPassword);
        let missing = private(ENCRYPTED, None);
        assert_eq!(missing.unwrap_err(), AttestError::NoPassword);
        let old = ENCRYPTED.replace("SIGSTORE", "COSIGN");
        assert!(private(&old, Some("correct horse")).is_ok());
    }

    #[test]
    fn names_what_is_not_a_usable_key() {
        assert_eq!(
            private(P384, None).unwrap_err(),
            AttestError::UnknownAlgorithm
        );
        assert_eq!(private("key", None).unwrap_err(), AttestError::NotPem);
        let encrypted = P384.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(
            private(&encrypted, None).unwrap_err(),
            AttestError::EncryptedPkcs8
        );
        let swapped = private(ED25519_PUBLIC, None).unwrap_err();
        assert_eq!(
            swapped.to_string(),
            "it is a `PUBLIC KEY`, not a private key"
        );
        let swapped = VerifyingKey::parse(ECDSA.as_bytes()).unwrap_err();
        assert_eq!(
            swapped.to_string(),
            "it is a `PRIVATE KEY`, not a public key"
        );
        let cut = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";
        let cut = VerifyingKey::parse(cut.as_bytes()).unwrap_err();
        assert_eq!(cut, AttestError::UnknownAlgorithm);
    }
}

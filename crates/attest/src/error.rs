//! The errors of keys and signatures.

use thiserror::Error;

/// The reason why a key cannot be used, or a signature is not accepted. Displays as a fragment without the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttestError {
    /// The text is not PEM.
    #[error("it is not a key in PEM format")]
    NotPem,
    /// The PEM block is of another kind; its tag.
    #[error("it is {0}, not {1}")]
    WrongKind(String, &'static str),
    /// The private key is encrypted in a format that is not supported.
    #[error("it is encrypted with PKCS#8")]
    EncryptedPkcs8,
    /// The private key is encrypted, and no password was given.
    #[error("it is encrypted, and no password is given")]
    NoPassword,
    /// The password is wrong, or the file is damaged.
    #[error("the password is wrong")]
    WrongPassword,
    /// The parameters of the encryption are not supported.
    #[error("it is encrypted in an unknown way: {0}")]
    UnknownEncryption(String),
    /// The key is neither Ed25519 nor ECDSA with the curve P-256.
    #[error("it is neither an Ed25519 key nor an ECDSA key with the curve P-256")]
    UnknownAlgorithm,
    /// The file is not an envelope.
    #[error("it is not a DSSE envelope: {0}")]
    NotAnEnvelope(String),
    /// The envelope has another type of content.
    #[error("it is an envelope of {0}")]
    WrongType(String),
    /// No signature in the envelope is that of the key.
    #[error("none of its signatures is by this key")]
    WrongKey,
    /// The key could not sign.
    #[error("the key cannot sign")]
    SigningFailed,
}

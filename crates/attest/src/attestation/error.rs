//! The reasons why an attestation is not accepted.

use thiserror::Error;

/// The reason why an attestation is not accepted. Displays as the predicate of a sentence about the attestation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttestationError {
    /// The object does not have the form of an attestation.
    #[error("is not an attestation of version 1: {0}")]
    NotAnAttestation(String),
    /// The kind of log entry is not supported.
    #[error("has a log entry of the unsupported kind {0}")]
    UnsupportedEntry(String),
    /// The trust root has no log with the key of the entry at its time.
    #[error("was recorded by a log that the trust root does not have for that time")]
    UnknownLog,
    /// The log has not signed the time of the entry.
    #[error("has a log entry whose time the log has not signed")]
    EntryTimestamp,
    /// The entry has no proof that it is part of the log.
    #[error("has no proof that it is part of the log")]
    NoInclusionProof,
    /// The proof does not lead from the entry to the root of the log.
    #[error("has a log entry that its proof does not show to be part of the log")]
    InclusionProof,
    /// The checkpoint is not signed by the log, or about another state of it.
    #[error("has a checkpoint that the log has not signed")]
    Checkpoint,
    /// The log entry is about something else.
    #[error("has a log entry about {0}")]
    EntryMismatch(&'static str),
    /// The certificate cannot be parsed.
    #[error("has a certificate that cannot be read: {0}")]
    CertificateFormat(String),
    /// No authority of the trust root issued the certificate, or not for this use or time.
    #[error("has a certificate that the trust root does not confirm: {0}")]
    CertificateChain(String),
    /// No certificate log of the trust root has recorded the certificate.
    #[error("has a certificate that no certificate log of the trust root has recorded")]
    CertificateTimestamp,
    /// The certificate names no identity.
    #[error("has a certificate without {0}")]
    NoIdentity(&'static str),
    /// The signature is not by the key of the certificate, or about another statement.
    #[error("has a signature that does not fit its certificate and statement")]
    Signature,
    /// The statement is not an in-toto statement about one file.
    #[error("has a statement that is not an in-toto statement about one file")]
    Statement,
    /// The statement has a predicate of another type.
    #[error("is of the type `{0}`")]
    PredicateType(String),
    /// The statement is about a file with another name.
    #[error("is about a file called `{0}`")]
    OtherName(String),
    /// The statement is about a file with the same name and other contents.
    #[error("is about a file with other contents")]
    OtherDigest,
}

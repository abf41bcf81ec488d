//! The object with the attestations of a file that an index offers (PEP 740, "Provenance object").

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use wheelhouse_types::Sha256;

use super::certificate::{Certificate, Identity};
use super::encoding::Base64Bytes;
use super::error::AttestationError;
use super::log_entry::LogEntry;
use super::statement;
use super::trust_root::TrustRoot;
use crate::dsse::{STATEMENT_TYPE, pre_authentication_encoding};

/// The attestations of one file that are verified at most.
const MAX_ATTESTATIONS: usize = 20;

/// The attestations of a file.
///
/// The publishers that the object names are not used: the index states them, and only certificates are signed.
#[derive(Clone, Debug)]
pub struct Provenance {
    attestations: Vec<Value>,
}

/// The reason why a text has no attestations. Displays as a fragment without the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotProvenance {
    /// The text is not a provenance object.
    #[error("is not a provenance object: {0}")]
    Malformed(String),
    /// The version of the object is not 1.
    #[error("is a provenance object of the unknown version {0}")]
    Version(u64),
    /// The object has no attestation, or too many.
    #[error("has {0} attestations instead of 1 to {MAX_ATTESTATIONS}")]
    Number(usize),
}

#[derive(Deserialize)]
struct ProvenanceObject {
    version: u64,
    attestation_bundles: Vec<AttestationBundle>,
}

#[derive(Deserialize)]
struct AttestationBundle {
    attestations: Vec<Value>,
}

#[derive(Deserialize)]
struct Attestation {
    version: u64,
    verification_material: VerificationMaterial,
    envelope: AttestedStatement,
}

#[derive(Deserialize)]
struct VerificationMaterial {
    certificate: Base64Bytes,
    transparency_entries: Vec<LogEntry>,
}

#[derive(Deserialize)]
struct AttestedStatement {
    statement: Base64Bytes,
    signature: Base64Bytes,
}

impl Provenance {
    /// Parses the provenance object of a file.
    ///
    /// # Errors
    /// The reason why it has no attestations that can be verified. Malformed attestations are found by
    /// [`verify`](Self::verify).
    pub fn parse(bytes: &[u8]) -> Result<Self, NotProvenance> {
        let object: ProvenanceObject = serde_json::from_slice(bytes)
            .map_err(|error| NotProvenance::Malformed(error.to_string()))?;
        if object.version != 1 {
            return Err(NotProvenance::Version(object.version));
        }
        let bundles = object.attestation_bundles.into_iter();
        let attestations: Vec<Value> = bundles.flat_map(|bundle| bundle.attestations).collect();
        if !(1..=MAX_ATTESTATIONS).contains(&attestations.len()) {
            return Err(NotProvenance::Number(attestations.len()));
        }
        Ok(Self { attestations })
    }

    /// Verifies each attestation against the file `filename` with the digest `sha256`. Returns the identity in the
    /// certificate of each, or the reason why it is not accepted.
    #[must_use]
    pub fn verify(
        &self,
        root: &TrustRoot,
        filename: &str,
        sha256: Sha256,
    ) -> Vec<Result<Identity, AttestationError>> {
        let attestations = self.attestations.iter();
        attestations
            .map(|value| {
                let attestation = Attestation::deserialize(value)
                    .map_err(|error| AttestationError::NotAnAttestation(error.to_string()))?;
                attestation.verify(root, filename, sha256)
            })
            .collect()
    }
}

impl Attestation {
    fn verify(
        &self,
        root: &TrustRoot,
        filename: &str,
        sha256: Sha256,
    ) -> Result<Identity, AttestationError> {
        if self.version != 1 {
            let found = format!("its version is {}", self.version);
            return Err(AttestationError::NotAnAttestation(found));
        }
        let material = &self.verification_material;
        let (certificate, statement) = (&material.certificate.0, &self.envelope.statement.0);
        let signature = &self.envelope.signature.0;
        // Indexes use the first entry as well; further ones are of other logs.
        let entry = material
            .transparency_entries
            .first()
            .ok_or_else(|| AttestationError::NotAnAttestation("it has no log entry".to_owned()))?;
        let time = entry.verify(root)?;
        let parsed = Certificate::parse(certificate)?;
        parsed.verify(root, time)?;
        entry.check_contents(certificate, signature, statement)?;
        let signed = pre_authentication_encoding(STATEMENT_TYPE, statement);
        if !parsed.has_signed(&signed, signature) {
            return Err(AttestationError::Signature);
        }
        statement::check(statement, filename, sha256)?;
        parsed.identity()
    }
}

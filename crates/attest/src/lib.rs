//! Provenance of built wheels, and signatures.
//!
//! 1. [`statement()`] describes the build of a wheel: an in-toto statement with SLSA provenance.
//! 2. [`SigningKey`] and [`VerifyingKey`] are read from PEM, and from the encrypted format of cosign.
//! 3. [`Envelope`] carries signed bytes (DSSE).
//! 4. [`Provenance`] has the attestations that an index offers for a file (PEP 740); a [`TrustRoot`] verifies them, and an
//!    [`AttestationPolicy`] states the publishers that are accepted.
//!
//! This crate has no I/O.

#![warn(missing_docs)]

mod attestation;
mod cosign;
mod dsse;
mod error;
mod keys;
mod statement;

pub use attestation::{
    AttestationError, AttestationPolicy, Identity, InvalidPolicy, InvalidTrustRoot,
    MissingAttestations, NotProvenance, PolicyRule, Provenance, Publisher, TrustRoot,
};
pub use dsse::{Envelope, MANIFEST_TYPE, STATEMENT_TYPE, pre_authentication_encoding};
pub use error::AttestError;
pub use keys::{SigningKey, VerifyingKey};
pub use statement::{BUILD_TYPE, PREDICATE_TYPE, STATEMENT_SCHEMA, statement, subject};

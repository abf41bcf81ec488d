//! Attestations of files on an index (PEP 740), verified offline.
//!
//! An attestation is accepted if all of these hold, in this order ([`Provenance::verify`]):
//!
//! 1. A log of the trust root has signed the entry with its time, and a checkpoint that the entry is part of
//!    ([`log_entry`]).
//! 2. At that time, the certificate was valid, for signing code, and issued by an authority of the trust root; a
//!    certificate log has recorded it ([`certificate`]).
//! 3. The entry is about this certificate, signature and statement.
//! 4. The key of the certificate has signed the statement.
//! 5. The statement is about the file, by name and digest, and of a type that indexes accept ([`statement`]).
//!
//! The caller compares the [`Identity`] in the certificate with its [`AttestationPolicy`].

mod certificate;
mod der;
mod encoding;
mod error;
mod log_entry;
mod policy;
mod provenance;
mod statement;
#[cfg(test)]
mod tests;
mod trust_root;

pub use certificate::Identity;
pub use error::AttestationError;
pub use policy::{AttestationPolicy, InvalidPolicy, MissingAttestations, PolicyRule, Publisher};
pub use provenance::{NotProvenance, Provenance};
pub use trust_root::{InvalidTrustRoot, TrustRoot};

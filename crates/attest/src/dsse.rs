//! Envelopes of signed bytes: Dead Simple Signing Envelope (DSSE), version 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::AttestError;
use crate::keys::{SigningKey, VerifyingKey};

/// The type of an envelope of an in-toto statement.
pub const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// The type of an envelope of a manifest, `wheelhouse.json`.
pub const MANIFEST_TYPE: &str = "application/vnd.wheelhouse.manifest+json";

/// The signatures that are tried at most.
const MAX_SIGNATURES: usize = 100;

/// Bytes with signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    /// In base64.
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// Names the key that may verify it, without authentication.
    #[serde(default)]
    keyid: String,
    /// In base64.
    sig: String,
}

/// Returns the bytes that a signature covers.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (type_length, length) = (payload_type.len(), payload.len());
    let mut bytes = format!("DSSEv1 {type_length} {payload_type} {length} ").into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Signs `payload`.
    ///
    /// # Errors
    /// Fails if the key cannot sign.
    pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Self, AttestError> {
        let signed = pre_authentication_encoding(payload_type, payload);
        Ok(Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![Signature {
                keyid: key.verifying_key().id(),
                sig: STANDARD.encode(key.sign(&signed)?),
            }],
        })
    }

    /// Parses the bytes of an envelope.
    ///
    /// # Errors
    /// Fails if they are not an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        serde_json::from_slice(bytes).map_err(|error| AttestError::NotAnEnvelope(error.to_string()))
    }

    /// Returns the bytes of the envelope: one line of JSON.
    ///
    /// # Panics
    /// Never: the fields are texts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("the fields are texts");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the payload, if it is of this type, without verifying a signature.
    ///
    /// # Errors
    /// The reason why the payload cannot be read.
    pub fn unverified_payload(&self, payload_type: &str) -> Result<Vec<u8>, AttestError> {
        if self.payload_type != payload_type {
            let found = self.payload_type.escape_debug().take(100).collect();
            return Err(AttestError::WrongType(found));
        }
        let invalid = |error: base64::DecodeError| AttestError::NotAnEnvelope(error.to_string());
        STANDARD.decode(&self.payload).map_err(invalid)
    }

    /// Returns the payload, if it is of this type and the key has signed it.
    ///
    /// # Errors
    /// The reason why the payload is not accepted.
    pub fn verify(&self, payload_type: &str, key: &VerifyingKey) -> Result<Vec<u8>, AttestError> {
        let payload = self.unverified_payload(payload_type)?;
        let signed = pre_authentication_encoding(payload_type, &payload);
        let mut signatures = self.signatures.iter().take(MAX_SIGNATURES);
        let is_signed = signatures.any(|signature| {
            STANDARD
                .decode(&signature.sig)
                .is_ok_and(|signature| key.has_signed(&signed, &signature))
        });
        is_signed.then_some(payload).ok_or(AttestError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::{ECDSA, ED25519};

    #[test]
    fn encodes_type_and_length() {
        // The example of the specification.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn verifies_only_what_the_key_has_signed() {
        let keys = [ED25519, ECDSA].map(|pem| SigningKey::parse(pem.as_bytes(), None).unwrap());
        for (key, other) in [(&keys[0], &keys[1]), (&keys[1], &keys[0])] {
            let envelope = Envelope::sign(STATEMENT_TYPE, b"{}", key).unwrap();
            let envelope = Envelope::parse(&envelope.to_bytes()).unwrap();
            let verify = |envelope: &Envelope, key: &SigningKey| {
                envelope.verify(STATEMENT_TYPE, key.verifying_key())
            };
            assert_eq!(verify(&envelope, key).unwrap(), b"{}");
            assert_eq!(verify(&envelope, other), Err(AttestError::WrongKey));
            let wrong_type = envelope.verify(MANIFEST_TYPE, key.verifying_key());
            assert_eq!(
                wrong_type,
                Err(AttestError::WrongType(STATEMENT_TYPE.to_owned()))
            );
            let mut changed = envelope.clone();
            changed.payload = STANDARD.encode(b"{ }");
            assert_eq!(verify(&changed, key), Err(AttestError::WrongKey));
            let mut unsigned = envelope.clone();
            unsigned.signatures.clear();
            assert_eq!(verify(&unsigned, key), Err(AttestError::WrongKey));
            let mut relabeled = envelope;
            relabeled.payload_type = MANIFEST_TYPE.to_owned();
            let relabeled = relabeled.verify(MANIFEST_TYPE, key.verifying_key());
            assert_eq!(relabeled, Err(AttestError::WrongKey));
        }
    }

    #[test]
    fn rejects_what_is_not_an_envelope() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"payloadType": 1, "payload": "", "signatures": []}"#,
        ] {
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

//! Records as they are stored: JSON, or a signed envelope of the same JSON (DSSE).
//!
//! The key is part of what is signed, so that the record of one build cannot be offered as that of another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wheelhouse_attest::{AttestError, Envelope, SigningKey, VerifyingKey};
use wheelhouse_store::{BuildKey, BuildRecord};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

/// The schema of a record.
pub const RECORD_SCHEMA: &str = "wheelhouse-shared/1";

/// The type of a signed record.
pub const RECORD_TYPE: &str = "application/vnd.wheelhouse.build+json";

#[derive(Serialize, Deserialize)]
struct Document<Record> {
    schema: String,
    key: String,
    record: Record,
}

/// Returns the key of a build at shared caches: `key` is its key in the store, which contains the version of the C library,
/// and `compilers` are the versions of the compilers of the machine, by command.
#[must_use]
pub fn shared_key(key: &BuildKey, compilers: &BTreeMap<String, String>) -> BuildKey {
    let own = [("build".to_owned(), key.to_string())];
    let compilers = compilers
        .iter()
        .map(|(command, version)| (format!("compiler {command}"), version.clone()));
    BuildKey::new(own.into_iter().chain(compilers))
}

/// The reason why a record is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// It is not a record.
    #[error("it is not a record of a build: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a record of another version of the format.
    #[error("it has the schema `{0}`")]
    Schema(String),
    /// It is the record of another build.
    #[error("it is the record of another build")]
    OtherKey,
    /// It is not signed, but only signed records are accepted.
    #[error("it is not signed")]
    Unsigned,
    /// It is not signed with the key.
    #[error(transparent)]
    Signature(#[from] AttestError),
}

/// Returns the bytes of the record of `key`, signed if there is a `signer`.
///
/// # Errors
/// [`Kind::Publish`] if the key cannot sign.
pub fn encode_record(
    key: &BuildKey,
    record: &BuildRecord,
    signer: Option<&SigningKey>,
) -> Result<Vec<u8>> {
    let failed = || format!("failed to write the record of {}", record.filename);
    let document = Document {
        schema: RECORD_SCHEMA.to_owned(),
        key: key.to_string(),
        record,
    };
    let mut bytes = serde_json::to_vec(&document).context(Kind::Publish, failed)?;
    bytes.push(b'\n');
    match signer {
        None => Ok(bytes),
        Some(signer) => {
            let envelope = Envelope::sign(RECORD_TYPE, &bytes, signer);
            Ok(envelope.context(Kind::Publish, failed)?.to_bytes())
        }
    }
}

/// Parses the record of `key`. With a `verifier` only what it has signed is accepted; without one, signatures are not
/// verified.
///
/// # Errors
/// The reason why the record is not accepted.
pub fn decode_record(
    bytes: &[u8],
    key: &BuildKey,
    verifier: Option<&VerifyingKey>,
) -> Result<BuildRecord, InvalidRecord> {
    let payload = match (Envelope::parse(bytes), verifier) {
        (Ok(envelope), Some(verifier)) => envelope.verify(RECORD_TYPE, verifier)?,
        (Ok(envelope), None) => envelope.unverified_payload(RECORD_TYPE)?,
        (Err(_), Some(_)) => return Err(InvalidRecord::Unsigned),
        (Err(_), None) => bytes.to_vec(),
    };
    let schema: Document<serde::de::IgnoredAny> = serde_json::from_slice(&payload)?;
    if schema.schema != RECORD_SCHEMA {
        let schema = schema.schema.escape_debug().take(100).collect();
        return Err(InvalidRecord::Schema(schema));
    }
    if schema.key != key.to_string() {
        return Err(InvalidRecord::OtherKey);
    }
    let document: Document<BuildRecord> = serde_json::from_slice(&payload)?;
    Ok(document.record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OTHER_KEY, SIGNING_KEY, record};

    #[test]
    fn record_is_accepted_only_for_its_key_and_signer() {
        let (key, other) = (BuildKey::new([("a", "1")]), BuildKey::new([("a", "2")]));
        let [signer, stranger] =
            [SIGNING_KEY, OTHER_KEY].map(|pem| SigningKey::parse(pem.as_bytes(), None).unwrap());
        let record = record(b"wheel");
        let plain = encode_record(&key, &record, None).unwrap();
        let signed = encode_record(&key, &record, Some(&signer)).unwrap();
        let verifier = Some(signer.verifying_key());
        assert_eq!(decode_record(&plain, &key, None).unwrap(), record);
        assert_eq!(decode_record(&signed, &key, None).unwrap(), record);
        assert_eq!(decode_record(&signed, &key, verifier).unwrap(), record);
        assert!(matches!(
            decode_record(&plain, &key, verifier),
            Err(InvalidRecord::Unsigned)
        ));
        let foreign = encode_record(&key, &record, Some(&stranger)).unwrap();
        assert!(matches!(
            decode_record(&foreign, &key, verifier),
            Err(InvalidRecord::Signature(AttestError::WrongKey))
        ));
        for bytes in [&plain, &signed] {
            assert!(matches!(
                decode_record(bytes, &other, None),
                Err(InvalidRecord::OtherKey)
            ));
        }
        assert!(matches!(
            decode_record(&signed, &other, verifier),
            Err(InvalidRecord::OtherKey)
        ));
    }

    #[test]
    fn rejects_what_is_not_a_record() {
        let key = BuildKey::new([("a", "1")]);
        let newer = format!(r#"{{"schema":"wheelhouse-shared/2","key":"{key}","record":1}}"#);
        assert!(matches!(
            decode_record(newer.as_bytes(), &key, None),
            Err(InvalidRecord::Schema(_))
        ));
        for text in ["", "{}", "<html>", r#"{"schema":"wheelhouse-shared/1"}"#] {
            assert!(
                decode_record(text.as_bytes(), &key, None).is_err(),
                "{text}"
            );
        }
    }
}

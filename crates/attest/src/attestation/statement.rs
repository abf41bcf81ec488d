//! The in-toto statement of an attestation.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::str::FromStr as _;

use serde::Deserialize;
use wheelhouse_types::{Sha256, WheelFilename};

use super::error::AttestationError;
use crate::statement::{PREDICATE_TYPE, STATEMENT_SCHEMA};

/// The types of predicates that `PyPI` accepts: publication, and provenance.
const PREDICATE_TYPES: [&str; 2] = [
    "https://docs.pypi.org/attestations/publish/v1",
    PREDICATE_TYPE,
];

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    schema: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

/// Checks that the statement in `bytes` is about the file `filename` with the digest `sha256`.
pub(super) fn check(bytes: &[u8], filename: &str, sha256: Sha256) -> Result<(), AttestationError> {
    let statement: Statement =
        serde_json::from_slice(bytes).map_err(|_| AttestationError::Statement)?;
    let [subject] = &statement.subject[..] else {
        return Err(AttestationError::Statement);
    };
    if statement.schema != STATEMENT_SCHEMA {
        return Err(AttestationError::Statement);
    }
    if !PREDICATE_TYPES.contains(&statement.predicate_type.as_str()) {
        let found = statement.predicate_type.escape_debug().take(200).collect();
        return Err(AttestationError::PredicateType(found));
    }
    if !is_same_name(&subject.name, filename) {
        let found = subject.name.escape_debug().take(200).collect();
        return Err(AttestationError::OtherName(found));
    }
    let digest = subject.digest.get("sha256");
    if digest.is_none_or(|digest| *digest != sha256.to_string()) {
        return Err(AttestationError::OtherDigest);
    }
    Ok(())
}

/// Returns whether two names are those of the same file: indexes may sort the tags of a wheel, or normalize the name of
/// its package.
fn is_same_name(one: &str, other: &str) -> bool {
    fn set<T: Ord>(tags: &[T]) -> BTreeSet<&T> {
        tags.iter().collect()
    }
    if one == other {
        return true;
    }
    let wheels = (WheelFilename::from_str(one), WheelFilename::from_str(other));
    let (Ok(one), Ok(other)) = wheels else {
        return false;
    };
    one.name == other.name
        && one.version == other.version
        && one.build_tag() == other.build_tag()
        && set(one.python_tags()) == set(other.python_tags())
        && set(one.abi_tags()) == set(other.abi_tags())
        && set(one.platform_tags()) == set(other.platform_tags())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_names_as_indexes_write_them() {
        for (one, other, expected) in [
            ("a-1.tar.gz", "a-1.tar.gz", true),
            ("a-1.tar.gz", "a-1.zip", false),
            (
                "A_b-1.0-py2.py3-none-any.whl",
                "a_b-1.0-py3.py2-none-any.whl",
                true,
            ),
            ("a-1.0-py3-none-any.whl", "a-1.1-py3-none-any.whl", false),
            (
                "a-1.0-1-py3-none-any.whl",
                "a-1.0-2-py3-none-any.whl",
                false,
            ),
            ("a-1.0-py3-none-any.whl", "b-1.0-py3-none-any.whl", false),
        ] {
            assert_eq!(is_same_name(one, other), expected, "{one} {other}");
        }
    }
}

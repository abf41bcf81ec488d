//! The input of a [`Site`](crate::Site): what is known of each wheelhouse.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use wheelhouse_publish::IndexedWheel;
use wheelhouse_types::{Manifest, PackageName, Version};

/// Describes one wheelhouse. All text in it may come from hostile packages.
#[derive(Clone, Debug, Default)]
pub struct WheelhouseFacts {
    /// The path segment of its pages, which is also its title: `wheelhouse`.
    pub name: String,
    /// The manifest; without it, origins and targets are not known.
    pub manifest: Option<Manifest>,
    /// The modification time of the manifest file.
    pub made: Option<Timestamp>,
    /// The distributions in it.
    pub files: Vec<SiteFile>,
    /// The manifest that this one has replaced.
    pub previous: Option<Manifest>,
    /// The result of the last verification.
    pub verification: Option<Verification>,
    /// The newest versions in an index, as far as they are known.
    pub newest: BTreeMap<PackageName, Version>,
}

/// A wheel or an sdist of a wheelhouse.
#[derive(Clone, Debug)]
pub struct SiteFile {
    /// The file as the index lists it.
    pub indexed: IndexedWheel,
    /// The bytes of `METADATA` or `PKG-INFO`.
    pub metadata: Option<Arc<[u8]>>,
}

/// The document that `wheelhouse verify --json` prints, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verification {
    schema: String,
    /// True if no check failed.
    pub passed: bool,
    /// The checks in their order.
    pub checks: Vec<VerificationCheck>,
}

/// One check of a [`Verification`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerificationCheck {
    /// The name, `installation`.
    pub name: String,
    /// The label of the target, if the check is for one.
    #[serde(default)]
    pub target: Option<String>,
    /// The result.
    pub outcome: CheckOutcome,
    /// The numbers of things that were checked.
    #[serde(default)]
    pub counts: Vec<CheckCount>,
    /// Why the check was skipped, entirely or in part.
    #[serde(default)]
    pub reason: Option<String>,
    /// The failures.
    #[serde(default)]
    pub failures: Vec<Finding>,
    /// Findings that do not fail the check.
    #[serde(default)]
    pub warnings: Vec<Finding>,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// The check found no failure.
    Passed,
    /// The check found failures.
    Failed,
    /// No failure was found, but the check was skipped entirely or in part.
    NotChecked,
}

/// A number of things of one kind: `3` and `wheel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckCount {
    /// The number of things.
    pub number: usize,
    /// The noun in the singular.
    pub noun: String,
}

/// A sentence about one file, package or line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// The subject.
    pub about: String,
    /// The predicate.
    pub message: String,
}

/// The reason why bytes are not the result of a verification.
#[derive(Debug, thiserror::Error)]
pub enum InvalidVerification {
    /// The document has another schema.
    #[error("is not the output of `wheelhouse verify --json`")]
    Schema,
    /// The document cannot be parsed.
    #[error("is not the output of `wheelhouse verify --json`: {0}")]
    Json(#[from] serde_json::Error),
}

impl Verification {
    /// The value of `schema` in the documents that are understood.
    const SCHEMA: &str = "wheelhouse-verify/1";

    /// Parses the output of `wheelhouse verify --json`.
    ///
    /// # Errors
    /// Fails if `bytes` are not this document.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidVerification> {
        let verification: Self = serde_json::from_slice(bytes)?;
        if verification.schema == Self::SCHEMA {
            Ok(verification)
        } else {
            Err(InvalidVerification::Schema)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_output_of_verify() {
        let json = r#"{"schema":"wheelhouse-verify/1","directory":"d","manifest":true,"passed":false,"checks":[
            {"name":"files","target":null,"outcome":"failed","counts":[{"number":2,"noun":"wheel"}],"reason":null,
             "failures":[{"about":"a.whl","message":"is missing","hint":"Build again."}],"warnings":[]},
            {"name":"imports","target":"CPython 3.12","outcome":"not-checked","counts":[],"reason":"not requested","failures":[],"warnings":[]}]}"#;
        let verification = Verification::parse(json.as_bytes()).unwrap();
        assert!(!verification.passed);
        assert_eq!(verification.checks[0].failures[0].about, "a.whl");
        assert_eq!(verification.checks[1].outcome, CheckOutcome::NotChecked);
    }

    #[test]
    fn rejects_other_documents() {
        for text in [
            "",
            "{}",
            r#"{"schema":"wheelhouse-inspect/1","passed":true,"checks":[]}"#,
        ] {
            assert!(Verification::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

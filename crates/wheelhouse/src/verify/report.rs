//! The report of a verification, with one [`Check`] for each property that was checked.
//!
//! The command line decides how it is shown.

use std::path::PathBuf;

use serde::Serialize;

/// The results of the verification of one directory.
#[derive(Clone, Debug)]
pub struct Report {
    /// The directory.
    pub directory: PathBuf,
    /// Set if the directory has a readable manifest.
    pub manifest: bool,
    /// The checks in the order in which they were made.
    pub checks: Vec<Check>,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// The check.
    pub name: CheckName,
    /// The label of the target, if the check is for one.
    pub target: Option<String>,
    /// The result.
    pub outcome: CheckOutcome,
    /// The numbers of things that were checked: `3` and `wheel`.
    pub counts: Vec<CheckCount>,
    /// Why the check was skipped, entirely or in part.
    pub reason: Option<String>,
    /// The failures.
    pub failures: Vec<Finding>,
    /// Findings that do not fail the check.
    pub warnings: Vec<Finding>,
}

/// The name of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The files are those of the manifest.
    Files,
    /// A key has signed the manifest and the provenance of built wheels.
    Signatures,
    /// Accepted publishers have attested the files.
    Attestations,
    /// The wheels match their names and fit the target.
    Wheels,
    /// The static index and the metadata files agree with the wheels.
    Index,
    /// The locks agree with the wheels.
    Lock,
    /// The source distributions can be built from the directory.
    Sources,
    /// The files satisfy the requirements.
    Completeness,
    /// pip installs the requirements.
    Installation,
    /// The installed modules can be imported.
    Imports,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// The check found no failure.
    Passed,
    /// The check found failures.
    Failed,
    /// No failure was found, but the check was skipped entirely or in part.
    NotChecked,
}

/// A number of things of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckCount {
    /// The number of objects.
    pub number: usize,
    /// The noun in the singular.
    pub noun: &'static str,
}

/// A failure or a warning about one file, package or line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The object of the check or finding.
    pub about: String,
    /// The predicate of the sentence that starts with `about`.
    pub message: String,
    /// Further lines, such as the end of the output of a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The remedy, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

impl Report {
    /// Returns whether no check failed; skipped checks do not fail.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures() == 0
    }

    /// Returns the number of failures of all checks.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.checks.iter().map(|check| check.failures.len()).sum()
    }
}

impl Finding {
    pub(super) fn new(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into()).filter(|detail: &String| !detail.is_empty());
        self
    }
}

/// Suggests to repair files that a run writes.
pub(super) const RERUN_HINT: &str =
    "Run the command that made the directory again: it repairs the files that it wrote.";

/// Collects the findings of a check.
pub(super) struct CheckBuilder {
    name: CheckName,
    target: Option<String>,
    counts: Vec<CheckCount>,
    reason: Option<String>,
    failures: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl CheckBuilder {
    pub(super) fn new(name: CheckName) -> Self {
        Self {
            name,
            target: None,
            counts: Vec::new(),
            reason: None,
            failures: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn target(mut self, label: &str) -> Self {
        self.target = Some(label.to_owned());
        self
    }

    pub(super) fn count(&mut self, number: usize, noun: &'static str) {
        self.counts.push(CheckCount { number, noun });
    }

    pub(super) fn fail(&mut self, finding: Finding) {
        self.failures.push(finding);
    }

    pub(super) fn warn(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Marks the check as incomplete; the first reason is kept.
    pub(super) fn skip_part(&mut self, reason: impl Into<String>) {
        self.reason.get_or_insert_with(|| reason.into());
    }

    /// Returns the check as skipped for `reason`.
    pub(super) fn skipped(mut self, reason: impl Into<String>) -> Check {
        self.skip_part(reason);
        self.finish()
    }

    pub(super) fn finish(self) -> Check {
        let outcome = match (self.failures.is_empty(), &self.reason) {
            (false, _) => CheckOutcome::Failed,
            (true, Some(_)) => CheckOutcome::NotChecked,
            (true, None) => CheckOutcome::Passed,
        };
        Check {
            name: self.name,
            target: self.target,
            outcome,
            counts: self.counts,
            reason: self.reason,
            failures: self.failures,
            warnings: self.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_check_neither_passes_nor_fails() {
        let check = CheckBuilder::new(CheckName::Imports).skipped("not requested");
        assert_eq!(check.outcome, CheckOutcome::NotChecked);
        let mut failed = CheckBuilder::new(CheckName::Imports);
        failed.skip_part("some");
        failed.fail(Finding::new("alpha", "is broken"));
        let failed = failed.finish();
        assert_eq!(failed.outcome, CheckOutcome::Failed);
        let report = |checks| Report {
            directory: "wheels".into(),
            manifest: true,
            checks,
        };
        assert!(report(vec![check]).passed());
        assert!(!report(vec![failed]).passed());
    }
}

//! What verifying has found: one [`Check`] for each question that was asked.
//!
//! Never decides how it is shown.

use std::path::PathBuf;

use serde::Serialize;

/// The outcome of verifying one directory.
#[derive(Clone, Debug)]
pub struct Report {
    pub directory: PathBuf,
    /// Whether the directory has a manifest that could be read.
    pub manifest: bool,
    /// In the order in which they were asked.
    pub checks: Vec<Check>,
}

/// One question, and its answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    pub name: Name,
    /// The target that it is about, if it is about one.
    pub target: Option<String>,
    pub outcome: Outcome,
    /// What was looked at, how many of it: `3` and `wheel`.
    pub counts: Vec<Count>,
    /// Why it was not checked, or not in full.
    pub reason: Option<String>,
    pub failures: Vec<Finding>,
    /// What fails nothing but should be known.
    pub warnings: Vec<Finding>,
}

/// Which question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Are the files those of the manifest?
    Files,
    /// Are the wheels what their names say, and fit for the target?
    Wheels,
    /// Do the static index and the metadata files agree with the wheels?
    Index,
    /// Do the locks agree with the wheels?
    Lock,
    /// Do the source distributions build from what is there?
    Sources,
    /// Are the requirements satisfied by what is there?
    Completeness,
    /// Does pip install it?
    Installation,
    /// Can what was installed be imported?
    Imports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    Failed,
    /// Nothing was found to be wrong, because nothing (or not everything) was looked at.
    NotChecked,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub number: usize,
    /// In the singular.
    pub noun: &'static str,
}

/// Something that was found, about one file, package or line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub about: String,
    /// A fragment that goes on from there.
    pub message: String,
    /// Lines to be shown below, such as the end of a program's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

impl Report {
    /// Whether nothing failed; what was not checked fails nothing.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures() == 0
    }

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

/// A check under way.
pub(super) struct Examination {
    name: Name,
    target: Option<String>,
    counts: Vec<Count>,
    reason: Option<String>,
    failures: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Examination {
    pub(super) fn of(name: Name) -> Self {
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
        self.counts.push(Count { number, noun });
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

    /// Says that something was not checked; the first reason stays.
    pub(super) fn leave_out(&mut self, reason: impl Into<String>) {
        self.reason.get_or_insert_with(|| reason.into());
    }

    /// The check that was left out for `reason`.
    pub(super) fn left_out(mut self, reason: impl Into<String>) -> Check {
        self.leave_out(reason);
        self.finish()
    }

    pub(super) fn finish(self) -> Check {
        let outcome = match (self.failures.is_empty(), &self.reason) {
            (false, _) => Outcome::Failed,
            (true, Some(_)) => Outcome::NotChecked,
            (true, None) => Outcome::Passed,
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
    fn what_was_not_checked_is_no_success_and_no_failure() {
        let check = Examination::of(Name::Imports).left_out("nobody asked");
        assert_eq!(check.outcome, Outcome::NotChecked);
        let mut failed = Examination::of(Name::Imports);
        failed.leave_out("some");
        failed.fail(Finding::new("alpha", "is broken"));
        let failed = failed.finish();
        assert_eq!(failed.outcome, Outcome::Failed);
        let report = |checks| Report {
            directory: "wheels".into(),
            manifest: true,
            checks,
        };
        assert!(report(vec![check]).passed());
        assert!(!report(vec![failed]).passed());
    }
}

//! Events: what a run tells while it goes on, for a terminal, a log or a program.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::{Sha256, Target};

/// Takes events as they happen, from any thread. The renderers of `cli` implement it.
pub trait Observer: Send + Sync {
    /// Takes one event; must not block.
    fn observe(&self, event: &Event);

    /// Whether [`Event::BuildOutput`] is wanted.
    fn wants_output(&self) -> bool {
        false
    }
}

/// Something that happened. Packages are written `name==version` (or `name` while the version is
/// unknown), sizes are in bytes, times in seconds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The target is known.
    Target { label: String, python: String },
    /// What the run starts from is known.
    Inputs {
        /// The files that say what is required; the command line beside them is not named.
        from: Vec<String>,
        /// What lies beside them and also says so, but is not used.
        unused: Vec<String>,
    },
    /// A phase begins.
    PhaseStarted { phase: Phase },
    /// A phase has ended.
    PhaseFinished { phase: Phase, seconds: f64 },
    /// The resolution considers a version.
    Considering { package: String },
    /// The lock is settled.
    Locked {
        packages: usize,
        /// Whether an earlier lock still held and nothing was resolved.
        kept: bool,
    },
    /// The lock has another version of a package than the lock of the previous run.
    VersionChanged {
        package: String,
        /// `None` for a package that is new.
        from: Option<String>,
        /// `None` for a package that is removed.
        to: Option<String>,
    },
    /// A file begins to arrive.
    FetchStarted {
        package: String,
        filename: String,
        bytes: Option<u64>,
    },
    /// More of a file has arrived; `received` counts from its beginning.
    FetchProgress { filename: String, received: u64 },
    /// A file has not arrived and is tried again.
    FetchRetried {
        filename: String,
        reason: String,
        delay_seconds: f64,
    },
    /// A host did not answer as it should, and is asked again for the first time in this run.
    HostRetried {
        host: String,
        reason: String,
        delay_seconds: f64,
    },
    /// A file has arrived and its digest is right.
    FetchFinished {
        filename: String,
        bytes: u64,
        seconds: f64,
    },
    /// A file will not arrive. Nobody may miss it; for whoever does, an error follows.
    FetchFailed { filename: String },
    /// A build begins.
    BuildStarted { package: String },
    /// A build cannot go on yet.
    BuildWaiting { package: String, wait: Wait },
    /// A build enters a hook of its build backend.
    BuildHook { package: String, hook: String },
    /// The hook has ended, well or not.
    BuildHookFinished {
        package: String,
        hook: String,
        seconds: f64,
    },
    /// A build backend has written a line.
    BuildOutput { package: String, line: String },
    /// A build has ended well. The time is its own: without waiting for a job, for other builds or for
    /// what it requires.
    BuildFinished { package: String, seconds: f64 },
    /// A step of the plan is done.
    StepFinished {
        package: String,
        filename: String,
        sha256: Sha256,
        bytes: u64,
        outcome: Outcome,
    },
    /// A step of the plan has failed, and the others go on.
    StepFailed { package: String, reason: String },
    /// A download has all that one target needs.
    TargetFinished {
        /// As in file names, `cp312-win_amd64`.
        target: String,
        label: String,
        /// The packages of its lock.
        packages: usize,
        wheels: usize,
        /// Whether it is the target of this machine.
        host: bool,
        /// The packages that are there as sdists: to be built on a host of that target.
        to_build: Vec<String>,
        /// Those of them whose back end fails here.
        unknown: Vec<Unknown>,
    },
    /// Something the user should know that ends nothing.
    Warning {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// Wheels and sdists that an earlier run put into `directory` were removed, because the set has them no more.
    Removed {
        directory: String,
        files: Vec<String>,
    },
    /// The wheelhouse is complete.
    Finished {
        directory: String,
        fetched: usize,
        built: usize,
        reused: usize,
        /// How many of these are source distributions.
        sdists: usize,
        /// The size of all files.
        bytes: u64,
        /// What was fetched over the network, sdists included.
        bytes_fetched: u64,
        seconds: f64,
    },
}

/// A source that could not be asked what it depends on, or requires to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    pub package: String,
    pub reason: String,
}

/// The reason why a build waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Wait {
    /// So many builds run at once already.
    Job,
    /// What it requires is resolved, fetched or built: all of it, as `name==version`, once that is known.
    Requirements { packages: Vec<String> },
}

/// A phase of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Resolve,
    Execute,
    Publish,
}

/// How a wheel came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Reused,
    Fetched,
    Built,
}

impl Event {
    /// That `target` is served.
    #[must_use]
    pub fn target(target: &Target) -> Self {
        let python = target.interpreter.as_deref().unwrap_or(Path::new(""));
        Self::Target {
            label: target.label(),
            python: python.display().to_string(),
        }
    }

    /// A warning without a hint.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::Warning {
            message: message.into(),
            hint: None,
        }
    }
}

/// `duration` in seconds, for an event.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

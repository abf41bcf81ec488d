//! Events of a run, for a terminal, a log or a program.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::{Sha256, Target};

/// Takes events as they happen, from any thread. The renderers of `cli` implement it.
pub trait Observer: Send + Sync {
    /// Takes one event; must not block.
    fn observe(&self, event: &Event);

    /// Returns whether the observer uses [`Event::BuildOutput`].
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
    Target {
        /// The target as messages name it.
        label: String,
        /// The path of the interpreter; empty for a foreign target.
        python: String,
    },
    /// The inputs of the run are known.
    Inputs {
        /// The files that say what is required; the command line beside them is not named.
        from: Vec<String>,
        /// Files beside them that also declare requirements, but are not used.
        unused: Vec<String>,
    },
    /// A phase begins.
    PhaseStarted {
        /// The phase.
        phase: Phase,
    },
    /// A phase has ended.
    PhaseFinished {
        /// The phase.
        phase: Phase,
        /// The duration in seconds.
        seconds: f64,
    },
    /// The resolution considers a version.
    Considering {
        /// The package.
        package: String,
    },
    /// The lock is settled.
    Locked {
        /// The packages.
        packages: usize,
        /// True if an earlier lock still held and nothing was resolved.
        kept: bool,
    },
    /// The lock has another version of a package than the lock of the previous run.
    VersionChanged {
        /// The package.
        package: String,
        /// `None` for a package that is new.
        from: Option<String>,
        /// `None` for a package that is removed.
        to: Option<String>,
    },
    /// A file begins to arrive.
    FetchStarted {
        /// The package.
        package: String,
        /// The file name.
        filename: String,
        /// The size in bytes.
        bytes: Option<u64>,
    },
    /// More of a file has arrived; `received` counts from its beginning.
    FetchProgress {
        /// The file name.
        filename: String,
        /// The bytes received so far.
        received: u64,
    },
    /// A file has not arrived and is tried again.
    FetchRetried {
        /// The file name.
        filename: String,
        /// The reason.
        reason: String,
        /// The delay before the next attempt, in seconds.
        delay_seconds: f64,
    },
    /// A host did not answer as it should, and is asked again for the first time in this run.
    HostRetried {
        /// The host, with its port if it is not the default.
        host: String,
        /// The reason.
        reason: String,
        /// The delay before the next attempt, in seconds.
        delay_seconds: f64,
    },
    /// A file has arrived and its digest is right.
    FetchFinished {
        /// The file name.
        filename: String,
        /// The size in bytes.
        bytes: u64,
        /// The duration in seconds.
        seconds: f64,
    },
    /// A download failed; an error follows only if the file is needed.
    FetchFailed {
        /// The file name.
        filename: String,
    },
    /// A build begins.
    BuildStarted {
        /// The package.
        package: String,
    },
    /// A build runs on another machine, or as a process of its own.
    BuildPlaced {
        /// The package.
        package: String,
        /// The machine and the name of the work there, `node-1 (pod wheelhouse-3f2a-0-x7k2p)`.
        place: String,
        /// The digest of the build step.
        step: Sha256,
    },
    /// A build cannot go on yet.
    BuildWaiting {
        /// The package.
        package: String,
        /// The reason.
        wait: Wait,
    },
    /// A build enters a hook of its build backend.
    BuildHook {
        /// The package.
        package: String,
        /// The name of the hook (PEP 517).
        hook: String,
    },
    /// The hook has ended, well or not.
    BuildHookFinished {
        /// The package.
        package: String,
        /// The name of the hook (PEP 517).
        hook: String,
        /// The duration in seconds.
        seconds: f64,
    },
    /// A build backend has written a line.
    BuildOutput {
        /// The package.
        package: String,
        /// The line, without its end.
        line: String,
    },
    /// A build has ended well. The time is its own: without waiting for a job, for other builds or for
    /// what it requires.
    BuildFinished {
        /// The package.
        package: String,
        /// The duration in seconds.
        seconds: f64,
    },
    /// A shared cache had the wheel of a build, which is not started.
    WheelCopied {
        /// The package.
        package: String,
        /// The file name.
        filename: String,
        /// The size in bytes.
        bytes: u64,
        /// The location, without credentials.
        location: String,
    },
    /// A step of the plan is done.
    StepFinished {
        /// The package.
        package: String,
        /// The file name.
        filename: String,
        /// The digest of the file.
        sha256: Sha256,
        /// The size in bytes.
        bytes: u64,
        /// The way in which the wheel was obtained.
        outcome: Outcome,
    },
    /// A step of the plan has failed, and the others go on.
    StepFailed {
        /// The package.
        package: String,
        /// The reason.
        reason: String,
    },
    /// A download has all that one target needs.
    TargetFinished {
        /// The name as in file names, `cp312-win_amd64`.
        target: String,
        /// The target as messages name it.
        label: String,
        /// The packages of its lock.
        packages: usize,
        /// The number of wheels.
        wheels: usize,
        /// True for the target of this machine.
        host: bool,
        /// The packages that are there as sdists: to be built on a host of that target.
        to_build: Vec<String>,
        /// Those of them whose build backend fails here.
        unknown: Vec<Unknown>,
    },
    /// Something the user should know that ends nothing.
    Warning {
        /// The message.
        message: String,
        /// The remedy, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A download has crates, with which cargo builds without a network if `CARGO_HOME` is their directory.
    Crates {
        /// The directory with the crates.
        directory: String,
        /// The number of crates.
        count: usize,
    },
    /// Wheels and sdists that an earlier run put into `directory` were removed, because the set has them no more.
    Removed {
        /// The directory.
        directory: String,
        /// The file names.
        files: Vec<String>,
    },
    /// The wheelhouse is complete.
    Finished {
        /// The directory.
        directory: String,
        /// The number of fetched files.
        fetched: usize,
        /// The number of built wheels.
        built: usize,
        /// The number of wheels from the cache.
        reused: usize,
        /// The number of wheels from shared caches.
        copied: usize,
        /// The number of source distributions among these.
        sdists: usize,
        /// The size of all files.
        bytes: u64,
        /// The bytes fetched over the network, sdists included.
        bytes_fetched: u64,
        /// The duration in seconds.
        seconds: f64,
    },
}

/// A source that could not be asked what it depends on, or requires to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The package.
    pub package: String,
    /// The reason.
    pub reason: String,
}

/// The reason why a build waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Wait {
    /// The limit of concurrent builds is reached.
    Job,
    /// The farm has no place for the build yet.
    Farm {
        /// The reason, as the farm states it.
        reason: String,
    },
    /// Build requirements are being resolved, fetched or built: all of them, as `name==version`, once they are known.
    Requirements {
        /// The packages.
        packages: Vec<String>,
    },
}

/// A phase of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Choosing the versions.
    Resolve,
    /// Fetching and building the wheels.
    Execute,
    /// Moving the set into its directory.
    Publish,
}

/// The way in which a wheel was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// From the cache.
    Reused,
    /// From a shared cache, where another machine has put it.
    Copied,
    /// Downloaded, or read from a directory.
    Fetched,
    /// Built from source.
    Built,
}

impl Event {
    /// Creates the event that `target` is served.
    #[must_use]
    pub fn target(target: &Target) -> Self {
        let python = target.interpreter.as_deref().unwrap_or(Path::new(""));
        Self::Target {
            label: target.label(),
            python: python.display().to_string(),
        }
    }

    /// Creates a warning without a hint.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::Warning {
            message: message.into(),
            hint: None,
        }
    }
}

/// Converts `duration` to the seconds of an event.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

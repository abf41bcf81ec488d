//! Verifying: whether a directory of wheels is what it should be, and would install.
//!
//! 1. *Integrity*: the files are those of the manifest ([`files`](checks::files)(checks::files)), the wheels are what their
//!    names say ([`wheels`](checks::wheels)(checks::wheels)), and index and locks agree with them ([`index`](checks::index), [`lock`](checks::lock),
//!    [`external_lock`](checks::external_lock)).
//! 2. The source distributions of a directory without a manifest build ([`sdists`](checks::sdists)).
//! 3. *Completeness*: a resolver proves that the requirements are satisfied ([`completeness`](checks::completeness)(checks::completeness)).
//! 4. *Installability*: pip installs ([`install`](checks::install)(checks::install)), and Python imports ([`imports`](checks::imports)(checks::imports)).
//!
//! [`runner`] makes these checks in that order. Everything that is wrong is listed, and what was not looked at is said. This room never changes
//! the directory, never uses a network, and never prints.

mod checks;
mod index_page;
mod interpreters;
mod inventory;
mod report;
mod requirements;
mod runner;
mod sandbox;
mod wheel_contents;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_engine::python::DiscoveryEnvironment;
use wheelhouse_types::request::{Building, Indexes, Network, Prereleases, Requirement, Resolution};
use wheelhouse_types::{Request, Result};

use inventory::Survey;
use runner::Verification;
use wheelhouse_fs::scratch::Scratch;

pub use report::{Check, Count, Finding, Name, Outcome, Report};

/// What to do about files that a run puts there.
const AGAIN: &str =
    "Run the command that made the directory again: it puts right what it has put there.";

/// What is to be verified, and how.
pub struct Job {
    /// Absolute.
    pub directory: PathBuf,
    pub requirements: Requirements,
    /// The Python that the user names: a path or a version.
    pub python: Option<String>,
    /// Where Pythons are looked for.
    pub surroundings: DiscoveryEnvironment,
    /// The variables of the process, for the programs that are run.
    pub environment: Vec<(String, String)>,
    /// The settings for building source distributions.
    pub building: Building,
    /// Whether anything of what the directory holds may be built and installed.
    pub install: bool,
    /// Whether what was installed is imported.
    pub import: bool,
    /// Hears of each check.
    pub watch: Watch,
}

/// Takes what a verification does, as it happens.
pub type Watch = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// The state of one check.
pub enum Progress<'a> {
    /// It begins, or goes on with another target or file: `about`.
    Begins {
        name: Name,
        about: Option<&'a str>,
    },
    Ended(&'a Check),
}

/// What the directory has to satisfy.
#[derive(Clone, Debug)]
pub enum Requirements {
    /// What its manifest and its lock name; without a manifest, all that it holds.
    Own,
    Lines {
        requirements: Vec<Requirement>,
        constraints: Vec<Requirement>,
    },
    /// Exactly what the lock at this path has.
    Lock(PathBuf),
}

/// Verifies the directory of `job`.
///
/// # Errors
/// `Input` when the directory, a lock or a requirement cannot be read, or the Python that is named
/// cannot be used. That something is wrong with the directory is no error but in the report.
pub async fn verify(job: Job) -> Result<Report> {
    let scratch = Scratch::new()?;
    (job.watch)(Progress::Begins {
        name: Name::Files,
        about: None,
    });
    let directory = job.directory.clone();
    let (survey, wheels) = blocking(move || {
        let survey = Survey::read(&directory)?;
        let wheels = wheel_contents::wheels(&survey);
        Ok((survey, wheels))
    })
    .await?;
    let verification = Verification {
        job: &job,
        survey: &survey,
        wheels: &wheels,
        scratch: scratch.path(),
        building: job.building.clone(),
        checks: Vec::new(),
    };
    let checks = Box::pin(verification.run()).await?;
    let report = Report {
        directory: job.directory.clone(),
        manifest: survey.manifest.is_some(),
        checks,
    };
    if !report.passed() {
        leave_logs(scratch);
    }
    Ok(report)
}

/// Removes `scratch` but for the logs of failed builds, which the report names.
fn leave_logs(scratch: Scratch) {
    let logs = [
        scratch.path().join("logs"),
        scratch.path().join("store/logs"),
    ];
    let has_entries =
        |path: &PathBuf| fs_err::read_dir(path).is_ok_and(|mut found| found.next().is_some());
    if !logs.iter().any(has_entries) {
        return;
    }
    let root = scratch.keep();
    let below = |directory: &Path| fs_err::read_dir(directory).into_iter().flatten().flatten();
    for entry in below(&root).chain(below(&root.join("store"))) {
        let path = entry.path();
        if logs.iter().any(|log| log.starts_with(&path)) {
            continue;
        }
        // What cannot be removed is in the way of nothing.
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs_err::remove_dir_all(path),
            _ => fs_err::remove_file(path),
        };
    }
}

/// A request that nothing but the files of `directory` can answer.
fn alone(directory: &Path) -> Request {
    Request {
        indexes: Indexes {
            find_links: vec![directory.display().to_string()],
            no_index: true,
            ..Indexes::default()
        },
        network: Network {
            offline: true,
            ..Network::default()
        },
        resolution: Resolution {
            // What is there may be used, or it would not be there.
            prereleases: Prereleases {
                others: Some(true),
                ..Prereleases::default()
            },
            ..Resolution::default()
        },
        ..Request::default()
    }
}

async fn blocking<Output: Send + 'static>(
    work: impl FnOnce() -> Result<Output> + Send + 'static,
) -> Result<Output> {
    match tokio::task::spawn_blocking(work).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

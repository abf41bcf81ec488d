//! Verifies that a directory of wheels is intact, complete and installable offline.
//!
//! 1. *Integrity*: the files are those of the manifest ([`files`](checks::files)), a key has signed them
//!    ([`signatures`](checks::signatures)), accepted publishers have attested them
//!    ([`attestations`](checks::attestations)), the wheels match their names ([`wheels`](checks::wheels)), and the index and the locks agree with them
//!    ([`index`](checks::index), [`lock`](checks::lock), [`external_lock`](checks::external_lock)).
//! 2. The source distributions of a directory without a manifest can be built ([`sdists`](checks::sdists)).
//! 3. *Completeness*: a resolver satisfies the requirements ([`completeness`](checks::completeness)).
//! 4. *Installability*: pip installs ([`install`](checks::install)), and Python imports
//!    ([`imports`](checks::imports)).
//!
//! The [`runner`] makes these checks in that order and reports all failures. Verification never changes
//! the directory, never uses a network, and never prints.

mod checks;
mod index_page;
mod interpreters;
mod inventory;
mod job;
mod offline_build;
mod report;
mod requirements;
mod runner;
mod sandbox;
mod wheel_contents;

use std::path::{Path, PathBuf};

use tracing::{debug, instrument};
use wheelhouse_types::Result;

use inventory::DirectoryInventory;
use runner::Runner;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::remove::remove_all;
use wheelhouse_fs::scratch::Scratch;

pub use job::{AttestationInputs, CheckProgress, ProgressCallback, VerifyJob, VerifyRequirements};
pub use report::{Check, CheckCount, CheckName, CheckOutcome, Finding, Report};

/// Verifies the directory of `job`.
///
/// # Errors
/// [`Kind::Input`](wheelhouse_types::Kind::Input) when the directory, a lock or a requirement cannot be read,
/// or the named Python cannot be used. Failed checks are not errors; they are part of the report.
#[instrument(name = "verify", skip_all, fields(directory = %job.directory.display()))]
pub async fn verify(job: VerifyJob) -> Result<Report> {
    let scratch = Scratch::new()?;
    (job.progress)(CheckProgress::Started {
        name: CheckName::Files,
        about: None,
    });
    let directory = job.directory.clone();
    let (inventory, wheels) = blocking(move || {
        let inventory = DirectoryInventory::read(&directory)?;
        let wheels = wheel_contents::read_all(&inventory);
        Ok((inventory, wheels))
    })
    .await?;
    debug!(
        wheels = inventory.wheels.len(),
        sdists = inventory.sdists.len(),
        manifest = inventory.manifest.is_some(),
        "read the directory"
    );
    let runner = Runner {
        job: &job,
        inventory: &inventory,
        wheels: &wheels,
        scratch: scratch.path(),
        building: job.building.clone(),
        checks: Vec::new(),
    };
    let checks = Box::pin(runner.run()).await?;
    let report = Report {
        directory: job.directory.clone(),
        manifest: inventory.manifest.is_some(),
        checks,
    };
    if !report.passed() {
        keep_logs(scratch);
    }
    Ok(report)
}

/// Removes `scratch`, except the logs of failed builds, which the report names.
fn keep_logs(scratch: Scratch) {
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
    let entries = |directory: &Path| fs_err::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries(&root).chain(entries(&root.join("store"))) {
        let path = entry.path();
        if logs.iter().any(|log| log.starts_with(&path)) {
            continue;
        }
        // A temporary file that cannot be removed affects no later run.
        let _ = remove_all(&path);
    }
}

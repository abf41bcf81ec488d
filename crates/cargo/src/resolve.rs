//! Lets cargo resolve the dependencies of a source without a `Cargo.lock`.
//!
//! cargo reads manifests and the index of registries; it does not run code of the source or of its dependencies. It runs in a
//! directory without configuration, so that only the user's own applies.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::cargo_home::DOWNLOAD_DIRECTORY;

/// The number of last lines of the output in an error.
const TAIL: usize = 12;

/// The registries that cargo reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrateNetwork {
    /// Those of the user's configuration.
    Online,
    /// The same, as far as cargo has their files already.
    Offline,
    /// The crates of a download, in this directory.
    Download(PathBuf),
}

/// Creates the `Cargo.lock` of the project with the manifest `manifest`.
///
/// # Errors
/// [`Kind::Build`] if cargo is not installed or fails.
pub fn generate_lock(manifest: &Path, network: &CrateNetwork) -> Result<()> {
    let failed = || format!("failed to resolve the crates of {}", manifest.display());
    let directory = tempfile::tempdir().context(Kind::Build, failed)?;
    let mut command = Command::new("cargo");
    command
        .args([
            "generate-lockfile",
            "--quiet",
            "--color=never",
            "--manifest-path",
        ])
        .arg(manifest)
        .current_dir(directory.path())
        .stdin(Stdio::null());
    if *network != CrateNetwork::Online {
        command.arg("--offline");
    }
    if let CrateNetwork::Download(crates) = network {
        let home = linked(crates, directory.path()).context(Kind::Build, failed)?;
        command.env("CARGO_HOME", home);
    }
    tracing::debug!(manifest = %manifest.display(), ?network, "resolving crates with cargo");
    let output = command.output().map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::new(Kind::Build, failed()).caused_by(error);
        if is_missing {
            error.with_hint(
                "The source has no `Cargo.lock`. Install cargo, which resolves its crates.",
            )
        } else {
            error
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    let error = Error::new(
        Kind::Build,
        format!("{}: cargo ended with {}", failed(), output.status),
    );
    let error = error.with_detail(tail);
    Err(if *network == CrateNetwork::Online {
        error
    } else {
        error.with_hint(
            "The source has no `Cargo.lock`. Run once with a network, or use a lock that records its crates.",
        )
    })
}

/// Creates a `CARGO_HOME` in `directory` with links to the entries of `crates`, since cargo writes to the directory.
fn linked(crates: &Path, directory: &Path) -> std::io::Result<PathBuf> {
    // The configuration names this directory.
    let home = directory.join(DOWNLOAD_DIRECTORY);
    fs_err::create_dir(&home)?;
    for entry in fs_err::read_dir(crates)? {
        let entry = entry?;
        let target = std::path::absolute(entry.path())?;
        fs_err::os::unix::fs::symlink(target, home.join(entry.file_name()))?;
    }
    Ok(home)
}

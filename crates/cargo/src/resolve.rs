//! Lets cargo resolve the dependencies of a source without a `Cargo.lock`.
//!
//! cargo reads manifests and the index of registries; it does not run code of the source or of its dependencies. It runs in a
//! directory without configuration, so that only the user's own applies.

use std::path::Path;
use std::process::{Command, Stdio};

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

/// The number of last lines of the output in an error.
const TAIL: usize = 12;

/// Creates the `Cargo.lock` of the project with the manifest `manifest`. Without `network`, cargo uses what it has already.
///
/// # Errors
/// [`Kind::Build`] if cargo is not installed or fails.
pub fn generate_lock(manifest: &Path, network: bool) -> Result<()> {
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
    if !network {
        command.arg("--offline");
    }
    tracing::debug!(manifest = %manifest.display(), network, "resolving crates with cargo");
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
    Err(if network {
        error
    } else {
        error.with_hint(
            "The source has no `Cargo.lock`. Run once with a network, or use a lock that records its crates.",
        )
    })
}

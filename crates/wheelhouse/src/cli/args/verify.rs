//! The arguments of `verify`.

use std::path::PathBuf;

use clap::Args;
use wheelhouse_types::request::SandboxMode;

use super::ImageReadArgs;
use super::shared::SandboxArg;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A directory of wheels, or an image as for `extract` [default: wheelhouse]
    ///
    /// The directory is a wheelhouse, or was written by `pip wheel` or `pip download`.
    #[arg(value_name = "DIR|IMAGE")]
    place: Option<String>,

    /// The directory, under the name that pip uses for it
    #[arg(
        short = 'f',
        long = "find-links",
        value_name = "DIR|IMAGE",
        conflicts_with = "place"
    )]
    links: Option<String>,

    #[command(flatten)]
    pub(crate) checks: CheckArgs,
    #[command(flatten)]
    pub(crate) installation: InstallationArgs,
    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

/// The options that select what is checked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Check options")]
pub(crate) struct CheckArgs {
    /// Check that the requirements of a file, a pyproject.toml or standard input (-) are satisfied
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE"
    )]
    pub(crate) requirement_files: Vec<String>,

    /// Check that exactly the contents of this lock (pylock.toml) are present
    #[arg(long, value_name = "FILE", conflicts_with = "requirement_files")]
    pub(crate) lock: Option<PathBuf>,

    /// Check for this Python: the path of an interpreter, or the version of an installed one
    #[arg(long, value_name = "PATH|VERSION")]
    pub(crate) python: Option<String>,

    /// Check that this public key has signed the manifest and the provenance of built wheels
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<PathBuf>,

    /// Check the attestations of the files (PEP 740) against this policy (TOML)
    #[arg(long, value_name = "POLICY", requires = "trust_root")]
    pub(crate) attestations: Option<PathBuf>,

    /// Verify attestations with the authorities and logs in this trust root of Sigstore (JSON)
    #[arg(long, value_name = "FILE", requires = "attestations")]
    pub(crate) trust_root: Option<PathBuf>,
}

/// The options of the installation of the wheels.
#[derive(Debug, Args)]
#[command(next_help_heading = "Install options")]
pub(crate) struct InstallationArgs {
    /// Install the wheels with pip into a temporary environment [default]
    #[arg(long, overrides_with = "no_install")]
    install: bool,

    /// Do not build or install anything
    #[arg(long, overrides_with = "install")]
    no_install: bool,

    /// Also import every installed module
    #[arg(long, conflicts_with = "no_install")]
    pub(crate) import: bool,

    /// Select the sandbox of build backends, pip and imports [default: auto]
    #[arg(long, env = "WHEELHOUSE_SANDBOX", value_name = "MODE", value_enum)]
    sandbox: Option<SandboxArg>,
}

impl VerifyArgs {
    /// Returns the directory or image.
    pub(crate) fn place(&self) -> &str {
        let named = self.place.as_deref().or(self.links.as_deref());
        named.unwrap_or("wheelhouse")
    }
}

impl InstallationArgs {
    /// Returns whether wheels may be built and installed.
    pub(crate) fn is_enabled(&self) -> bool {
        self.install || !self.no_install
    }

    /// Returns how much of a sandbox is required.
    pub(crate) fn sandbox(&self) -> SandboxMode {
        self.sandbox.map_or(SandboxMode::Auto, SandboxMode::from)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};

    fn installs(arguments: &[&str]) -> bool {
        let arguments = ["wheelhouse", "verify"].iter().chain(arguments);
        let (command_line, _) = parse(arguments.map(Into::into)).unwrap();
        let Command::Verify(verify) = command_line.command else {
            panic!("not the command");
        };
        verify.installation.is_enabled()
    }

    #[test]
    fn the_last_word_on_installing_counts() {
        assert!(installs(&[]));
        assert!(installs(&["--no-install", "--install"]));
        assert!(!installs(&["--install", "--no-install"]));
    }
}

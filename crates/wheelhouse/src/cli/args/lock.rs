//! The arguments of `lock`: those of `build`, the targets, and the location of the lock.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use wheelhouse_types::target::RequestedTargets;
use wheelhouse_types::{Error, Kind, Result};

use super::GlobalOptions;
use super::build::{InputArgs, UpgradeArgs};
use super::download::TargetArgs;
use super::shared::Options;
use crate::pipeline::lock::LockDestination;
use wheelhouse_config::{RawOptions, RawTargets, is_pylock_name};

/// The default path of a lock.
const OUTPUT: &str = "pylock.toml";

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    pub(crate) upgrades: UpgradeArgs,
    #[command(flatten)]
    targets: TargetArgs,

    /// Write one lock with markers for all targets
    #[arg(long, help_heading = "Target options")]
    universal: bool,

    /// Check that the lock is up to date, without writing it; exit with code 3 if it is not
    #[arg(long, help_heading = "Run options")]
    pub(crate) check: bool,
}

/// The default platforms of a universal lock.
const UNIVERSAL: [&str; 5] = ["linux", "linux-arm64", "macos", "macos-x86_64", "windows"];

impl LockArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        let mut raw = self.inputs.raw(self.options.raw(globals, matches));
        raw.output.get_or_insert_with(|| PathBuf::from(OUTPUT));
        raw.passes_over_locks = true;
        raw
    }

    /// Returns the targets of the command line, or those that the project has `configured`.
    ///
    /// # Errors
    /// As [`TargetArgs::choice`].
    pub(crate) fn targets(&self, configured: &RawTargets) -> Result<RequestedTargets> {
        let mut choice = self.targets.choice(&self.targets.raw_or(configured))?;
        if self.universal && choice.targets.is_empty() && choice.platforms.is_empty() {
            let platforms = UNIVERSAL.iter().map(|name| name.parse());
            choice.platforms = platforms.collect::<Result<_>>()?;
        }
        Ok(choice)
    }

    /// Returns where the lock is written for the absolute path `output`.
    ///
    /// # Errors
    /// `Input` if installers would not recognize the file name.
    pub(crate) fn place(&self, output: &Path) -> Result<LockDestination> {
        let is_directory = output.is_dir() || output.extension().is_none();
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        if name == "-" || !is_directory && !is_pylock_name(&name) {
            let message = format!("{} is not a valid lock file name", output.display());
            return Err(Error::new(Kind::Input, message).with_hint(
                "Use pylock.toml, or pylock.NAME.toml with a NAME without dots (PEP 751).",
            ));
        }
        Ok(match (self.universal, is_directory) {
            (true, true) => LockDestination::Shared(output.join(OUTPUT)),
            (true, false) => LockDestination::Shared(output.to_owned()),
            (false, true) => LockDestination::Directory(output.to_owned()),
            (false, false) if name == OUTPUT => {
                LockDestination::Directory(output.parent().unwrap_or(output).to_owned())
            }
            (false, false) => LockDestination::File(output.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn place(arguments: &[&str], output: &str) -> Result<LockDestination> {
        let arguments = ["wheelhouse", "lock", "x"].iter().chain(arguments);
        let (command_line, _) = parse(arguments.map(Into::into)).unwrap();
        let Command::Lock(lock) = command_line.command else {
            panic!("not the command");
        };
        lock.place(Path::new(output))
    }

    #[test]
    fn a_lock_belongs_where_installers_find_it() {
        let place_of = |output: &str| place(&[], output).unwrap();
        assert_eq!(
            place_of("/a/pylock.toml"),
            LockDestination::Directory("/a".into())
        );
        assert_eq!(
            place_of("/a/locks"),
            LockDestination::Directory("/a/locks".into())
        );
        let named = "/a/pylock.web.toml";
        assert_eq!(place_of(named), LockDestination::File(named.into()));
        let shared = place(&["--universal"], "/a/locks").unwrap();
        assert_eq!(
            shared,
            LockDestination::Shared("/a/locks/pylock.toml".into())
        );
        for other in ["/a/requirements.lock", "/a/-"] {
            assert!(place(&[], other).is_err(), "{other}");
        }
    }
}

//! The options of `lock`: those of `build`, for which targets, and where the lock belongs.

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

/// Where a lock is put unless the user says where.
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

    /// Write one lock for all targets, with markers
    #[arg(long, help_heading = "For which targets")]
    universal: bool,

    /// Write nothing, and end with code 3 if the lock is out of date
    #[arg(long, help_heading = "What to do")]
    pub(crate) check: bool,
}

/// What a lock for all is for, unless targets are named.
const UNIVERSAL: [&str; 5] = ["linux", "linux-arm64", "macos", "macos-x86_64", "windows"];

impl LockArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        let mut raw = self.inputs.raw(self.options.raw(globals, matches));
        raw.output.get_or_insert_with(|| PathBuf::from(OUTPUT));
        raw.passes_over_locks = true;
        raw
    }

    /// The targets that are named, or those that the project has `configured`.
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

    /// Where the lock belongs when the user names `output`, which is absolute.
    ///
    /// # Errors
    /// A name under which no installer would take a lock.
    pub(crate) fn place(&self, output: &Path) -> Result<LockDestination> {
        let is_directory = output.is_dir() || output.extension().is_none();
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        if name == "-" || !is_directory && !is_pylock_name(&name) {
            let message = format!("{} is no name for a lock", output.display());
            return Err(Error::new(Kind::Input, message).with_hint(
                "PEP 751 has pylock.toml, or pylock.NAME.toml with a NAME without dots.",
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
            panic!("not the verb");
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

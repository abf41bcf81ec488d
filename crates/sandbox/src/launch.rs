//! The command line of the launcher: `wheelhouse COMMAND STEP PROFILE [PROGRAM ARGUMENT...]`. The steps are `run`, and `init`,
//! which runs in new namespaces. Without a program, the launcher prints the protections that it would have.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use wheelhouse_types::sandbox::Protection;

use crate::profile::Profile;

/// The first argument with which the program has to call [`launch`](crate::launch()).
pub const COMMAND: &str = "__sandbox";

/// The step that the user of this library starts.
pub(crate) const RUN: &str = "run";
/// The step that runs in the new namespaces.
pub(crate) const INIT: &str = "init";

/// A launched program, or the protections that it would have.
pub(crate) struct Launch {
    pub(crate) profile: Profile,
    pub(crate) profile_file: PathBuf,
    /// The program and its arguments. Empty to print the protections instead.
    pub(crate) words: Vec<OsString>,
}

impl Launch {
    /// Parses the arguments that follow [`COMMAND`], and reads the profile. Returns the step, too.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> io::Result<(OsString, Self)> {
        let mut arguments = arguments.into_iter();
        let (Some(step), Some(file)) = (arguments.next(), arguments.next()) else {
            return Err(io::Error::other("arguments are missing"));
        };
        let profile_file = PathBuf::from(file);
        let launch = Self {
            profile: serde_json::from_slice(&fs_err::read(&profile_file)?)?,
            profile_file,
            words: arguments.collect(),
        };
        Ok((step, launch))
    }

    /// Returns a command that runs the step [`INIT`] of this program, whatever its file is called and even if the file was
    /// replaced.
    pub(crate) fn init(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(COMMAND)
            .arg(INIT)
            .arg(&self.profile_file)
            .args(&self.words);
        command
    }
}

impl Profile {
    /// Returns the arguments with which the launcher runs the command that they are followed by, or prints the protections if
    /// none follows. Writes the profile to `file`.
    ///
    /// # Errors
    /// If `file` cannot be written.
    pub fn launcher_words(&self, file: &Path) -> io::Result<Vec<OsString>> {
        let bytes = serde_json::to_vec(self)?;
        fs_err::write(file, bytes)?;
        Ok(vec![COMMAND.into(), RUN.into(), file.into()])
    }
}

/// Prints `protections` for the process that probes.
pub(crate) fn print(mut protections: Vec<Protection>) -> io::Result<ExitCode> {
    protections.sort_unstable();
    serde_json::to_writer(io::stdout(), &protections)?;
    Ok(ExitCode::SUCCESS)
}

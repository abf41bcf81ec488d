//! The launcher: a process that gives up rights, and then becomes the program or its supervisor.
//!
//! Command line: `wheelhouse COMMAND STEP PROFILE [PROGRAM ARGUMENT...]`. The steps are `run`, `init`, which [`namespaces`]
//! starts as the first process of a PID namespace, and their variants for probing, which have no program.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::thread::CapabilitySet;
use wheelhouse_types::sandbox::Protection;

use crate::profile::Profile;
use crate::support::Mechanism;
use crate::system_calls::{self, Sockets};
use crate::{landlock, limits, namespaces};

/// The first argument with which the program has to call [`launch`].
pub const COMMAND: &str = "__sandbox";

/// The step that the user of this library starts.
const RUN: &str = "run";
/// The step that runs in the new namespaces.
pub(crate) const INIT: &str = "init";

/// The exit code of a launcher that could not start the program, as for `docker run`.
const FAILED: u8 = 125;

/// A launched program, or the protections that it would have.
pub(crate) struct Launch {
    pub(crate) profile: Profile,
    pub(crate) profile_file: PathBuf,
    /// The program and its arguments. Empty to print the protections instead.
    pub(crate) words: Vec<OsString>,
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

/// Runs the launcher. `arguments` follow [`COMMAND`] on the command line of this process, which must not have started a
/// thread before: rights are properties of threads.
#[must_use]
pub fn launch(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match step(arguments.into_iter().collect()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "failed to start the sandbox: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn step(arguments: Vec<OsString>) -> io::Result<ExitCode> {
    let mut arguments = arguments.into_iter();
    let (Some(step), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("arguments are missing"));
    };
    let profile_file = PathBuf::from(file);
    let launch = Launch {
        profile: serde_json::from_slice(&fs_err::read(&profile_file)?)?,
        profile_file,
        words: arguments.collect(),
    };
    match (launch.profile.mechanism, step.to_str()) {
        (Mechanism::Namespaces, Some(RUN)) => namespaces::supervise(&launch),
        (Mechanism::Namespaces, Some(INIT)) => namespaces::init(&launch),
        (mechanism, Some(RUN)) => restrict_self(&launch, mechanism),
        _ => Err(io::Error::other("the step is unknown")),
    }
}

/// Restricts this process and replaces it with the program.
fn restrict_self(launch: &Launch, mechanism: Mechanism) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let profile = &launch.profile;
    let mut protections = Vec::new();
    if mechanism == Mechanism::Landlock {
        protections.extend(landlock::restrict(profile)?);
    }
    limits::apply(limits::beside_others(profile.limits))?;
    give_up_administration();
    let sockets = if profile.network {
        Sockets::All
    } else {
        Sockets::Own
    };
    if system_calls::restrict(sockets).is_ok() {
        protections.extend([Protection::Network, Protection::SystemCalls]);
    }
    let [program, arguments @ ..] = &launch.words[..] else {
        return print(protections);
    };
    Err(Command::new(program)
        .args(arguments)
        .current_dir(&profile.directory)
        .exec())
}

/// Gives up the rights of root except those over files, which are those of an ordinary user elsewhere.
fn give_up_administration() {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    for capability in CapabilitySet::all().difference(kept).iter() {
        // Not permitted for an ordinary user, who has none of them.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
}

/// Prints `protections` for the process that probes.
pub(crate) fn print(mut protections: Vec<Protection>) -> io::Result<ExitCode> {
    protections.sort_unstable();
    serde_json::to_writer(io::stdout(), &protections)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a command for this program, whatever its file is called and even if the file was replaced.
pub(crate) fn own_program(step: &OsStr, launch: &Launch) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(COMMAND)
        .arg(step)
        .arg(&launch.profile_file)
        .args(&launch.words);
    command
}

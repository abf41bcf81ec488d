//! The launcher: a process that gives up rights, and then becomes the program or its supervisor.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use rustix::thread::CapabilitySet;
use wheelhouse_types::sandbox::Protection;

use crate::launch::{self, INIT, Launch, RUN};
use crate::mechanism::Mechanism;
use crate::system_calls::{self, Sockets};
use crate::{landlock, limits, namespaces};

/// The exit code of a launcher that could not start the program, as for `docker run`.
const FAILED: u8 = 125;

/// Runs the launcher. `arguments` follow [`COMMAND`](crate::COMMAND) on the command line of this process, which must not have started a
/// thread before: rights are properties of threads.
#[must_use]
pub fn launch(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match step(arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "failed to start the sandbox: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn step(arguments: impl IntoIterator<Item = OsString>) -> io::Result<ExitCode> {
    let (step, launch) = Launch::parse(arguments)?;
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
        return launch::print(protections);
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

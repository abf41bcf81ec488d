//! Namespaces: a root directory, processes, a network and a user that exist for one program only.
//!
//! Three processes are involved:
//!
//! 1. [`supervise`] creates the namespaces. It stays outside, where it ends with the program that started it, and writes the
//!    report.
//! 2. [`init`] is the first process inside: when it ends, the kernel ends all others. It prepares the root directory, gives up
//!    all rights, adopts orphans, and answers look-ups of names.
//! 3. The program.
//!
//! The first two share a socket, and each ends when the other has closed its end.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use serde::{Deserialize, Serialize};
use wheelhouse_types::sandbox::Protection;

use crate::launch::{self, Launch};
use crate::profile::Profile;
use crate::root::{self, USER};
use crate::system_calls::{self, Sockets};
use crate::{limits, network};

/// The rights that [`init`] needs until it has prepared the namespaces. `DAC_OVERRIDE` is for the working directory of layers, which
/// the kernel creates without any permissions.
const CAPABILITIES: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETPCAP);

/// A report of [`init`], a line of JSON.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    /// The program looked up a name.
    Request(String),
    /// The program ended, with this status of `wait`.
    Ended(i32),
}

/// Starts the program in new namespaces, and ends as it ends.
pub(crate) fn supervise(launch: &Launch) -> io::Result<ExitCode> {
    // The report is out of reach as soon as the root directory has changed, which is that of this process too.
    let report = launch
        .profile
        .report
        .as_deref()
        .map(open_report)
        .transpose()?;
    create(&launch.profile)
        .map_err(|error| annotated("user namespaces are not permitted", &error))?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut init = launch
        .init()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let mut ended = None;
    let mut messages = BufReader::new(&ours);
    while wait_for_data(&messages)? {
        let mut line = String::new();
        if messages.read_line(&mut line)? == 0 {
            break;
        }
        match serde_json::from_str(&line)? {
            Message::Request(name) => {
                if let Some(mut report) = report.as_ref() {
                    writeln!(report, "{name}")?;
                }
            }
            Message::Ended(status) => ended = Some(ExitStatus::from_raw(status)),
        }
    }
    drop(ours);
    let status = init.wait()?;
    end_like(ended.unwrap_or(status))
}

fn annotated(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Moves this process into new namespaces, except for that of processes, which its first child enters.
fn create(profile: &Profile) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    if !profile.network {
        flags |= UnshareFlags::NEWNET;
    }
    #[expect(
        deprecated,
        reason = "only the flag FILES, which is not set, is unsafe"
    )]
    rustix::thread::unshare(flags)?;
    // An unprivileged process may map its group only if it can no longer change its groups.
    fs_err::write("/proc/self/setgroups", "deny")?;
    fs_err::write("/proc/self/uid_map", format!("{USER} {} 1", user.as_raw()))?;
    fs_err::write("/proc/self/gid_map", format!("{USER} {} 1", group.as_raw()))?;
    let sets = rustix::thread::capabilities(None)?;
    let inheritable = CapabilitySets {
        inheritable: CAPABILITIES,
        ..sets
    };
    rustix::thread::set_capabilities(None, inheritable)?;
    for capability in CAPABILITIES.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Waits until `messages` can be read. Returns false if the program that started this one has ended, which closes the
/// pipe at stdin.
fn wait_for_data(messages: &BufReader<&UnixStream>) -> io::Result<bool> {
    if !messages.buffer().is_empty() {
        return Ok(true);
    }
    let stdin = io::stdin();
    loop {
        let mut descriptors = [
            PollFd::new(messages.get_ref(), PollFlags::IN),
            PollFd::new(&stdin, PollFlags::empty()),
        ];
        match poll(&mut descriptors, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_)
                if descriptors[1]
                    .revents()
                    .intersects(PollFlags::HUP | PollFlags::ERR) =>
            {
                return Ok(false);
            }
            Ok(_) => return Ok(true),
        }
    }
}

/// Opens the report, to which the hooks of one build append.
fn open_report(path: &Path) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    Ok(options.append(true).create(true).open(path)?.into_file())
}

/// Ends this process with `status`, by the same signal if there was one.
fn end_like(status: ExitStatus) -> io::Result<ExitCode> {
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        rustix::process::kill_process(rustix::process::getpid(), signal)?;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(u8::MAX)))
}

/// Runs the program, as the first process of the namespaces.
pub(crate) fn init(launch: &Launch) -> io::Result<ExitCode> {
    let profile = &launch.profile;
    root::enter(profile)?;
    rustix::system::sethostname(b"build")
        .map_err(|error| annotated("failed to set the host name", &error.into()))?;
    let mut protections = vec![Protection::Files, Protection::Processes];
    let mut name_server = None;
    if !profile.network {
        network::start_loopback()?;
        name_server = network::bind_name_server().ok();
        protections.push(Protection::Network);
    }
    give_up_capabilities()?;
    limits::apply(profile.limits)?;
    // The namespace is the network, so sockets for IP are harmless.
    if system_calls::restrict(Sockets::All).is_ok() {
        protections.push(Protection::SystemCalls);
    }
    let [program, arguments @ ..] = &launch.words[..] else {
        return launch::print(protections);
    };
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let child = Command::new(program)
        .args(arguments)
        .current_dir(&profile.directory)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| annotated(&format!("failed to run {}", program.display()), &error))?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(socket) = name_server {
        let mut channel = channel.try_clone()?;
        std::thread::spawn(move || {
            network::serve_names(&socket, |name| {
                let _ = send(&mut channel, &Message::Request(name.to_owned()));
            });
        });
    }
    // This process ends, and thereby all others of the namespace, with the program or with the supervisor.
    let (sender, ended) = mpsc::channel();
    let mut supervisor = channel.try_clone()?;
    let closed = sender.clone();
    std::thread::spawn(move || {
        let _ = supervisor.read(&mut [0]);
        closed.send(None)
    });
    std::thread::spawn(move || sender.send(Some(wait_for(child))));
    if let Ok(Some(status)) = ended.recv() {
        send(&mut &channel, &Message::Ended(status?.as_raw()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends `message` with one system call, so that those of several threads do not mix.
fn send(channel: &mut impl io::Write, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    channel.write_all(&line)
}

/// Waits for all children, adopted ones included, until `child` has ended.
fn wait_for(child: Option<Pid>) -> io::Result<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == child => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives up all rights in the namespaces, for this process and for all that it starts.
fn give_up_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        // Older kernels do not know all of them.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

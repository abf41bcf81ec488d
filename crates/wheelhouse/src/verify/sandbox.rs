//! Runs programs in a sandbox, without variables that would configure pip or Python. Programs never outlive the verification.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::join;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tracing::debug;
use wheelhouse_engine::process_tree::ProcessTree;
use wheelhouse_sandbox::{PathAccess, PathMount, Profile, SandboxSupport, system_paths};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::{Building, SandboxMode};
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Error, Kind, Result};

/// The number of bytes that are kept from the end of an output.
const KEPT_BYTES: usize = 256 << 10;

/// The time for which pipes are read after their program has exited.
const LINGER: Duration = Duration::from_secs(1);

/// The number of lines that are shown from the end of an output.
const SHOWN_LINES: usize = 20;

/// The rights and the environment variables of programs.
pub(super) struct Sandbox {
    variables: Vec<(String, String)>,
    /// The launcher and its arguments; empty without a sandbox.
    launcher: Vec<OsString>,
    protections: Vec<Protection>,
}

/// The needs of the programs of a verification.
pub(super) struct SandboxRequest<'a> {
    /// The options and variables of build hooks.
    pub(super) building: &'a Building,
    /// The paths of the interpreter.
    pub(super) interpreter: Vec<PathBuf>,
    /// The directory that is verified.
    pub(super) directory: &'a Path,
    /// An existing directory that programs may write.
    pub(super) scratch: &'a Path,
    /// An existing directory that programs do not see.
    pub(super) outer: &'a Path,
}

/// The exit status of a program and the end of its output.
pub(super) struct ProgramOutput {
    pub(super) status: ExitStatus,
    pub(super) text: String,
}

impl Sandbox {
    /// Creates a sandbox, with the home directory `scratch/home`.
    ///
    /// # Errors
    /// When a directory cannot be created, or the machine does not permit what is required.
    pub(super) fn new(request: &SandboxRequest<'_>) -> Result<Self> {
        let (options, outer) = (&request.building.sandbox, request.outer);
        let failed = || "failed to create a temporary directory".to_owned();
        let (home, staging) = (request.scratch.join("home"), outer.join("root"));
        for directory in [&home, &staging] {
            fs_err::create_dir_all(directory).context(Kind::Publish, failed)?;
        }
        let variables = request.building.environment.values();
        let interpreter = request.interpreter.clone();
        let readable = system_paths::of_programs(variables, interpreter, &options.hidden);
        let readable = readable.into_iter().chain([request.directory.to_owned()]);
        let mut mounts: Vec<PathMount> = readable
            .map(|path| PathMount::same(path, PathAccess::Read))
            .collect();
        mounts.push(PathMount::same(request.scratch, PathAccess::Write));
        for temporary in ["/tmp", "/var/tmp"] {
            mounts.push(PathMount {
                inside: temporary.into(),
                outside: home.clone(),
                access: PathAccess::Write,
            });
        }
        let shown_home = home.display().to_string();
        let own = [
            ("HOME", shown_home.as_str()),
            ("TMPDIR", &shown_home),
            ("LC_ALL", "C.UTF-8"),
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("PIP_NO_INPUT", "1"),
            ("PYTHONNOUSERSITE", "1"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = request.building.environment.clone().into_iter();
        let variables = environment.chain(own).collect();
        if options.mode == SandboxMode::Off {
            return Ok(Self {
                variables,
                launcher: Vec::new(),
                protections: Vec::new(),
            });
        }
        let support = SandboxSupport::probe(&options.launcher, outer);
        support.shortfall(options.mode)?;
        let hidden = options.hidden.iter().cloned();
        let profile = Profile {
            mounts,
            hidden: hidden.chain(system_paths::secret()).collect(),
            directory: "/".into(),
            home,
            staging,
            mechanism: support.mechanism,
            ..Profile::default()
        };
        let words = profile.launcher_words(&outer.join("profile.json"));
        let words = words.context(Kind::Publish, failed)?;
        let launcher = options.launcher.clone().into_os_string();
        Ok(Self {
            variables,
            launcher: std::iter::once(launcher).chain(words).collect(),
            protections: support.protections,
        })
    }

    /// Returns whether programs have no network access.
    pub(super) fn is_offline(&self) -> bool {
        self.protections.contains(&Protection::Network)
    }

    /// Runs `command` until it exits, for at most `limit`.
    ///
    /// # Errors
    /// When it cannot be started, or does not exit in time.
    pub(super) async fn run(&self, command: &[OsString], limit: Duration) -> Result<ProgramOutput> {
        let name = command.first().map(|name| name.display().to_string());
        let name = name.unwrap_or_default();
        let failed = || format!("failed to run {name}");
        let tree = ProcessTree::spawn(&mut self.command(command));
        let mut tree = tree.context(Kind::Verification, failed)?;
        debug!(?command, "running a program");
        let output = tokio::time::timeout(limit, follow(&mut tree)).await;
        let output = output.map_err(|_| {
            let seconds = limit.as_secs();
            Error::new(
                Kind::Verification,
                format!("{name} did not exit within {seconds} s"),
            )
        })?;
        let output = output.context(Kind::Verification, failed)?;
        debug!(status = %output.status, "the program has exited");
        Ok(output)
    }

    fn command(&self, command: &[OsString]) -> Command {
        let mut words = self.launcher.iter().chain(command);
        let mut process = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
        process
            .args(words)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process
    }
}

/// Waits until the leader of `tree` exits, and keeps the end of its output.
async fn follow(tree: &mut ProcessTree) -> io::Result<ProgramOutput> {
    let (mut stdout, mut stderr) = (VecDeque::new(), VecDeque::new());
    let status = {
        let reading = join(
            keep(tree.root.stdout.take(), &mut stdout),
            keep(tree.root.stderr.take(), &mut stderr),
        );
        let mut reading = pin!(reading);
        tokio::select! {
            _ = &mut reading => tree.root.wait().await?,
            status = tree.root.wait() => {
                // Remaining descendants could keep the pipes open forever.
                tree.end();
                let _ = tokio::time::timeout(LINGER, reading).await;
                status?
            }
        }
    };
    stdout.append(&mut stderr);
    Ok(ProgramOutput {
        status,
        text: String::from_utf8_lossy(stdout.make_contiguous()).into_owned(),
    })
}

/// Reads to the end of `reader`, and keeps the last bytes.
async fn keep(reader: Option<impl AsyncRead + Unpin>, kept: &mut VecDeque<u8>) {
    let Some(mut reader) = reader else {
        return;
    };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        kept.extend(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(KEPT_BYTES));
    }
}

impl ProgramOutput {
    /// Returns the last lines of the output.
    pub(super) fn tail(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<&str> = lines.collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

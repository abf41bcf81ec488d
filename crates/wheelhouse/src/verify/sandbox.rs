//! Runs programs without variables that would configure pip or Python, without credentials, and without network access
//! where namespaces are permitted. Programs never outlive the verification.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::join;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tracing::debug;
use wheelhouse_engine::process_tree::ProcessTree;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::Confinement;
use wheelhouse_types::secrets;
use wheelhouse_types::{Error, Kind, Result};

/// Prefixes of variables that are removed, because they configure pip or Python.
const REMOVED_PREFIXES: [&str; 7] = [
    "PIP_",
    "PYTHON",
    "VIRTUAL_ENV",
    "CONDA_",
    "XDG_",
    "UV_",
    "__PYVENV_",
];

/// Variables that are removed, because they lead to credentials.
const CREDENTIAL_VARIABLES: [&str; 6] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "NETRC",
    "DOCKER_CONFIG",
];

/// The number of bytes that are kept from the end of an output.
const KEPT_BYTES: usize = 256 << 10;

/// The time for which pipes are read after their program has exited.
const LINGER: Duration = Duration::from_secs(1);

/// The number of lines that are shown from the end of an output.
const SHOWN_LINES: usize = 20;

/// The arguments of `unshare` that start a program in an empty network namespace.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// The environment variables and the network namespace of programs.
pub(super) struct Sandbox {
    variables: Vec<(String, String)>,
    /// The arguments of `unshare`, if namespaces are permitted.
    namespace: Option<&'static [&'static str]>,
}

/// The exit status of a program and the end of its output.
pub(super) struct ProgramOutput {
    pub(super) status: ExitStatus,
    pub(super) text: String,
}

impl Sandbox {
    /// Creates a sandbox with the safe variables of `environment`, and `home` as the home directory.
    ///
    /// # Errors
    /// When `home` cannot be created.
    pub(super) async fn new(environment: &[(String, String)], home: &Path) -> Result<Self> {
        let created = fs_err::create_dir_all(home);
        created.context(Kind::Publish, || {
            "failed to create a temporary directory".to_owned()
        })?;
        let is_removed = |name: &str| {
            REMOVED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        let kept = environment.iter().filter(|(name, value)| {
            !is_removed(name)
                && !CREDENTIAL_VARIABLES.contains(&name.as_str())
                && !secrets::is_secret(name, value)
        });
        let home = home.display().to_string();
        let own = [
            ("HOME", home.as_str()),
            ("TMPDIR", &home),
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("PIP_NO_INPUT", "1"),
            ("PYTHONNOUSERSITE", "1"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut sandbox = Self {
            variables: kept.cloned().chain(own).collect(),
            namespace: None,
        };
        sandbox.find_namespace().await;
        Ok(sandbox)
    }

    /// Returns whether programs have no network access.
    pub(super) fn is_offline(&self) -> bool {
        self.namespace.is_some()
    }

    /// Returns the same confinement for build hooks.
    pub(super) fn confinement(&self) -> Confinement {
        let namespace = self.namespace.map(|arguments| {
            let words = ["unshare"].into_iter().chain(arguments.iter().copied());
            words.chain(["--"]).map(str::to_owned).collect()
        });
        Confinement {
            variables: self.variables.clone(),
            launcher: namespace.unwrap_or_default(),
        }
    }

    /// Finds the arguments of `unshare` that are permitted on this machine.
    async fn find_namespace(&mut self) {
        for arguments in NAMESPACES {
            self.namespace = Some(arguments);
            let probe = self.run(&["true".into()], Duration::from_secs(10)).await;
            if probe.is_ok_and(|output| output.status.success()) {
                return;
            }
        }
        debug!("network namespaces are not permitted");
        self.namespace = None;
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
        let launcher = self.confinement().launcher.into_iter();
        let mut words: Vec<OsString> = launcher.map(OsString::from).collect();
        words.extend_from_slice(command);
        let mut process = Command::new(&words[0]);
        process
            .args(&words[1..])
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

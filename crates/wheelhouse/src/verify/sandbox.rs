//! Programs that verifying runs: without what could lead them elsewhere, without credentials, without a network where
//! that is permitted, and never longer than the run.

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
use wheelhouse_engine::process_tree::ProcessTree;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::Confinement;
use wheelhouse_types::secrets;
use wheelhouse_types::{Error, Kind, Result};

/// Variables whose names begin so never reach a program: they would change what pip or Python does.
const WITHHELD: [&str; 7] = [
    "PIP_",
    "PYTHON",
    "VIRTUAL_ENV",
    "CONDA_",
    "XDG_",
    "UV_",
    "__PYVENV_",
];

/// Variables that lead to programs and files which give credentials.
const AGENTS: [&str; 6] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "NETRC",
    "DOCKER_CONFIG",
];

/// How much of the end of an output is kept, in bytes.
const KEPT: usize = 256 << 10;

/// How long pipes are read whose program has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How many of the last lines of an output are shown.
const SHOWN: usize = 20;

/// How a program gets a network of its own that leads nowhere.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Where programs run: their variables, their directory and their network.
pub(super) struct Surroundings {
    variables: Vec<(String, String)>,
    /// The arguments of `unshare`, if it may cut the network.
    namespace: Option<&'static [&'static str]>,
}

/// How a program ended, and the end of what it said.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: String,
}

impl Surroundings {
    /// Makes surroundings of `environment`, with `home` instead of the user's directory.
    pub(super) async fn new(environment: &[(String, String)], home: &Path) -> Result<Self> {
        let made = fs_err::create_dir_all(home);
        made.context(Kind::Publish, || {
            "failed to make a temporary directory".to_owned()
        })?;
        let withheld = |name: &str| WITHHELD.iter().any(|start| name.starts_with(start));
        let kept = environment.iter().filter(|(name, value)| {
            !withheld(name) && !AGENTS.contains(&name.as_str()) && !secrets::is_secret(name, value)
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
        let mut surroundings = Self {
            variables: kept.cloned().chain(own).collect(),
            namespace: None,
        };
        surroundings.find_namespace().await;
        Ok(surroundings)
    }

    /// Whether programs have no network.
    pub(super) fn is_cut_off(&self) -> bool {
        self.namespace.is_some()
    }

    /// Returns the same surroundings for the hooks of builds.
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

    /// Finds a way to cut the network that is permitted here.
    async fn find_namespace(&mut self) {
        for arguments in NAMESPACES {
            self.namespace = Some(arguments);
            let probe = self.run(&["true".into()], Duration::from_secs(10)).await;
            if probe.is_ok_and(|ended| ended.status.success()) {
                return;
            }
        }
        self.namespace = None;
    }

    /// Runs `command` to its end, and no longer than `limit`.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time.
    pub(super) async fn run(&self, command: &[OsString], limit: Duration) -> Result<Ended> {
        let name = command.first().map(|name| name.display().to_string());
        let name = name.unwrap_or_default();
        let failed = || format!("failed to run {name}");
        let family = ProcessTree::spawn(&mut self.command(command));
        let mut family = family.context(Kind::Verification, failed)?;
        let ended = tokio::time::timeout(limit, follow(&mut family)).await;
        let ended = ended.map_err(|_| {
            let seconds = limit.as_secs();
            Error::new(
                Kind::Verification,
                format!("{name} did not end within {seconds} s"),
            )
        })?;
        ended.context(Kind::Verification, failed)
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

/// Waits for the end of `family`, and keeps the end of what it says.
async fn follow(family: &mut ProcessTree) -> io::Result<Ended> {
    let (mut said, mut complained) = (VecDeque::new(), VecDeque::new());
    let status = {
        let reading = join(
            keep(family.leader.stdout.take(), &mut said),
            keep(family.leader.stderr.take(), &mut complained),
        );
        let mut reading = pin!(reading);
        tokio::select! {
            _ = &mut reading => family.leader.wait().await?,
            status = family.leader.wait() => {
                // What is left behind could hold the pipes open for ever.
                family.end();
                let _ = tokio::time::timeout(LINGER, reading).await;
                status?
            }
        }
    };
    said.append(&mut complained);
    Ok(Ended {
        status,
        output: String::from_utf8_lossy(said.make_contiguous()).into_owned(),
    })
}

/// Reads to the end, and keeps the last of it.
async fn keep(reader: Option<impl AsyncRead + Unpin>, kept: &mut VecDeque<u8>) {
    let Some(mut reader) = reader else {
        return;
    };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        kept.extend(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(KEPT));
    }
}

impl Ended {
    /// The last lines of what it said.
    pub(super) fn tail(&self) -> String {
        let lines = self.output.lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<&str> = lines.collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

//! Runs one hook of a build backend in a process of its own.
//!
//! The process and its descendants end with the call and with this program. The output goes to a log of limited size, and
//! the duration is limited.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{ErrorKind, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::secrets::Masking;
use wheelhouse_types::{Error, Event, Kind, Observer, Result, limits};

use super::sandbox::BuildSandbox;
use crate::process_tree::ProcessTree;

const SCRIPT: &str = include_str!("hook.py");

/// The maximum size of a log (bytes).
const LOG_LIMIT: u64 = 64 << 20;
/// The maximum number of last lines in the detail of an error.
const TAIL_LINES: usize = 20;
/// The maximum number of last lines that an error carries, for environments that do not keep the log file.
const LOG_LINES: usize = 50;
/// The maximum length of a line in an event (bytes).
const LONGEST_LINE: usize = 4 << 10;
/// The maximum that is read from the pipe after the process has ended (bytes).
const PIPE: usize = 1 << 20;
/// The size of the end of the output that is kept in memory (bytes).
const TAIL_BYTES: usize = 64 << 10;

/// One call of a hook.
pub(crate) struct Call<'a> {
    /// `name==version`, for messages.
    pub(crate) package: &'a str,
    pub(crate) hook: &'static str,
    pub(crate) backend: &'a super::build_system::BuildSystem,
    pub(crate) arguments: Vec<serde_json::Value>,
    pub(crate) python: &'a Path,
    /// The directory that the hook runs in: the root of the source tree.
    pub(crate) tree: &'a Path,
    /// The directory for the files of the call.
    pub(crate) scratch: &'a Path,
    pub(crate) environment: &'a [(OsString, OsString)],
    /// True for one processor and another umask.
    pub(crate) is_varied: bool,
    /// The sandbox of hooks, if any.
    pub(crate) sandbox: Option<&'a BuildSandbox>,
    /// The directory for the wheel, if the hook builds one.
    pub(crate) wheels: Option<&'a Path>,
    /// The log, which is appended to.
    pub(crate) log: &'a Path,
    pub(crate) timeout: Duration,
    pub(crate) observer: &'a dyn Observer,
}

#[derive(Serialize)]
struct CallFile<'a> {
    backend: &'a str,
    path: &'a [String],
    hook: &'static str,
    arguments: &'a [serde_json::Value],
    varied: bool,
    /// The file for the hosts that the hook looks up, unless the sandbox records them.
    requests: Option<&'a Path>,
}

#[derive(Deserialize)]
struct ResultFile {
    #[serde(default)]
    missing: bool,
    #[serde(default)]
    value: serde_json::Value,
}

impl Call<'_> {
    /// Runs the hook. Returns `None` if the backend does not have it.
    pub(crate) async fn run(self) -> Result<Option<serde_json::Value>> {
        let call_file = self.scratch.join(format!("{}.call.json", self.hook));
        let result_file = self.scratch.join(format!("{}.result.json", self.hook));
        let contents = serde_json::to_vec(&CallFile {
            backend: &self.backend.name,
            path: &self.backend.path,
            hook: self.hook,
            arguments: &self.arguments,
            varied: self.is_varied,
            requests: self.sandbox.and_then(BuildSandbox::hook_report),
        })
        .map_err(std::io::Error::other)
        .and_then(|bytes| fs_err::write(&call_file, bytes));
        contents.context(Kind::Build, || self.failed())?;
        tracing::debug!(
            package = self.package,
            backend = self.backend.name,
            hook = self.hook,
            "calling a hook"
        );
        self.observer.observe(&Event::BuildHook {
            package: self.package.to_owned(),
            hook: self.hook.to_owned(),
        });
        let (reader, mut tree, _lifeline) = self.spawn(&call_file, &result_file)?;
        let unlogged = || format!("{}: failed to log to {}", self.failed(), self.log.display());
        let mut output = Output::create(self.log, self.hook).context(Kind::Build, unlogged)?;
        if self.observer.wants_output() {
            output.lines = Some(Lines {
                package: self.package,
                observer: self.observer,
                partial: Vec::new(),
            });
        }
        let finished = tokio::time::timeout(self.timeout, output.follow(reader, &mut tree)).await;
        let Ok(status) = finished else {
            tree.end();
            let held = output.masking.finish();
            output.pass_on(&held).await.context(Kind::Build, unlogged)?;
            return Err(self.timed_out(&output));
        };
        let status = status.context(Kind::Build, unlogged)?;
        let result = match read_result(&result_file) {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let reason = format!(
                    "the result of `{}` of {} is refused: {error}",
                    self.hook, self.backend.name
                );
                return Err(self.explained(&reason, &output));
            }
            result => result.ok(),
        };
        let result: Option<ResultFile> =
            result.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match result {
            Some(result) if status.success() => Ok((!result.missing).then_some(result.value)),
            _ => Err(self.exited(status, &output)),
        }
    }

    /// Starts the process. The returned pipe is closed when this program is killed, and then the kernel ends the group of the
    /// hook, as its script has requested.
    fn spawn(
        &self,
        call: &Path,
        result: &Path,
    ) -> Result<(pipe::Receiver, ProcessTree, PipeWriter)> {
        let (stdin, lifeline) = std::io::pipe().context(Kind::Build, || self.failed())?;
        let (reader, writer) = std::io::pipe().context(Kind::Build, || self.failed())?;
        let receiver = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
            .context(Kind::Build, || self.failed())?;
        let stderr = writer.try_clone().context(Kind::Build, || self.failed())?;
        let mut command = self.command().context(Kind::Build, || self.failed())?;
        command
            .arg("-c")
            .arg(SCRIPT)
            .args([call, result].map(|path| self.inside(path)))
            .current_dir(self.tree)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("PYTHONHOME")
            .stdin(Stdio::from(OwnedFd::from(stdin)))
            .stdout(Stdio::from(OwnedFd::from(writer)))
            .stderr(Stdio::from(OwnedFd::from(stderr)));
        let tree = ProcessTree::spawn(&mut command).context(Kind::Build, || {
            format!("failed to start {}", self.python.display())
        })?;
        Ok((receiver, tree, lifeline))
    }

    /// Returns the command that runs Python, in the sandbox.
    fn command(&self) -> std::io::Result<Command> {
        let Some(sandbox) = self.sandbox else {
            return Ok(Command::new(self.python));
        };
        let (launcher, words) = sandbox.launcher(self.tree, self.wheels)?;
        let mut command = Command::new(launcher);
        let variables = sandbox.variables().iter();
        command
            .args(words)
            .arg(sandbox.inside(self.python))
            .env_clear()
            .envs(variables.map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Returns where the hook sees `path`.
    fn inside(&self, path: &Path) -> PathBuf {
        match self.sandbox {
            Some(sandbox) => sandbox.inside(path),
            None => path.to_owned(),
        }
    }

    fn failed(&self) -> String {
        format!("failed to build {}", self.package)
    }

    fn exited(&self, status: ExitStatus, output: &Output<'_>) -> Error {
        let reason = format!(
            "`{}` of {} ended with {status}",
            self.hook, self.backend.name
        );
        self.explained(&reason, output)
    }

    fn timed_out(&self, output: &Output<'_>) -> Error {
        let reason = format!(
            "`{}` of {} exceeded the timeout of {} s",
            self.hook,
            self.backend.name,
            self.timeout.as_secs()
        );
        self.explained(&reason, output)
            .with_hint("Allow more time with --build-timeout SECONDS.")
    }

    fn explained(&self, reason: &str, output: &Output<'_>) -> Error {
        let tail = output.tail(TAIL_LINES);
        let error = Error::new(Kind::Build, format!("{}: {reason}", self.failed()))
            .with_detail(format!("{tail}\nthe whole log: {}", self.log.display()))
            .with_log(output.tail(LOG_LINES));
        if let Some(hint) = self.network_hint(&output.text()) {
            return error.with_hint(hint);
        }
        match super::diagnosis::hint(&output.text()) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Returns a hint if the hook looked up hosts without network access: the URLs in its output, or else the hosts.
    fn network_hint(&self, output: &str) -> Option<String> {
        let hosts = self.sandbox?.network_requests().0;
        let first = hosts.first()?;
        let mut words = output
            .split(|character: char| character.is_whitespace() || "\"'<>()`,".contains(character));
        let is_url = |word: &&str| {
            let host = word
                .split_once("://")
                .map(|(_, rest)| rest.split(['/', ':', '?']).next());
            host.flatten().is_some_and(|host| hosts.contains(host))
        };
        let wanted = words.rfind(is_url).unwrap_or(first);
        let name = self.package.split("==").next().unwrap_or_default();
        Some(format!(
            "Its build asked for {wanted}, and builds have no network access. Provide what it needs before, or give it \
             access with --allow-network {name}."
        ))
    }
}

/// Reads the result of a hook at `path`, if it is a regular file: the hook may have created anything there.
fn read_result(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    limits::read(fs_err::File::open(path)?, limits::HOOK_RESULT)
}

/// The output of a hook, with masked credentials: in a file of limited size, and its end in memory.
struct Output<'a> {
    file: tokio::fs::File,
    written: u64,
    end: VecDeque<u8>,
    lines: Option<Lines<'a>>,
    masking: Masking,
}

/// Reports the output line by line, so that those of concurrent builds do not mix.
struct Lines<'a> {
    package: &'a str,
    observer: &'a dyn Observer,
    /// The incomplete last line.
    partial: Vec<u8>,
}

impl Lines<'_> {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') || self.partial.len() >= LONGEST_LINE {
                self.report();
            }
            if !matches!(byte, b'\n' | b'\r') {
                self.partial.push(*byte);
            }
        }
    }

    fn report(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if !line.is_empty() {
            self.observer.observe(&Event::BuildOutput {
                package: self.package.to_owned(),
                line,
            });
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        self.report();
    }
}

impl Output<'_> {
    fn create(path: &Path, hook: &str) -> std::io::Result<Self> {
        use std::io::Write as _;
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        // The output may be confidential.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "--- {hook}")?;
        Ok(Self {
            file: tokio::fs::File::from_std(file),
            written: 0,
            end: VecDeque::new(),
            lines: None,
            masking: Masking::default(),
        })
    }

    /// Reads the output until the root of `tree` has ended, and ends its descendants.
    async fn follow(
        &mut self,
        mut reader: pipe::Receiver,
        tree: &mut ProcessTree,
    ) -> std::io::Result<ExitStatus> {
        let mut buffer = vec![0; 16 << 10];
        let status = loop {
            tokio::select! {
                count = reader.read(&mut buffer) => match count? {
                    0 => break tree.root.wait().await?,
                    count => self.take(&buffer[..count]).await?,
                },
                status = tree.root.wait() => break status?,
            }
        };
        // A descendant could hold the pipe open and write to it indefinitely.
        tree.end();
        let mut left = PIPE;
        while let Ok(count @ 1..) = reader.try_read(&mut buffer) {
            self.take(&buffer[..count]).await?;
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
        let held = self.masking.finish();
        self.pass_on(&held).await?;
        tokio::io::AsyncWriteExt::flush(&mut self.file).await?;
        Ok(status)
    }

    async fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let masked = self.masking.take(bytes);
        self.pass_on(&masked).await
    }

    async fn pass_on(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        if let Some(lines) = &mut self.lines {
            lines.take(bytes);
        }
        self.end.extend(bytes);
        let excess = self.end.len().saturating_sub(TAIL_BYTES);
        self.end.drain(..excess);
        if self.written < LOG_LIMIT {
            self.file.write_all(bytes).await?;
            self.written += bytes.len() as u64;
            if self.written >= LOG_LIMIT {
                self.file.write_all(b"\n--- cut here: too long\n").await?;
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.end.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let start = lines.len().saturating_sub(count);
        lines[start..].join("\n")
    }
}

/// The maximum length of a label in the name of a log (characters).
const LOG_NAME: usize = 100;

/// Returns a new path for the log of a build in `directory`.
pub(crate) fn log_path(directory: &Path, package: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let plain = |character: char| {
        let is_plain = character.is_ascii_alphanumeric() || "=.-_".contains(character);
        if is_plain { character } else { '_' }
    };
    let package: String = package.chars().map(plain).take(LOG_NAME).collect();
    directory.join(format!("{package}-{}-{count}.log", std::process::id()))
}

//! `wheelhouse serve` on loopback: the protocol, real installers, uploads, hostile requests and the pages for people.

mod browser;
pub(crate) mod clients;
mod conditional;
mod directory;
mod hostile;
mod http;
mod merged;
mod protocol;
mod shutdown;
mod smuggling;
mod tls;
mod upload;

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;

use self::http::{Connection, Response};
use crate::support::sandbox::RunningProcess;
use crate::support::{Index, RunResult, Sandbox, Wheel};

/// The content type of the index as JSON (PEP 691).
pub(crate) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// An htpasswd line of the user `me` with the password `secret`: bcrypt with the lowest cost.
const USERS: &str = "me:$2y$04$Fm9aZa8ZX3QylrMezLinluPbUJFqGxsTFRksrSBoZShFACrTTBsDq\n";

/// A running server, killed on drop.
pub(crate) struct Server {
    process: Option<RunningProcess>,
    pub(crate) port: u16,
}

impl Server {
    /// Starts `wheelhouse serve` with `arguments` on a free port of loopback.
    pub(crate) fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command
            .args(["serve", "--bind", "127.0.0.1:0"])
            .args(arguments);
        Self::start_command(sandbox, command)
    }

    /// Starts `command`, which must serve on a free port of loopback, and waits until it prints its address.
    pub(crate) fn start_command(sandbox: &Sandbox, command: Command) -> Self {
        let mut process = sandbox.spawn(command);
        let port = loop {
            let output = process.output();
            let port = output.split("://127.0.0.1:").nth(1).and_then(|rest| {
                // The line may not be complete yet.
                let end = rest.find(|character: char| !character.is_ascii_digit())?;
                rest[..end].parse().ok()
            });
            if let Some(port) = port {
                break port;
            }
            assert!(!process.is_over(), "the server has ended:\n{output}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        Self {
            process: Some(process),
            port,
        }
    }

    pub(crate) fn process(&self) -> &RunningProcess {
        self.process.as_ref().expect("it runs")
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.process.as_mut().is_none_or(RunningProcess::is_over)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the URL of `path` with a user and a password.
    pub(crate) fn url_for(&self, credentials: &str, path: &str) -> String {
        format!("http://{credentials}@127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.port)
    }

    /// Sends one request in a connection of its own.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        self.connect().request(method, path, headers)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// Returns the page at `path` as JSON.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let response = self.request("GET", path, &[("Accept", JSON)]);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Returns the names on the list of projects at `path`.
    #[track_caller]
    pub(crate) fn project_names(&self, path: &str) -> Vec<String> {
        let page = self.json(path);
        let projects = page["projects"].as_array().unwrap().iter();
        projects
            .map(|project| project["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process().id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().unwrap() * 1024
    }

    /// Sends SIGTERM and returns the result.
    pub(crate) fn stop(mut self) -> RunResult {
        let process = self.process.take().expect("it runs");
        process.signal(rustix::process::Signal::TERM);
        process.finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            while !process.is_over() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

/// Builds a wheelhouse with `wheels` in the directory `name` of the sandbox.
#[track_caller]
pub(crate) fn build(sandbox: &Sandbox, name: &str, wheels: &[Wheel]) -> PathBuf {
    let index = Index::start();
    for wheel in wheels {
        index.add(wheel);
    }
    let requirements: Vec<String> = wheels.iter().map(Wheel::requirement).collect();
    let requirements: Vec<&str> = requirements.iter().map(String::as_str).collect();
    build_from(sandbox, &index, &sandbox.path(name), &requirements);
    sandbox.path(name)
}

/// Builds `requirements` from `index` into the wheelhouse `out`.
#[track_caller]
pub(crate) fn build_from(sandbox: &Sandbox, index: &Index, out: &Path, requirements: &[&str]) {
    sandbox
        .start_into(index, out, &sandbox.cache(), requirements)
        .finish()
        .assert_success();
}

/// Writes an htpasswd file with the user `me` and the password `secret`.
pub(crate) fn write_users(sandbox: &Sandbox) -> String {
    let path = sandbox.write("users", USERS);
    path.into_os_string().into_string().unwrap()
}

/// Returns the value of `Authorization` for `user:password`.
pub(crate) fn basic(credentials: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Basic {encoded}")
}

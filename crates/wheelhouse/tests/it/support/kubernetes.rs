//! A Kubernetes cluster of one node on this machine, with real parts: `tests/kubernetes/cluster`.
//!
//! Tests that use it are ignored without the feature `test-kubernetes`.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::containers::{repository, succeed, target};

/// A running cluster. It ends with the test, however that ends.
pub(crate) struct Cluster {
    child: Child,
    /// `None` while the cluster ends.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: TempDir,
}

/// An image: its name and the archive of its root filesystem, to which the program is added.
pub(crate) type Image<'a> = (&'a str, PathBuf);

impl Cluster {
    /// Starts a cluster whose node has `images`.
    pub(crate) fn start(images: &[Image<'_>]) -> Self {
        let kept = target().join("test-images/containerd");
        let mut arguments = vec!["--images".into(), kept.into_os_string()];
        let program = program_without_symbols();
        arguments.extend(images.iter().map(|(name, tree)| {
            let (tree, program) = (tree.display(), program.display());
            format!("{name}={tree}+{program}:/usr/local/bin/wheelhouse").into()
        }));
        Self::start_with(&arguments)
    }

    /// Starts a cluster that starts no pods.
    pub(crate) fn start_without_node() -> Self {
        Self::start_with(&["--without-node".into()])
    }

    fn start_with(arguments: &[OsString]) -> Self {
        let programs = std::env::var_os("WHEELHOUSE_TEST_KUBERNETES");
        let programs = programs.expect("WHEELHOUSE_TEST_KUBERNETES is not set: run ./test");
        let directory = tempfile::Builder::new()
            .prefix("kubernetes-")
            .tempdir()
            .unwrap();
        let mut command = Command::new(repository().join("tests/kubernetes/cluster"));
        command.arg(programs).arg(directory.path().join("cluster"));
        command.args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut cluster = Self {
            child,
            commands,
            answers,
            directory,
        };
        cluster.answer();
        cluster
    }

    /// Reads the next answer.
    #[track_caller]
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the cluster has ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Makes the cluster `start`, `stop` or `kill` one of its programs.
    #[track_caller]
    pub(crate) fn control(&mut self, action: &str, program: &str) {
        writeln!(self.commands.as_ref().unwrap(), "{action} {program}").unwrap();
        let answer = self.answer();
        assert!(answer.get("done").is_some(), "{answer}");
    }

    /// Returns the kubeconfig of a user that may do everything.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("cluster/kubeconfig")
    }

    /// Returns a command of `kubectl` as the user of [`Cluster::kubeconfig`].
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/kubectl");
        command
            .env("KUBECONFIG", self.kubeconfig())
            .args(["--cache-dir", self.path("kubectl").to_str().unwrap()])
            .args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `kubectl` successfully and returns its output.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments))
    }

    /// Returns the objects of a kind in a namespace.
    #[track_caller]
    pub(crate) fn objects(&self, namespace: &str, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "--namespace", namespace, "--output", "json"]);
        let mut list: Value = serde_json::from_str(&text).unwrap();
        serde_json::from_value(list["items"].take()).unwrap()
    }

    /// Returns the kubeconfig of a service account in its namespace.
    #[track_caller]
    pub(crate) fn account(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace]);
        let text = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"]["token"] = token.into();
        config["contexts"][0]["context"]["namespace"] = namespace.into();
        let path = self.path(&format!("{namespace}-{account}.json"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Returns all objects of a resource that were ever created in a namespace, in this order.
    pub(crate) fn created(&self, namespace: &str, resource: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("cluster/audit.log")).unwrap();
        let records = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let records = records.filter(|record| {
            let (object, code) = (&record["objectRef"], &record["responseStatus"]["code"]);
            object["namespace"] == namespace
                && object["resource"] == resource
                && object["subresource"].is_null()
                && *code == 201
        });
        records
            .map(|mut record| record["responseObject"].take())
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// Returns a copy of the program that is small enough for an image.
fn program_without_symbols() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_wheelhouse"));
    let copy = target().join("test-images/wheelhouse");
    let is_current = || {
        let time = |path: &Path| std::fs::metadata(path).and_then(|it| it.modified()).ok();
        time(&copy) > time(program)
    };
    if !is_current() {
        let new = tempfile::NamedTempFile::new_in(copy.parent().unwrap()).unwrap();
        let mut strip = Command::new("strip");
        succeed(strip.arg("-o").arg(new.path()).arg(program));
        new.persist(&copy).unwrap();
    }
    copy
}

//! A shared cache at each kind of location, for machines that are simulated by caches of their own.

mod commands;
mod faults;
mod locations;
mod runs;
mod signatures;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::services::{Registry, RegistryOptions, S3, WebDav};
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, tree};

/// The packages of each run.
const WANTED: [&str; 3] = ["alpha", "beta", "gamma"];

/// The number of builds of a run without a cache.
const BUILDS: usize = 2;

/// Returns an index with `alpha` and `beta` to build, and `gamma` as a wheel.
fn index() -> Index {
    let index = Index::start();
    index.add_sdist(&Sdist::new("alpha", "1.0").static_metadata());
    index.add_sdist(&Sdist::new("beta", "2.0").static_metadata().platform_wheel());
    index.add(&Wheel::new("gamma", "1.0").padded(300_000));
    index
}

/// A directory for all machines, an index, and a shared cache.
struct Site {
    sandbox: Sandbox,
    index: Index,
    location: String,
    /// Keeps the server of the location running.
    _server: Option<Server>,
}

#[expect(dead_code, reason = "servers end when they are dropped")]
enum Server {
    Registry(Registry),
    WebDav(WebDav),
    S3(S3),
}

impl Site {
    fn new(sandbox: Sandbox, location: String, server: Option<Server>) -> Self {
        Self {
            sandbox,
            index: index(),
            location,
            _server: server,
        }
    }

    fn directory() -> Self {
        let sandbox = Sandbox::new();
        let location = format!("file://{}", sandbox.path("shared").display());
        Self::new(sandbox, location, None)
    }

    fn registry() -> Self {
        let sandbox = Sandbox::new();
        let options = RegistryOptions {
            deletion: true,
            ..RegistryOptions::default()
        };
        let registry = Registry::start(&sandbox.path("registry"), &options);
        let location = format!("docker://{}/acme/cache", registry.host());
        Self::new(sandbox, location, Some(Server::Registry(registry)))
    }

    fn web_dav() -> Self {
        let sandbox = Sandbox::new();
        let server = WebDav::start(&sandbox.path("dav"));
        let location = format!("http://127.0.0.1:{}/acme/cache", server.port);
        Self::new(sandbox, location, Some(Server::WebDav(server)))
    }

    fn s3() -> Self {
        let mut sandbox = Sandbox::new();
        let server = S3::start(&crate::serve::clients::client("moto_server"), "acme");
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
            (
                "AWS_ENDPOINT_URL",
                &format!("http://127.0.0.1:{}", server.port),
            ),
        ] {
            sandbox.set(name, value);
        }
        Self::new(
            sandbox,
            "s3://acme/cache".to_owned(),
            Some(Server::S3(server)),
        )
    }

    /// Returns the cache of a machine.
    fn cache(&self, machine: &str) -> PathBuf {
        self.sandbox.path(&format!("cache-{machine}"))
    }

    fn out(&self, machine: &str) -> PathBuf {
        self.sandbox.path(&format!("out-{machine}"))
    }

    /// Builds the packages on a machine.
    fn build(&self, machine: &str, arguments: &[&str]) -> RunResult {
        self.start(machine, arguments).finish()
    }

    fn start(&self, machine: &str, arguments: &[&str]) -> crate::support::sandbox::RunningProcess {
        let arguments = [&WANTED[..], &["--json"], arguments].concat();
        let (out, cache) = (self.out(machine), self.cache(machine));
        self.sandbox
            .start_into(&self.index, &out, &cache, &arguments)
    }

    /// Fills the shared cache, and returns the wheels.
    #[track_caller]
    fn fill(&self) -> std::collections::BTreeMap<String, Vec<u8>> {
        let filled = self.build("first", &["--cache-to", &self.location]);
        filled.assert_success();
        assert_eq!(builds(&filled), BUILDS, "{}", filled.stdout);
        assert_eq!(warnings(&filled), Vec::<String>::new());
        self.wheels("first")
    }

    /// Returns the wheels that a machine has made.
    fn wheels(&self, machine: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut files = tree::read(&self.out(machine));
        files.retain(|name, _| Path::new(name).extension().is_some_and(|it| it == "whl"));
        files
    }

    /// Runs `wheelhouse cache` on a machine.
    fn run(&self, machine: &str, arguments: &[&str]) -> RunResult {
        let cache = self.cache(machine);
        let globals = ["--cache-dir", cache.to_str().unwrap()];
        self.sandbox
            .wheelhouse(&[&["cache"], arguments, &globals].concat())
    }
}

fn events(run: &RunResult) -> Vec<Value> {
    run.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns the number of builds of a run.
fn builds(run: &RunResult) -> usize {
    let events = events(run);
    events
        .iter()
        .filter(|event| event["event"] == "build-started")
        .count()
}

/// Returns the warnings of a run.
fn warnings(run: &RunResult) -> Vec<String> {
    let events = events(run);
    let warnings = events.iter().filter(|event| event["event"] == "warning");
    warnings
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

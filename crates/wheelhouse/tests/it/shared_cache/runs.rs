//! Shared caches: two machines are two cache directories.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Index, Sandbox, Sdist, Wheel, sha256, tree};

const WHEEL: &str = "alpha-1.0-py3-none-any.whl";

/// Returns an index with an sdist of `alpha`, whose build requires the sdist `helper`.
fn index() -> Index {
    let index = Index::start();
    index.add_sdist(
        &Sdist::new("alpha", "1.0")
            .static_metadata()
            .requires("helper"),
    );
    index.add_sdist(&Sdist::new("helper", "3.0").static_metadata());
    index
}

/// A directory as a shared cache, and the machines that use it.
struct Site {
    index: Index,
    sandbox: Sandbox,
}

impl Site {
    fn new() -> Self {
        Self {
            index: index(),
            sandbox: Sandbox::new(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.sandbox.path("shared")
    }

    fn location(&self) -> String {
        format!("file://{}", self.directory().display())
    }

    /// Builds on `machine`, and returns the events, and stderr.
    fn build(&self, machine: &str, arguments: &[&str]) -> (Vec<Value>, String) {
        let out = self.sandbox.path(&format!("out-{machine}"));
        let cache = self.sandbox.path(&format!("cache-{machine}"));
        let arguments = [&["--json"], arguments].concat();
        let run = self
            .sandbox
            .start_into(&self.index, &out, &cache, &arguments);
        let result = run.finish();
        result.assert_success();
        let events = result.stdout.lines();
        let events = events.map(|line| serde_json::from_str(line).unwrap());
        (events.collect(), result.stderr.clone())
    }

    fn wheel(&self, machine: &str) -> Vec<u8> {
        fs::read(self.sandbox.path(&format!("out-{machine}/{WHEEL}"))).unwrap()
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory().join(kind));
        let mut paths: Vec<_> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }
}

fn outcome(events: &[Value]) -> String {
    let is_alpha = |event: &&Value| event["event"] == "step-finished" && event["filename"] == WHEEL;
    let event = events.iter().find(is_alpha).unwrap();
    event["outcome"].as_str().unwrap().to_owned()
}

fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

fn warnings(events: &[Value]) -> Vec<String> {
    let warnings = events.iter().filter(|event| event["event"] == "warning");
    let message = |event: &Value| event["message"].as_str().unwrap().to_owned();
    warnings.map(message).collect()
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn second_machine_copies_what_first_has_built() {
    let site = Site::new();
    let (events, _) = site.build("one", &["alpha", "--cache-to", &site.location()]);
    assert_eq!(outcome(&events), "built");
    assert_eq!((site.files("ac").len(), site.files("cas").len()), (2, 2));
    let from = ["alpha", "--cache-from", &site.location()];
    site.index.forget_requests();
    let (events, _) = site.build("two", &from);
    assert_eq!(outcome(&events), "copied");
    assert_eq!(count(&events, "build-started"), 0);
    assert_eq!(count(&events, "wheel-copied"), 1);
    assert!(site.index.requests("alpha-1.0.tar.gz").is_empty());
    assert!(warnings(&events).is_empty());
    let finished = events.last().unwrap();
    assert_eq!(
        (&finished["copied"], &finished["built"]),
        (&1.into(), &0.into())
    );
    // The manifest and the provenance say how the wheel was built, on the first machine.
    let output = |machine: &str| tree::read(&site.sandbox.path(&format!("out-{machine}")));
    tree::assert_same(&output("one"), &output("two"));
    // From now on it is in the cache of the second machine.
    fs::remove_dir_all(site.directory()).unwrap();
    let (events, _) = site.build("two", &["alpha"]);
    assert_eq!(outcome(&events), "reused");
}

#[test]
fn dry_run_shows_what_shared_cache_has() {
    let site = Site::new();
    site.build("one", &["alpha", "--cache-to", &site.location()]);
    let plan = |cache: &[&str]| {
        let out = site.sandbox.path("preview");
        let cache_dir = site.sandbox.path("cache-two");
        let arguments = [&["alpha", "--dry-run", "--json"], cache].concat();
        let run = site
            .sandbox
            .start_into(&site.index, &out, &cache_dir, &arguments);
        let result = run.finish();
        result.assert_success();
        let plan: Value = serde_json::from_str(&result.stdout).unwrap();
        plan["steps"][0].clone()
    };
    assert_eq!(plan(&[])["action"], "build");
    let step = plan(&["--cache-from", &site.location()]);
    assert_eq!(step["action"], "copy");
    assert_eq!(step["location"], site.location());
    assert_eq!(step["file"], WHEEL);
    assert_eq!(step["sha256"], sha256(&site.wheel("one")));
}

#[test]
fn wrong_entries_are_never_used() {
    let site = Site::new();
    site.build("one", &["alpha", "--cache-to", &site.location()]);
    let right = site.wheel("one");
    let file = site.directory().join("cas").join(sha256(&right));
    let other = Wheel::new("alpha", "1.0")
        .file("evil.py", "planted = True\n")
        .bytes();
    let from = ["alpha", "--cache-from", &site.location()];
    for (number, wrong) in [&other[..], &right[..100], b""].into_iter().enumerate() {
        replace(&file, wrong);
        let machine = format!("wrong-{number}");
        let (events, _) = site.build(&machine, &from);
        assert_eq!(outcome(&events), "built");
        assert_eq!(site.wheel(&machine), right);
        let warnings = warnings(&events);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("is not used"), "{warnings:?}");
    }
    replace(&file, &right);
    // Each record under the key of the other build.
    let records = site.files("ac");
    let texts = [0, 1].map(|index: usize| fs::read(&records[index]).unwrap());
    replace(&records[0], &texts[1]);
    replace(&records[1], &texts[0]);
    let (events, _) = site.build("swapped", &from);
    assert_eq!(outcome(&events), "built");
    assert_eq!(site.wheel("swapped"), right);
    assert!(warnings(&events)[0].contains("record of another build"));
}

#[test]
fn record_of_wheel_with_other_name_is_not_used() {
    let site = Site::new();
    site.build("one", &["alpha", "--cache-to", &site.location()]);
    let other = Wheel::new("beta", "1.0").bytes();
    let sha = sha256(&other);
    replace(&site.directory().join("cas").join(&sha), &other);
    let right = sha256(&site.wheel("one"));
    for path in site.files("ac") {
        let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if document["record"]["sha256"] == right {
            document["record"]["sha256"] = sha.clone().into();
            document["record"]["size"] = other.len().into();
            replace(&path, &serde_json::to_vec(&document).unwrap());
        }
    }
    let (events, _) = site.build("two", &["alpha", "--cache-from", &site.location()]);
    assert_eq!(outcome(&events), "built");
    assert_eq!(site.wheel("two"), site.wheel("one"));
    assert_eq!(warnings(&events).len(), 1, "{:?}", warnings(&events));
}

#[test]
fn builds_with_other_inputs_or_requirements_are_not_taken() {
    let mut site = Site::new();
    site.build("one", &["alpha", "--cache-to", &site.location()]);
    let location = site.location();
    let from = ["alpha", "--cache-from", &location];
    let build = |site: &Site, machine: &str, more: &[&str]| {
        let (events, _) = site.build(machine, &[&from, more].concat());
        outcome(&events)
    };
    assert_eq!(build(&site, "same", &[]), "copied");
    assert_eq!(build(&site, "settings", &["-C", "a=b"]), "built");
    // The build requirements are not pinned.
    assert_eq!(build(&site, "closure", &["--cache-key-closure"]), "built");
    site.sandbox.set("CFLAGS", "-O1");
    assert_eq!(build(&site, "variable", &[]), "built");
}

#[test]
fn only_signed_wheels_are_taken_with_key() {
    let site = Site::new();
    let key = |name: &str| {
        let [private, public] =
            ["pem", "pub"].map(|end| site.sandbox.path(&format!("{name}.{end}")));
        let generate = ["genpkey", "-algorithm", "ed25519", "-out"];
        let mut openssl = std::process::Command::new("openssl");
        assert!(
            openssl
                .args(generate)
                .arg(&private)
                .status()
                .unwrap()
                .success()
        );
        let mut openssl = std::process::Command::new("openssl");
        let export = openssl.args(["pkey", "-pubout", "-in"]).arg(&private);
        assert!(export.arg("-out").arg(&public).status().unwrap().success());
        [private, public].map(|path| path.to_str().unwrap().to_owned())
    };
    let ([private, public], [stranger, _]) = (key("ours"), key("theirs"));
    let location = site.location();
    let to = ["alpha", "--cache-to", &location];
    let take = |machine: &str| {
        let from = ["--cache-from", &location, "--cache-verify-key", &public];
        let (events, _) = site.build(machine, &[&["alpha"], &from[..]].concat());
        outcome(&events)
    };
    site.build("unsigned", &to);
    assert_eq!(take("one"), "built");
    fs::remove_dir_all(site.directory()).unwrap();
    site.build("theirs", &[&to, &["--sign", &stranger][..]].concat());
    assert_eq!(take("two"), "built");
    fs::remove_dir_all(site.directory()).unwrap();
    site.build("ours", &[&to, &["--sign", &private][..]].concat());
    assert_eq!(take("three"), "copied");
}

#[test]
fn downloads_are_shared_on_request() {
    let site = Site::new();
    site.index.add(&Wheel::new("tool", "2.0"));
    let file = "tool-2.0-py3-none-any.whl";
    let location = site.location();
    site.build("one", &["tool", "--cache-to", &location]);
    assert!(site.files("cas").is_empty());
    site.build("two", &["tool", "--cache-to", &location, "--cache-fetched"]);
    assert_eq!(site.files("cas").len(), 1);
    site.index.forget_requests();
    site.build(
        "three",
        &["tool", "--cache-from", &location, "--cache-fetched"],
    );
    assert!(site.index.requests(file).is_empty());
    site.build("four", &["tool", "--cache-from", &location]);
    assert!(!site.index.requests(file).is_empty());
}

#[test]
fn unusable_locations_cost_one_warning() {
    let site = Site::new();
    fs::write(site.sandbox.path("file"), "").unwrap();
    let location = format!("file://{}", site.sandbox.path("file/below").display());
    let (events, _) = site.build("one", &["alpha", "--cache-to", &location]);
    assert_eq!(outcome(&events), "built");
    let warnings = warnings(&events);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(&location), "{warnings:?}");
}

#[test]
fn variables_name_locations() {
    let mut site = Site::new();
    site.sandbox.set("WHEELHOUSE_CACHE_TO", site.location());
    site.build("one", &["alpha"]);
    assert_eq!(site.files("ac").len(), 2);
    let result = site.sandbox.wheelhouse(&["config", "--json"]);
    result.assert_success();
    assert!(
        result.stdout.contains(&site.location()),
        "{}",
        result.stdout
    );
    site.sandbox
        .set("WHEELHOUSE_CACHE_FROM", "ftp://host/cache");
    let result = site.sandbox.wheelhouse(&["build", "alpha"]);
    result.assert_exit(2);
    assert!(
        result.stderr.contains("ftp://host/cache"),
        "{}",
        result.stderr
    );
}

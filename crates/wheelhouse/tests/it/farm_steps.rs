//! Build steps and workers, without a cluster: `--workers processes` with a shared cache in a directory.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel};

/// An index with `app`, whose build requires `tool`, both as sdists. `tool` requires a wheel.
fn index() -> Index {
    let index = Index::start();
    index.add_sdist(&Sdist::new("app", "1.0").requires("tool").reports("extra"));
    index.add_sdist(&Sdist::new("tool", "1.0").requires("base"));
    index.add(&Wheel::new("base", "1.0"));
    index.add(&Wheel::new("extra", "1.0"));
    index
}

/// Builds with workers whose shared cache is `shared`.
fn build(sandbox: &Sandbox, index: &Index, shared: &Path, arguments: &[&str]) -> RunResult {
    let location = format!("file://{}", shared.display());
    let farm = ["--workers", "processes", "--cache-to", &location];
    sandbox.build(index, &[&farm, arguments].concat())
}

/// Returns the wheels of the manifest without what differs between two builds.
fn wheels(sandbox: &Sandbox) -> Vec<Value> {
    let bytes = std::fs::read(sandbox.out().join("wheelhouse.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let mut wheels = manifest["wheels"].as_array().unwrap().clone();
    for wheel in &mut wheels {
        if let Some(built) = wheel.get_mut("built").and_then(Value::as_object_mut) {
            built.remove("seconds");
            built.remove("run");
        }
    }
    wheels
}

/// Returns the events of a run by their names.
fn events(result: &RunResult) -> BTreeMap<String, Vec<Value>> {
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in result.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let name = event["event"].as_str().unwrap().to_owned();
        events.entry(name).or_default().push(event);
    }
    events
}

#[test]
fn wheelhouse_of_workers_is_that_of_builds_here() {
    let (here, there, index) = (Sandbox::new(), Sandbox::new(), index());
    here.build(&index, &["app"]).assert_success();
    let shared = there.path("shared");
    let result = build(&there, &index, &shared, &["app", "--json"]);
    result.assert_success();
    assert_eq!(wheels(&there), wheels(&here));
    let events = events(&result);
    let placed: Vec<_> = events["build-placed"]
        .iter()
        .map(|event| event["package"].as_str().unwrap())
        .collect();
    // A build requirement that is an sdist is a step of its own, and precedes what requires it.
    assert_eq!(placed, ["tool==1.0", "app==1.0"]);
    assert_eq!(events["build-finished"].len(), 2);
    let documents = std::fs::read_dir(shared.join("cas"))
        .unwrap()
        .filter(|file| {
            let bytes = std::fs::read(file.as_ref().unwrap().path()).unwrap();
            bytes.starts_with(b"{\"schema\":\"wheelhouse-step/1\"")
        });
    assert_eq!(documents.count(), 2);
}

#[test]
fn finished_steps_are_found_by_another_machine() {
    let (first, second, index) = (Sandbox::new(), Sandbox::new(), index());
    let shared = first.path("shared");
    build(&first, &index, &shared, &["app"]).assert_success();
    let result = build(&second, &index, &shared, &["app", "--json"]);
    result.assert_success();
    assert!(!events(&result).contains_key("build-placed"));
    assert_eq!(wheels(&second), wheels(&first));
}

#[test]
fn failed_step_is_shown_as_a_failed_build() {
    let index = Index::start();
    let script = "print('compiling'); raise SystemExit('gcc: command not found')";
    index.add_sdist(&Sdist::new("app", "1.0").script(script));
    let (here, there) = (Sandbox::new(), Sandbox::new());
    let local = here.build(&index, &["app"]);
    let remote = build(&there, &index, &there.path("shared"), &["app"]);
    local.assert_exit(5);
    remote.assert_exit(5);
    let lines = |result: &RunResult| -> Vec<String> {
        let lines = result.error().lines();
        let lines = lines.filter(|line| !line.contains("the whole log: "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lines(&remote), lines(&local));
}

#[test]
fn workers_need_a_shared_cache() {
    let (sandbox, index) = (Sandbox::new(), index());
    let result = sandbox.build(&index, &["app", "--workers", "processes"]);
    result
        .assert_exit(2)
        .assert_error_names(&["workers require", "--cache-to"]);
}

#[test]
fn download_builds_what_it_fetched_for_each_target() {
    let (sandbox, index) = (Sandbox::new(), index());
    let location = format!("file://{}", sandbox.path("shared").display());
    for arguments in [
        &["--build"][..],
        &["--build", "--workers", "processes", "--cache-to", &location],
    ] {
        let result = sandbox.download(&index, &[&["app", "--target", "host"], arguments].concat());
        result.assert_success();
        let directories = std::fs::read_dir(sandbox.out()).unwrap();
        let directories: Vec<_> = directories.map(|entry| entry.unwrap().path()).collect();
        let [directory] = &directories[..] else {
            panic!("not one wheelhouse: {directories:?}");
        };
        assert!(directory.join("app-1.0-py3-none-any.whl").is_file());
        assert!(directory.join("wheelhouse.json").is_file());
        assert!(!directory.join("app-1.0.tar.gz").exists());
    }
}

/// A key in PKCS #8, and its public key.
const KEY: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\n\
     MC4CAQAwBQYDK2VwBCIEIAYcL2ysTIE8haTdBDo749HGXjw60P6aoiO7EMZ4jYyD\n\
     -----END PRIVATE KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\n\
     MCowBQYDK2VwAyEAeW3fusHcvNne3+VmZFHMAOFVFoNDiB5lSGhQxqnlJAw=\n\
     -----END PUBLIC KEY-----\n",
];

#[test]
fn each_wheelhouse_of_a_download_is_signed_and_verified() {
    let (sandbox, index) = (Sandbox::new(), index());
    for (name, text) in ["private.pem", "public.pem"].into_iter().zip(KEY) {
        std::fs::write(sandbox.path(name), text).unwrap();
    }
    let after = ["--build", "--sign", "private.pem", "--verify"];
    // One target needs a build, several have wheels.
    for (arguments, count) in [
        (["app", "--target", "host"], 1),
        (["base", "--target", "host,3.12-linux-arm64"], 2),
    ] {
        let _ = std::fs::remove_dir_all(sandbox.out());
        let result = sandbox.download(&index, &[&arguments[..], &after].concat());
        result.assert_success();
        let checks = result.stderr.matches("ok           files").count();
        assert_eq!(checks, count, "{}", result.stderr);
        let directories = std::fs::read_dir(sandbox.out()).unwrap();
        let directories: Vec<_> = directories.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(directories.len(), count, "{directories:?}");
        for directory in directories {
            let directory = directory.to_str().unwrap();
            let heading = format!("{directory}:");
            let is_named = result.stderr.lines().any(|line| line == heading);
            assert_eq!(is_named, count > 1, "{}", result.stderr);
            let key = ["--no-install", "--key", "public.pem"];
            let verified = sandbox.wheelhouse(&[&["verify", directory], &key[..]].concat());
            verified.assert_success();
        }
    }
}

#[test]
fn dry_run_of_download_shows_what_would_be_built() {
    let (sandbox, index) = (Sandbox::new(), index());
    let arguments = ["app", "--build", "--target", "host"];
    let plan = || {
        let result = sandbox.download(&index, &[&arguments[..], &["--dry-run"]].concat());
        result.assert_success();
        let mut lines = result.stdout.lines();
        let title = lines.next().unwrap().to_owned();
        (title, lines.map(str::to_owned).collect::<Vec<_>>())
    };
    let (title, steps) = plan();
    assert!(title.ends_with("; sdists to build: app==1.0"), "{title}");
    assert_eq!(steps.len(), 1);
    let step = "build   app  1.0  app-1.0.tar.gz";
    assert!(steps[0].starts_with(step), "{steps:?}");
    assert!(!sandbox.out().exists());
    sandbox.download(&index, &arguments).assert_success();
    let (title, steps) = plan();
    assert!(!title.contains("to build"), "{title}");
    assert_eq!(steps, ["reuse   app  1.0  app-1.0-py3-none-any.whl"]);
    // Without a farm, the wheel that was built here serves another target if it fits every platform.
    let other = ["app", "--build", "--target", "3.12-linux-arm64"];
    let result = sandbox.download(&index, &[&other[..], &["--dry-run"]].concat());
    result.assert_success();
    let step = "reuse   app  1.0  app-1.0-py3-none-any.whl";
    assert_eq!(result.stdout.lines().nth(1), Some(step));
}

#[test]
fn unknown_step_is_an_error_of_the_worker() {
    let sandbox = Sandbox::new();
    let shared = sandbox.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let location = format!("file://{}", shared.display());
    let step = "0".repeat(64);
    let result = sandbox.wheelhouse(&["worker", &step, "--cache-to", &location]);
    result
        .assert_exit(2)
        .assert_error_names(&["the build step", &step]);
}

#[test]
fn wheel_that_was_replaced_in_the_shared_cache_is_built_again() {
    let (first, second, index) = (Sandbox::new(), Sandbox::new(), index());
    let shared = first.path("shared");
    build(&first, &index, &shared, &["app"]).assert_success();
    for file in std::fs::read_dir(shared.join("cas")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"PK") {
            std::fs::write(&path, b"PK other").unwrap();
        }
    }
    let result = build(&second, &index, &shared, &["app", "--json"]);
    result.assert_success();
    assert_eq!(events(&result)["build-placed"].len(), 2);
    assert_eq!(wheels(&second), wheels(&first));
}

//! Progress events, build output, logs and verification output during a run.

use serde_json::Value;

use crate::support::{Behavior, Index, Sandbox, Sdist, Wheel, process};

const SLOW: &str = "import time; time.sleep(1.2)";

fn events(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn events_named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    let events = events.iter();
    events.filter(|event| event["event"] == name).collect()
}

/// Returns an index with sdists that take a second to build; `beta` requires `alpha` for its build.
fn index_with_slow_sdists() -> Index {
    let index = Index::start();
    let sdist = |name| Sdist::new(name, "1.0").static_metadata();
    index.add_sdist(&sdist("alpha").script(SLOW));
    index.add_sdist(&sdist("beta").script("print('here')").requires("alpha"));
    index.add_sdist(&sdist("gamma").script(SLOW));
    index
}

#[test]
fn build_time_excludes_waiting() {
    let (index, sandbox) = (index_with_slow_sdists(), Sandbox::new());
    let run = sandbox.build(&index, &["beta", "gamma", "--jobs=1", "--json"]);
    run.assert_success();
    let events = events(&run.stdout);
    let finished = events_named(&events, "build-finished");
    let seconds = |package: &str| {
        let mut finished = finished.iter();
        let event = finished.find(|event| event["package"] == package);
        event.unwrap()["seconds"].as_f64().unwrap()
    };
    let (alpha, gamma) = (seconds("alpha==1.0"), seconds("gamma==1.0"));
    assert!(seconds("beta==1.0") < 1.2, "{finished:?}");
    let longest = alpha.max(gamma);
    assert!(alpha.min(gamma) >= 1.2 && longest < 2.4, "{finished:?}");
    let waiting = events_named(&events, "build-waiting");
    let waits = |package: &str, reason: &str| {
        let mut waiting = waiting.iter();
        waiting.any(|event| event["package"] == package && event["wait"]["for"] == reason)
    };
    assert!(waits("beta==1.0", "requirements"), "{waiting:?}");
    assert!(
        waits("alpha==1.0", "job") || waits("gamma==1.0", "job"),
        "{waiting:?}"
    );
    assert!(!events_named(&events, "build-hook").is_empty());
    assert!(events_named(&events, "build-output").is_empty());
}

#[test]
fn verbose_run_prints_build_output() {
    let index = Index::start();
    for name in ["alpha", "beta"] {
        let script = "for i in range(50): print('line', i, flush=True)\nprint('an end', end='')";
        index.add_sdist(&Sdist::new(name, "1.0").static_metadata().script(script));
    }
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "beta", "-v", "--jobs=2"]);
    run.assert_success();
    for name in ["alpha", "beta"] {
        let prefix = format!("{name}==1.0 | ");
        let lines = run
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        let lines: Vec<&str> = lines.filter(|line| line.contains("line ")).collect();
        let expected: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected, "{}", run.stderr);
        assert!(run.stderr.contains(&format!("{prefix}an end\n")));
        let hook = format!("\n{name}==1.0: build_wheel\n");
        assert!(run.stderr.contains(&hook), "{}", run.stderr);
    }
}

#[test]
fn doubly_verbose_run_prints_log() {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "-vv"]);
    run.assert_success();
    assert!(run.stderr.contains("DEBUG "), "{}", run.stderr);
    assert!(run.stderr.contains("/alpha/"), "{}", run.stderr);
    let run = sandbox.build(&index, &["alpha", "-v"]);
    assert!(!run.stderr.contains("DEBUG "), "{}", run.stderr);
}

#[test]
fn verify_prints_each_check_when_it_ends() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.out()).unwrap();
    let slow = Sdist::new("alpha", "1.0").script("import time; time.sleep(60)");
    std::fs::write(sandbox.out().join(slow.filename()), slow.bytes()).unwrap();
    let wheel = Wheel::new("beta", "1.0");
    std::fs::write(sandbox.out().join(wheel.filename()), wheel.bytes()).unwrap();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["verify", "out"]);
    let mut running = sandbox.spawn(command);
    let stdout = sandbox.path("stdout-1");
    process::eventually("the first checks to be printed", || {
        let told = std::fs::read_to_string(&stdout).unwrap_or_default();
        told.contains("files ") && told.contains("wheels ")
    });
    assert!(!running.is_over());
    running.kill();
}

#[test]
fn log_of_failed_build_exists_at_reported_path() {
    let failing = Sdist::new("alpha", "1.0")
        .static_metadata()
        .script("print('a' * 9000); sys.exit(3)");
    let named = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("the whole log: "));
        std::fs::read_to_string(line.expect("the message names a log")).unwrap()
    };
    let index = Index::start();
    index.add_sdist(&failing);
    let missing = Wheel::new("beta", "1.0");
    index.add(&missing);
    index.always(
        &format!("/files/{}", missing.filename()),
        Behavior::Status(404, Vec::new()),
    );
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["build", "alpha", "beta", "--keep-going", "--no-cache"]);
    command.args(["--index-url", &index.url()]);
    let run = sandbox.spawn(command).finish();
    assert!(!run.status.success());
    assert!(named(&run.stderr).contains(&"a".repeat(9000)));
    std::fs::create_dir(sandbox.out()).unwrap();
    std::fs::write(sandbox.out().join(failing.filename()), failing.bytes()).unwrap();
    let run = sandbox.wheelhouse(&["verify", "out"]);
    assert!(named(&run.stdout).contains(&"a".repeat(9000)));
}

#[test]
fn names_unknown_package_of_which_extra_is_required() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    let run = sandbox.build(&index, &["absent[extra]>=2"]);
    run.assert_exit(3)
        .assert_error_names(&["absent was not found", "spelling"]);
    assert!(!run.stderr.contains("is available"), "{}", run.stderr);
}

//! Installation, imports and builds during verification: no network, and no leftover processes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use super::{BETA, change_manifest, check, command, look, plain, verify, wheelhouse};
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, process, python_literal, tree};

#[test]
fn checks_completeness_without_installing_for_another_python() {
    let sandbox = wheelhouse();
    change_manifest(&sandbox, |manifest| {
        manifest["targets"][0]["python-version"] = "3.4.10".into();
    });
    let run = verify(&sandbox, &["--json"]);
    run.assert_success();
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    for (name, outcome) in [("completeness", "passed"), ("installation", "not-checked")] {
        let check = check(&document, name);
        assert_eq!(check["outcome"], outcome);
        let target = check["target"].as_str().unwrap();
        assert!(target.contains("3.4.10"), "{check:#}");
    }
}

#[test]
fn reports_module_that_fails_to_import() {
    let sandbox = plain(&[
        Wheel::new("alpha", "1.0").file("broken/__init__.py", "import no_such_module\n"),
        Wheel::new("beta", "2.0").file("_hidden.py", "import no_such_module\n"),
    ]);
    verify(&sandbox, &[]).assert_success();
    let run = verify(&sandbox, &["--import"]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "broken of alpha-1.0 cannot be imported: ModuleNotFoundError",
        "3 modules",
    ]);
    assert!(!run.stdout.contains("_hidden"), "{}", run.stdout);
}

#[test]
#[cfg_attr(
    not(feature = "test-namespaces"),
    ignore = "requires network namespaces"
)]
fn installed_packages_have_no_network() {
    let index = Index::start();
    let port = index.port();
    let script =
        format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), 5).close()\n");
    let sandbox = plain(&[Wheel::new("alpha", "1.0").file("dials.py", script)]);
    let run = verify(&sandbox, &["--import"]);
    run.assert_exit(6);
    run.assert_stdout_contains(&["dials of alpha-1.0 cannot be imported: ConnectionRefusedError"]);
}

#[test]
fn build_hooks_have_no_network_home_or_credentials() {
    let index = Index::start();
    let port = index.port();
    let script = format!(
        "import json, socket\n\
         try:\n    socket.create_connection(('127.0.0.1', {port}), 5).close()\n    network = True\n\
         except OSError:\n    network = False\n\
         sys.exit('SAID ' + json.dumps([network, dict(os.environ)]))"
    );
    let mut sandbox = plain(&[Wheel::new("alpha", "1.0").requires("gamma")]);
    let home = sandbox.path("home").display().to_string();
    for (name, value) in [
        ("DEPLOY_TOKEN", "t0p"),
        ("AWS_SECRET_ACCESS_KEY", "t0p"),
        ("DATABASE_URL", "postgres://app:t0p@db/app"),
        ("SSH_AUTH_SOCK", "/tmp/t0p"),
        ("CFLAGS", "-O1"),
    ] {
        sandbox.set(name, value);
    }
    for sdist in [
        Sdist::new("gamma", "1.0").script(&script),
        Sdist::new("delta", "1.0").static_metadata().script(&script),
    ] {
        fs::write(sandbox.out().join(sdist.filename()), sdist.bytes()).unwrap();
    }
    let run = verify(&sandbox, &[]);
    run.assert_exit(6);
    let said = run
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SAID "));
    let said: Vec<Value> = said
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(said.len() >= 2, "{}", run.stdout);
    assert!(!run.stdout.contains("t0p"), "{}", run.stdout);
    for said in said {
        assert_ne!(said[1]["HOME"], home.as_str(), "{said}");
        assert_eq!(said[1]["CFLAGS"], "-O1", "{said}");
        assert_eq!(said[0], false, "{said}");
    }
}

#[test]
fn interruption_terminates_child_processes() {
    let ids = Sandbox::new();
    let path = ids.path("ids");
    let script = format!(
        "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '600']).pid\n\
         with open({}, 'a') as file: file.write('%d\\n%d\\n' % (os.getpid(), child))\ntime.sleep(600)\n",
        python_literal(&path)
    );
    let sandbox = plain(&[Wheel::new("alpha", "1.0").file("sleeps.py", script)]);
    let run = sandbox.spawn(command(&sandbox, &["--import", "--sandbox", "off"]));
    process::eventually("the import", || process::ids(&path).len() >= 2);
    run.signal(Signal::INT);
    let run = run.finish();
    run.assert_exit(130);
    process::assert_dead(&process::ids(&path));
    let left = tree::read(&sandbox.path("tmp"));
    assert!(left.is_empty(), "left behind: {:?}", left.keys());
}

#[test]
fn builds_sdists_from_directory_alone() {
    let sandbox = plain(&[Wheel::new("alpha", "1.0").requires("gamma")]);
    let good = Sdist::new("gamma", "1.0");
    fs::write(sandbox.out().join(good.filename()), good.bytes()).unwrap();
    let run = verify(&sandbox, &["--import"]);
    run.assert_success();
    run.assert_stdout_contains(&[
        "ok           sources       1 source distribution",
        "2 modules",
    ]);
    for name in ["delta", "epsilon"] {
        let bad = Sdist::new(name, "1.0")
            .static_metadata()
            .script("raise OSError('no luck')");
        fs::write(sandbox.out().join(bad.filename()), bad.bytes()).unwrap();
    }
    let run = verify(&sandbox, &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "delta-1.0.tar.gz does not build",
        "epsilon-1.0.tar.gz does not build",
        "no luck",
    ]);
    let run = look(&sandbox);
    run.assert_success();
    run.assert_stdout_contains(&["not checked  sources"]);
}

#[test]
fn runs_no_code_of_unrequested_or_foreign_sdists() {
    let marker = Sandbox::new();
    let path = marker.path("marker");
    let script = format!("open({}, 'w').close()", python_literal(&path));
    let sdist = Sdist::new("gamma", "1.0").script(&script);
    let sandbox = plain(&[]);
    fs::write(sandbox.out().join(sdist.filename()), sdist.bytes()).unwrap();
    let run = look(&sandbox);
    run.assert_success();
    run.assert_stdout_contains(&[
        "not checked  completeness",
        "are only known when it is built",
    ]);
    let stated = sdist.clone().static_metadata();
    fs::write(sandbox.out().join(stated.filename()), stated.bytes()).unwrap();
    let run = look(&sandbox);
    run.assert_success();
    run.assert_stdout_contains(&["ok           completeness"]);
    assert!(!path.exists(), "the source distribution was built");
    let sandbox = wheelhouse();
    fs::write(sandbox.out().join(sdist.filename()), sdist.bytes()).unwrap();
    sandbox.write("requirements.txt", "gamma\n");
    verify(&sandbox, &["-r", "requirements.txt"]).assert_exit(6);
    assert!(!path.exists(), "the foreign source distribution was built");
}

#[test]
fn build_verifies_its_output() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    let run = sandbox.build(&index, &["alpha", "--verify"]);
    run.assert_success();
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.contains("ok           installation  1 package"),
        "{}",
        run.stderr
    );
    fs::write(sandbox.out().join(BETA), Wheel::new("beta", "2.0").bytes()).unwrap();
    let run = sandbox.build(&index, &["alpha", "--verify", "--json"]);
    run.assert_exit(6);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [.., report, error] = lines.as_slice() else {
        panic!("not enough lines");
    };
    assert_eq!(report["schema"], "wheelhouse-verify/1");
    assert_eq!(check(report, "files")["failures"][0]["about"], BETA);
    assert_eq!(error["code"], 6);
}

/// Returns the calls of an strace log that create network sockets.
fn sockets(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap();
    let lines = text.lines().filter(|line| line.contains("AF_INET"));
    lines.map(str::to_owned).collect()
}

fn traced(
    sandbox: &Sandbox,
    program: impl AsRef<OsStr>,
    arguments: &[&str],
) -> (RunResult, PathBuf) {
    let trace = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command
        .args(["-f", "-e", "trace=network", "-o"])
        .arg(&trace);
    command.arg(program).args(arguments);
    (sandbox.spawn(command).finish(), trace)
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn creates_no_socket() {
    let sandbox = wheelhouse();
    // The trace shows sockets of another program.
    let script = "import socket; socket.socket().close()";
    let (_, trace) = traced(&sandbox, "python3", &["-c", script]);
    assert_eq!(sockets(&trace).len(), 1);
    let binary = env!("CARGO_BIN_EXE_wheelhouse");
    let (run, trace) = traced(&sandbox, binary, &["verify", "out", "--no-install"]);
    run.assert_success();
    assert_eq!(sockets(&trace), Vec::<String>::new());
    fs::remove_file(sandbox.out().join(BETA)).unwrap();
    let (run, trace) = traced(&sandbox, binary, &["verify", "out", "--no-install"]);
    run.assert_exit(6);
    assert_eq!(sockets(&trace), Vec::<String>::new());
}

#[test]
fn leftover_process_of_module_does_not_delay_verification() {
    let script =
        "import subprocess\nprint('much' * 1_000_000)\nsubprocess.Popen(['sleep', '100'])\n";
    let sandbox = plain(&[Wheel::new("alpha", "1.0").file("noisy.py", script)]);
    let begun = std::time::Instant::now();
    verify(&sandbox, &["--import"]).assert_success();
    assert!(begun.elapsed() < std::time::Duration::from_secs(90));
}

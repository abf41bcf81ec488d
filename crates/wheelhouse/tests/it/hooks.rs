//! Build backends that fail, never finish, print without end or leave processes behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Index, Sandbox, Sdist, Wheel, process, python_literal, tree};

/// Returns an index with the sdist of `gamma` 1.0, whose build backend runs `script`.
fn index_with_script(script: &str) -> Index {
    let index = Index::start();
    index.add_sdist(&Sdist::new("gamma", "1.0").static_metadata().script(script));
    index
}

/// Returns the path of the log that the message names.
fn log(error: &str) -> PathBuf {
    let line = error
        .lines()
        .find_map(|line| line.trim().strip_prefix("the whole log: "));
    PathBuf::from(line.expect("the message names a log"))
}

#[test]
fn error_shows_package_hook_last_lines_and_log() {
    let index = index_with_script(
        "for i in range(100): print('line', i)\nprint('no luck', file=sys.stderr)\nsys.exit(3)",
    );
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["gamma"]);
    run.assert_exit(5);
    run.assert_error_names(&[
        "gamma==1.0",
        "build_wheel",
        "line 99\n",
        "no luck\n",
        "exit status: 3",
    ]);
    let shown = |line: &str| run.stderr.lines().any(|shown| shown.trim() == line);
    assert!(shown("line 90") && !shown("line 10"), "{}", run.stderr);
    let log = std::fs::read_to_string(log(run.error())).unwrap();
    assert!(
        log.contains("line 0\n") && log.contains("no luck\n"),
        "{log}"
    );
    assert!(!sandbox.out().exists(), "a failed run left an output");
}

#[test]
fn error_shows_exception_of_hook() {
    let run = Sandbox::new().build(
        &index_with_script("raise ValueError('what a day')"),
        &["gamma"],
    );
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "ValueError: what a day"]);
}

#[test]
fn error_is_the_same_without_static_metadata() {
    let index = Index::start();
    index.add_sdist(&Sdist::new("gamma", "1.0").script("print('no luck')\nsys.exit(3)"));
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["gamma"]);
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "build_wheel", "no luck"]);
    assert!(log(run.error()).is_file());
}

#[test]
fn does_not_repeat_failed_build_in_same_run() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let ran = sandbox.path("ran");
    let script = format!(
        "with open({}, 'a') as file: file.write('x')\nsys.exit(1)",
        python_literal(&ran)
    );
    index.add_sdist(&Sdist::new("gamma", "1.0").script(&script));
    sandbox.build(&index, &["gamma"]).assert_exit(5);
    assert_eq!(std::fs::read(&ran).unwrap().len(), 1);
}

#[test]
fn known_cause_of_build_failure_has_hint() {
    let script = "print('Error: pg_config executable not found.')\nsys.exit(1)";
    let run = Sandbox::new().build(&index_with_script(script), &["gamma"]);
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "hint: ", "libpq-dev"]);
}

#[test]
fn rejects_build_without_wheel() {
    let run = Sandbox::new().build(
        &index_with_script("return 'gamma-1.0-py3-none-any.whl'"),
        &["gamma"],
    );
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "build_wheel"]);
}

#[test]
fn rejects_build_of_invalid_wheel() {
    let script = "name = 'gamma-1.0-py3-none-any.whl'\nopen(os.path.join(wheel_directory, name), 'w').write('x')\nreturn name";
    let run = Sandbox::new().build(&index_with_script(script), &["gamma"]);
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "invalid wheel"]);
}

#[test]
fn rejects_wheel_outside_of_wheel_directory() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path("gamma-1.0-py3-none-any.whl");
    let script = format!(
        "make_wheel({})\nreturn {}",
        python_literal(&sandbox.path("")),
        python_literal(&outside)
    );
    let run = sandbox.build(&index_with_script(&script), &["gamma"]);
    run.assert_exit(5).assert_error_names(&["gamma==1.0"]);
}

/// Returns a script that starts children in its process group and writes all process ids to `file`.
fn script_starting_children(file: &Path) -> String {
    let quoted = python_literal(file);
    format!(
        "def note(id):\n    with open({quoted}, 'a') as file: file.write('%d\\n' % id)\n\
         note(os.getpid())\n\
         note(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)\n\
         note(subprocess.Popen(['sh', '-c', 'sleep 600 & echo $! >> {0}; wait'], stdout=subprocess.DEVNULL).pid)\n\
         time.sleep(0.3)",
        file.display()
    )
}

#[test]
fn build_timeout_terminates_hook_and_its_children() {
    let sandbox = Sandbox::unconfined();
    let ids = sandbox.path("ids");
    let index = index_with_script(
        &(script_starting_children(&ids)
            + "\nprint('still here')\nsys.stdout.flush()\ntime.sleep(600)"),
    );
    let run = sandbox.build(&index, &["gamma", "--build-timeout", "1"]);
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "1 s", "--build-timeout", "still here"]);
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    let ids = process::ids(&ids);
    assert!(ids.len() >= 4, "{ids:?}");
    process::assert_dead(&ids);
}

#[test]
fn daemon_does_not_delay_build_and_is_terminated() {
    let sandbox = Sandbox::unconfined();
    let ids = sandbox.path("ids");
    // The child inherits the output and keeps it open.
    let script = format!(
        "id = subprocess.Popen(['sleep', '600']).pid\nwith open({}, 'a') as file: file.write('%d\\n' % id)",
        python_literal(&ids)
    );
    let run = sandbox.build(&index_with_script(&script), &["gamma"]);
    run.assert_success();
    assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
    process::assert_dead(&process::ids(&ids));
}

/// Returns a script that starts daemons that keep the output open: in a session of their own, by a double fork,
/// without the environment of the hook, and one that starts others. It writes all process ids to `file`.
fn script_starting_daemons(file: &Path) -> String {
    let quoted = python_literal(file);
    format!(
        "def note(id):\n    with open({quoted}, 'a') as file: file.write('%d\\n' % id)\n\
         note(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)\n\
         note(subprocess.Popen(['sleep', '600'], start_new_session=True, env={{}}).pid)\n\
         note(subprocess.Popen(['yes'], start_new_session=True).pid)\n\
         subprocess.call(['sh', '-c', 'setsid sh -c \"sleep 600 & echo \\\\$! >> {0}; wait\" &'])\n\
         if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        note(os.getpid())\n        time.sleep(600)\n    os._exit(0)\n\
         while len(open({quoted}).readlines()) < 5: time.sleep(0.01)\n",
        file.display()
    )
}

#[test]
fn terminates_daemons_when_hook_ends() {
    for (end, options, code) in [
        ("pass", &[][..], 0),
        ("sys.exit(1)", &[], 5),
        ("os.kill(os.getpid(), 9)", &[], 5),
        ("os.close(1); os.close(2); time.sleep(0.2)", &[], 0),
        ("time.sleep(600)", &["--build-timeout", "3"], 5),
    ] {
        let sandbox = Sandbox::unconfined();
        let ids = sandbox.path("ids");
        let index = index_with_script(&(script_starting_daemons(&ids) + end));
        let run = sandbox.build(&index, &[&["gamma"], options].concat());
        run.assert_exit(code);
        assert!(run.took < Duration::from_secs(20), "took {:?}", run.took);
        let ids = process::ids(&ids);
        assert!(ids.len() >= 5, "{ids:?}");
        process::assert_dead(&ids);
    }
}

#[test]
fn terminates_daemons_on_interruption() {
    let sandbox = Sandbox::unconfined();
    let ids = sandbox.path("ids");
    let index = index_with_script(&(script_starting_daemons(&ids) + "time.sleep(600)"));
    let run = sandbox.start(&index, &["gamma"]);
    process::eventually("the daemons", || process::ids(&ids).len() >= 5);
    run.signal(rustix::process::Signal::TERM);
    run.finish().assert_exit(130);
    process::assert_dead(&process::ids(&ids));
}

#[test]
fn end_of_hook_does_not_affect_concurrent_hook() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let (ready, over) = (sandbox.path("ready"), sandbox.path("over"));
    // The build of `gamma` needs its daemon until that of `delta` has ended.
    let script = format!(
        "daemon = subprocess.Popen(['sleep', '600'], start_new_session=True)\n\
         open({}, 'w').close()\n\
         while not os.path.exists({over}): time.sleep(0.01)\ntime.sleep(1)\n\
         if daemon.poll() is not None: sys.exit('the daemon is gone')",
        python_literal(&ready),
        over = python_literal(&over)
    );
    index.add_sdist(&Sdist::new("gamma", "1.0").static_metadata().script(&script));
    let script = format!(
        "while not os.path.exists({}): time.sleep(0.01)\nopen({}, 'w').close()",
        python_literal(&ready),
        python_literal(&over)
    );
    index.add_sdist(&Sdist::new("delta", "1.0").static_metadata().script(&script));
    let run = sandbox.build(&index, &["gamma", "delta", "--jobs", "2"]);
    run.assert_success();
}

#[test]
fn changes_to_build_environment_do_not_affect_other_builds() {
    let edit = "f = open(api, 'r+')\nf.write(\"def hi(): return 'EVIL'\\n\")\nf.close()";
    let forge = "import importlib.util, importlib._bootstrap_external as loader\n\
                 code, state = compile(\"def hi(): return 'EVIL'\", api, 'exec'), os.stat(api)\n\
                 pyc = importlib.util.cache_from_source(api)\n\
                 bytecode = loader._code_to_timestamp_pyc(code, int(state.st_mtime), state.st_size)\n\
                 open(pyc, 'r+b').write(bytecode)";
    let metadata = "path = os.path.join(os.path.dirname(os.path.dirname(api)), 'tool-1.0.dist-info', 'METADATA')\n\
                    open(path, 'a').write('EVIL')";
    let script = "path = os.path.join(os.path.dirname(os.path.dirname(api)), 'bin', 'run')\n\
                  scripts = os.path.dirname(sys.executable)\n\
                  open(os.path.join(scripts, 'toolscript'), 'r+').write('EVIL')";
    for attack in [edit, forge, metadata, script] {
        let (index, sandbox) = (Index::start(), Sandbox::unconfined());
        let told = sandbox.path("told");
        let tool = Wheel::new("tool", "1.0")
            .file("tool/__init__.py", "")
            .file("tool/api.py", "def hi(): return 'good'\n")
            .file("tool-1.0.data/scripts/toolscript", "good\n");
        index.add(&tool);
        let find = "import tool\napi = os.path.join(os.path.dirname(tool.__file__), 'api.py')\n";
        let evil = Sdist::new("evil", "1.0").requires("tool");
        index.add_sdist(&evil.static_metadata().script(&format!("{find}{attack}")));
        let note = format!(
            "{find}import importlib.util, tool.api\n\
             scripts = os.path.dirname(sys.executable)\n\
             metadata = os.path.join(os.path.dirname(os.path.dirname(api)), 'tool-1.0.dist-info', 'METADATA')\n\
             said = [tool.api.hi(), open(os.path.join(scripts, 'toolscript')).read(), open(metadata).read()]\n\
             said += [os.stat(path).st_nlink for path in (api, metadata, importlib.util.cache_from_source(api))]\n\
             open({}, 'w').write(repr(said))",
            python_literal(&told)
        );
        let victim = Sdist::new("victim", "1.0").requires("tool");
        index.add_sdist(&victim.static_metadata().script(&note));
        sandbox.build(&index, &["evil"]).assert_success();
        sandbox.build(&index, &["victim"]).assert_success();
        let told = std::fs::read_to_string(&told).unwrap();
        assert!(
            told.starts_with("['good', ") && told.ends_with("1, 1, 1]"),
            "{told}"
        );
        assert!(!told.contains("EVIL"), "{told}");
    }
}

#[test]
fn compiles_build_requirements_before_first_hook() {
    let (index, sandbox) = (Index::start(), Sandbox::unconfined());
    let told = sandbox.path("told");
    let tool = Wheel::new("tool", "1.0")
        .file(
            "tool/__init__.py",
            "import os\nos.environ['TOOL'] = 'imported'\n",
        )
        .file("tool/broken.py", "def")
        .file("tool-1.0.data/purelib/moved.py", "");
    index.add(&tool);
    let script = format!(
        "import importlib.util\n\
         tool = importlib.util.find_spec('tool')\n\
         data = open(tool.cached, 'rb').read()\n\
         is_current = int.from_bytes(data[8:12], 'little') == int(os.stat(tool.origin).st_mtime)\n\
         names = [os.path.basename(name) for name in os.listdir(os.path.dirname(tool.cached))]\n\
         open({}, 'w').write(repr((is_current, len(names), importlib.util.find_spec('moved') is not None)))",
        python_literal(&told)
    );
    index.add_sdist(
        &Sdist::new("gamma", "1.0")
            .requires("tool")
            .static_metadata()
            .script(&script),
    );
    sandbox.build(&index, &["gamma"]).assert_success();
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "(True, 1, True)");
}

#[test]
fn bounds_log_and_memory_for_endless_output() {
    let script = "import resource\nline = b'x' * 99 + b'\\n'\nfor i in range(1200): sys.stdout.buffer.write(line * 1000)\nsys.stdout.flush()\nsys.exit(1)";
    let index = index_with_script(script);
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("python3");
    // Runs the program and prints its maximum resident set size in KiB.
    let measure = "import resource, subprocess, sys\ncode = subprocess.call(sys.argv[1:])\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(code)";
    command.args(["-c", measure, env!("CARGO_BIN_EXE_wheelhouse")]);
    command
        .args(crate::support::sandbox::build_arguments(
            &index,
            &sandbox.out(),
            &sandbox.cache(),
        ))
        .arg("gamma");
    let run = sandbox.spawn(command).finish();
    run.assert_exit(5).assert_error_names(&["gamma==1.0"]);
    assert!(
        run.stderr.len() < 20_000,
        "{} bytes of messages",
        run.stderr.len()
    );
    let size = std::fs::metadata(log(run.error())).unwrap().len();
    assert!(
        (60 << 20..70 << 20).contains(&size),
        "a log of {size} bytes"
    );
    let memory: u64 = run.stdout.trim().parse().unwrap();
    assert!(memory < 200 << 10, "{memory} KiB of memory");
}

#[test]
fn truncates_endless_line() {
    let run = Sandbox::new().build(
        &index_with_script("sys.stdout.write('x' * 30000000)\nsys.exit(1)"),
        &["gamma"],
    );
    run.assert_exit(5).assert_error_names(&["gamma==1.0"]);
    assert!(
        run.stderr.len() < 100_000,
        "{} bytes of messages",
        run.stderr.len()
    );
}

#[test]
fn shows_output_that_is_not_utf8() {
    let run = Sandbox::new().build(
        &index_with_script("sys.stdout.buffer.write(b'caf\\xe9 \\x1b[31mred\\x1b[0m\\n')\nsys.stdout.flush()\nsys.exit(1)"),
        &["gamma"],
    );
    run.assert_exit(5)
        .assert_error_names(&["gamma==1.0", "caf"]);
}

#[test]
fn keep_going_lists_all_failures() {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    index.add(&Wheel::new("beta", "1.0"));
    index.always(
        "/files/beta-1.0-py3-none-any.whl",
        crate::support::Behavior::Status(404, Vec::new()),
    );
    for name in ["gamma", "delta"] {
        let script = format!("print('{name} has no luck')\nsys.exit(1)");
        index.add_sdist(&Sdist::new(name, "1.0").static_metadata().script(&script));
    }
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "beta", "gamma", "delta", "--keep-going"]);
    let code = run.status.code();
    assert!(matches!(code, Some(4 | 5)), "{code:?}: {}", run.stderr);
    run.assert_error_names(&[
        "gamma has no luck",
        "delta has no luck",
        "beta-1.0-py3-none-any.whl",
        "404",
    ]);
    assert!(
        run.error().matches("the whole log: ").count() == 2,
        "{}",
        run.stderr
    );
}

#[test]
fn keep_going_lists_failures_without_static_metadata() {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    for name in ["gamma", "delta"] {
        let script = format!("print('{name} has no luck')\nsys.exit(1)");
        index.add_sdist(&Sdist::new(name, "1.0").script(&script));
    }
    let sandbox = Sandbox::new();
    let run = sandbox.build(&index, &["alpha", "gamma", "delta", "--keep-going"]);
    run.assert_exit(5)
        .assert_error_names(&["gamma has no luck", "delta has no luck"]);
}

#[test]
fn run_after_failure_reuses_finished_wheels() {
    let index = index_with_script("sys.exit(1)");
    index.add(&Wheel::new("alpha", "1.0"));
    let sandbox = Sandbox::new();
    sandbox.build(&index, &["alpha", "gamma"]).assert_exit(5);
    index.add_sdist(&Sdist::new("gamma", "1.1").static_metadata());
    index.forget_requests();
    sandbox.build(&index, &["alpha", "gamma"]).assert_success();
    assert!(index.requests("alpha-1.0-py3-none-any.whl").is_empty());
    assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
}

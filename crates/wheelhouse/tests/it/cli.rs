//! The command line: messages, output streams, exit codes, and origins of options.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{RunResult, Sandbox, Wheel};

/// Returns a sandbox whose directory `links` has these wheels, for runs without an index.
fn sandbox(wheels: &[Wheel]) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("links")).unwrap();
    for wheel in wheels {
        fs::write(sandbox.path("links").join(wheel.filename()), wheel.bytes()).unwrap();
    }
    sandbox
}

/// Runs `wheelhouse` with `arguments`, separated by spaces.
fn run(sandbox: &Sandbox, arguments: &str) -> RunResult {
    sandbox.spawn(command(sandbox, arguments)).finish()
}

fn command(sandbox: &Sandbox, arguments: &str) -> Command {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(arguments.split_whitespace());
    command
}

/// Replaces what differs between runs.
fn redacted(sandbox: &Sandbox, text: &str) -> String {
    let text = text.replace(
        sandbox.path("").display().to_string().trim_end_matches('/'),
        "SANDBOX",
    );
    let lines = text.lines().map(|line| match line.split_once(" in ") {
        Some((before, _)) if line.starts_with("Finished") => format!("{before} in TIME"),
        _ if line.starts_with("Target") => "Target PYTHON".to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const OFFLINE: &str = "build --no-index -f links";

#[test]
fn prints_help_and_version_to_stdout() {
    let sandbox = sandbox(&[]);
    let help = run(&sandbox, "build --help");
    help.assert_success();
    assert!(help.stdout.contains("\nExamples:\n") && help.stderr.is_empty());
    let version = run(&sandbox, "--version");
    assert_eq!(
        version.stdout,
        format!("wheelhouse {}\n", env!("CARGO_PKG_VERSION"))
    );
    let completions = run(&sandbox, "completions bash");
    completions.assert_success();
    assert!(completions.stdout.contains("--find-links"));
    assert!(!sandbox.path("home/.cache").exists(), "a cache was created");
}

#[test]
fn suggests_similar_command_and_option() {
    let sandbox = sandbox(&[]);
    run(&sandbox, "").assert_exit(2);
    let verb = run(&sandbox, "biuld");
    verb.assert_exit(2);
    assert!(verb.stderr.contains("'build'"), "{}", verb.stderr);
    let option = run(&sandbox, "build --no-binry a");
    option.assert_exit(2);
    assert!(option.stderr.contains("'--no-binary'"), "{}", option.stderr);
    run(&sandbox, "build --jobs 0 a").assert_exit(2);
    run(&sandbox, "build --frozen --upgrade a").assert_exit(2);
}

#[test]
fn last_of_repeated_options_applies() {
    let sandbox = sandbox(&[]);
    let repeated = "config --no-index --no-index --pre --pre --timeout 1 --timeout 7 --json";
    let found = run(&sandbox, repeated);
    found.assert_success();
    assert!(found.stdout.contains("\"7 s\""), "{}", found.stdout);
}

#[test]
fn missing_inputs_are_an_error() {
    let sandbox = sandbox(&[]);
    let finished = run(&sandbox, "build");
    finished.assert_exit(2);
    insta::assert_snapshot!(redacted(&sandbox, &finished.stderr), @"
    error: no requirements to build: `SANDBOX` contains none of `pylock.toml`, `requirements.txt`, `uv.lock`, `poetry.lock`, `Pipfile.lock`, `pyproject.toml`, `setup.py`
    hint: Pass requirements, a file with -r FILE, or the directory of an application with --source DIR.
    ");
    sandbox.write("pylock.toml", "lock-version = '1.0'\n");
    let finished = run(&sandbox, "lock --check");
    finished.assert_exit(2);
    insta::assert_snapshot!(redacted(&sandbox, &finished.stderr), @"
    error: no requirements to build: `SANDBOX` contains none of `requirements.txt`, `pyproject.toml`, `setup.py`
    hint: Pass requirements, a file with -r FILE, or the directory of an application with --source DIR.
    ");
    let json = run(&sandbox, "build --json -r absent.txt");
    json.assert_exit(2);
    let error = &lines_of_json(&json.stdout)[0];
    assert_eq!(
        (&error["event"], &error["kind"]),
        (&"error".into(), &"input".into())
    );
    assert_eq!(json.stderr, "");
}

#[test]
fn prints_progress_to_stderr_only() {
    let sandbox = sandbox(&[
        Wheel::new("acme", "1.0").requires("tool"),
        Wheel::new("tool", "2.0"),
    ]);
    let finished = run(&sandbox, &format!("{OFFLINE} acme"));
    finished.assert_success();
    assert_eq!(finished.stdout, "");
    assert!(
        finished.stderr.contains("Resolved 2 packages\n"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("Finished wheelhouse: 2 wheels, "),
        "{}",
        finished.stderr
    );
    assert!(
        sandbox
            .path("wheelhouse/acme-1.0-py3-none-any.whl")
            .is_file()
    );
    let quiet = run(&sandbox, &format!("{OFFLINE} acme -q"));
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn dry_run_prints_plan_and_writes_nothing() {
    let sandbox = sandbox(&[
        Wheel::new("zebra", "1.0").requires("acme"),
        Wheel::new("acme", "12.0"),
    ]);
    let finished = run(&sandbox, &format!("{OFFLINE} zebra --dry-run"));
    finished.assert_success();
    let words = |line: &str| {
        line.split_whitespace()
            .take(4)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let steps: Vec<_> = finished.stdout.lines().map(words).collect();
    let expected = [
        ["fetch", "acme", "12.0", "acme-12.0-py3-none-any.whl"],
        ["fetch", "zebra", "1.0", "zebra-1.0-py3-none-any.whl"],
    ];
    assert_eq!(steps, expected);
    assert!(!sandbox.path("wheelhouse").exists());
    let json = run(&sandbox, &format!("{OFFLINE} zebra --dry-run --json"));
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["schema"], "wheelhouse-plan/1");
    assert_eq!(plan["steps"][1]["name"], "zebra");
}

#[test]
fn json_prints_event_lines_ending_with_result() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    let events = lines_of_json(&run(&sandbox, &format!("{OFFLINE} acme --json")).stdout);
    assert!(
        events
            .iter()
            .all(|event| event["schema"] == "wheelhouse-event/1")
    );
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"target"));
    assert_eq!(names.iter().filter(|name| **name == "finished").count(), 1);
    assert_eq!(names.last(), Some(&"finished"));
    let failed = run(&sandbox, &format!("{OFFLINE} absent --json"));
    failed.assert_exit(3);
    let events = lines_of_json(&failed.stdout);
    assert_eq!(events.last().unwrap()["kind"], "resolution");
}

#[test]
fn reads_requirements_from_stdin() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    let mut command = command(&sandbox, &format!("{OFFLINE} --dry-run -q -r -"));
    let listed = fs::File::open(sandbox.write("listed.txt", "acme # ours\n")).unwrap();
    let output = command.stdin(listed).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("fetch   acme  1.0"), "{stdout}");
}

#[test]
fn source_is_directory_or_repository() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0"), Wheel::new("tool", "1.0")]);
    sandbox.write("app/requirements.txt", "acme\n");
    let plan = |arguments: &str| run(&sandbox, &format!("{OFFLINE} -q --dry-run {arguments}"));
    assert!(plan("--source app").stdout.starts_with("fetch   acme"));
    for git in [
        "init --quiet --initial-branch main",
        "add .",
        "-c user.name=a -c user.email=a@b commit --quiet -m first",
        "tag v1",
    ] {
        let mut command = sandbox.command("git");
        command
            .arg("-C")
            .arg(sandbox.path("app"))
            .args(git.split(' '));
        assert!(command.status().unwrap().success());
    }
    sandbox.write("app/requirements.txt", "tool\n");
    let url = format!("git+file://{}", sandbox.path("app").display());
    assert!(
        plan(&format!("--source {url}@v1"))
            .stdout
            .starts_with("fetch   acme")
    );
    let unknown = plan(&format!("--source {url}@v2"));
    unknown.assert_exit(4).assert_error_names(&["app`", "v2"]);
    assert_eq!(
        fs::read_dir(sandbox.path("tmp")).unwrap().count(),
        0,
        "clones are removed"
    );
    plan("--source nowhere")
        .assert_exit(2)
        .assert_error_names(&["`nowhere`"]);
}

#[test]
fn config_shows_origins_and_masks_credentials() {
    let mut sandbox = sandbox(&[]);
    let file = sandbox.write("pip.conf", "[global]\nretries = 7\nquiet = 1\nabsurd = 1\n");
    sandbox.set("PIP_CONFIG_FILE", file);
    sandbox.set("PIP_INDEX_URL", "https://me:secret@host/simple");
    let finished = run(&sandbox, "config -f links --pre");
    finished.assert_success();
    assert!(!finished.stdout.contains("secret"));
    let line = |option: &str| {
        let line = finished
            .stdout
            .lines()
            .find(|line| line.split(' ').next() == Some(option));
        line.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        line("index-url"),
        "index-url https://****@host/simple `PIP_INDEX_URL`"
    );
    assert_eq!(line("find-links"), "find-links links command line");
    assert_eq!(line("timeout"), "timeout 30 s default");
    assert!(line("retries").ends_with("pip.conf` line 2, section `[global]`"));
    assert!(finished.stdout.contains("\nNot used:\n  absurd = 1 "));
    let json: Value = serde_json::from_str(&run(&sandbox, "config --json").stdout).unwrap();
    assert_eq!(json["schema"], "wheelhouse-config/1");
}

#[test]
fn cache_commands_locate_describe_prune_and_clean() {
    let mut sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    assert!(
        run(&sandbox, "cache dir")
            .stdout
            .ends_with("/home/.cache/wheelhouse\n")
    );
    sandbox.set("PIP_CACHE_DIR", sandbox.path("pips"));
    assert!(
        run(&sandbox, "cache dir")
            .stdout
            .ends_with("/pips/wheelhouse\n")
    );
    sandbox.set("WHEELHOUSE_CACHE_DIR", sandbox.cache());
    run(&sandbox, "cache info").assert_success();
    assert!(!sandbox.cache().exists(), "cache info created a cache");
    run(&sandbox, &format!("{OFFLINE} acme")).assert_success();
    let files = || {
        let info: Value = serde_json::from_str(&run(&sandbox, "cache info --json").stdout).unwrap();
        info["files"].as_u64().unwrap()
    };
    assert_eq!(files(), 1);
    run(&sandbox, "cache prune --unused-for 30").assert_success();
    assert_eq!(files(), 1);
    run(&sandbox, "cache clean").assert_success();
    assert_eq!(files(), 0);
    run(&sandbox, "cache clean --cache-dir links")
        .assert_exit(2)
        .assert_error_names(&["links"]);
    run(&sandbox, "cache dir --no-cache").assert_exit(2);
}

#[test]
fn no_cache_leaves_no_files() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    run(&sandbox, &format!("{OFFLINE} acme --no-cache")).assert_success();
    assert!(!sandbox.path("home/.cache").exists());
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
}

#[test]
fn colors_follow_option_and_environment() {
    let mut sandbox = sandbox(&[]);
    assert!(!run(&sandbox, "build").stderr.contains('\x1b'));
    assert!(
        run(&sandbox, "build --color always")
            .stderr
            .contains('\x1b')
    );
    sandbox.set("CLICOLOR_FORCE", "1");
    assert!(run(&sandbox, "build").stderr.contains('\x1b'));
    assert!(!run(&sandbox, "build --color never").stderr.contains('\x1b'));
}

#[test]
fn closed_stdout_is_not_an_error() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    for arguments in [
        "config",
        "completions zsh",
        &format!("{OFFLINE} acme --json"),
    ] {
        let mut command = command(&sandbox, arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn warns_about_options_with_unexpected_effect() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    sandbox.write("r.txt", "acme --pre\n--find-links absent\n");
    let finished = run(&sandbox, &format!("{OFFLINE} -r r.txt"));
    finished.assert_success();
    let warnings: Vec<_> = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    assert_eq!(
        warnings,
        [
            "warning: `r.txt` line 1: `--pre` has no effect beside a requirement",
            "warning: --find-links `absent` does not exist",
        ]
    );
    let remote = run(
        &sandbox,
        "build --retries 0 -r https://me:secret@host.invalid/r.txt",
    );
    remote
        .assert_exit(4)
        .assert_error_names(&["https://****@host.invalid/r.txt"]);
}

#[test]
fn accepts_pip_options_without_effect() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    let options = "--no-input --disable-pip-version-check --exists-action w --no-clean --no-color --progress-bar off";
    let finished = run(&sandbox, &format!("{OFFLINE} acme {options}"));
    finished.assert_success();
    let notes = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning"));
    assert_eq!(
        notes.collect::<Vec<_>>(),
        [
            "warning: pip options without effect: `--no-input`, `--disable-pip-version-check`, `--no-clean`, `--exists-action`"
        ]
    );
    run(&sandbox, &format!("--no-input {OFFLINE} acme")).assert_success();
}

#[test]
fn suggests_equivalents_of_options_of_other_tools() {
    let sandbox = sandbox(&[]);
    for (given, ours) in [
        ("build --generate-hashes a", "`wheelhouse lock`"),
        ("build --no-build a", "`--only-binary :all:`"),
        ("build --refresh a", "`--upgrade`"),
    ] {
        let finished = run(&sandbox, given);
        finished.assert_exit(2);
        assert!(finished.stderr.contains(ours), "{}", finished.stderr);
        assert_eq!(
            finished.stderr.matches("tip:").count(),
            1,
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn help_command_equals_help_option() {
    let sandbox = sandbox(&[]);
    let help = run(&sandbox, "help build");
    help.assert_success();
    assert_eq!(help.stdout, run(&sandbox, "build --help").stdout);
    run(&sandbox, "help").assert_success();
}

#[test]
fn ignores_empty_arguments() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    let mut command = command(&sandbox, OFFLINE);
    command.args(["", "acme", " "]);
    sandbox.spawn(command).finish().assert_success();
    // The empty argument of an unset variable does not select the project in the current directory.
    sandbox.write("requirements.txt", "acme\n");
    let mut alone = self::command(&sandbox, OFFLINE);
    alone.arg("");
    sandbox.spawn(alone).finish().assert_exit(2);
    let mut beside = self::command(&sandbox, OFFLINE);
    beside.args(["", "-r", "requirements.txt"]);
    sandbox.spawn(beside).finish().assert_success();
}

#[test]
fn suggests_requirement_option_for_file_argument() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    sandbox.write("requirements/base.txt", "acme\n");
    sandbox.write("uv.lock", "");
    for file in ["requirements.txt", "requirements/base.txt", "uv.lock"] {
        let finished = run(&sandbox, &format!("{OFFLINE} {file}"));
        finished.assert_exit(2);
        assert_eq!(
            finished.stderr,
            format!(
                "error: `{file}` is a file, not a requirement\nhint: Pass it with `-r {file}`.\n"
            )
        );
    }
}

#[test]
fn error_names_requirements_frozen_by_conda() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    sandbox.write(
        "r.txt",
        "acme==1.0\nsix @ file:///croot/six_1644875935023/work\n\
         attrs @ file:///home/conda/feedstock_root/build_artifacts/attrs_1/work\n",
    );
    let finished = run(&sandbox, &format!("{OFFLINE} -r r.txt"));
    finished.assert_exit(2);
    insta::assert_snapshot!(finished.stderr, @"
    error: the requirements name build directories of conda packages, which do not exist
      `six @ file:///croot/six_1644875935023/work` in r.txt:2
      `attrs @ file:///home/conda/feedstock_root/build_artifacts/attrs_1/work` in r.txt:3
    hint: Write `six==VERSION` instead; `pip list --format=freeze` prints all requirements in this form.
    ");
}

#[test]
fn accepts_path_with_hash_sign() {
    let sandbox = sandbox(&[]);
    let wheel = Wheel::new("acme", "1.0");
    let links = sandbox.path("c#/links");
    fs::create_dir_all(&links).unwrap();
    fs::write(links.join(wheel.filename()), wheel.bytes()).unwrap();
    run(&sandbox, "build --no-index -f c#/links acme").assert_success();
    let mut inside = command(&sandbox, OFFLINE);
    inside.arg("acme").current_dir(sandbox.path("c#"));
    sandbox.spawn(inside).finish().assert_success();
}

#[test]
fn failed_runs_without_cache_leave_no_files() {
    let sandbox = sandbox(&[
        Wheel::new("acme", "1.0").requires("tool==1"),
        Wheel::new("tool", "1"),
        Wheel::new("tool", "2"),
    ]);
    for _ in 0..8 {
        run(&sandbox, &format!("{OFFLINE} --no-cache acme tool==2")).assert_exit(3);
        run(&sandbox, &format!("{OFFLINE} --no-cache acme")).assert_success();
        let left: Vec<_> = fs::read_dir(sandbox.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn keeps_log_of_failed_build_without_cache() {
    let sandbox = sandbox(&[]);
    sandbox.write("tree/setup.py", "raise SystemExit('this is why')\n");
    let finished = run(
        &sandbox,
        &format!("{OFFLINE} --no-build-isolation --no-cache ./tree"),
    );
    finished.assert_exit(5);
    let mut lines = finished.stderr.lines();
    let log = lines
        .find_map(|line| line.trim().strip_prefix("the whole log: "))
        .unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("this is why"));
    let root = std::path::Path::new(log)
        .parent()
        .unwrap()
        .parent()
        .unwrap();
    let left = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["logs"]);
}

#[test]
fn prints_lines_to_dumb_terminal() {
    let sandbox = sandbox(&[Wheel::new("acme", "1.0")]);
    for term in [Some("dumb"), None] {
        let program = env!("CARGO_BIN_EXE_wheelhouse");
        let mut command = sandbox.command("script");
        command.args([
            "-qec",
            &format!("{program} {OFFLINE} acme --no-input"),
            "/dev/null",
        ]);
        if let Some(term) = term {
            command.env("TERM", term);
        }
        let finished = sandbox.spawn(command).finish();
        finished.assert_success();
        for line in ["warning: ", " 1 package", "Finished wheelhouse: 1 wheel"] {
            assert!(finished.stdout.contains(line), "{}", finished.stdout);
        }
    }
}

#[test]
fn errors_name_original_source_tree() {
    let sandbox = sandbox(&[]);
    let wheel = Wheel::new("acme", "1.0");
    fs::write(sandbox.path("links").join(wheel.filename()), wheel.bytes()).unwrap();
    sandbox.write(
        "bad/pyproject.toml",
        "[build-system]\nrequires = ['bad' 'syntax']\n",
    );
    let bad = run(&sandbox, &format!("{OFFLINE} ./bad --cache-dir cache"));
    bad.assert_exit(5);
    sandbox.write(
        "good/pyproject.toml",
        "[project]\nname = 'good'\nversion = '1'\n",
    );
    let digest = crate::support::sha256(&wheel.bytes());
    sandbox.write(
        "r.txt",
        &format!("acme==1.0 --hash=sha256:{digest}\n./good\n"),
    );
    let unhashed = run(&sandbox, &format!("{OFFLINE} -r r.txt --cache-dir cache"));
    unhashed.assert_exit(2);
    for (finished, tree) in [(bad, "bad"), (unhashed, "good")] {
        let tree = sandbox.path(tree).display().to_string();
        let stderr = &finished.stderr;
        assert!(
            stderr.contains(&tree) && !stderr.contains("/cache/"),
            "{stderr}"
        );
    }
}

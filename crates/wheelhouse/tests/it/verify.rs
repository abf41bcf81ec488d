//! `wheelhouse verify`: what is right passes, and everything that is wrong is named.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Finished, Index, Sandbox, Sdist, Wheel, literal, process, sha256, tree};

const ALPHA: &str = "alpha-1.0-py3-none-any.whl";
const BETA: &str = "beta-2.0-py3-none-any.whl";

/// A wheelhouse `out` of two wheels, made of the requirement `alpha`.
fn wheelhouse() -> Sandbox {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0").requires("beta>=2"));
    index.add(&Wheel::new("beta", "2.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
    sandbox
}

/// A directory `out` with these wheels and nothing else.
fn plain(wheels: &[Wheel]) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.out()).unwrap();
    for wheel in wheels {
        fs::write(sandbox.out().join(wheel.filename()), wheel.bytes()).unwrap();
    }
    sandbox
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(["verify", "out"]).args(arguments);
    command
}

fn verify(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    sandbox.spawn(command(sandbox, arguments)).finish()
}

/// Verifies without running anything of the directory.
fn look(sandbox: &Sandbox) -> Finished {
    verify(sandbox, &["--no-install"])
}

/// The check called `name` in what `--json` has printed.
fn check(document: &Value, name: &str) -> Value {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {document:#}"))
        .clone()
}

#[track_caller]
fn assert_says(run: &Finished, words: &[&str]) {
    for word in words {
        assert!(
            run.stdout.contains(word),
            "`{word}` is not in:\n{}",
            run.stdout
        );
    }
}

fn change_manifest(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) {
    let path = sandbox.out().join("wheelhouse.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

/// Puts `bytes` where a wheel was, and has the manifest vouch for them under the name `filename`.
fn vouch_for(sandbox: &Sandbox, old: &str, filename: &str, bytes: &[u8]) {
    fs::remove_file(sandbox.out().join(old)).unwrap();
    fs::write(sandbox.out().join(filename), bytes).unwrap();
    change_manifest(sandbox, |manifest| {
        let wheels = manifest["wheels"].as_array_mut().unwrap();
        let wheel = wheels.iter_mut().find(|wheel| wheel["filename"] == old);
        let wheel = wheel.unwrap();
        wheel["filename"] = filename.into();
        wheel["sha256"] = sha256(bytes).into();
        wheel["size"] = bytes.len().into();
    });
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "`{from}` is not in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_good_wheelhouse_passes_and_stays_as_it_is() {
    let mut sandbox = wheelhouse();
    let elsewhere = sandbox.path("elsewhere");
    // Who obeyed these would install elsewhere, or not at all.
    sandbox.set("PIP_TARGET", &elsewhere);
    sandbox.set("PIP_INDEX_URL", "http://127.0.0.1:9/simple");
    sandbox.set("PIP_REQUIRE_HASHES", "1");
    sandbox.set("PYTHONHOME", "/nowhere");
    let before = tree::read(&sandbox.out());
    let run = verify(&sandbox, &["--import", "--json"]);
    run.assert_success();
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["schema"], "wheelhouse-verify/1");
    assert_eq!(
        (&document["passed"], &document["manifest"]),
        (&json!(true), &json!(true))
    );
    for name in [
        "files",
        "wheels",
        "index",
        "lock",
        "completeness",
        "installation",
        "imports",
    ] {
        assert_eq!(check(&document, name)["outcome"], "passed", "{document:#}");
    }
    let installed = &check(&document, "installation")["counts"];
    assert_eq!(installed, &json!([{ "number": 2, "noun": "package" }]));
    tree::assert_same(&tree::read(&sandbox.out()), &before);
    assert!(!elsewhere.exists());
    let left = tree::read(&sandbox.path("tmp"));
    assert!(left.is_empty(), "left behind: {:?}", left.keys());
}

#[test]
fn what_is_told_to_people_is_a_line_for_each_check() {
    let sandbox = wheelhouse();
    let run = look(&sandbox);
    run.assert_success();
    assert_eq!(run.stdout.lines().count(), 6, "{}", run.stdout);
    assert_says(
        &run,
        &[
            "ok           files         2 wheels, ",
            "not checked  installation",
        ],
    );
    fs::remove_file(sandbox.out().join(BETA)).unwrap();
    let run = verify(&sandbox, &["--no-install", "-q"]);
    run.assert_exit(6).assert_error_names(&["out", "failures"]);
    assert!(!run.stdout.contains("ok  "), "{}", run.stdout);
    assert_says(
        &run,
        &["\n  beta-2.0-py3-none-any.whl is missing\n", "\n  hint: "],
    );
}

/// A damage to a wheelhouse, and what is told of it.
type Damage = (&'static str, fn(&Sandbox), &'static [&'static str]);

const DAMAGED_WHEELS: [Damage; 7] = [
    (
        "removed",
        |it| fs::remove_file(it.out().join(BETA)).unwrap(),
        &[
            "beta-2.0-py3-none-any.whl is missing",
            "beta is missing: ",
            "alpha 1.0 wants `beta>=2`",
        ],
    ),
    (
        "swapped",
        |it| {
            fs::copy(it.out().join(ALPHA), it.out().join(BETA)).unwrap();
        },
        &[
            "beta-2.0-py3-none-any.whl has the bytes of alpha-1.0-py3-none-any.whl",
            "is not that of beta",
        ],
    ),
    (
        "truncated",
        |it| halve(&it.out().join(BETA)),
        &[
            "beta-2.0-py3-none-any.whl has ",
            "beta-2.0-py3-none-any.whl is not a valid wheel",
        ],
    ),
    (
        "other bytes of the same size",
        |it| {
            let mut bytes = fs::read(it.out().join(BETA)).unwrap();
            bytes[40] ^= 1;
            fs::write(it.out().join(BETA), bytes).unwrap();
        },
        &["beta-2.0-py3-none-any.whl has the SHA-256 "],
    ),
    (
        "from a wrong platform",
        |it| {
            let bytes = fs::read(it.out().join(BETA)).unwrap();
            vouch_for(it, BETA, "beta-2.0-cp39-cp39-win_amd64.whl", &bytes);
        },
        &[
            "beta-2.0-cp39-cp39-win_amd64.whl is from a wrong platform",
            "beta is missing",
        ],
    ),
    (
        "RECORD corrupted",
        |it| {
            let record = "beta.py,sha256=AAAA,16\nbeta-2.0.dist-info/METADATA,,\n\
                          beta-2.0.dist-info/WHEEL,,\nbeta-2.0.dist-info/RECORD,,\n";
            let wheel = Wheel::new("beta", "2.0").record(record);
            vouch_for(it, BETA, BETA, &wheel.bytes());
        },
        &["beta-2.0-py3-none-any.whl is damaged: beta.py has not the digest that RECORD says"],
    ),
    (
        "a pipe in its place",
        |it| {
            fs::remove_file(it.out().join(BETA)).unwrap();
            let made = std::process::Command::new("mkfifo")
                .arg(it.out().join(BETA))
                .status();
            assert!(made.unwrap().success());
        },
        &["beta-2.0-py3-none-any.whl cannot be read"],
    ),
];

const DAMAGED_OTHERS: [Damage; 8] = [
    (
        "an added wheel",
        |it| {
            let wheel = Wheel::new("gamma", "1.0");
            fs::write(it.out().join(wheel.filename()), wheel.bytes()).unwrap();
        },
        &[
            "gamma-1.0-py3-none-any.whl is not in wheelhouse.json",
            "hint: Move it away",
        ],
    ),
    (
        "an added source distribution",
        |it| {
            let sdist = Sdist::new("gamma", "1.0");
            fs::write(it.out().join(sdist.filename()), sdist.bytes()).unwrap();
        },
        &["gamma-1.0.tar.gz is not in wheelhouse.json"],
    ),
    (
        "metadata changed",
        |it| {
            let file = it.out().join(format!("{ALPHA}.metadata"));
            replace(&file, "beta>=2", "beta>=1");
        },
        &["alpha-1.0-py3-none-any.whl.metadata is not the METADATA that"],
    ),
    (
        "a page changed",
        |it| {
            replace(
                &it.out().join("simple/beta/index.html"),
                "#sha256=",
                "#sha256=0",
            );
        },
        &["simple/beta/index.html has another SHA-256 for beta-2.0-py3-none-any.whl"],
    ),
    (
        "a page removed",
        |it| fs::remove_file(it.out().join("simple/beta/index.json")).unwrap(),
        &["simple/beta/index.json is missing"],
    ),
    (
        "the manifest truncated",
        |it| halve(&it.out().join("wheelhouse.json")),
        &["wheelhouse.json is damaged: "],
    ),
    (
        "the lock changed",
        |it| replace(&it.out().join("pylock.toml"), "2.0", "3.0"),
        &[
            "pylock.toml pins beta 3.0",
            "beta is there as 2.0, but the lock wants `beta==3.0`",
        ],
    ),
    (
        "a manifest that points elsewhere",
        |it| {
            change_manifest(it, |manifest| {
                manifest["files"][0] = "../../etc/passwd".into();
            });
        },
        &["wheelhouse.json names `../../etc/passwd`, outside the directory"],
    ),
];

fn halve(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Does each damage to a wheelhouse that is good without it.
fn assert_named(damages: &[Damage]) {
    let sandbox = wheelhouse();
    look(&sandbox).assert_success();
    let good = sandbox.path("good");
    fs::rename(sandbox.out(), &good).unwrap();
    for (name, damage, words) in damages {
        tree::copy(&good, &sandbox.out());
        damage(&sandbox);
        let run = look(&sandbox);
        let (code, text) = (run.status.code(), &run.stdout);
        assert_eq!(code, Some(6), "{name}: {text}\n{}", run.stderr);
        for word in *words {
            assert!(text.contains(word), "{name}: `{word}` is not in:\n{text}");
        }
        fs::remove_dir_all(sandbox.out()).unwrap();
    }
}

#[test]
fn every_damage_to_a_wheel_is_named() {
    assert_named(&DAMAGED_WHEELS);
}

#[test]
fn every_damage_to_what_is_beside_the_wheels_is_named() {
    assert_named(&DAMAGED_OTHERS);
}

#[test]
fn all_failures_are_listed_and_nothing_is_installed_then() {
    let sandbox = wheelhouse();
    for file in [ALPHA, BETA, "simple/index.html"] {
        fs::remove_file(sandbox.out().join(file)).unwrap();
    }
    fs::write(sandbox.out().join("notes.txt"), "mine").unwrap();
    let run = verify(&sandbox, &["--json"]);
    run.assert_exit(6);
    assert_eq!(run.stderr, "");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["passed"], false);
    let files = check(&document, "files");
    assert_eq!(files["failures"].as_array().unwrap().len(), 3, "{files:#}");
    assert_eq!(files["warnings"][0]["about"], "notes.txt");
    let installation = check(&document, "installation");
    assert_eq!(installation["outcome"], "not-checked", "{installation:#}");
}

#[test]
fn what_cannot_be_read_is_another_error() {
    let sandbox = Sandbox::new();
    look(&sandbox)
        .assert_exit(2)
        .assert_error_names(&["out", "hint: "]);
    fs::create_dir(sandbox.out()).unwrap();
    let run = look(&sandbox);
    run.assert_exit(6);
    assert_says(&run, &["holds no wheels and no source distributions"]);
    let sandbox = wheelhouse();
    verify(&sandbox, &["-r", "absent.txt"])
        .assert_exit(2)
        .assert_error_names(&["absent.txt"]);
    verify(&sandbox, &["--lock", "absent.toml"])
        .assert_exit(2)
        .assert_error_names(&["absent.toml"]);
    verify(&sandbox, &["--python", "/nowhere/python"]).assert_exit(2);
    change_manifest(&sandbox, |manifest| {
        manifest["schema"] = "wheelhouse-manifest/99".into();
    });
    look(&sandbox)
        .assert_exit(2)
        .assert_error_names(&["wheelhouse-manifest/99"]);
}

#[test]
fn a_plain_directory_is_verified_as_far_as_that_goes() {
    let wheels = [
        Wheel::new("alpha", "1.0").requires("beta>=2"),
        Wheel::new("beta", "2.0"),
    ];
    let sandbox = plain(&wheels);
    let run = verify(&sandbox, &[]);
    run.assert_success();
    assert_says(
        &run,
        &[
            "not checked  files",
            "wheelhouse.json",
            "ok           installation  2 packages",
        ],
    );
    sandbox.write("requirements.txt", "alpha<2\n");
    verify(&sandbox, &["--no-install", "-r", "requirements.txt"]).assert_success();
    sandbox.write(
        "requirements.txt",
        "alpha<2\ndelta\nepsilon; sys_platform == 'win32'\n",
    );
    let run = verify(&sandbox, &["--no-install", "-r", "requirements.txt"]);
    run.assert_exit(6);
    assert_says(
        &run,
        &["\n  delta is missing: requirements.txt:2 wants `delta`\n"],
    );
    assert!(!run.stdout.contains("epsilon"), "{}", run.stdout);
}

#[test]
fn everything_that_a_plain_directory_lacks_is_named_with_who_wants_it() {
    let sandbox = plain(&[
        Wheel::new("alpha", "1.0")
            .requires("beta>=2")
            .requires("gamma"),
        Wheel::new("beta", "1.0").requires("delta[more]>3"),
    ]);
    let run = verify(&sandbox, &[]);
    run.assert_exit(6);
    assert_says(
        &run,
        &[
            "\n  beta is there as 1.0, but alpha 1.0 wants `beta>=2`\n",
            "\n  gamma is missing: alpha 1.0 wants `gamma`\n",
            "\n  delta is missing: beta 1.0 wants `delta[more]>3`\n",
            "not checked  installation",
        ],
    );
}

#[test]
fn a_wheel_that_disagrees_with_itself_is_caught_without_a_manifest() {
    let sandbox = plain(&[Wheel::new("alpha", "1.0").record("alpha.py,sha256=AAAA,16\n")]);
    let run = look(&sandbox);
    run.assert_exit(6);
    assert_says(
        &run,
        &[
            "alpha.py has not the digest that RECORD says",
            "RECORD does not list",
        ],
    );
    let renamed = sandbox.out().join("gamma-1.0-py3-none-any.whl");
    fs::rename(sandbox.out().join(ALPHA), renamed).unwrap();
    let run = look(&sandbox);
    run.assert_exit(6);
    assert_says(&run, &["gamma-1.0-py3-none-any.whl is not a valid wheel"]);
}

#[test]
fn a_lock_from_elsewhere_counts() {
    let sandbox = wheelhouse();
    fs::copy(
        sandbox.out().join("pylock.toml"),
        sandbox.path("pylock.toml"),
    )
    .unwrap();
    verify(&sandbox, &["--no-install", "--lock", "pylock.toml"]).assert_success();
    let digest = sha256(&fs::read(sandbox.out().join(BETA)).unwrap());
    replace(&sandbox.path("pylock.toml"), &digest, &sha256(b"other"));
    let run = verify(&sandbox, &["--no-install", "--lock", "pylock.toml"]);
    run.assert_exit(6);
    assert_says(&run, &["beta-2.0-py3-none-any.whl has the SHA-256"]);
    replace(&sandbox.path("pylock.toml"), "2.0", "2.5");
    let run = verify(&sandbox, &["--no-install", "--lock", "pylock.toml"]);
    run.assert_exit(6);
    assert_says(&run, &["beta is there as 2.0, but", "wants `beta==2.5`"]);
}

#[test]
fn hashes_of_a_requirements_file_are_compared() {
    let sandbox = wheelhouse();
    let hash = |bytes: &[u8]| format!("--hash=sha256:{}", sha256(bytes));
    let right = hash(&fs::read(sandbox.out().join(ALPHA)).unwrap());
    sandbox.write("requirements.txt", &format!("alpha==1.0 {right}\n"));
    verify(&sandbox, &["--no-install", "-r", "requirements.txt"]).assert_success();
    let wrong = hash(b"other");
    sandbox.write("requirements.txt", &format!("alpha==1.0 {wrong}\n"));
    let run = verify(&sandbox, &["--no-install", "-r", "requirements.txt"]);
    run.assert_exit(6);
    assert_says(
        &run,
        &["alpha-1.0-py3-none-any.whl has none of the hashes of requirements.txt:1"],
    );
}

#[test]
fn for_another_python_completeness_is_proven_and_nothing_is_installed() {
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
fn a_module_that_fails_to_be_imported_is_named() {
    let sandbox = plain(&[
        Wheel::new("alpha", "1.0").file("broken/__init__.py", "import no_such_module\n"),
        Wheel::new("beta", "2.0").file("_hidden.py", "import no_such_module\n"),
    ]);
    verify(&sandbox, &[]).assert_success();
    let run = verify(&sandbox, &["--import"]);
    run.assert_exit(6);
    assert_says(
        &run,
        &[
            "broken of alpha-1.0 cannot be imported: ModuleNotFoundError",
            "3 modules",
        ],
    );
    assert!(!run.stdout.contains("_hidden"), "{}", run.stdout);
}

#[test]
fn what_is_installed_has_no_network() {
    let index = Index::start();
    let url = index.url();
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let script =
        format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), 5).close()\n");
    let sandbox = plain(&[Wheel::new("alpha", "1.0").file("dials.py", script)]);
    let run = verify(&sandbox, &["--import"]);
    if run.stdout.contains("network namespaces are not permitted") {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "no network namespaces, and CI=true wants every test");
        run.assert_success();
        return;
    }
    run.assert_exit(6);
    assert_says(&run, &["dials of alpha-1.0 cannot be imported: OSError"]);
}

#[test]
fn an_interruption_ends_what_was_started() {
    let ids = Sandbox::new();
    let path = ids.path("ids");
    let script = format!(
        "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '600']).pid\n\
         with open({}, 'a') as file: file.write('%d\\n%d\\n' % (os.getpid(), child))\ntime.sleep(600)\n",
        literal(&path)
    );
    let sandbox = plain(&[Wheel::new("alpha", "1.0").file("sleeps.py", script)]);
    let run = sandbox.spawn(command(&sandbox, &["--import"]));
    process::eventually("the import", || process::ids(&path).len() >= 2);
    run.signal(Signal::INT);
    let run = run.finish();
    run.assert_exit(130);
    process::assert_dead(&process::ids(&path));
    let left = tree::read(&sandbox.path("tmp"));
    assert!(left.is_empty(), "left behind: {:?}", left.keys());
}

#[test]
fn source_distributions_are_built_from_what_is_there() {
    let sandbox = plain(&[Wheel::new("alpha", "1.0").requires("gamma")]);
    let good = Sdist::new("gamma", "1.0");
    fs::write(sandbox.out().join(good.filename()), good.bytes()).unwrap();
    let run = verify(&sandbox, &["--import"]);
    run.assert_success();
    assert_says(
        &run,
        &[
            "ok           sources       1 source distribution",
            "2 modules",
        ],
    );
    for name in ["delta", "epsilon"] {
        let bad = Sdist::new(name, "1.0")
            .static_metadata()
            .script("raise OSError('no luck')");
        fs::write(sandbox.out().join(bad.filename()), bad.bytes()).unwrap();
    }
    let run = verify(&sandbox, &[]);
    run.assert_exit(6);
    assert_says(
        &run,
        &[
            "delta-1.0.tar.gz does not build",
            "epsilon-1.0.tar.gz does not build",
            "no luck",
        ],
    );
    let run = look(&sandbox);
    run.assert_success();
    assert_says(&run, &["not checked  sources"]);
}

#[test]
fn nothing_is_run_that_was_not_asked_for_or_is_not_known() {
    let marker = Sandbox::new();
    let path = marker.path("marker");
    let script = format!("open({}, 'w').close()", literal(&path));
    let sdist = Sdist::new("gamma", "1.0").script(&script);
    let sandbox = plain(&[]);
    fs::write(sandbox.out().join(sdist.filename()), sdist.bytes()).unwrap();
    let run = look(&sandbox);
    run.assert_success();
    assert_says(
        &run,
        &[
            "not checked  completeness",
            "is only known when it is built",
        ],
    );
    let stated = sdist.clone().static_metadata();
    fs::write(sandbox.out().join(stated.filename()), stated.bytes()).unwrap();
    let run = look(&sandbox);
    run.assert_success();
    assert_says(&run, &["ok           completeness"]);
    assert!(!path.exists(), "the source distribution was built");
    let sandbox = wheelhouse();
    fs::write(sandbox.out().join(sdist.filename()), sdist.bytes()).unwrap();
    sandbox.write("requirements.txt", "gamma\n");
    verify(&sandbox, &["-r", "requirements.txt"]).assert_exit(6);
    assert!(!path.exists(), "the foreign source distribution was built");
}

#[test]
fn a_build_can_be_verified_at_once() {
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

/// The calls that open a socket to elsewhere, out of what strace wrote.
fn sockets(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap();
    let lines = text.lines().filter(|line| line.contains("AF_INET"));
    lines.map(str::to_owned).collect()
}

fn traced(
    sandbox: &Sandbox,
    program: impl AsRef<OsStr>,
    arguments: &[&str],
) -> (Finished, PathBuf) {
    let trace = sandbox.path("trace");
    let mut command = sandbox.command("strace");
    command
        .args(["-f", "-e", "trace=network", "-o"])
        .arg(&trace);
    command.arg(program).args(arguments);
    (sandbox.spawn(command).finish(), trace)
}

#[test]
fn no_socket_is_opened() {
    let present = std::process::Command::new("strace").arg("-V").output();
    if !present.is_ok_and(|output| output.status.success()) {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "strace is missing, and CI=true wants every test");
        let _ = writeln!(std::io::stderr(), "left out: strace is missing");
        return;
    }
    let sandbox = wheelhouse();
    // The trace shows sockets where there are some.
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

//! `wheelhouse verify`: valid directories pass, and all problems are reported.

mod corruption;
mod install;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Index, RunResult, Sandbox, Wheel, sha256, tree};

const ALPHA: &str = "alpha-1.0-py3-none-any.whl";
const BETA: &str = "beta-2.0-py3-none-any.whl";

/// Builds a wheelhouse `out` of two wheels from the requirement `alpha`.
fn wheelhouse() -> Sandbox {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0").requires("beta>=2"));
    index.add(&Wheel::new("beta", "2.0"));
    sandbox.build(&index, &["alpha"]).assert_success();
    sandbox
}

/// Returns a sandbox whose directory `out` contains only these wheels.
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

fn verify(sandbox: &Sandbox, arguments: &[&str]) -> RunResult {
    sandbox.spawn(command(sandbox, arguments)).finish()
}

/// Verifies without running any code of the directory.
fn look(sandbox: &Sandbox) -> RunResult {
    verify(sandbox, &["--no-install"])
}

/// Returns the check called `name` of a `--json` document.
fn check(document: &Value, name: &str) -> Value {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {document:#}"))
        .clone()
}

fn change_manifest(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) {
    let path = sandbox.out().join("wheelhouse.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

/// Replaces a wheel by `bytes` under the name `filename` and updates the manifest.
fn replace_wheel(sandbox: &Sandbox, old: &str, filename: &str, bytes: &[u8]) {
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

fn sha512(bytes: &[u8]) -> String {
    hex::encode(<sha2::Sha512 as sha2::Digest>::digest(bytes))
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "`{from}` is not in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn valid_wheelhouse_passes_unchanged() {
    let mut sandbox = wheelhouse();
    let elsewhere = sandbox.path("elsewhere");
    // These settings would redirect or prevent the installation.
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
fn prints_one_line_per_check() {
    let sandbox = wheelhouse();
    let run = look(&sandbox);
    run.assert_success();
    assert_eq!(run.stdout.lines().count(), 6, "{}", run.stdout);
    run.assert_stdout_contains(&[
        "ok           files         2 wheels, ",
        "not checked  installation",
    ]);
    fs::remove_file(sandbox.out().join(BETA)).unwrap();
    let run = verify(&sandbox, &["--no-install", "-q"]);
    run.assert_exit(6).assert_error_names(&["out", "errors"]);
    assert!(!run.stdout.contains("ok  "), "{}", run.stdout);
    run.assert_stdout_contains(&["\n  beta-2.0-py3-none-any.whl is missing\n", "\n  hint: "]);
}

#[test]
fn lists_all_failures_and_skips_installation() {
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
fn unreadable_inputs_are_usage_errors() {
    let sandbox = Sandbox::new();
    look(&sandbox)
        .assert_exit(2)
        .assert_error_names(&["out", "hint: "]);
    fs::create_dir(sandbox.out()).unwrap();
    let run = look(&sandbox);
    run.assert_exit(6);
    run.assert_stdout_contains(&["contains no wheels and no source distributions"]);
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
fn verifies_directory_without_manifest() {
    let wheels = [
        Wheel::new("alpha", "1.0").requires("beta>=2"),
        Wheel::new("beta", "2.0"),
    ];
    let sandbox = plain(&wheels);
    let run = verify(&sandbox, &[]);
    run.assert_success();
    run.assert_stdout_contains(&[
        "not checked  files",
        "wheelhouse.json",
        "ok           installation  2 packages",
    ]);
    sandbox.write("requirements.txt", "alpha<2\n");
    verify(&sandbox, &["--no-install", "-r", "requirements.txt"]).assert_success();
    sandbox.write(
        "requirements.txt",
        "alpha<2\ndelta\nepsilon; sys_platform == 'win32'\n",
    );
    let run = verify(&sandbox, &["--no-install", "-r", "requirements.txt"]);
    run.assert_exit(6);
    run.assert_stdout_contains(&["\n  delta is missing: requirements.txt:2 requires `delta`\n"]);
    assert!(!run.stdout.contains("epsilon"), "{}", run.stdout);
}

#[test]
fn reports_missing_packages_with_their_dependents() {
    let sandbox = plain(&[
        Wheel::new("alpha", "1.0")
            .requires("beta>=2")
            .requires("gamma"),
        Wheel::new("beta", "1.0").requires("delta[more]>3"),
    ]);
    let run = verify(&sandbox, &[]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "\n  beta is present as 1.0, but alpha 1.0 requires `beta>=2`\n",
        "\n  gamma is missing: alpha 1.0 requires `gamma`\n",
        "\n  delta is missing: beta 1.0 requires `delta[more]>3`\n",
        "not checked  installation",
    ]);
}

#[test]
fn reports_inconsistent_wheel_without_manifest() {
    let sandbox = plain(&[Wheel::new("alpha", "1.0").record("alpha.py,sha256=AAAA,16\n")]);
    let run = look(&sandbox);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "alpha.py does not have the digest that RECORD states",
        "RECORD does not list",
    ]);
    let renamed = sandbox.out().join("gamma-1.0-py3-none-any.whl");
    fs::rename(sandbox.out().join(ALPHA), renamed).unwrap();
    let run = look(&sandbox);
    run.assert_exit(6);
    run.assert_stdout_contains(&["gamma-1.0-py3-none-any.whl is not a valid wheel"]);
}

#[test]
fn checks_external_lock() {
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
    run.assert_stdout_contains(&["beta-2.0-py3-none-any.whl has the sha256"]);
    replace(&sandbox.path("pylock.toml"), "2.0", "2.5");
    let run = verify(&sandbox, &["--no-install", "--lock", "pylock.toml"]);
    run.assert_exit(6);
    run.assert_stdout_contains(&["beta is present as 2.0, but", "requires `beta==2.5`"]);
}

/// Writes a lock of `alpha` and `beta` with one wheel and digest each.
fn write_lock(sandbox: &Sandbox, alpha: (&str, &str), beta: (&str, &str)) {
    let package = |name: &str, version: &str, (wheel, digest): (&str, &str)| {
        format!(
            "[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\nwheels = \
             [{{ url = \"https://host.invalid/{wheel}\", hashes = {{ {digest} }} }}]\n"
        )
    };
    let (alpha, beta) = (package("alpha", "1.0", alpha), package("beta", "2.0", beta));
    let text = format!("lock-version = \"1.0\"\ncreated-by = \"test\"\n{alpha}{beta}");
    sandbox.write("pylock.toml", &text);
}

#[test]
fn checks_files_and_digests_of_external_lock() {
    let sandbox = wheelhouse();
    let digest = |file: &str| {
        let digest = sha512(&fs::read(sandbox.out().join(file)).unwrap());
        format!("sha512 = \"{digest}\"")
    };
    let (alpha, beta) = (digest(ALPHA), digest(BETA));
    let arguments = ["--no-install", "--lock", "pylock.toml"];
    write_lock(&sandbox, (ALPHA, &alpha), (BETA, &beta));
    verify(&sandbox, &arguments).assert_success();
    let other = ("alpha-1.0-py2.py3-none-any.whl", alpha.as_str());
    let wrong = format!("sha512 = \"{}\", unheard-of = \"0\"", "0".repeat(128));
    write_lock(&sandbox, other, (BETA, &wrong));
    let run = verify(&sandbox, &arguments);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "alpha-1.0-py3-none-any.whl is not one of the wheels of ",
        "beta-2.0-py3-none-any.whl has the sha512 ",
        "beta-2.0-py3-none-any.whl cannot be compared with its `unheard-of` in ",
    ]);
    // A package with an sdist may have been built.
    let with_sdist = format!(
        "version = \"1.0\"\nsdist = {{ url = \"https://host.invalid/alpha-1.0.tar.gz\", hashes = {{ {alpha} }} }}"
    );
    write_lock(&sandbox, other, (BETA, &beta));
    replace(
        &sandbox.path("pylock.toml"),
        "version = \"1.0\"\nwheels",
        &format!("{with_sdist}\nwheels"),
    );
    verify(&sandbox, &arguments).assert_success();
}

#[test]
fn checks_hashes_of_requirements_file() {
    let sandbox = wheelhouse();
    let hash = |bytes: &[u8]| format!("--hash=sha256:{}", sha256(bytes));
    let right = hash(&fs::read(sandbox.out().join(ALPHA)).unwrap());
    sandbox.write("requirements.txt", &format!("alpha==1.0 {right}\n"));
    verify(&sandbox, &["--no-install", "-r", "requirements.txt"]).assert_success();
    let wrong = hash(b"other");
    sandbox.write("requirements.txt", &format!("alpha==1.0 {wrong}\n"));
    let run = verify(&sandbox, &["--no-install", "-r", "requirements.txt"]);
    run.assert_exit(6);
    run.assert_stdout_contains(&[
        "alpha-1.0-py3-none-any.whl has none of the hashes of requirements.txt:1",
    ]);
}

#[test]
fn checks_hashes_of_other_algorithms() {
    let sandbox = wheelhouse();
    let right = sha512(&fs::read(sandbox.out().join(ALPHA)).unwrap());
    let wrong = "0".repeat(128);
    let verify_with_hashes = |hashes: &str| {
        sandbox.write("requirements.txt", &format!("alpha==1.0 {hashes}\n"));
        verify(&sandbox, &["--no-install", "-r", "requirements.txt"])
    };
    verify_with_hashes(&format!("--hash=sha512:{right}")).assert_success();
    verify_with_hashes(&format!("--hash=sha512:{wrong} --hash=sha512:{right}")).assert_success();
    let run = verify_with_hashes(&format!("--hash=sha512:{wrong}"));
    run.assert_exit(6);
    run.assert_stdout_contains(&["has none of the hashes of requirements.txt:1"]);
}

//! Credentials are used, and never printed or stored.

use crate::support::{Behavior, Index, RunResult, Sandbox, Sdist, Wheel, sha256, tree};

const USER: &str = "somebody";
const PASSWORD: &str = "hunter2secret";

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    index.require_credentials(USER, PASSWORD);
    index
}

/// Checks that neither the output nor any file of the run contains the password, plain or encoded.
#[track_caller]
fn assert_no_credentials(sandbox: &Sandbox, run: &RunResult) {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for text in [PASSWORD, &encoded] {
        assert!(!run.stdout.contains(text), "{}", run.stdout);
        assert!(!run.stderr.contains(text), "{}", run.stderr);
        for (name, bytes) in tree::read(&sandbox.path("")) {
            let has = bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            let is_input = name.starts_with("home/") || name == "requirements.txt";
            assert!(!has || is_input, "{name} has the password");
            assert!(!name.contains(text), "{name} has the password in its name");
        }
    }
}

fn run(index: &Index, arguments: &[&str]) -> (Sandbox, RunResult) {
    let sandbox = Sandbox::new();
    let url = index.url_for(USER, PASSWORD);
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command
        .args([
            "build",
            "-o",
            "out",
            "--cache-dir",
            "cache",
            "--index-url",
            &url,
        ])
        .args(arguments);
    let run = sandbox.spawn(command).finish();
    (sandbox, run)
}

#[test]
fn uses_and_hides_credentials_of_index_url() {
    let index = index();
    for extra in [&[][..], &["-v"], &["-vvv"], &["--json"]] {
        let arguments = [&["alpha", "gamma"][..], extra].concat();
        let (sandbox, run) = run(&index, &arguments);
        run.assert_success();
        assert_no_credentials(&sandbox, &run);
        assert_eq!(tree::wheels(&sandbox.out()).len(), 2);
    }
}

#[test]
fn errors_hide_credentials() {
    for (path, status) in [
        ("/simple/alpha/", 500),
        ("/files/alpha-1.0-py3-none-any.whl", 404),
    ] {
        let index = index();
        index.always(path, Behavior::Status(status, Vec::new()));
        for extra in ["-v", "--json"] {
            let (sandbox, run) = run(&index, &["alpha", "--retries", "0", extra]);
            run.assert_exit(4);
            assert_no_credentials(&sandbox, &run);
        }
    }
    let (sandbox, run) = run(&index(), &["nothing"]);
    run.assert_exit(3);
    assert_no_credentials(&sandbox, &run);
}

#[test]
fn hides_credentials_of_direct_references_and_files() {
    let index = index();
    let sandbox = Sandbox::new();
    let with = |url: String| url.replace("http://", &format!("http://{USER}:{PASSWORD}@"));
    let wheel = with(index.file_url("alpha-1.0-py3-none-any.whl"));
    let text = format!(
        "--index-url {}\nalpha @ {wheel}\ngamma\n",
        index.url_for(USER, PASSWORD)
    );
    sandbox.write("requirements.txt", &text);
    let run = sandbox.wheelhouse(&[
        "build",
        "-o",
        "out",
        "--cache-dir",
        "cache",
        "-r",
        "requirements.txt",
    ]);
    run.assert_success();
    assert_no_credentials(&sandbox, &run);
}

#[test]
fn uses_credentials_of_direct_reference() {
    let index = index();
    let with = |url: String| url.replace("http://", &format!("http://{USER}:{PASSWORD}@"));
    for (name, requirement) in [
        ("alpha-1.0-py3-none-any.whl", "alpha @ "),
        ("gamma-1.0.tar.gz", "gamma @ "),
        ("gamma-1.0.tar.gz", ""),
    ] {
        let sandbox = Sandbox::new();
        let requirement = format!("{requirement}{}", with(index.file_url(name)));
        let place = Index::start();
        sandbox.build(&place, &[&requirement]).assert_success();
        // The lock contains no credentials.
        std::fs::remove_dir_all(sandbox.cache()).unwrap();
        let run = sandbox.build(&place, &[&requirement, "--frozen"]);
        run.assert_success();
        assert_no_credentials(&sandbox, &run);
    }
    let sandbox = Sandbox::new();
    let wheel = Wheel::new("alpha", "1.0");
    let lock = format!(
        "lock-version = '1.0'\ncreated-by = 'x'\n[[packages]]\nname = 'alpha'\nversion = '1.0'\n\
         [[packages.wheels]]\nname = '{}'\nurl = '{}'\nhashes = {{sha256 = '{}'}}\n",
        wheel.filename(),
        with(index.file_url(&wheel.filename())),
        sha256(&wheel.bytes()),
    );
    sandbox.write("home/pylock.toml", &lock);
    let run = sandbox.build(&Index::start(), &["--lock", "home/pylock.toml"]);
    run.assert_success();
    assert_no_credentials(&sandbox, &run);
}

#[test]
fn hides_credentials_of_mistyped_urls() {
    let index = index();
    let at = format!("{USER}:{PASSWORD}@127.0.0.1:1");
    for arguments in [
        &["--index-url", &format!("{at}/simple/"), "alpha"][..],
        &["--index-url", &format!("http:/{at}/simple/"), "alpha"],
        &["--trusted-host", &at, "alpha"],
        &["--find-links", &format!("{at}/simple/"), "alpha"],
        &[&format!("alpha@@ http://{at}/alpha.tar.gz")],
        &[&format!("alpha @ htp://{at}/alpha.tar.gz")],
        &[&format!("{at}/alpha-1.0.tar.gz")],
    ] {
        for extra in [&[][..], &["-v"], &["--json"]] {
            let sandbox = Sandbox::new();
            let run = sandbox.build(&index, &[arguments, extra].concat());
            assert_no_credentials(&sandbox, &run);
        }
    }
}

#[test]
fn uses_and_does_not_store_tokens_in_urls() {
    let (index, wheel) = (Index::start(), Wheel::new("alpha", "1.0"));
    let sdist = Sdist::new("gamma", "1.0");
    for (name, bytes) in [
        (wheel.filename(), wheel.bytes()),
        (sdist.filename(), sdist.bytes()),
    ] {
        let file = Behavior::Body("application/octet-stream", bytes);
        index.always(&format!("/files/{name}?token={PASSWORD}"), file);
        let sandbox = Sandbox::new();
        let requirement = format!("{}?token={PASSWORD}", index.file_url(&name));
        for extra in [&[][..], &["-v"], &["--json"], &["--frozen"]] {
            let arguments = [&[requirement.as_str()], extra].concat();
            let run = sandbox.build(&index, &arguments);
            run.assert_success();
            assert_no_credentials(&sandbox, &run);
        }
        // Only the lock exists; the file is downloaded with the token of the requirement.
        std::fs::remove_dir_all(sandbox.cache()).unwrap();
        let run = sandbox.build(&index, &[&requirement, "--frozen"]);
        run.assert_success();
        assert_no_credentials(&sandbox, &run);
        let run = sandbox.build(&index, &["gamma==2.0", &requirement]);
        assert_no_credentials(&sandbox, &run);
    }
}

#[test]
fn does_not_cache_credentials_with_vary_header() {
    let index = index();
    let vary = || Behavior::Header("Vary", "Accept, Authorization");
    index.always("/simple/alpha/", vary());
    index.always("/files/alpha-1.0-py3-none-any.whl", vary());
    let (sandbox, run) = run(&index, &["alpha"]);
    run.assert_success();
    assert_no_credentials(&sandbox, &run);
}

#[test]
fn uses_netrc_file() {
    let index = index();
    let sandbox = Sandbox::new();
    sandbox.write(
        "home/.netrc",
        &format!("machine 127.0.0.1\nlogin {USER}\npassword {PASSWORD}\n"),
    );
    let run = sandbox.build(&index, &["alpha", "gamma"]);
    run.assert_success();
    assert_no_credentials(&sandbox, &run);
}

#[test]
fn masks_secrets_in_output_of_failed_build() {
    let print = "for name in sorted(os.environ): print(name, os.environ[name])\n\
                 print(open(os.path.expanduser('~/.netrc')).read())\n\
                 sys.stdout.write('secret-of-')\nsys.stdout.flush()\ntime.sleep(0.2)\nprint('a-token')\nsys.exit(1)";
    let index = Index::start();
    index.add_sdist(&Sdist::new("gamma", "1.0").static_metadata().script(print));
    for extra in [&[][..], &["-v"], &["-vvv"], &["--json"], &["--json", "-v"]] {
        let mut sandbox = Sandbox::unconfined();
        let url = index.url_for(USER, "hunter2%40index");
        sandbox.write("pip.conf", &format!("[global]\nindex-url = {url}\n"));
        sandbox.write(
            "home/.netrc",
            "machine other.example login a password hunter2netrc\n",
        );
        for (name, value) in [
            (
                "PIP_CONFIG_FILE",
                sandbox.path("pip.conf").display().to_string(),
            ),
            (
                "PIP_EXTRA_INDEX_URL",
                "https://u:hunter2extra@127.0.0.1:1/".to_owned(),
            ),
            ("DEPLOY_TOKEN", "secret-of-a-token".to_owned()),
            ("UV_INDEX_PRIVATE_PASSWORD", "hunter2\\quoted\"".to_owned()),
            (
                "SIGNING_KEY",
                "first-line-of-key\nsecond-line-of-key".to_owned(),
            ),
            ("SHORT_KEY", "four".to_owned()),
            ("NOTHING_SPECIAL", "shown-as-it-is".to_owned()),
        ] {
            sandbox.set(name, value);
        }
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args([
            "build",
            "-o",
            "out",
            "--cache-dir",
            "cache",
            "--retries",
            "0",
        ]);
        command
            .args(["--no-deps", "gamma", "--index-url", &url])
            .args(extra);
        command.env_remove("PIP_EXTRA_INDEX_URL");
        let run = sandbox.spawn(command).finish();
        run.assert_exit(5);
        let mut output = format!("{}{}", run.stdout, run.stderr);
        for (name, bytes) in tree::read(&sandbox.path("cache/logs")) {
            output.extend([name.as_str(), &String::from_utf8_lossy(&bytes)]);
        }
        for secret in ["hunter2", "secret-of-a-token", "-line-of-key"] {
            assert!(!output.contains(secret), "{secret} is in {output}");
        }
        assert!(output.contains("SHORT_KEY four"), "{output}");
        assert!(
            output.contains("NOTHING_SPECIAL shown-as-it-is"),
            "{output}"
        );
    }
}

#[test]
fn missing_credentials_are_an_error() {
    let index = index();
    let run = Sandbox::new().build(&index, &["alpha"]);
    run.assert_exit(4)
        .assert_error_names(&["alpha", &index.url(), "credentials", ".netrc"]);
}

#[test]
fn hides_credentials_of_proxies_and_unusual_passwords() {
    let sandbox = Sandbox::new();
    for arguments in [
        ["--proxy", "somebody:hunter2secret@proxy.example:3128"],
        [
            "--proxy",
            "http://somebody:hunter2secret@proxy.example:3128",
        ],
        ["--proxy", "somebody:hunter2secret@[broken:3128"],
        [
            "--index-url",
            "https://somebody:it's-hunter2secret@host.example/simple",
        ],
    ] {
        for verb in [&["config"][..], &["config", "--json"], &["build", "alpha"]] {
            let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
            command
                .args(verb)
                .args(arguments)
                .args(["--retries", "0", "--timeout", "1"]);
            let run = sandbox.spawn(command).finish();
            let output = format!("{}{}", run.stdout, run.stderr);
            assert!(!output.contains("hunter2secret"), "{verb:?}: {output}");
        }
    }
}

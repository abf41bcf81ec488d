//! The whole output of every command: success, `-q`, `-v`, `--json`, and one failure.
//!
//! Paths, ports, durations, digests and the names of this Python and platform are replaced by placeholders, so that the
//! snapshots are the same on every machine. Everything else is compared literally.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::builder_image::BuilderImage;
use crate::support::process::eventually;
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel};

/// A sandbox with an index that has the wheel `alpha` 1.0, and the sdist `beta` 2.0, which requires `alpha`.
struct Fixture {
    index: Index,
    sandbox: Sandbox,
}

impl Fixture {
    fn new() -> Self {
        let index = Index::start();
        index.add(&Wheel::new("alpha", "1.0"));
        index.add_sdist(
            &Sdist::new("beta", "2.0")
                .static_metadata()
                .requires("alpha"),
        );
        let mut sandbox = Sandbox::new();
        sandbox.set("PIP_INDEX_URL", index.url());
        sandbox.set("WHEELHOUSE_CACHE_DIR", sandbox.cache());
        Self { index, sandbox }
    }

    /// A sandbox whose `wheelhouse` has `alpha` already.
    fn with_wheelhouse() -> Self {
        let fixture = Self::new();
        fixture.run(&["build", "alpha"]).assert_success();
        fixture
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> RunResult {
        self.sandbox.spawn(self.command(arguments)).finish()
    }

    /// Runs the program in each way and renders everything that it writes.
    fn transcript(&self, runs: &[&[&str]]) -> String {
        let mut text = String::new();
        for arguments in runs {
            append(&mut text, &arguments.join(" "), &self.run(arguments));
        }
        text
    }
}

fn append(text: &mut String, command: &str, run: &RunResult) {
    let _ = writeln!(text, "$ wheelhouse {command}");
    let _ = writeln!(text, "exit code: {}", run.status.code().unwrap());
    for (stream, output) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        if !output.is_empty() {
            let output = in_fixed_order(command, output.trim_end());
            let _ = writeln!(text, "----- {stream} -----\n{output}");
        }
    }
    text.push('\n');
}

/// Sorts lines of concurrent steps, whose order differs between runs: those of JSON events and of verbose builds.
fn in_fixed_order(command: &str, output: &str) -> String {
    let mut lines: Vec<&str> = output.lines().collect();
    let has_events = lines.iter().all(|line| line.starts_with("{\""));
    let is_verbose = command.ends_with("-v") && output.contains("Resolving");
    if has_events || is_verbose {
        lines.sort_unstable();
    }
    lines.join("\n")
}

/// Compares `text` with the snapshot `name`, after what differs between machines was replaced.
#[track_caller]
fn compare(fixture: &Fixture, name: &str, text: &str) {
    compare_in(&fixture.sandbox, &fixture.index, name, text);
}

#[track_caller]
fn compare_in(sandbox: &Sandbox, index: &Index, name: &str, text: &str) {
    let directory = sandbox.path("").display().to_string();
    let directory = directory.trim_end_matches('/');
    let real = std::fs::canonicalize(directory).unwrap();
    let text = text
        .replace(&*real.to_string_lossy(), "[DIR]")
        .replace(directory, "[DIR]")
        .replace(index.url().trim_end_matches('/'), "[INDEX]");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots/output");
    for (pattern, placeholder) in [
        (r"http://(localhost|127\.0\.0\.1):\d+", "[SERVER]"),
        (r#"/[^ "()]*/bin/python3[0-9.t]*"#, "[PYTHON]"),
        (r#""(python_version)": "[^"]*""#, r#""$1": "[VERSION]""#),
        (r#""(uv|expected-v1|images-v1)": \d+"#, r#""$1": "[SIZE]""#),
        (r"wheelhouse \d+\.\d+\.\d+", "wheelhouse [VERSION]"),
        (r"\b[0-9a-f]{64}\b", "[SHA256]"),
        (r"\bin \d+(\.\d+)? ?(ms|s)\b", "in [TIME]"),
        (r"\b\d+(\.\d+)? (ms|s)\b", "[TIME]"),
        (
            r#""(seconds|build_seconds|time|started|created)": ?("[^"]*"|[0-9.]+)"#,
            r#""$1": "[TIME]""#,
        ),
        (r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "[TIME]"),
        (
            r"\b(many|musl)linux_\d+_\d+_(x86_64|aarch64)\b",
            "[PLATFORM]",
        ),
        (r"\blinux_(x86_64|aarch64)\b", "[PLATFORM]"),
        (r"\b(x86_64|aarch64|amd64|arm64)\b", "[ARCH]"),
        (r"\bcp3\d+t?\b", "[PYTHON]"),
        (r"\b(C?Python) 3\.\d+(\.\d+)?", "$1 [VERSION]"),
        (r"\b3\.\d+\.\d+\b", "[VERSION]"),
        (r"\b\d+(\.\d+)? (kB|MB|B|bytes)\b", "[SIZE]"),
        (
            r"Sandbox of builds: .*(\n  (not protected|without).*)*",
            "Sandbox of builds: [SANDBOX]",
        ),
        (
            r#""sandbox": \{[^{}]*(\{[^{}]*\}[^{}]*)*\}"#,
            r#""sandbox": "[SANDBOX]""#,
        ),
        (
            r#""([a-z_]*bytes[a-z_]*|size|total)": ?\d+"#,
            r#""$1": "[SIZE]""#,
        ),
    ] {
        settings.add_filter(pattern, placeholder);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn build() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["build", "alpha"],
        &["build", "alpha", "-o", "quiet", "-q"],
        &["build", "alpha", "-o", "verbose", "-v", "--no-cache"],
        &["build", "alpha", "-o", "json", "--json", "--no-cache"],
        &["build", "alpha", "--dry-run"],
        &["build", "alpha", "--dry-run", "--json"],
        &["build", "absent"],
        &["build", "absent", "--json"],
    ]);
    compare(&fixture, "build", &text);
}

#[test]
fn build_of_an_sdist() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["build", "alpha"],
        &["build", "beta", "-o", "built", "-v"],
        &["build", "beta", "-o", "reused"],
    ]);
    compare(&fixture, "build-sdist", &text);
}

#[test]
fn download() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["download", "alpha", "--no-bootstrap"],
        &["download", "alpha", "--no-bootstrap", "-o", "quiet", "-q"],
        &["download", "alpha", "--no-bootstrap", "-o", "verbose", "-v"],
        &[
            "download",
            "alpha",
            "--no-bootstrap",
            "-o",
            "json",
            "--json",
        ],
        &["download", "alpha", "--no-bootstrap", "--dry-run"],
        &["download", "alpha"],
    ]);
    compare(&fixture, "download", &text);
}

#[test]
fn lock() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["lock", "alpha"],
        &["lock", "alpha"],
        &["lock", "alpha", "-o", "quiet", "-q"],
        &["lock", "alpha", "-o", "verbose", "-v"],
        &["lock", "alpha", "-o", "json", "--json"],
        &["lock", "alpha", "--check"],
        &["lock", "beta", "--check"],
    ]);
    compare(&fixture, "lock", &text);
}

#[test]
fn verify() {
    let fixture = Fixture::with_wheelhouse();
    let mut text = fixture.transcript(&[
        &["verify", "--no-install"],
        &["verify", "--no-install", "-q"],
        &["verify", "--no-install", "-v"],
        &["verify", "--no-install", "--json"],
    ]);
    let wheel = fixture
        .sandbox
        .path("wheelhouse")
        .join(Wheel::new("alpha", "1.0").filename());
    std::fs::remove_file(&wheel).unwrap();
    std::fs::write(&wheel, "changed").unwrap();
    text += &fixture.transcript(&[&["verify", "--no-install"], &["verify", "absent"]]);
    compare(&fixture, "verify", &text);
}

#[test]
fn image() {
    let fixture = Fixture::with_wheelhouse();
    let text = fixture.transcript(&[
        &["image", "oci:layout:1.0"],
        &["image", "oci:layout:1.0", "-q"],
        &["image", "oci:layout:1.0", "-v"],
        &["image", "oci:layout:1.0", "--json"],
        &["image", "--dry-run"],
        &["image", "absent", "oci:other:1.0"],
    ]);
    compare(&fixture, "image", &text);
}

#[test]
fn extract() {
    let fixture = Fixture::with_wheelhouse();
    fixture.run(&["image", "oci:layout:1.0"]).assert_success();
    let text = fixture.transcript(&[
        &["extract", "oci:layout:1.0", "plain"],
        &["extract", "oci:layout:1.0", "quiet", "-q"],
        &["extract", "oci:layout:1.0", "verbose", "-v"],
        &["extract", "oci:layout:1.0", "json", "--json"],
        &["extract", "oci:absent:1.0"],
    ]);
    compare(&fixture, "extract", &text);
}

#[test]
fn inspect() {
    let fixture = Fixture::with_wheelhouse();
    fixture.run(&["image", "oci:layout:1.0"]).assert_success();
    let text = fixture.transcript(&[
        &["inspect"],
        &["inspect", "-q"],
        &["inspect", "-v"],
        &["inspect", "--json"],
        &["inspect", "oci:layout:1.0"],
        &["inspect", "absent"],
    ]);
    compare(&fixture, "inspect", &text);
}

#[test]
fn report() {
    let fixture = Fixture::with_wheelhouse();
    fixture.run(&["image", "oci:layout:1.0"]).assert_success();
    let text = fixture.transcript(&[
        &["report"],
        &["report", "-q", "-o", "quiet.html"],
        &["report", "--json", "-o", "json.html"],
        &["report", "oci:layout:1.0", "-o", "image.html"],
        &["report", "--json", "-o", "-"],
        &["report", "absent"],
        &["report", "--verification", "wheelhouse/wheelhouse.json"],
    ]);
    compare(&fixture, "report", &text);
    let page = |name: &str| fs_err::read_to_string(fixture.sandbox.path(name)).unwrap();
    assert_eq!(page("report.html"), page("quiet.html"));
    assert!(page("image.html").contains("id=\"p-alpha\""));
}

#[test]
fn rebuild() {
    let fixture = Fixture::new();
    fixture.run(&["build", "beta"]).assert_success();
    let text = fixture.transcript(&[
        &["rebuild"],
        &["rebuild", "-q"],
        &["rebuild", "-v"],
        &["rebuild", "--json"],
        &["rebuild", "absent"],
    ]);
    compare(&fixture, "rebuild", &text);
}

#[test]
fn sbom() {
    let mut fixture = Fixture::with_wheelhouse();
    fixture.sandbox.set("SOURCE_DATE_EPOCH", "1700000000");
    let text = fixture.transcript(&[
        &["sbom"],
        &["sbom", "--format", "spdx", "-q"],
        &["sbom", "-o", "verbose.json", "-v"],
        &["sbom", "-o", "json.json", "--json"],
        &["sbom", "absent"],
    ]);
    // The names of documents are digests of manifests, which name this Python.
    let digests =
        regex::Regex::new(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{12}\b");
    let text = digests.unwrap().replace_all(&text, "[DIGEST]");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    compare(&fixture, "sbom", &text);
}

#[test]
fn serve() {
    let fixture = Fixture::with_wheelhouse();
    let mut text = String::new();
    for options in [&[][..], &["-q"], &["-v"], &["--json"]] {
        let arguments = [&["serve", "--bind", "unix:socket"], options].concat();
        let server = fixture.sandbox.spawn(fixture.command(&arguments));
        let socket = fixture.sandbox.path("socket");
        eventually("the server", || UnixStream::connect(&socket).is_ok());
        server.signal(Signal::TERM);
        append(&mut text, &arguments.join(" "), &server.finish());
    }
    text += &fixture.transcript(&[&["serve", "absent"], &["serve", "--bind", "nowhere"]]);
    compare(&fixture, "serve", &text);
}

#[test]
fn worker() {
    let fixture = Fixture::new();
    let step = "0".repeat(64);
    let text = fixture.transcript(&[
        &["worker", "absent"],
        &["worker", &step],
        &["worker", &step, "--cache-to", "shared"],
        &["worker", &step, "--cache-to", "shared", "--json"],
    ]);
    compare(&fixture, "worker", &text);
}

#[test]
fn cache() {
    let fixture = Fixture::with_wheelhouse();
    let mut text = String::new();
    for command in ["dir", "info", "verify", "prune", "clean"] {
        for options in [&[][..], &["-q"], &["-v"], &["--json"]] {
            let arguments = [&["cache", command], options].concat();
            text += &fixture.transcript(&[&arguments]);
        }
    }
    text += &fixture.transcript(&[&["cache", "prune", "--max-size", "much"]]);
    compare(&fixture, "cache", &text);
}

#[test]
fn shared_cache() {
    let fixture = Fixture::new();
    fixture.run(&["build", "beta"]).assert_success();
    let location = format!("file://{}", fixture.sandbox.path("shared").display());
    let location = location.as_str();
    let mut text = fixture.transcript(&[&["cache", "ls", location]]);
    for command in [
        &["push", location][..],
        &["push", location, "--fetched"],
        &["ls", location],
        &["pull", location],
        &["prune", location, "--max-size", "0", "--dry-run"],
        &["prune", location, "--max-size", "0"],
    ] {
        for options in [&[][..], &["-q"], &["--json"]] {
            let arguments = [&["cache"], command, options].concat();
            text += &fixture.transcript(&[&arguments]);
        }
    }
    text += &fixture.transcript(&[
        &["cache", "ls", "ftp://host/cache"],
        &["cache", "prune", location, "--older-than", "long"],
        &["cache", "prune", "--older-than", "30d"],
    ]);
    compare(&fixture, "shared-cache", &text);
}

#[test]
fn config() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["config", "--jobs", "2"],
        &["config", "--jobs", "2", "-q"],
        &["config", "--jobs", "2", "-v"],
        &["config", "--jobs", "2", "--json"],
        &["config", "--keyring-provider", "other"],
        &["config", "--require-hashes", "--no-require-hashes"],
    ]);
    // The widths of columns depend on the lengths of paths.
    let columns = regex::Regex::new("  +").unwrap();
    compare(&fixture, "config", &columns.replace_all(&text, "  "));
}

#[test]
fn completions_and_man() {
    let fixture = Fixture::new();
    for arguments in [
        &["completions", "bash"][..],
        &["completions", "fish", "-q"],
        &["completions", "zsh", "-v"],
        &["man", "--json"],
    ] {
        let run = fixture.run(arguments);
        run.assert_success();
        assert!(run.stderr.is_empty() && run.stdout.contains("wheelhouse"));
    }
    let text = fixture.transcript(&[
        &["man", "pages"],
        &["man", "/dev/null/pages"],
        &["completions", "cmd"],
    ]);
    compare(&fixture, "completions-and-man", &text);
}

#[test]
fn s2i() {
    let mut image = BuilderImage::new();
    image.index.add(&Wheel::new("alpha", "1.0"));
    let mut text = String::new();
    for option in ["", "-q", "-v", "--json"] {
        image.start_container();
        image.upload("requirements.txt", "alpha\n");
        let mut command = image.command(&["assemble"]);
        if !option.is_empty() {
            command.arg(option);
        }
        let run = image.sandbox.spawn(command).finish();
        append(&mut text, format!("s2i assemble {option}").trim_end(), &run);
    }
    image.start_container();
    image.upload("requirements.txt", "absent\n");
    append(&mut text, "s2i assemble", &image.assemble());
    compare_in(&image.sandbox, &image.index, "s2i-assemble", &text);
}

#[test]
fn s2i_init() {
    let fixture = Fixture::new();
    for directory in ["quiet", "verbose", "json"] {
        std::fs::create_dir(fixture.sandbox.path(directory)).unwrap();
    }
    let text = fixture.transcript(&[
        &["s2i", "init", "."],
        &["s2i", "init", "."],
        &["s2i", "init", ".", "--force"],
        &["s2i", "init", "quiet", "-q"],
        &["s2i", "init", "verbose", "-v"],
        &["s2i", "init", "json", "--json"],
        &["s2i", "init", "/dev/null/application"],
        &["s2i", "usage"],
    ]);
    compare(&fixture, "s2i-init", &text);
}

#[test]
fn usage_errors() {
    let fixture = Fixture::new();
    let text = fixture.transcript(&[
        &["build", "--no-such-option"],
        &["build", "--no-build"],
        &["build", "alpha", "--jobs", "none"],
        &["buid"],
        &["image", "layout"],
    ]);
    compare(&fixture, "usage-errors", &text);
}

#[test]
fn log_file_has_events_as_json_lines() {
    let mut fixture = Fixture::new();
    let url = fixture.index.url_for("user", "hunter2hunter2");
    fixture.sandbox.set("PIP_INDEX_URL", url);
    fixture.index.require_credentials("user", "hunter2hunter2");
    let run = fixture.run(&["build", "alpha", "--log-file", "run.log"]);
    run.assert_success();
    assert!(!run.stderr.contains("DEBUG"), "{}", run.stderr);
    let path = fixture.sandbox.path("run.log");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(!log.contains("hunter2"), "{log}");
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.len() > 3, "{log}");
    for event in &events {
        assert!(event["timestamp"].is_string() && event["level"].is_string());
        assert!(event["fields"]["message"].is_string() || event["fields"].is_object());
    }
    assert!(log.contains("/alpha/"), "{log}");
}

#[test]
fn log_file_of_the_environment_is_overwritten() {
    let mut fixture = Fixture::new();
    fixture.sandbox.write("run.log", "not JSON\n");
    fixture.sandbox.set("WHEELHOUSE_LOG_FILE", "run.log");
    fixture.sandbox.set("WHEELHOUSE_LOG", "uv_client=trace");
    let run = fixture.run(&["build", "alpha"]);
    run.assert_success();
    let log = std::fs::read_to_string(fixture.sandbox.path("run.log")).unwrap();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(
            event["target"].as_str().unwrap().starts_with("uv_client"),
            "{line}"
        );
    }
    assert!(!log.is_empty());
}

#[test]
fn warns_once_of_log_file_on_full_disk() {
    let fixture = Fixture::new();
    let run = fixture.run(&["build", "alpha", "--log-file", "/dev/full"]);
    run.assert_success();
    let lines = run.stderr.lines();
    let warnings: Vec<&str> = lines.filter(|line| line.contains("/dev/full")).collect();
    let expected =
        "warning: the log file /dev/full is incomplete: No space left on device (os error 28)";
    assert_eq!(warnings, [expected], "{}", run.stderr);
}

#[test]
fn rejects_unusable_logs() {
    let mut fixture = Fixture::new();
    let run = fixture.run(&["build", "alpha", "--log-file", "absent/run.log"]);
    run.assert_exit(2).assert_error_names(&["absent/run.log"]);
    fixture.sandbox.set("WHEELHOUSE_LOG", "wheelhouse=loud");
    let run = fixture.run(&["build", "alpha"]);
    run.assert_exit(2).assert_error_names(&["WHEELHOUSE_LOG"]);
}

//! Limits of untrusted input: nesting, size and transfer rate.

use std::fmt::Write as _;

use crate::support::sdist::{bomb, zip_bomb};
use crate::support::{Behavior, Index, Member, RunResult, Sandbox, Sdist, Wheel, tree};

const PAGE: &str = "/simple/alpha/";
const FILE: &str = "/files/alpha-1.0-py3-none-any.whl";
const METADATA: &str = "/files/alpha-1.0-py3-none-any.whl.metadata";
const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Returns requirements that exhaust the stack or the time of a naive parser.
fn malicious_requirements() -> [String; 4] {
    let (open, close) = ("(".repeat(10_000), ")".repeat(10_000));
    let clauses: Vec<String> = (0..6_000).map(|one| format!("!=2.{one}")).collect();
    let extras: Vec<String> = (0..6_000).map(|one| format!("e{one}")).collect();
    let platforms: Vec<String> = (0..2_000)
        .map(|one| format!("sys_platform == 'p{one}'"))
        .collect();
    [
        format!("beta ; {open}python_version < '2'{close}"),
        format!("beta {}", clauses.join(",")),
        format!("beta[{}]", extras.join(",")),
        format!("beta ; {}", platforms.join(" or ")),
    ]
}

/// Checks that a run fails with an error, without a panic and without leaving files.
#[track_caller]
fn assert_refused(run: &RunResult, sandbox: &Sandbox, code: i32, names: &[&str]) {
    run.assert_exit(code).assert_error_names(names);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert!(run.stderr.len() < 20_000, "{} bytes", run.stderr.len());
    assert!(!sandbox.out().exists(), "a failed run left an output");
    if !sandbox.cache().exists() {
        return;
    }
    let left: usize = tree::read(&sandbox.cache()).values().map(Vec::len).sum();
    assert!(left < 20_000_000, "{left} bytes stay in the cache");
}

#[test]
fn rejects_nested_metadata_from_any_source() {
    for requirement in malicious_requirements() {
        let wheel = Wheel::new("alpha", "1.0").requires(&requirement);
        // From the metadata file, from a part of the wheel, and from the whole wheel.
        for behavior in [None, Some(Behavior::Normal), Some(Behavior::WithoutRanges)] {
            let index = Index::start();
            index.add(&wheel);
            if let Some(behavior) = behavior {
                index.without_metadata();
                index.always(FILE, behavior);
            }
            for verb in ["build", "lock"] {
                let sandbox = Sandbox::new();
                let run = run_verb(verb, &sandbox, &index, &["alpha"]);
                assert_refused(&run, &sandbox, 4, &["alpha-1.0-py3-none-any.whl"]);
            }
        }
    }
}

fn run_verb(verb: &str, sandbox: &Sandbox, index: &Index, arguments: &[&str]) -> RunResult {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args([verb, "--index-url", &index.url(), "--retries", "0"]);
    command.arg("--cache-dir").arg(sandbox.cache());
    command.arg("-o").arg(sandbox.out()).args(arguments);
    sandbox.spawn(command).finish()
}

#[test]
fn rejects_nested_sdist_metadata_from_any_source() {
    let [requirement, ..] = malicious_requirements();
    let text = format!("[build-system]\nrequires = [{requirement:?}]\n");
    let metadata =
        format!("Metadata-Version: 2.2\nName: gamma\nVersion: 1.0\nRequires-Dist: {requirement}\n");
    for (name, text) in [("pyproject.toml", &text), ("PKG-INFO", &metadata)] {
        let sdist = Sdist::new("gamma", "1.0").static_metadata();
        let sdist = sdist.member(Member::file(&format!("gamma-1.0/{name}"), text));
        let index = Index::start();
        index.add_sdist(&sdist);
        let url = format!("gamma @ {}", index.file_url("gamma-1.0.tar.gz"));
        let part = format!("{url}#subdirectory=part");
        for wanted in ["gamma", &url, &part, "./gamma-1.0.tar.gz"] {
            let sandbox = Sandbox::new();
            std::fs::write(sandbox.path("gamma-1.0.tar.gz"), sdist.bytes()).unwrap();
            let run = run_verb("build", &sandbox, &index, &["--dry-run", wanted]);
            assert_refused(&run, &sandbox, 4, &["gamma-1.0.tar.gz", name, "nested"]);
        }
    }
}

#[test]
fn rejects_nested_local_files() {
    let index = Index::start();
    for requirement in malicious_requirements() {
        let sandbox = Sandbox::new();
        sandbox.write("r.txt", &format!("alpha\n{requirement}\n"));
        for file in ["-r", "-c"] {
            let run = sandbox.build(&index, &["alpha", file, "r.txt"]);
            assert_refused(&run, &sandbox, 2, &["r.txt:2"]);
        }
        let sandbox = Sandbox::new();
        let project = format!(
            "[project]\nname = \"alpha\"\nversion = \"1\"\ndependencies = [{requirement:?}]\n"
        );
        sandbox.write("tree/pyproject.toml", &project);
        let run = sandbox.build(&index, &["./tree"]);
        assert!(matches!(run.status.code(), Some(2 | 5)), "{}", run.stderr);
        run.assert_error_names(&["pyproject.toml"]);
    }
    let nested = format!("a = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let dotted = format!("{} = 1\n", vec!["a"; 100_000].join("."));
    for name in ["pylock.toml", "uv.lock", "poetry.lock"] {
        for text in [&nested, &dotted] {
            let sandbox = Sandbox::new();
            sandbox.write(name, text);
            let run = sandbox.build(&index, &["--lock", name]);
            assert_refused(&run, &sandbox, 2, &[name]);
        }
    }
}

#[test]
fn rejects_decompression_bombs_in_responses() {
    let blanks = vec![b' '; 260 << 20];
    for (path, content_type, size) in [
        (PAGE, JSON, 260 << 20),
        (PAGE, "text/html", 260 << 20),
        (METADATA, "text/plain", 20 << 20),
    ] {
        let index = Index::start();
        index.add(&Wheel::new("alpha", "1.0"));
        let body = blanks[..size].to_vec();
        index.always(path, Behavior::Gzipped(content_type, body));
        let sandbox = Sandbox::new();
        let run = sandbox.build(&index, &["alpha"]);
        assert_refused(&run, &sandbox, 4, &[path, "MiB"]);
    }
}

#[test]
fn fails_on_slow_server() {
    std::thread::scope(|scope| {
        for path in [PAGE, FILE] {
            scope.spawn(move || {
                let index = Index::start();
                index.add(&Wheel::new("alpha", "1.0").padded(10_000));
                index.always(path, Behavior::Drip(1, 200));
                let sandbox = Sandbox::new();
                let run = sandbox.build(&index, &["--timeout", "1", "--retries", "0", "alpha"]);
                assert_refused(&run, &sandbox, 4, &[path, "100 bytes per second"]);
            });
        }
    });
}

#[test]
fn rejects_decompression_bombs_before_unpacking() {
    let index = Index::start();
    let zeros = 300_000_000;
    index.add_bytes("gamma-1.0.tar.gz", bomb("gamma-1.0", zeros), None);
    index.add_bytes("delta-1.0.zip", zip_bomb("delta-1.0", zeros), None);
    let members = (0..200_100).map(|one| Member::file(&format!("zeta-1.0/{one}"), ""));
    let many = members.fold(Sdist::new("zeta", "1.0"), Sdist::member);
    index.add_sdist(&many);
    let url = format!("gamma @ {}", index.file_url("gamma-1.0.tar.gz"));
    for (wanted, file, verbs) in [
        (
            "gamma",
            "gamma-1.0.tar.gz",
            &["build", "lock", "download"][..],
        ),
        (&url, "gamma-1.0.tar.gz", &["build", "lock"]),
        ("delta", "delta-1.0.zip", &["lock"]),
        ("zeta", "zeta-1.0.tar.gz", &["lock"]),
    ] {
        for verb in verbs {
            let sandbox = Sandbox::new();
            let run = run_verb(verb, &sandbox, &index, &[wanted]);
            assert_refused(&run, &sandbox, 4, &[file]);
        }
    }
}

#[test]
fn limits_reported_build_requirements() {
    let many: Vec<String> = (0..2_000).map(|one| format!("a{one}")).collect();
    let reports = many.iter().fold(Sdist::new("gamma", "1.0"), |sdist, name| {
        sdist.reports(name)
    });
    let requires = many.iter().fold(Sdist::new("gamma", "1.0"), |sdist, name| {
        sdist.requires(name)
    });
    let huge = Sdist::new("gamma", "1.0").reports(&"a".repeat(2 << 20));
    for (sdist, words) in [
        (reports, "2000 build requirements"),
        (requires, "2000 build requirements"),
        (huge, "1 MiB"),
    ] {
        let index = Index::start();
        index.add_sdist(&sdist);
        let sandbox = Sandbox::new();
        let run = sandbox.build(&index, &["gamma"]);
        assert_refused(&run, &sandbox, 5, &["gamma", words]);
    }
}

#[test]
fn limits_depth_of_nested_builds() {
    for is_static in [true, false] {
        let index = Index::start();
        for one in 0..40 {
            let sdist = Sdist::new(&format!("q{one}"), "1.0").requires(&format!("q{}", one + 1));
            index.add_sdist(&if is_static {
                sdist.static_metadata()
            } else {
                sdist
            });
        }
        for verb in ["build", "lock"] {
            let sandbox = Sandbox::new();
            let run = run_verb(verb, &sandbox, &index, &["q0"]);
            if verb == "build" || !is_static {
                assert_refused(&run, &sandbox, 5, &["20 other builds"]);
            }
        }
    }
}

#[test]
fn reads_pipes_but_not_devices() {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("bash");
    let wheelhouse = env!("CARGO_BIN_EXE_wheelhouse");
    let mut line = format!("{wheelhouse} build --index-url {} -o out", index.url());
    write!(line, " -r <(sleep 0.2; echo alpha) -c <(true)").unwrap();
    command.args(["-c", &line]);
    sandbox.spawn(command).finish().assert_success();
    for (file, words) in [
        ("/dev/zero", "64 MiB"),
        ("pipe", "pipe"),
        ("long.txt", "64 MiB"),
    ] {
        let sandbox = Sandbox::new();
        let pipe = sandbox.path("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let long = std::fs::File::create(sandbox.path("long.txt")).unwrap();
        long.set_len(200 << 20).unwrap();
        let run = sandbox.build(&index, &["-r", file]);
        assert_refused(&run, &sandbox, 2, &[file, words]);
    }
}

//! `wheelhouse image`, `extract` and `inspect`: with container tools, failing servers and malicious images.

mod container_tools;
mod find_links;
mod layer_cache;
mod link_entries;
mod local_images;
mod malicious;
mod property;
mod push;
mod registry_errors;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Index, RunResult, Sandbox, Wheel};

/// Builds a wheelhouse `out` of a large package and several small ones.
fn wheelhouse() -> Sandbox {
    let (sandbox, index) = (Sandbox::new(), index("1.0"));
    build(&sandbox, &index);
    sandbox
}

/// Returns an index where the small package `beta` has this version.
fn index(beta: &str) -> Index {
    let index = Index::start();
    index.add(
        &Wheel::new("alpha", "1.0")
            .padded(1_500_000)
            .requires("beta"),
    );
    index.add(&Wheel::new("beta", beta).requires("gamma"));
    index.add(&Wheel::new("gamma", "1.0").requires("delta"));
    index.add(&Wheel::new("delta", "1.0").padded(2_500_000));
    index
}

fn build(sandbox: &Sandbox, index: &Index) {
    sandbox.build(index, &["alpha"]).assert_success();
}

/// The arguments of a download for two architectures.
const TWO_ARCHITECTURES: [&str; 5] = [
    "--target",
    "3.12-linux,3.12-linux-arm64",
    "--no-bootstrap",
    "pure",
    "fast",
];

/// Downloads a wheelhouse `out` for two architectures.
fn for_two_architectures() -> Sandbox {
    let (sandbox, index) = (Sandbox::new(), Index::start());
    index.add(&Wheel::new("pure", "1.0"));
    for platform in ["manylinux_2_17_x86_64", "manylinux_2_17_aarch64"] {
        let tag = format!("cp312-cp312-{platform}");
        index.add(&Wheel::new("fast", "1.0").tag(&tag));
    }
    sandbox
        .download(&index, &TWO_ARCHITECTURES)
        .assert_success();
    sandbox
}

/// Returns a command of `wheelhouse` with these arguments.
fn wheelhouse_command(sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
    command.args(arguments);
    command
}

/// Runs `wheelhouse` with these arguments.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> RunResult {
    sandbox
        .spawn(wheelhouse_command(sandbox, arguments))
        .finish()
}

/// Runs `wheelhouse` successfully and returns its output without the final line break.
#[track_caller]
fn stdout_of(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let finished = run(sandbox, arguments);
    finished.assert_success();
    finished.stdout.trim_end().to_owned()
}

#[track_caller]
fn document(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout_of(sandbox, arguments)).unwrap()
}

/// Returns every file below a directory with its content.
/// Returns the files of a wheelhouse, without the manifest before its last change.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name();
    let files = entries
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| entry.file_name() != ".wheelhouse-previous.json");
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(directory).unwrap().to_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(!one.is_empty());
    assert_eq!(names(&one), names(&other));
    assert!(one == other, "the contents differ");
}

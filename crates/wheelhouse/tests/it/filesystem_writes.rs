//! A run writes only to its output, its cache and the temporary directory.

use std::path::{Component, Path, PathBuf};

use crate::support::sandbox::build_arguments;
use crate::support::{Index, Sandbox, Sdist, Wheel};

/// System calls that change names or content.
const CALLS: [&str; 17] = [
    "open",
    "openat",
    "creat",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "truncate",
    "utimensat",
];

/// A change: the process id, and the absolute path.
type Change = (String, PathBuf);

/// Parses the successful changes of an strace log; `start` is the initial working directory.
fn changes(trace: &str, start: &Path) -> Vec<Change> {
    let mut directories = std::collections::HashMap::new();
    let mut changes = Vec::new();
    for line in trace.lines() {
        let Some((id, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let failed = call.contains(") = -1 ");
        let paths = paths(arguments);
        if name == "chdir" && !failed {
            directories.insert(id.to_owned(), paths[0].clone());
        }
        let reads = name.starts_with("open")
            && !["O_WRONLY", "O_RDWR", "O_CREAT"]
                .iter()
                .any(|flag| call.contains(flag));
        if failed || reads || !CALLS.contains(&name) {
            continue;
        }
        let directory = directories
            .get(id)
            .cloned()
            .unwrap_or_else(|| start.to_owned());
        // A symbolic link does not change its target; a hard link changes its second path.
        let changed = if name.contains("link") && !name.contains("unlink") {
            paths.last()
        } else {
            None
        };
        let all = changed.map_or_else(|| paths.iter().collect(), |path| vec![path]);
        changes.extend(
            all.into_iter()
                .map(|path| (line.to_owned(), normal(&directory.join(path)))),
        );
    }
    changes
}

/// Returns the paths of a call, each resolved against the directory that strace prints before it.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut rest = arguments;
    let mut base = None;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some((path, after)) = quoted.split_once('"') else {
                return paths;
            };
            let base: Option<PathBuf> = base.take();
            paths.push(base.map_or_else(|| PathBuf::from(path), |base| base.join(path)));
            rest = after;
            continue;
        }
        let Some((word, after)) = rest.split_once(',') else {
            return paths;
        };
        // `-y` prints file descriptors as `3</path>`.
        base = word
            .split_once('<')
            .map(|(_, path)| PathBuf::from(path.trim_end_matches('>')));
        rest = after;
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
#[cfg_attr(not(feature = "test-tools"), ignore = "requires curl, openssl, strace")]
fn writes_only_to_output_cache_and_temporary_directory() {
    let (index, sandbox) = (Index::start(), Sandbox::new());
    index.add(&Wheel::new("alpha", "1.0"));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    Sdist::new("local", "1.0").write_tree(&sandbox.path("project"));
    for round in 0..2 {
        let trace = sandbox.path(&format!("trace-{round}"));
        let mut command = sandbox.command("strace");
        command
            .args(["-f", "-y", "-s", "4096", "-e", "trace=file", "-o"])
            .arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_wheelhouse"));
        command.args(build_arguments(&index, &sandbox.out(), &sandbox.cache()));
        command.args(["alpha", "gamma", "./project"]);
        sandbox.spawn(command).finish().assert_success();
        let text = std::fs::read_to_string(&trace).unwrap();
        let changes = changes(&text, &sandbox.path(""));
        // The second run has nothing to do.
        assert!(
            round > 0 || changes.len() > 100,
            "the trace was not understood"
        );
        let allowed = [
            sandbox.out(),
            sandbox.cache(),
            sandbox.path("tmp"),
            // The directory of a build in its sandbox.
            "/build".into(),
            "/dev".into(),
            "/proc/self".into(),
        ];
        let strays: Vec<_> = changes
            .iter()
            .filter(|(_, path)| !allowed.iter().any(|directory| path.starts_with(directory)))
            .collect();
        assert!(strays.is_empty(), "{strays:#?}");
    }
}

//! What of a local source tree is neither digested nor copied, and why that cannot matter.
//!
//! A build sees the copy alone, so what is left out cannot change a wheel without being noticed;
//! what remains to be shown is that the wheel is the one a clean checkout gives. Each rule says it.
//! In doubt a file is kept. Never decides about the insides of Git's own directory
//! ([`super::git`] does).

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME};

/// How a `CACHEDIR.TAG` begins (bford.info/cachedir).
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether the directory `path` of the source tree `root` is left out.
pub(super) fn is_ignored(root: &Path, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    let parent = path.parent().unwrap_or(path);
    let at_top = parent == root;
    name == "__pycache__" && is_bytecode(path)
        || is_cache(path)
        || is_virtual_environment(path)
        || is_wheelhouse(path)
        || at_top && matches!(name, ".tox" | ".nox")
        || at_top && name == "build" && is_build_output(path)
        || at_top && name == "dist" && holds_only_distributions(path)
        || (at_top || parent == root.join("src"))
            && name.ends_with(".egg-info")
            && is_development_leftover(root, path)
}

/// Python writes byte code again from the source whenever it likes.
fn is_bytecode(path: &Path) -> bool {
    children(path).is_some_and(|names| names.iter().all(|name| name.contains(".pyc")))
}

/// Whoever tags a directory as a cache says that its content can be made again: the caches of
/// pytest, mypy and ruff, Cargo's `target`.
fn is_cache(path: &Path) -> bool {
    begins_with(&path.join("CACHEDIR.TAG"), CACHE_SIGNATURE)
}

/// A virtual environment is bound to its own place: a copy of it does not even work.
fn is_virtual_environment(path: &Path) -> bool {
    let interpreter = ["bin/python", "bin/python3", "Scripts/python.exe"];
    path.join("pyvenv.cfg").is_file()
        && interpreter
            .iter()
            .any(|interpreter| path.join(interpreter).symlink_metadata().is_ok())
}

/// What this program puts out is never what it is made from; else each run would change the next.
fn is_wheelhouse(path: &Path) -> bool {
    path.join(PENDING_NAME).is_file()
        || contains(&path.join(MANIFEST_NAME), "\"wheelhouse-manifest/")
}

/// setuptools takes whatever an earlier build left in `build/lib` into the wheel, stale modules
/// too. A `build` with anything else in it is somebody's source.
fn is_build_output(path: &Path) -> bool {
    let ours = |name: &String| {
        name == "lib"
            || ["lib.", "temp.", "bdist.", "scripts-"]
                .iter()
                .any(|start| name.starts_with(start))
    };
    children(path).is_some_and(|names| !names.is_empty() && names.iter().all(ours))
}

/// The results of earlier builds.
fn holds_only_distributions(path: &Path) -> bool {
    let distribution = |name: &String| {
        [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|end| name.ends_with(end))
            || name == ".gitignore"
    };
    children(path).is_some_and(|names| !names.is_empty() && names.iter().all(distribution))
}

/// setuptools writes it at each build, and takes files it lists into the wheel though they are no
/// longer asked for. In an unpacked source distribution (it has a `PKG-INFO`) that list is all
/// that says which files belong to the wheel, and is kept.
fn is_development_leftover(root: &Path, path: &Path) -> bool {
    path.join("SOURCES.txt").is_file() && !root.join("PKG-INFO").is_file()
}

fn children(path: &Path) -> Option<Vec<String>> {
    fs::read_dir(path)
        .ok()?
        .map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn begins_with(path: &Path, start: &[u8]) -> bool {
    head(path, start.len()).is_some_and(|head| head == start)
}

fn contains(path: &Path, mark: &str) -> bool {
    head(path, 4096).is_some_and(|head| String::from_utf8_lossy(&head).contains(mark))
}

fn head(path: &Path, length: usize) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(length as u64).read_to_end(&mut head).ok()?;
    Some(head)
}

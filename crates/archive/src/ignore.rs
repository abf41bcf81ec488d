//! The directories of a local source tree that are neither digested nor copied.
//!
//! A build sees only the copy, so an ignored directory cannot influence a wheel unnoticed. What each rule must ensure is that
//! the wheel equals that of a clean checkout; its comment says why. When in doubt, a directory is not ignored. The `.git`
//! directory is handled by [`crate::git`].

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;
use wheelhouse_types::manifest::{MANIFEST_NAME, PENDING_NAME};

use crate::sdist::is_find_links_name;

/// The first bytes of a `CACHEDIR.TAG` (bford.info/cachedir).
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Returns whether the directory `path` of the source tree `root` is ignored.
pub(crate) fn is_ignored(root: &Path, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    let parent = path.parent().unwrap_or(path);
    let is_top = parent == root;
    name == "__pycache__" && is_bytecode(path)
        || is_cache(path)
        || is_virtual_environment(path)
        || is_wheelhouse(path)
        || is_top && matches!(name, ".tox" | ".nox")
        || is_top && name == "build" && is_build_output(path)
        || is_top && name == "dist" && has_only_distributions(path)
        || (is_top || parent == root.join("src"))
            && name.ends_with(".egg-info")
            && is_development_metadata(root, path)
}

/// Python generates bytecode from the source at any time.
fn is_bytecode(path: &Path) -> bool {
    names(path).is_some_and(|names| names.iter().all(|name| name.contains(".pyc")))
}

/// The tag states that the content can be generated again. It marks the caches of pytest, mypy and ruff, and the `target` of
/// Cargo.
fn is_cache(path: &Path) -> bool {
    read_start(&path.join("CACHEDIR.TAG"), CACHE_SIGNATURE.len())
        .is_some_and(|start| start == CACHE_SIGNATURE)
}

/// A virtual environment contains its own path, so a copy does not work.
fn is_virtual_environment(path: &Path) -> bool {
    let interpreters = ["bin/python", "bin/python3", "Scripts/python.exe"];
    path.join("pyvenv.cfg").is_file()
        && interpreters
            .iter()
            .any(|interpreter| path.join(interpreter).symlink_metadata().is_ok())
}

/// The output of this program is never its input; otherwise each run would change the next.
fn is_wheelhouse(path: &Path) -> bool {
    path.join(PENDING_NAME).is_file()
        || read_start(&path.join(MANIFEST_NAME), 4096)
            .is_some_and(|start| String::from_utf8_lossy(&start).contains("\"wheelhouse-manifest/"))
}

/// setuptools adds everything that an earlier build left in `build/lib` to the wheel, including stale modules. A `build`
/// directory with other entries is source code.
fn is_build_output(path: &Path) -> bool {
    let is_output = |name: &String| {
        name == "lib"
            || ["lib.", "temp.", "bdist.", "scripts-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    names(path).is_some_and(|names| !names.is_empty() && names.iter().all(is_output))
}

/// Distributions are the results of earlier builds.
fn has_only_distributions(path: &Path) -> bool {
    let is_distribution = |name: &String| is_find_links_name(name) || name == ".gitignore";
    names(path).is_some_and(|names| !names.is_empty() && names.iter().all(is_distribution))
}

/// setuptools writes this directory in each build, and adds the files that it lists to the wheel even if they no longer
/// belong to it. In an unpacked source distribution, which has a `PKG-INFO`, this list is the only one, and is not ignored.
fn is_development_metadata(root: &Path, path: &Path) -> bool {
    path.join("SOURCES.txt").is_file() && !root.join("PKG-INFO").is_file()
}

fn names(directory: &Path) -> Option<Vec<String>> {
    fs::read_dir(directory)
        .ok()?
        .map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Reads up to `length` bytes from the start of a regular file.
fn read_start(path: &Path, length: usize) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    file.take(length as u64).read_to_end(&mut start).ok()?;
    Some(start)
}

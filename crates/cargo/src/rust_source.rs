//! Finds the Rust projects in a source tree: their `Cargo.lock` files, and those without one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, LockedCrate, Result, limits};

use crate::lockfile;

/// The directories that a build of a wheel does not need.
const IGNORED: [&str; 14] = [
    ".git",
    "bench",
    "benches",
    "benchmarks",
    "doc",
    "docs",
    "example",
    "examples",
    "fuzz",
    "node_modules",
    "target",
    "test",
    "testing",
    "tests",
];

/// The words that show that a build compiles Rust.
const WORDS: [&str; 4] = ["maturin", "setuptools-rust", "setuptools_rust", "cargo"];

/// The files of a project in which these words occur.
const BUILD_FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// The number of directories above a tree in which its workspace is searched.
const WORKSPACE_LEVELS: usize = 8;

/// The names of the file that selects a toolchain. The first may also have the name of a toolchain alone.
const TOOLCHAIN_FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

/// The file with the digests of a crate that is already vendored.
pub(crate) const CHECKSUM_NAME: &str = ".cargo-checksum.json";

/// The Rust projects in a source tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RustSource {
    /// The `Cargo.lock` files.
    pub locks: Vec<PathBuf>,
    /// The `Cargo.toml` files that no lock covers, if the build compiles Rust.
    pub unlocked: Vec<PathBuf>,
    /// The registries that the configuration of the source defines: the names by URL. cargo reads that configuration as well,
    /// and accepts only one name for a registry.
    pub registries: BTreeMap<String, String>,
    /// The file that selects a toolchain of rustup for the projects.
    pub toolchain_file: Option<PathBuf>,
}

impl RustSource {
    /// Finds the Rust projects in `tree`. Those that contain their crates already are left out.
    ///
    /// # Errors
    /// [`Kind::Build`] if the tree cannot be read.
    pub fn find(tree: &Path) -> Result<Self> {
        let mut source = Self::default();
        let (mut manifests, mut covered) = (Vec::new(), Vec::new());
        let (mut configurations, mut toolchain_files) = (Vec::new(), Vec::new());
        let entries = WalkDir::new(tree).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_relevant) {
            let entry =
                entry.context(Kind::Build, || format!("failed to read {}", tree.display()))?;
            let path = entry.path();
            let is_configuration = || {
                let directory = path.parent().and_then(Path::file_name);
                directory.is_some_and(|name| name == ".cargo")
            };
            match entry.file_name().to_str() {
                Some("Cargo.lock") => {
                    // cargo would write through a link that leads out of the tree.
                    covered.extend(parent(path));
                    if is_inside(path, tree) {
                        source.locks.push(path.to_owned());
                    }
                }
                Some("Cargo.toml") if entry.file_type().is_file() => {
                    manifests.push(path.to_owned());
                }
                Some("config" | "config.toml")
                    if entry.file_type().is_file() && is_configuration() =>
                {
                    configurations.push(path.to_owned());
                }
                Some(name) if TOOLCHAIN_FILES.contains(&name) && entry.file_type().is_file() => {
                    toolchain_files.push(path.to_owned());
                }
                _ => {}
            }
        }
        // A lock without a manifest is that of another program.
        source
            .locks
            .retain(|lock| lock.with_file_name("Cargo.toml").is_file());
        let mut vendored = Vec::new();
        for configuration in &configurations {
            let scope = configuration.ancestors().nth(2).unwrap_or(tree);
            if source.read_configuration(configuration, scope) {
                vendored.push(scope.to_owned());
            }
        }
        let has_crates = |path: &Path| vendored.iter().any(|scope| path.starts_with(scope));
        source.locks.retain(|lock| !has_crates(lock));
        if tree.join("Cargo.toml").is_file()
            && !covered.iter().any(|directory| directory == tree)
            && let Some(lock) = lock_above(tree)
        {
            covered.push(tree.to_owned());
            source.locks.push(lock);
        }
        if compiles_rust(tree) {
            source.unlocked = outermost(manifests, &covered);
            source.unlocked.retain(|manifest| !has_crates(manifest));
        }
        let projects = || source.locks.iter().chain(&source.unlocked);
        let is_above = |file: &PathBuf| {
            let directory = file.parent().unwrap_or(tree);
            projects().any(|project| project.starts_with(directory))
        };
        source.toolchain_file = toolchain_files.into_iter().find(is_above);
        Ok(source)
    }

    /// Returns whether the tree has no Rust project.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty() && self.unlocked.is_empty()
    }

    /// Returns the crates that the locks pin, sorted.
    ///
    /// # Errors
    /// [`Kind::Build`] if a lock cannot be read or is not valid.
    pub fn crates(&self) -> Result<Vec<LockedCrate>> {
        let mut crates = BTreeSet::new();
        for lock in &self.locks {
            crates.extend(read_lock(lock)?);
        }
        Ok(crates.into_iter().collect())
    }

    /// Reads the configuration of cargo at `path`, which is that of projects below `scope`. Returns whether it replaces
    /// crates.io by a directory in the source.
    fn read_configuration(&mut self, path: &Path, scope: &Path) -> bool {
        let table = fs_err::File::open(path)
            .and_then(|file| limits::read(file, limits::PYPROJECT))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|text| limits::toml(text).is_ok())
            .and_then(|text| text.parse::<toml::Table>().ok());
        let sources = table
            .as_ref()
            .and_then(|table| table.get("source")?.as_table());
        let Some(sources) = sources else {
            return false;
        };
        let text = |source: &toml::Value, key: &str| Some(source.get(key)?.as_str()?.to_owned());
        for (name, source) in sources {
            if let Some(url) = text(source, "registry") {
                self.registries.insert(url, name.clone());
            }
        }
        let replaced = sources
            .get("crates-io")
            .and_then(|source| text(source, "replace-with"));
        let directory = replaced
            .and_then(|name| sources.get(&name))
            .and_then(|source| {
                text(source, "directory").or_else(|| text(source, "local-registry"))
            });
        directory.is_some_and(|directory| scope.join(directory).is_dir())
    }
}

/// Reads the crates of the `Cargo.lock` at `path`.
///
/// # Errors
/// [`Kind::Build`] if it cannot be read or is not valid.
pub fn read_lock(path: &Path) -> Result<Vec<LockedCrate>> {
    let failed = || format!("failed to read {}", path.display());
    let file = fs_err::File::open(path).context(Kind::Build, failed)?;
    let bytes = limits::read(file, lockfile::LOCK_SIZE).context(Kind::Build, failed)?;
    let text = String::from_utf8(bytes).context(Kind::Build, failed)?;
    lockfile::parse(&text).context(Kind::Build, failed)
}

/// Returns the lock of the workspace that `tree` is a member of, as cargo finds it.
fn lock_above(tree: &Path) -> Option<PathBuf> {
    let above = tree.ancestors().skip(1).take(WORKSPACE_LEVELS);
    let mut workspaces = above.filter(|directory| {
        let file = fs_err::File::open(directory.join("Cargo.toml"));
        let bytes = file.and_then(|file| limits::read(file, limits::PYPROJECT));
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        text.is_ok_and(|text| {
            let table = limits::toml(&text).ok().and_then(|()| text.parse().ok());
            table.is_some_and(|table: toml::Table| table.contains_key("workspace"))
        })
    });
    let lock = workspaces.next()?.join("Cargo.lock");
    lock.is_file().then_some(lock)
}

/// Returns whether an entry may be, or may contain, a file of a Rust project that the build needs.
fn is_relevant(entry: &DirEntry) -> bool {
    if !entry.file_type().is_dir() || entry.depth() == 0 {
        return true;
    }
    let name = entry.file_name().to_string_lossy();
    !IGNORED.contains(&&*name) && !entry.path().join(CHECKSUM_NAME).exists()
}

/// Returns whether `path` is a regular file of `tree`, perhaps through a link.
fn is_inside(path: &Path, tree: &Path) -> bool {
    let resolved = fs_err::canonicalize(path);
    let is_below =
        |path: &Path| fs_err::canonicalize(tree).is_ok_and(|tree| path.starts_with(tree));
    resolved.is_ok_and(|path| path.is_file() && is_below(&path))
}

/// Returns whether the project at `tree` says that its build compiles Rust.
fn compiles_rust(tree: &Path) -> bool {
    BUILD_FILES.iter().any(|name| {
        let file = fs_err::File::open(tree.join(name));
        let bytes = file.and_then(|file| limits::read(file, limits::PYPROJECT));
        bytes.is_ok_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            WORDS.iter().any(|word| text.contains(word))
        })
    })
}

/// Returns the manifests that are not below a directory in `covered` or below that of another manifest.
fn outermost(manifests: Vec<PathBuf>, covered: &[PathBuf]) -> Vec<PathBuf> {
    let mut covered = covered.to_vec();
    let mut outermost = Vec::new();
    let mut manifests = manifests;
    manifests.sort_by_key(|manifest| manifest.components().count());
    for manifest in manifests {
        let Some(directory) = parent(&manifest) else {
            continue;
        };
        if !covered.iter().any(|scope| directory.starts_with(scope)) {
            covered.push(directory);
            outermost.push(manifest);
        }
    }
    outermost
}

fn parent(path: &Path) -> Option<PathBuf> {
    path.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a tree with `files`, and returns what is found in it relative to the tree.
    fn find(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>, RustSource) {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = tree.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = RustSource::find(tree.path()).unwrap();
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let paths = paths.iter();
            let relative = paths.map(|path| path.strip_prefix(tree.path()).unwrap());
            relative.map(|path| path.display().to_string()).collect()
        };
        (names(&found.locks), names(&found.unlocked), found)
    }

    #[test]
    fn finds_locks_at_any_depth() {
        let (locks, unlocked, _) = find(&[
            ("Cargo.lock", ""),
            ("Cargo.toml", ""),
            ("src/a/b/Cargo.lock", ""),
            ("src/a/b/Cargo.toml", ""),
            ("other/Cargo.lock", ""),
            ("tests/data/Cargo.lock", ""),
            ("tests/data/Cargo.toml", ""),
            ("vendor/itoa/.cargo-checksum.json", "{}"),
            ("vendor/itoa/Cargo.toml", ""),
            ("vendor/itoa/Cargo.lock", ""),
        ]);
        assert_eq!(locks, ["Cargo.lock", "src/a/b/Cargo.lock"]);
        assert!(unlocked.is_empty());
    }

    #[test]
    fn finds_outermost_projects_without_lock_if_the_build_compiles_rust() {
        let files = [
            ("pyproject.toml", "[build-system]\nrequires = ['maturin']"),
            ("rust/Cargo.toml", ""),
            ("rust/member/Cargo.toml", ""),
            ("locked/Cargo.toml", ""),
            ("locked/Cargo.lock", ""),
            ("locked/member/Cargo.toml", ""),
        ];
        let (_, unlocked, _) = find(&files);
        assert_eq!(unlocked, ["rust/Cargo.toml"]);
        let (_, unlocked, _) = find(&files[1..]);
        assert!(unlocked.is_empty());
    }

    #[test]
    fn ignores_projects_that_contain_their_crates() {
        let config = "[source.crates-io]\nreplace-with = 'v'\n[source.v]\ndirectory = 'vendor'\n";
        let files = [
            ("Cargo.lock", ""),
            ("Cargo.toml", ""),
            (".cargo/config.toml", config),
            ("vendor/itoa/.cargo-checksum.json", "{}"),
        ];
        assert!(find(&files).2.is_empty());
        // The configuration names a directory that does not exist.
        assert_eq!(find(&files[..3]).0, ["Cargo.lock"]);
    }

    #[test]
    fn finds_registries_of_the_source() {
        let config =
            "[source.crates-io]\nreplace-with = 'm'\n[source.m]\nregistry = 'https://m/'\n";
        let (locks, _, found) = find(&[
            ("Cargo.lock", ""),
            ("Cargo.toml", ""),
            (".cargo/config", config),
        ]);
        assert_eq!(locks.len(), 1);
        assert_eq!(found.registries["https://m/"], "m");
    }

    #[test]
    fn finds_lock_of_the_workspace_above() {
        let top = tempfile::tempdir().unwrap();
        let tree = top.path().join("python/package");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("Cargo.toml"), "").unwrap();
        std::fs::write(tree.join("setup.py"), "import setuptools_rust").unwrap();
        let find = || RustSource::find(&tree).unwrap();
        std::fs::write(top.path().join("Cargo.lock"), "").unwrap();
        std::fs::write(top.path().join("Cargo.toml"), "[package]").unwrap();
        assert_eq!(find().unlocked.len(), 1);
        std::fs::write(top.path().join("Cargo.toml"), "[workspace]").unwrap();
        assert_eq!(find().locks, [top.path().join("Cargo.lock")]);
        assert!(find().unlocked.is_empty());
    }

    #[test]
    fn rejects_lock_that_links_to_another_place() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("Cargo.toml"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tree.path().join("Cargo.lock")).unwrap();
        std::fs::write(tree.path().join("setup.py"), "import setuptools_rust").unwrap();
        assert!(RustSource::find(tree.path()).unwrap().is_empty());
    }
}

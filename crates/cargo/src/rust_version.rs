//! The Rust that a source needs: `rust-version` in its manifests.
//!
//! See <https://doc.rust-lang.org/cargo/reference/rust-version.html>.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use toml::{Table, Value};
use wheelhouse_types::limits;

use crate::rust_source::RustSource;

/// The variable that selects a toolchain, and lets rustup ignore the files.
pub const TOOLCHAIN_VARIABLE: &str = "RUSTUP_TOOLCHAIN";

/// A version of Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RustVersion([u32; 3]);

impl fmt::Display for RustVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [major, minor, 0] => write!(formatter, "{major}.{minor}"),
            [major, minor, patch] => write!(formatter, "{major}.{minor}.{patch}"),
        }
    }
}

/// A text that is not a version of Rust.
#[derive(Debug, thiserror::Error)]
#[error("it is not a version of Rust")]
pub struct InvalidRustVersion;

impl FromStr for RustVersion {
    type Err = InvalidRustVersion;

    /// Parses one to three numbers. A suffix such as `-nightly` is ignored.
    fn from_str(text: &str) -> Result<Self, InvalidRustVersion> {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut version = [0; 3];
        for (position, number) in numbers.split('.').enumerate() {
            let place = version.get_mut(position).ok_or(InvalidRustVersion)?;
            *place = number.parse().map_err(|_| InvalidRustVersion)?;
        }
        Ok(Self(version))
    }
}

impl RustSource {
    /// Returns the newest Rust that a project in `tree` needs, and the manifest that says so. The members of a workspace
    /// count only as far as its own manifest states it for them.
    #[must_use]
    pub fn required_rust(&self, tree: &Path) -> Option<(RustVersion, PathBuf)> {
        let built = maturin_manifest(tree).into_iter();
        let outermost = self
            .locks
            .iter()
            .map(|lock| lock.with_file_name("Cargo.toml"));
        let manifests = built.chain(outermost).chain(self.unlocked.iter().cloned());
        let required = manifests.filter_map(|manifest| {
            let version = rust_version(tree, &manifest)?;
            Some((version, manifest))
        });
        required.max_by_key(|(version, _)| *version)
    }
}

/// Returns the version of the `rustc` in `path`, the value of `PATH`, or of the `toolchain` of rustup. Settings of a source do not
/// apply.
#[must_use]
pub fn installed_rust(path: &OsStr, toolchain: Option<&str>) -> Option<RustVersion> {
    let text = rustc(path, toolchain, &["--version"])?;
    let version = text.strip_prefix("rustc ")?;
    version.split_whitespace().next()?.parse().ok()
}

/// Returns the directory with the libraries of the `rustc` in `path`, which may be in a home directory.
#[must_use]
pub fn rust_sysroot(path: &OsStr) -> Option<PathBuf> {
    let text = rustc(path, None, &["--print", "sysroot"])?;
    let sysroot = PathBuf::from(text.trim_end());
    (sysroot.is_absolute() && sysroot.is_dir()).then_some(sysroot)
}

/// Returns the platform of the `rustc` in `path`, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host(path: &OsStr) -> Option<String> {
    let text = rustc(path, None, &["-vV"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
    Some(host.to_owned())
}

fn rustc(path: &OsStr, toolchain: Option<&str>, arguments: &[&str]) -> Option<String> {
    let directory = tempfile::tempdir().ok()?;
    let output = Command::new("rustc")
        .args(arguments)
        .env("PATH", path)
        .envs(toolchain.map(|name| (TOOLCHAIN_VARIABLE, name)))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Returns the manifest that the configuration of maturin names.
fn maturin_manifest(tree: &Path) -> Option<PathBuf> {
    let project = read(&tree.join("pyproject.toml"))?;
    let named = project
        .get("tool")?
        .get("maturin")?
        .get("manifest-path")?
        .as_str()?;
    let manifest = fs_err::canonicalize(tree.join(named)).ok()?;
    let tree = fs_err::canonicalize(tree).ok()?;
    manifest.starts_with(tree).then_some(manifest)
}

fn rust_version(tree: &Path, path: &Path) -> Option<RustVersion> {
    let manifest = read(path)?;
    let own = manifest
        .get("package")
        .and_then(|package| package.get("rust-version"));
    match own {
        Some(Value::String(version)) => version.parse().ok(),
        None if manifest.contains_key("package") => None,
        // Inherited, or a workspace without a package.
        _ => {
            let above = path.ancestors().skip(1);
            let mut inside = above.take_while(|ancestor| ancestor.starts_with(tree));
            let shared = inside.find_map(|ancestor| {
                let manifest = read(&ancestor.join("Cargo.toml"))?;
                let package = manifest.get("workspace")?.get("package")?;
                Some(package.get("rust-version")?.as_str()?.to_owned())
            });
            shared?.parse().ok()
        }
    }
}

fn read(path: &Path) -> Option<Table> {
    let file = fs_err::File::open(path).ok()?;
    let text = String::from_utf8(limits::read(file, limits::PYPROJECT).ok()?).ok()?;
    limits::toml(&text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(files: &[(&str, &str)]) -> Option<String> {
        let tree = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(tree.path()).unwrap();
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let source = RustSource::find(&root).unwrap();
        let (version, _) = source.required_rust(&root)?;
        Some(version.to_string())
    }

    #[test]
    fn reads_version_of_packages_and_workspaces() {
        let lock = ("Cargo.lock", "");
        let package = (
            "Cargo.toml",
            "[package]\nname = 'a'\nrust-version = '1.70.2'\n",
        );
        assert_eq!(required(&[lock, package]).unwrap(), "1.70.2");
        let workspace = (
            "Cargo.toml",
            "[workspace]\nmembers = ['x']\n[workspace.package]\nrust-version = '1.99'\n",
        );
        assert_eq!(required(&[lock, workspace]).unwrap(), "1.99");
        let inherited = (
            "Cargo.toml",
            "[package]\nname = 'a'\nrust-version.workspace = true\n[workspace]\n[workspace.package]\nrust-version = '1.80'\n",
        );
        assert_eq!(required(&[lock, inherited]).unwrap(), "1.80");
        let silent = ("Cargo.toml", "[package]\nname = 'a'\n");
        assert_eq!(required(&[lock, silent]), None);
    }

    #[test]
    fn reads_manifest_that_maturin_builds() {
        let files = [
            ("Cargo.lock", ""),
            ("Cargo.toml", "[workspace]\nmembers = ['x']\n"),
            (
                "x/Cargo.toml",
                "[package]\nname = 'x'\nrust-version = '1.85'\n",
            ),
            (
                "pyproject.toml",
                "[tool.maturin]\nmanifest-path = 'x/Cargo.toml'\n",
            ),
        ];
        assert_eq!(required(&files).unwrap(), "1.85");
        assert_eq!(required(&files[..3]), None);
    }

    #[test]
    fn compares_numbers() {
        let version = |text: &str| text.parse::<RustVersion>().unwrap();
        assert!(version("1.9") < version("1.10.0-nightly"));
        assert_eq!(version("1.70"), version("1.70.0"));
        assert!("stable".parse::<RustVersion>().is_err());
    }
}

//! Flags of compilers that replace the paths of a build, so that debug information and `__FILE__` do not depend on the machine.
//!
//! The flags are in variables whose defaults are empty. `CFLAGS` and `RUSTFLAGS` are not: a `configure` script without `CFLAGS`
//! optimizes, and `RUSTFLAGS` replaces the flags of a project's configuration.

use std::path::Path;

/// The path that replaces that of the source tree.
const TREE: &str = "/build";
/// The path that replaces that of the build environment.
const ENVIRONMENT: &str = "/build-environment";

/// Returns flags by the names of their variables, for the source `tree` and the directory of the build environment. Paths that
/// compilers or shells would split have none.
pub(super) fn flags(tree: &Path, environment: &Path) -> Vec<(&'static str, String)> {
    let paths = [(environment, ENVIRONMENT), (tree, TREE)];
    let paths: Option<Vec<_>> = paths
        .into_iter()
        .map(|(path, replacement)| Some((plain(path)?, replacement)))
        .collect();
    let Some(paths) = paths else {
        return Vec::new();
    };
    let all = |option: &str| {
        let flags = paths.iter();
        let flags = flags.map(|(path, replacement)| format!("{option}={path}={replacement}"));
        flags.collect::<Vec<_>>().join(" ")
    };
    vec![
        // Read by setuptools, Meson and configure scripts.
        ("CPPFLAGS", all("-ffile-prefix-map")),
        // `build.rustflags` of cargo.
        ("CARGO_BUILD_RUSTFLAGS", all("--remap-path-prefix")),
    ]
}

/// Returns a path without characters that have a meaning in lists of flags.
fn plain(path: &Path) -> Option<&str> {
    let is_plain =
        |letter: char| letter.is_alphanumeric() || matches!(letter, '/' | '-' | '_' | '.' | '+');
    path.to_str().filter(|path| path.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_tree_and_environment() {
        let flags = flags(Path::new("/c/builds/0a/x-1"), Path::new("/c/e"));
        assert_eq!(
            flags[0],
            (
                "CPPFLAGS",
                "-ffile-prefix-map=/c/e=/build-environment -ffile-prefix-map=/c/builds/0a/x-1=/build".to_owned()
            )
        );
    }

    #[test]
    fn leaves_out_path_with_space() {
        assert!(flags(Path::new("/my builds/x"), Path::new("/c/e")).is_empty());
    }
}

//! Detection of extension modules: guesses from the files of a source tree whether its build compiles anything.
//!
//! Does not run the build, so the guess can be wrong. The tree is then built needlessly, or an sdist is kept that would have
//! been built into a wheel for all platforms.

use std::path::Path;

use walkdir::WalkDir;
use wheelhouse_types::toml_reader;

/// Build backends and build requirements that serve only to compile, as normalized names.
const COMPILING: [&str; 8] = [
    "maturin",
    "setuptools-rust",
    "scikit-build",
    "scikit-build-core",
    "py-build-cmake",
    "cmake-build-extension",
    "sip",
    "pyqt-builder",
];

/// The words by which scripts of setuptools, distutils and Poetry declare extension modules.
const EXTENSIONS: [&str; 5] = [
    "ext_modules",
    "ext-modules",
    "rust_extensions",
    "cffi_modules",
    "cythonize(",
];

/// The files that may contain these words: `setup.py`, modules that it usually imports, and configuration files.
const SCRIPTS: [&str; 5] = [
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "build.py",
    "build_ext.py",
];

/// The extensions of source files of extension modules.
const SOURCES: [&str; 12] = [
    "c", "cc", "cpp", "cu", "cxx", "f", "f90", "m", "mm", "pyx", "rs", "zig",
];

/// The largest size of a script that is read, in bytes.
const MAX_SCRIPT_SIZE: u64 = 1 << 20;

/// Returns whether the build of the tree at `root` probably compiles extension modules: its build backend serves that
/// purpose, or it has source files of extension modules and a script that declares them.
#[must_use]
pub fn has_extension_modules(root: &Path) -> bool {
    let required = required(root);
    if required.iter().any(|name| COMPILING.contains(&&**name)) {
        return true;
    }
    let declares_extensions = if required.iter().any(|name| name == "meson-python") {
        text(&root.join("meson.build")).contains("extension_module") || has_nested_declaration(root)
    } else {
        let mut scripts = SCRIPTS.iter().map(|name| text(&root.join(name)));
        scripts.any(|text| EXTENSIONS.iter().any(|word| text.contains(word)))
    };
    declares_extensions && files(root).any(|path| is_source(&path))
}

/// Returns whether a `meson.build` below `root` declares an extension module.
fn has_nested_declaration(root: &Path) -> bool {
    files(root)
        .filter(|path| path.ends_with("meson.build"))
        .any(|path| text(&path).contains("extension_module"))
}

/// Returns the names of the build requirements of the tree.
fn required(root: &Path) -> Vec<String> {
    let table = toml_reader::parse(&text(&root.join("pyproject.toml"))).unwrap_or_default();
    let requires = table
        .get("build-system")
        .and_then(|system| system.get("requires"))
        .and_then(toml::Value::as_array);
    let lines = requires
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str);
    lines.map(name_of).collect()
}

/// Returns the normalized name in a requirement.
fn name_of(requirement: &str) -> String {
    let end = |letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter);
    let name = requirement.trim().split(end).next().unwrap_or_default();
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn files(root: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = WalkDir::new(root).into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path)
}

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        let extension = extension.to_string_lossy().to_ascii_lowercase();
        SOURCES.contains(&&*extension)
    })
}

/// Returns the text of a file, or an empty string if the file is missing or too large.
fn text(path: &Path) -> String {
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_SCRIPT_SIZE => {
            fs_err::read_to_string(path).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        }
        directory
    }

    fn requires(names: &str) -> String {
        format!("[build-system]\nrequires = [{names}]\n")
    }

    #[test]
    fn detects_extension_sources_and_build_scripts() {
        let setup = "from setuptools import setup, Extension\nsetup(ext_modules=[Extension('a', ['a.c'])])\n";
        let meson = requires("'meson-python>=0.13'");
        for files in [
            &[("setup.py", setup), ("src/a.c", "")][..],
            &[
                ("setup.py", "setup(ext_modules=cythonize('a.pyx'))"),
                ("a.pyx", ""),
            ],
            &[
                (
                    "pyproject.toml",
                    "[[tool.setuptools.ext-modules]]\nname = 'a'\n",
                ),
                ("a.C", ""),
            ],
            &[("pyproject.toml", &requires("'maturin>=1,<2'"))],
            &[(
                "pyproject.toml",
                &requires("'setuptools', 'Setuptools_Rust; python_version > \"3\"'"),
            )],
            &[(
                "pyproject.toml",
                &requires("'scikit_build_core[pyproject]'"),
            )],
            &[
                ("pyproject.toml", &meson),
                ("a/meson.build", "py.extension_module('a')"),
                ("a/a.c", ""),
            ],
        ] {
            assert!(has_extension_modules(tree(files).path()), "{files:?}");
        }
    }

    #[test]
    fn treats_pure_tree_as_not_compiled() {
        let meson = requires("'meson-python'");
        for files in [
            &[("setup.py", "setup(packages=['a'])"), ("a/example.c", "")][..],
            &[("setup.py", "setup(ext_modules=[])"), ("a.py", "")],
            &[
                ("pyproject.toml", &requires("'setuptools>=61', 'wheel'")),
                ("a.py", ""),
            ],
            &[
                ("pyproject.toml", &meson),
                ("meson.build", "py.install_sources()"),
                ("a.c", ""),
            ],
            &[("pyproject.toml", "not toml ["), ("a.c", "")],
            &[],
        ] {
            assert!(!has_extension_modules(tree(files).path()), "{files:?}");
        }
    }
}

//! Whether building a source tree compiles something, as far as its files tell.
//!
//! Runs nothing, so it cannot know: where it is wrong, a tree is built to see, or an sdist is kept that would have built
//! into a wheel for all platforms.

use std::path::Path;

use walkdir::WalkDir;
use wheelhouse_types::toml_reader;

/// Build requirements and back ends without which nothing is compiled, in the normalized form of names.
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

/// What scripts of setuptools, distutils and Poetry name extension modules with.
const EXTENSIONS: [&str; 5] = [
    "ext_modules",
    "ext-modules",
    "rust_extensions",
    "cffi_modules",
    "cythonize(",
];

/// The files that may have such words: `setup.py`, what it usually imports, and what stands beside it.
const SCRIPTS: [&str; 5] = [
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "build.py",
    "build_ext.py",
];

/// How the names of files end that extension modules are compiled from.
const SOURCES: [&str; 12] = [
    "c", "cc", "cpp", "cu", "cxx", "f", "f90", "m", "mm", "pyx", "rs", "zig",
];

/// How much of a script is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Returns whether building the tree at `root` compiles something: its back end is there for that, or it has sources of
/// extension modules and a script that names them.
#[must_use]
pub fn has_extension_modules(root: &Path) -> bool {
    let required = required(root);
    if required.iter().any(|name| COMPILING.contains(&&**name)) {
        return true;
    }
    let names_extensions = if required.iter().any(|name| name == "meson-python") {
        text(&root.join("meson.build")).contains("extension_module") || has_nested(root)
    } else {
        let mut scripts = SCRIPTS.iter().map(|name| text(&root.join(name)));
        scripts.any(|text| EXTENSIONS.iter().any(|word| text.contains(word)))
    };
    names_extensions && files(root).any(|path| is_source(&path))
}

/// Returns whether a `meson.build` below `root` makes an extension module.
fn has_nested(root: &Path) -> bool {
    files(root)
        .filter(|path| path.ends_with("meson.build"))
        .any(|path| text(&path).contains("extension_module"))
}

/// The names that `[build-system]` of the tree requires.
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

/// The normalized name at the beginning of a requirement.
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

/// The text of a file, or nothing if there is none, or one that is too large.
fn text(path: &Path) -> String {
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {
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

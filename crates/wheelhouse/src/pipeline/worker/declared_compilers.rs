//! Checks before a build that the compilers that a source declares are there and new enough.
//!
//! What is checked: `rust-version` of manifests of Rust; the languages and C++ standard of `meson.build` if Meson builds; the
//! version of `CMake` in `CMakeLists.txt` if `setup.py` calls the `CMake` of the system; Fortran in `CMakeLists.txt` if `CMake` builds,
//! and for `numpy.distutils`. Backends that use Meson or `CMake` require these tools themselves. What a source does not declare is
//! found when its build fails.

mod cmake;
mod meson;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use wheelhouse_cargo::{RustSource, TOOLCHAIN_VARIABLE, installed_rust};
use wheelhouse_types::requirement::{Named, named};
use wheelhouse_types::{Error, Kind, PackageName, Result, limits, toml_reader};

use cmake::CmakeProject;
use meson::MesonProject;

/// A language, with the variable that names its compiler and the programs that Meson tries on Linux; `CMake` tries the same.
struct Language {
    name: &'static str,
    title: &'static str,
    variable: &'static str,
    programs: &'static [&'static str],
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "c",
        title: "C",
        variable: "CC",
        programs: &["cc", "gcc", "clang", "icx", "icc", "nvc", "pgcc"],
    },
    Language {
        name: "cpp",
        title: "C++",
        variable: "CXX",
        programs: &["c++", "g++", "clang++", "icpx", "icpc", "nvc++", "pgc++"],
    },
    FORTRAN,
];

const FORTRAN: Language = Language {
    name: "fortran",
    title: "Fortran",
    variable: "FC",
    programs: &[
        "gfortran",
        "flang-new",
        "flang",
        "nvfortran",
        "pgfortran",
        "ifx",
        "ifort",
        "g95",
    ],
};

/// The name of the file with the project of `CMake`.
const CMAKE: &str = "CMakeLists.txt";

/// Checks that the build of `package`, whose source is at `tree`, finds the compilers that the source declares. `rust` has the
/// Rust projects of the source, and `environment` the variables of builds.
///
/// # Errors
/// [`Kind::Build`] naming the package, the compiler, and what is needed and found.
pub(super) fn check(
    package: &str,
    tree: &Path,
    rust: Option<&RustSource>,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    if let Some(rust) = rust {
        check_rust(package, tree, rust, environment)?;
    }
    let project = Project::read(tree);
    check_meson(package, tree, &project, environment)?;
    check_cmake(package, tree, &project, environment)?;
    if project.uses_fortran_of_numpy() && compiler(&FORTRAN, environment).is_none() {
        return Err(missing(package, &FORTRAN, "setup.py"));
    }
    Ok(())
}

/// The declaration of the build backend.
#[derive(Debug, Default)]
struct Project {
    /// The backend, `module:object`; empty stands for setuptools.
    backend: String,
    /// The names of the build requirements.
    requires: Vec<PackageName>,
    /// The text of `setup.py`.
    setup: String,
}

impl Project {
    fn read(tree: &Path) -> Self {
        let table = read(&tree.join("pyproject.toml"));
        let table = table.and_then(|text| toml_reader::parse(&text).ok());
        let build = table.as_ref().and_then(|table| table.get("build-system"));
        let value = |name: &str| build.and_then(|build| build.get(name));
        let requires = value("requires").and_then(|requires| requires.as_array());
        let requires = requires.into_iter().flatten();
        Self {
            backend: value("build-backend")
                .and_then(|backend| backend.as_str())
                .unwrap_or_default()
                .to_owned(),
            requires: requires
                .filter_map(|line| match named(line.as_str()?) {
                    Named::Package(name, _) | Named::Direct(name, _) => Some(name),
                    Named::Nameless => None,
                })
                .collect(),
            setup: read(&tree.join("setup.py")).unwrap_or_default(),
        }
    }

    fn is_setuptools(&self) -> bool {
        self.backend.is_empty() || self.backend.starts_with("setuptools.")
    }

    /// Returns whether the backend is one that runs `CMake`, and requires it if the system has none that is new enough.
    fn is_cmake_backend(&self) -> bool {
        let module = self.backend.split(['.', ':']).next();
        matches!(module, Some("scikit_build_core" | "py_build_cmake"))
    }

    /// Returns whether `setup.py` runs the `CMake` of the system.
    fn runs_installed_cmake(&self) -> bool {
        let requires_cmake = self.requires.iter().any(|name| name.as_ref() == "cmake");
        self.is_setuptools()
            && !requires_cmake
            && (self.setup.contains("cmake") || self.setup.contains("skbuild"))
    }

    /// Returns whether `setup.py` lets `numpy.distutils` compile Fortran.
    fn uses_fortran_of_numpy(&self) -> bool {
        let endings = [".f", ".f77", ".f90", ".f95", ".F", ".F90"];
        let mut quoted = endings
            .iter()
            .flat_map(|ending| ['\'', '"'].map(|quote| format!("{ending}{quote}")));
        self.is_setuptools()
            && self.setup.contains("numpy.distutils")
            && quoted.any(|end| self.setup.contains(&end))
    }
}

/// Checks the declarations of `CMakeLists.txt`.
fn check_cmake(
    package: &str,
    tree: &Path,
    project: &Project,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    if !project.is_cmake_backend() && !project.runs_installed_cmake() {
        return Ok(());
    }
    let Some(declared) = read(&tree.join(CMAKE)).map(|text| CmakeProject::parse(&text)) else {
        return Ok(());
    };
    let path = environment.get("PATH").map_or("", String::as_str);
    if let Some(needed) = declared.minimum
        && project.runs_installed_cmake()
        // The build reports a missing CMake, or does without one.
        && let Some(found) = cmake::installed(path).filter(|found| *found < needed)
    {
        let message =
            format!("{package} needs CMake {needed} ({CMAKE}), but CMake {found} is installed");
        return Err(Error::new(Kind::Build, message)
            .with_hint("Install a newer CMake, and let it come first in PATH."));
    }
    let is_certain = project.is_cmake_backend() || project.setup.contains("skbuild");
    if is_certain && declared.has_fortran && compiler(&FORTRAN, environment).is_none() {
        return Err(missing(package, &FORTRAN, CMAKE));
    }
    Ok(())
}

/// Returns the error of a compiler that the file `declaration` needs.
fn missing(package: &str, language: &Language, declaration: &str) -> Error {
    let (title, variable) = (language.title, language.variable);
    let programs = language.programs[..3].join(", ");
    let message =
        format!("{package} needs a {title} compiler ({declaration}), but none is installed");
    Error::new(Kind::Build, message).with_hint(format!(
        "Install one ({programs}), or name it with the variable {variable}."
    ))
}

fn check_rust(
    package: &str,
    tree: &Path,
    rust: &RustSource,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    let path = environment.get("PATH").map_or("", String::as_str);
    let toolchain = environment.get(TOOLCHAIN_VARIABLE).map(String::as_str);
    let Some((needed, manifest)) = rust.required_rust(tree) else {
        return Ok(());
    };
    // The backend reports a missing compiler, or does without one.
    let Some(found) = installed_rust(path.as_ref(), toolchain).filter(|found| *found < needed)
    else {
        return Ok(());
    };
    let manifest = manifest.strip_prefix(tree).unwrap_or(&manifest).display();
    let message =
        format!("{package} needs Rust {needed} ({manifest}), but Rust {found} is installed");
    Err(Error::new(Kind::Build, message)
        .with_hint("Install a newer Rust, for instance with `rustup update`."))
}

fn check_meson(
    package: &str,
    tree: &Path,
    project: &Project,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    if project.backend != "mesonpy" {
        return Ok(());
    }
    let Some(declared) = read(&tree.join("meson.build"))
        .as_deref()
        .and_then(MesonProject::parse)
    else {
        return Ok(());
    };
    for language in &LANGUAGES {
        if !declared.languages.iter().any(|name| name == language.name) {
            continue;
        }
        let Some(command) = compiler(language, environment) else {
            return Err(missing(package, language, "meson.build"));
        };
        if let (Some(standard), "cpp") = (&declared.cpp_standard, language.name)
            && !knows_standard(&command, standard, environment)
        {
            let compiler = command.join(" ");
            let message = format!(
                "{package} needs a C++ compiler that knows {standard} (meson.build), but {compiler} does not"
            );
            return Err(Error::new(Kind::Build, message)
                .with_hint("Install a newer one, and name it with the variable CXX."));
        }
    }
    Ok(())
}

/// Returns the command of the compiler that Meson uses, or `None` if there is none.
fn compiler(language: &Language, environment: &BTreeMap<String, String>) -> Option<Vec<String>> {
    if let Some(named) = environment
        .get(language.variable)
        .filter(|named| !named.is_empty())
    {
        return Some(named.split_whitespace().map(str::to_owned).collect());
    }
    let path = environment.get("PATH")?;
    let is_there = |program: &&&str| {
        std::env::split_paths(path).any(|directory| directory.join(program).is_file())
    };
    let program = language.programs.iter().find(is_there)?;
    Some(vec![(*program).to_owned()])
}

/// Returns whether a compiler accepts `-std=STANDARD`. One that cannot be started is reported by the backend.
fn knows_standard(
    command: &[String],
    standard: &str,
    environment: &BTreeMap<String, String>,
) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return true;
    };
    let path = environment.get("PATH").map_or("", String::as_str);
    let status = Command::new(program)
        .args(arguments)
        .arg(format!("-std={standard}"))
        .args(["-x", "c++", "-fsyntax-only", "/dev/null"])
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.map_or(true, |status| status.success())
}

fn read(path: &Path) -> Option<String> {
    let file = fs_err::File::open(path).ok()?;
    String::from_utf8(limits::read(file, limits::PYPROJECT).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_missing_and_old_compilers() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(tree.path().join(name), text).unwrap();
        write(
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'mesonpy'\n",
        );
        write("meson.build", "project('x', 'fortran')\n");
        let empty = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
        let error = check("x==1", tree.path(), None, &empty).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x==1 needs a Fortran compiler (meson.build), but none is installed"
        );
        write(
            "meson.build",
            "project('x', 'cpp', default_options: ['cpp_std=c++99'])\n",
        );
        let compiler = tree.path().join("compiler");
        std::fs::write(&compiler, "#!/bin/sh\nexit 1\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&compiler, mode).unwrap();
        let mut environment = empty.clone();
        environment.insert("CXX".to_owned(), compiler.display().to_string());
        let error = check("x==1", tree.path(), None, &environment).unwrap_err();
        assert!(error.to_string().contains("c++99"), "{error}");
        // Another backend may use the file differently.
        write(
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'other'\n",
        );
        check("x==1", tree.path(), None, &environment).unwrap();
    }

    #[test]
    fn names_old_cmake_that_setup_calls() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(tree.path().join(name), text).unwrap();
        write(
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.31)\nproject(x)\n",
        );
        write("setup.py", "subprocess.run(['cmake', '.'])\n");
        write("cmake", "#!/bin/sh\necho 'cmake version 3.25.1'\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tree.path().join("cmake"), mode).unwrap();
        let path = format!("{}:/bin", tree.path().display());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);
        let check = || check("x==1", tree.path(), None, &environment);
        let expected = "x==1 needs CMake 3.31 (CMakeLists.txt), but CMake 3.25.1 is installed";
        assert_eq!(check().unwrap_err().to_string(), expected);
        let project = |backend: &str, requires: &str| {
            let text =
                format!("[build-system]\nrequires = [{requires}]\nbuild-backend = '{backend}'\n");
            write("pyproject.toml", &text);
        };
        project("setuptools.build_meta", "'setuptools'");
        assert_eq!(check().unwrap_err().to_string(), expected);
        // These builds have a CMake of their own.
        project("setuptools.build_meta", "'CMake>=3.31'");
        check().unwrap();
        project("scikit_build_core.build", "'scikit-build-core'");
        check().unwrap();
        // Another program may build what CMakeLists.txt describes.
        project("setuptools.build_meta", "'setuptools'");
        write("setup.py", "setup()\n");
        check().unwrap();
        write("setup.py", "subprocess.run(['cmake', '.'])\n");
        write("CMakeLists.txt", "cmake_minimum_required(VERSION 3.25)\n");
        check().unwrap();
    }

    #[test]
    fn names_missing_fortran_outside_of_meson() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(tree.path().join(name), text).unwrap();
        let empty = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
        let check = |environment| check("x==1", tree.path(), None, environment);
        let expected =
            |file| format!("x==1 needs a Fortran compiler ({file}), but none is installed");
        write(
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = 'scikit_build_core.build'\n",
        );
        write("CMakeLists.txt", "project(x C Fortran)\n");
        assert_eq!(
            check(&empty).unwrap_err().to_string(),
            expected("CMakeLists.txt")
        );
        let named = BTreeMap::from([("FC".to_owned(), "ifx".to_owned())]);
        check(&named).unwrap();
        write("CMakeLists.txt", "project(x C)\n");
        check(&empty).unwrap();
        std::fs::remove_file(tree.path().join("pyproject.toml")).unwrap();
        let numpy =
            "from numpy.distutils.core import Extension\nExtension('x', ['x.pyf', 'x.f90'])\n";
        write("setup.py", numpy);
        assert_eq!(check(&empty).unwrap_err().to_string(), expected("setup.py"));
        check(&named).unwrap();
        write("setup.py", &numpy.replace(".f90", ".c"));
        check(&empty).unwrap();
    }

    #[test]
    fn names_old_rust() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(tree.path().join(name), text).unwrap();
        write(
            "Cargo.toml",
            "[package]\nname = 'a'\nrust-version = '1.80'\n",
        );
        write("Cargo.lock", "");
        write(
            "rustc",
            "#!/bin/sh\necho 'rustc 1.70.0 (90c541806 2023-05-31)'\n",
        );
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(tree.path().join("rustc"), mode).unwrap();
        let path = format!("{}:/bin", tree.path().display());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);
        let rust = RustSource::find(tree.path()).unwrap();
        let error = check("a==1", tree.path(), Some(&rust), &environment).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a==1 needs Rust 1.80 (Cargo.toml), but Rust 1.70 is installed"
        );
        write(
            "Cargo.toml",
            "[package]\nname = 'a'\nrust-version = '1.70'\n",
        );
        check("a==1", tree.path(), Some(&rust), &environment).unwrap();
    }
}

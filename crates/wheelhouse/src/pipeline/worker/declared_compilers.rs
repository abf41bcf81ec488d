//! Checks before a build that the compilers that a source declares are there and new enough.
//!
//! What is checked: `rust-version` of manifests of Rust, and the languages and C++ standard of `meson.build` if Meson builds.
//! The tools themselves, `cmake` and `meson`, are build requirements of the backends that use them. What a source does not
//! declare is found when its build fails.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use wheelhouse_cargo::{RustSource, installed_rust};
use wheelhouse_types::{Error, Kind, Result, limits, toml_reader};

/// A language of Meson, with the variable that names its compiler and the programs that Meson tries on Linux.
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
    Language {
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
    },
];

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
    let path = environment.get("PATH").map_or("", String::as_str);
    if let Some(rust) = rust {
        check_rust(package, tree, rust, path.as_ref())?;
    }
    check_meson(package, tree, environment)
}

fn check_rust(package: &str, tree: &Path, rust: &RustSource, path: &OsStr) -> Result<()> {
    let Some((needed, manifest)) = rust.required_rust(tree) else {
        return Ok(());
    };
    // The backend reports a missing compiler, or does without one.
    let Some(found) = installed_rust(path).filter(|found| *found < needed) else {
        return Ok(());
    };
    let manifest = manifest.strip_prefix(tree).unwrap_or(&manifest).display();
    let message =
        format!("{package} needs Rust {needed} ({manifest}), but Rust {found} is installed");
    Err(Error::new(Kind::Build, message)
        .with_hint("Install a newer Rust, for instance with `rustup update`."))
}

fn check_meson(package: &str, tree: &Path, environment: &BTreeMap<String, String>) -> Result<()> {
    let project = read(&tree.join("pyproject.toml"));
    let project = project.and_then(|text| toml_reader::parse(&text).ok());
    let backend = project
        .as_ref()
        .and_then(|project| project.get("build-system")?.get("build-backend")?.as_str());
    if backend != Some("mesonpy") {
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
        let title = language.title;
        let Some(command) = compiler(language, environment) else {
            let programs = language.programs[..3].join(", ");
            let message =
                format!("{package} needs a {title} compiler (meson.build), but none is installed");
            let variable = language.variable;
            return Err(Error::new(Kind::Build, message).with_hint(format!(
                "Install one ({programs}), or name it with the variable {variable}."
            )));
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

/// The declaration of a project in `meson.build`.
#[derive(Debug, PartialEq, Eq)]
struct MesonProject {
    languages: Vec<String>,
    /// `c++17` or the like, if one standard is named.
    cpp_standard: Option<String>,
}

impl MesonProject {
    /// Reads the call of `project()`, which must be the first statement.
    fn parse(text: &str) -> Option<Self> {
        let call = text
            .lines()
            .position(|line| line.trim_start().starts_with("project("))?;
        let lines = text.lines().skip(call).take(100);
        let mut strings: Vec<String> = Vec::new();
        let mut languages = None;
        let (mut depth, mut quoted) = (0_i32, None::<String>);
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match (&mut quoted, character) {
                (Some(_), '\'') => strings.extend(quoted.take()),
                (Some(text), other) => text.push(other),
                (None, '\'') => quoted = Some(String::new()),
                (None, '#') => {
                    let _ = characters.find(|end| *end == '\n');
                }
                // The first keyword ends the languages.
                (None, ':') if languages.is_none() => languages = Some(strings.clone()),
                (None, '(' | '[') => depth += 1,
                (None, ')' | ']') => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                (None, _) => {}
            }
        }
        let languages = languages.unwrap_or_else(|| strings.clone());
        let standard = strings
            .iter()
            .find_map(|text| text.strip_prefix("cpp_std="));
        let is_one = |standard: &&str| {
            let digits = standard
                .strip_prefix("gnu++")
                .or(standard.strip_prefix("c++"));
            digits.is_some_and(|digits| digits.len() == 2)
        };
        Some(Self {
            // The first string is the name of the project.
            languages: languages.into_iter().skip(1).collect(),
            cpp_standard: standard.filter(is_one).map(str::to_owned),
        })
    }
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

    fn parse(text: &str) -> (Vec<String>, Option<String>) {
        let project = MesonProject::parse(text).unwrap();
        (project.languages, project.cpp_standard)
    }

    #[test]
    fn reads_languages_and_standard_of_meson_projects() {
        let text = "# comment (\nproject(\n  'example', # 'c'\n  'c', 'cpp', 'fortran',\n  version: '1.0',\n\
            default_options: [\n 'buildtype=debugoptimized',\n 'cpp_std=c++17',\n ],\n)\nx = ['cpp_std=c++20']\n";
        let (languages, standard) = parse(text);
        assert_eq!(languages, ["c", "cpp", "fortran"]);
        assert_eq!(standard.as_deref(), Some("c++17"));
        assert_eq!(parse("project('x', ['c', 'cython'])").0, ["c", "cython"]);
        assert_eq!(parse("project('x')"), (Vec::new(), None));
        assert_eq!(MesonProject::parse("x = 1"), None);
    }

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

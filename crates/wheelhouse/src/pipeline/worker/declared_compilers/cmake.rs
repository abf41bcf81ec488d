//! The declarations in `CMakeLists.txt`: the version of `CMake`, and the language Fortran.
//!
//! Only commands that always run count: those outside conditions, loops and functions, up to the first `return()`.

use std::fmt;
use std::process::{Command, Stdio};

/// The declarations of the project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CmakeProject {
    pub(super) minimum: Option<CmakeVersion>,
    pub(super) has_fortran: bool,
}

/// A version of `CMake`: up to four numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CmakeVersion(Vec<u32>);

impl CmakeVersion {
    /// Parses `3.25` or `3.25.1-rc2`.
    fn parse(text: &str) -> Option<Self> {
        let (numbers, _) = text.split_once('-').unwrap_or((text, ""));
        let numbers = numbers.split('.').map(|number| number.parse().ok());
        let mut numbers: Vec<u32> = numbers.collect::<Option<_>>()?;
        // 3.25 is the same version as 3.25.0.
        while numbers.last() == Some(&0) && numbers.len() > 2 {
            numbers.pop();
        }
        (numbers.len() >= 2).then_some(Self(numbers))
    }
}

impl fmt::Display for CmakeVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.0.iter().map(ToString::to_string);
        formatter.write_str(&numbers.collect::<Vec<_>>().join("."))
    }
}

/// Returns the version of the first `cmake` on `path`.
pub(super) fn installed(path: &str) -> Option<CmakeVersion> {
    let mut directories = std::env::split_paths(path).map(|directory| directory.join("cmake"));
    let output = Command::new(directories.find(|program| program.is_file())?)
        .arg("--version")
        .env("PATH", path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    CmakeVersion::parse(text.lines().next()?.strip_prefix("cmake version ")?.trim())
}

impl CmakeProject {
    pub(super) fn parse(text: &str) -> Self {
        let (mut project, mut nesting) = (Self::default(), 0_u32);
        for (name, arguments) in commands(text) {
            match name.as_str() {
                "if" | "foreach" | "while" | "function" | "macro" => nesting += 1,
                "endif" | "endforeach" | "endwhile" | "endfunction" | "endmacro" => {
                    nesting = nesting.saturating_sub(1);
                }
                _ if nesting > 0 => {}
                "return" => break,
                "cmake_minimum_required" => {
                    let mut values = arguments.iter().skip_while(|word| *word != "VERSION");
                    let version = values.nth(1).map(String::as_str).unwrap_or_default();
                    // The end of a range is about policies.
                    let (minimum, _) = version.split_once("...").unwrap_or((version, ""));
                    project.minimum = CmakeVersion::parse(minimum);
                }
                "project" => {
                    let mut languages = arguments.iter().skip(1);
                    project.has_fortran |= languages.any(|word| word == "Fortran");
                }
                "enable_language" => {
                    let is_optional = arguments.iter().any(|word| word == "OPTIONAL");
                    let mut languages = arguments.iter();
                    let is_named = languages.any(|word| word == "Fortran");
                    project.has_fortran |= is_named && !is_optional;
                }
                _ => {}
            }
        }
        project
    }
}

/// Returns the commands with their arguments, in order; the names are in lower case.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let (mut found, mut word) = (Vec::new(), String::new());
    let mut call: Option<(String, Vec<String>)> = None;
    let (mut depth, mut follows_space) = (0_u32, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, &mut call) {
            ('#', _) => {
                let _ = characters.find(|end| *end == '\n');
            }
            ('"', _) => {
                while let Some(quoted) = characters.next().filter(|end| *end != '"') {
                    let escaped = (quoted == '\\').then(|| characters.next()).flatten();
                    word.push(escaped.unwrap_or(quoted));
                }
            }
            ('(', None) => {
                call = Some((std::mem::take(&mut word).to_ascii_lowercase(), Vec::new()));
                depth = 1;
            }
            ('(', Some(_)) => depth += 1,
            (')', Some((_, arguments))) => {
                arguments.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                depth -= 1;
                if depth == 0 {
                    found.extend(call.take());
                }
            }
            (space, Some((_, arguments))) if space.is_whitespace() => {
                arguments.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            (space, None) if space.is_whitespace() => {}
            (other, None) => {
                if follows_space {
                    word.clear();
                }
                word.push(other);
            }
            (other, Some(_)) => word.push(other),
        }
        follows_space = character.is_whitespace();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<String>, bool) {
        let project = CmakeProject::parse(text);
        let minimum = project.minimum.map(|version| version.to_string());
        (minimum, project.has_fortran)
    }

    #[test]
    fn reads_version_and_fortran() {
        let version = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            (
                "cmake_minimum_required(VERSION 3.15)",
                (version("3.15"), false),
            ),
            (
                "# project(x Fortran)\nCMAKE_MINIMUM_REQUIRED (VERSION 3.5...3.30 FATAL_ERROR)\nproject(\n  x VERSION 1.0\n  LANGUAGES C Fortran)",
                (version("3.5"), true),
            ),
            ("project(x C CXX)\nenable_language(Fortran)", (None, true)),
            (
                "project(x)\nenable_language(Fortran OPTIONAL)",
                (None, false),
            ),
            ("if(X)\nenable_language(Fortran)\nendif()", (None, false)),
            (
                "function(f)\n project(x Fortran)\nendfunction()\nf()",
                (None, false),
            ),
            ("return()\nproject(x Fortran)", (None, false)),
            (
                "message(\"project(x Fortran) \\\" #\")\nproject(y)",
                (None, false),
            ),
            ("cmake_minimum_required(VERSION ${MINIMUM})", (None, false)),
            ("cmake_minimum_required(", (None, false)),
            ("set(A (b) c)\nproject(x Fortran)", (None, true)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn compares_versions() {
        let parse = |text| CmakeVersion::parse(text).unwrap();
        assert!(parse("3.9") < parse("3.10"));
        assert!(parse("3.25.1") > parse("3.25"));
        assert_eq!(parse("3.25.0"), parse("3.25"));
        assert_eq!(parse("4.1.0-rc1"), parse("4.1"));
        assert_eq!(CmakeVersion::parse("3"), None);
        assert_eq!(CmakeVersion::parse("x.y"), None);
    }
}

//! Recognizes well-known causes of failed builds in their output.
//!
//! The output is read line by line. A line either *names something that is missing* (a program, a
//! header, a library, a module; see [`missing_patterns`]), which is then looked up among [`system_packages`] and
//! [`modules`], or it matches one of the [`error_patterns`], which identify a cause by themselves. The first line with high
//! confidence explains the failure, since the following lines are mostly its consequences. A line after which a build
//! may have continued (a shell that did not find an optional program) counts if there is no other.
//!
//! Output without a known cause has no hint. The module is pure: it reads no files, and does not query the system.

mod error_patterns;
mod missing_patterns;
mod modules;
mod system_packages;

use Confidence::{Certain, Tentative};
use MissingKind::{Dependency, Header, Library, Module, Package, Program};
use Remedy::{Advice, Install, PythonHeaders};
use error_patterns::ERROR_PATTERNS;
use missing_patterns::{MISSING_PATTERNS, MissingPattern};
use modules::{BUILD_MODULES, DISTRIBUTIONS};
use system_packages::{LIBRARIES, Need, TOOLS};

/// Returns a hint for the failure in `output`, if the cause is known.
pub(crate) fn hint(output: &str) -> Option<String> {
    let output = plain(output);
    let mut tentative = None;
    for line in relevant_lines(after_last_fallback(&output)) {
        match diagnose(line) {
            Some((Certain, cause)) => return Some(explain(cause, &output)),
            Some((Tentative, cause)) => _ = tentative.get_or_insert(cause),
            None => {}
        }
    }
    tentative.map(|cause| explain(cause, &output))
}

/// The confidence that a line shows the cause of the failure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Confidence {
    /// A build cannot continue after it.
    Certain,
    /// A build may have tried something optional.
    Tentative,
}

/// The kind of thing that a line names as missing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum MissingKind {
    Program,
    Header,
    /// A pkg-config name.
    Package,
    /// A library as named on the linker's command line.
    Library,
    /// A name defined by a build system.
    Dependency,
    Module,
}

/// The content of a hint.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    /// A [`Need`], by its name.
    Install(&'static str),
    PythonHeaders,
    Advice(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Diagnosis<'a> {
    Known(Remedy),
    Need(&'static Need),
    Missing(MissingKind, &'a str),
}

/// Messages that a build continues without what has just failed, which is then not the cause.
static FALLBACKS: &[&str] = &[
    "forcing --without-libyaml",
    "alling back to pure Python",
    "speedups are not enabled",
    "Plain-Python build succeeded",
    "warning: build_ext: building extension",
];

/// Names of files that are compiled only to see whether they can be.
static PROBES: &[&str] = &[
    "conftest.c",
    "_configtest.c",
    "_configtest.cpp",
    "check_libyaml.c",
];

/// Normalizes quotes and line ends, and adds a line end at both ends.
fn plain(output: &str) -> String {
    let output = output.replace(['\u{2018}', '\u{2019}'], "'");
    format!("\n{}\n", output.replace('\r', "\n"))
}

/// Returns the output after the last message that the build continues.
fn after_last_fallback(output: &str) -> &str {
    let last = FALLBACKS
        .iter()
        .filter_map(|fallback| output.rfind(fallback))
        .max();
    let line_end = last.and_then(|start| Some(start + output[start..].find('\n')?));
    line_end.map_or(output, |line_end| &output[line_end..])
}

/// Returns the lines that can show the cause, each with the line ends at both ends.
fn relevant_lines(output: &str) -> impl Iterator<Item = &str> {
    let ends = output.match_indices('\n').map(|(position, _)| position);
    let mut file = "";
    ends.clone()
        .zip(ends.skip(1))
        .map(|(start, end)| &output[start..=end])
        .filter(move |line| {
            if line.trim_start().starts_with("File \"") {
                file = line;
            }
            !is_noise(line, file)
        })
}

/// Returns whether builds continue after the line. `file` is the last one that a traceback named.
fn is_noise(line: &str, file: &str) -> bool {
    let status = line.starts_with("\n-- ");
    let probe = PROBES
        .iter()
        .any(|probe| line.contains(probe) && line.contains("error: "));
    // setuptools compiles all modules to bytecode and ignores those that it cannot.
    let bytecode = line.contains("SyntaxError: ") && file.contains("File \"build/");
    status || probe || bytecode
}

/// Returns the cause that one line shows.
fn diagnose(line: &str) -> Option<(Confidence, Diagnosis<'_>)> {
    missing(line, known)
        .or_else(|| matched(line))
        .or_else(|| missing(line, unknown))
}

fn matched(line: &str) -> Option<(Confidence, Diagnosis<'_>)> {
    let pattern = ERROR_PATTERNS
        .iter()
        .find(|pattern| pattern.needles.iter().any(|needle| line.contains(needle)))?;
    Some((pattern.confidence, Diagnosis::Known(pattern.remedy)))
}

/// Returns the first thing that the line names as missing and `classify` accepts.
fn missing<'a>(
    line: &'a str,
    classify: impl Fn(MissingKind, &'a str) -> Option<Diagnosis<'a>>,
) -> Option<(Confidence, Diagnosis<'a>)> {
    MISSING_PATTERNS.iter().find_map(|pattern| {
        let cause = classify(pattern.kind, captured(line, pattern)?)?;
        Some((pattern.confidence, cause))
    })
}

/// Returns the name in `line` at the position that `pattern` expects.
fn captured<'a>(line: &'a str, pattern: &MissingPattern) -> Option<&'a str> {
    let (_, rest) = line.split_once(pattern.before)?;
    let text = match pattern.after {
        "" => rest,
        after => rest.split_once(after)?.0,
    };
    let text = text.trim();
    // A shell names itself and the number of the line before the program: `sh: 1: gcc: not found`.
    let name = match pattern.kind {
        Program => text.split_whitespace().next_back()?,
        _ => text,
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+./".contains(letter);
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

/// Looks a name up in the tables.
fn known(kind: MissingKind, name: &str) -> Option<Diagnosis<'_>> {
    let is_missing = |need: &&Need| need.signs.split(' ').any(|sign| is_sign(sign, kind, name));
    TOOLS
        .iter()
        .chain(LIBRARIES)
        .find(is_missing)
        .map(Diagnosis::Need)
}

/// Returns whether `sign` (see [`Need`]) matches a missing `name`.
fn is_sign(sign: &str, kind: MissingKind, name: &str) -> bool {
    match kind {
        Program => program_name(name)
            .strip_suffix(sign)
            .is_some_and(is_platform),
        Header => name == sign || (sign.ends_with('/') && name.starts_with(sign)),
        Package | Dependency => sign
            .strip_suffix(".pc")
            .is_some_and(|package| package.eq_ignore_ascii_case(name)),
        Library => sign.strip_prefix("-l") == Some(name),
        Module => false,
    }
}

/// Returns whether `prefix` is empty or that of a cross compiler.
fn is_platform(prefix: &str) -> bool {
    prefix.is_empty() || (prefix.contains("-linux-") && prefix.ends_with('-'))
}

/// Removes the directory and the version from a program: `gcc` for `/usr/bin/gcc-12`, and `aclocal` for `aclocal-1.16`.
fn program_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('-') {
        Some((name, version))
            if version
                .chars()
                .all(|letter| letter.is_ascii_digit() || letter == '.') =>
        {
            name
        }
        _ => name,
    }
}

/// Accepts names that are in no table, but for which there is a general hint.
fn unknown(kind: MissingKind, name: &str) -> Option<Diagnosis<'_>> {
    let is_taken = match kind {
        Program | Dependency => false,
        Header => is_header(name),
        Package | Library => true,
        Module => is_module(name),
    };
    is_taken.then_some(Diagnosis::Missing(kind, name))
}

/// Returns whether `name` can be a header of another package than the built one.
fn is_header(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_header = match file.rsplit_once('.') {
        Some((_, suffix)) => ["h", "hh", "hpp", "hxx"].contains(&suffix),
        None => !file.is_empty(),
    };
    is_header && !name.starts_with(['.', '/'])
}

/// Returns whether a distribution can provide the module. A missing submodule, such as `setuptools.extern`, means a wrong
/// version.
fn is_module(name: &str) -> bool {
    let is_identifier = name
        .chars()
        .all(|letter| letter.is_alphanumeric() || letter == '_');
    is_identifier || DISTRIBUTIONS.iter().any(|(module, _)| *module == name)
}

fn explain(cause: Diagnosis<'_>, output: &str) -> String {
    match cause {
        Diagnosis::Known(Advice(text)) => text.to_owned(),
        Diagnosis::Known(Install(name)) => TOOLS
            .iter()
            .chain(LIBRARIES)
            .find(|need| need.name == name)
            .map_or_else(|| format!("The build needs {name}: install it."), install),
        Diagnosis::Known(PythonHeaders) => install_python_headers(output),
        Diagnosis::Need(need) => install(need),
        Diagnosis::Missing(Module, module) => provide_module(module),
        Diagnosis::Missing(kind, name) => look_for(kind, name),
    }
}

fn install(need: &Need) -> String {
    let is_library = LIBRARIES.iter().any(|library| library.name == need.name);
    let what = if is_library {
        "the development files of "
    } else {
        ""
    };
    let packages = install_command(need.debian, need.fedora);
    format!(
        "The build needs {what}{}, which it did not find. {packages}",
        need.name
    )
}

fn install_command(debian: &str, fedora: &str) -> String {
    format!(
        "Install with `apt-get install {debian}` (Debian, Ubuntu) or `dnf install {fedora}` (Fedora, \
         RHEL, UBI)."
    )
}

/// Names the packages for the version of Python in `output`, if any.
fn install_python_headers(output: &str) -> String {
    let minor = output.split("include/python3.").skip(1).find_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        (end > 0).then_some(&rest[..end])
    });
    let version = minor.map_or_else(|| "3".to_owned(), |minor| format!("3.{minor}"));
    let [debian, fedora] = ["dev", "devel"].map(|suffix| format!("python{version}-{suffix}"));
    let packages = install_command(&debian, &fedora);
    format!("The build needs the headers of Python (`Python.h`), which it did not find. {packages}")
}

fn provide_module(module: &str) -> String {
    let listed = DISTRIBUTIONS.iter().find(|(name, _)| *name == module);
    let distribution = match listed {
        Some((_, distribution)) => format!("`{distribution}`"),
        None if BUILD_MODULES.contains(&module) => format!("`{module}`"),
        None => format!("the distribution that has it (mostly of the same name, `{module}`)"),
    };
    format!(
        "The build imports `{module}`, which its environment does not have. Install \
         {distribution} and the other build requirements beside Python and build with \
         --no-build-isolation."
    )
}

/// Names the commands that search for the package with the missing file.
fn look_for(kind: MissingKind, name: &str) -> String {
    let (what, debian, fedora) = match kind {
        Library => (
            "library",
            format!("lib{name}.so"),
            format!("*/lib{name}.so"),
        ),
        Package => (
            "library",
            format!("{name}.pc"),
            format!("pkgconfig({name})"),
        ),
        _ => ("header", name.to_owned(), format!("*/{name}")),
    };
    format!(
        "The build did not find the {what} `{name}`. Look for the package that has it with \
         `apt-file search {debian}` (Debian, Ubuntu) or `dnf provides '{fedora}'` (Fedora, RHEL, UBI), \
         and install that."
    )
}

#[cfg(test)]
mod tests;

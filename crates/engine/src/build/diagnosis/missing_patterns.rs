//! Messages of tools that name something missing.

use super::Confidence::{self, Certain, Tentative};
use super::MissingKind::{self, Dependency, Header, Library, Module, Package, Program};

/// A message that names something missing: its name is between `before` and `after`, or the end of the line if `after` is
/// empty.
pub(super) struct MissingPattern {
    pub(super) kind: MissingKind,
    pub(super) confidence: Confidence,
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

const fn missing(
    confidence: Confidence,
    kind: MissingKind,
    before: &'static str,
    after: &'static str,
) -> MissingPattern {
    MissingPattern {
        kind,
        confidence,
        before,
        after,
    }
}

#[rustfmt::skip]
pub(super) static MISSING_PATTERNS: &[MissingPattern] = &[
    // setuptools, old and new; Python; meson; the cc crate; rustc.
    missing(Certain, Program, "unable to execute '", "': No such file"),
    missing(Certain, Program, "command '", "' failed: No such file"),
    missing(Certain, Program, "No such file or directory: '", "'"),
    missing(Certain, Program, "Unknown compiler(s): [['", "'"),
    missing(Certain, Program, "ERROR: Program '", "' not found"),
    missing(Certain, Program, "failed to find tool \"", "\""),
    missing(Certain, Program, "Failed to find tool. Is `", "` installed"),
    missing(Certain, Program, "error: linker `", "` not found"),
    // Go's and Node's programs that start others.
    missing(Certain, Program, "exec: \"", "\": executable file not found"),
    missing(Certain, Program, "Error: spawn ", " ENOENT"),
    // Perl's programs, autoreconf among them.
    missing(Certain, Program, "Can't exec \"", "\": No such file"),
    // make, env, bash, dash.
    missing(Certain, Program, "make: ", ": No such file or directory"),
    missing(Certain, Program, "make: ", ": Command not found"),
    missing(Certain, Program, "make[1]: ", ": No such file or directory"),
    missing(Tentative, Program, "env: '", "': No such file or directory"),
    missing(Tentative, Program, ": ", ": command not found"),
    missing(Tentative, Program, "sh: ", ": not found"),
    // GCC, clang.
    missing(Certain, Header, "fatal error: ", ": No such file or directory"),
    missing(Certain, Header, "fatal error: '", "' file not found"),
    // meson, CMake, Pillow.
    missing(Certain, Package, "ERROR: Dependency \"", "\" not found"),
    missing(Certain, Dependency, "Dependency lookup for ", " with method"),
    missing(Certain, Dependency, "Could NOT find ", ","),
    missing(Certain, Dependency, "Could NOT find ", " (missing:"),
    missing(Certain, Dependency, "package configuration file provided by \"", "\""),
    missing(Certain, Dependency, "headers or library files could not be found for ", ","),
    missing(Certain, Dependency, "RequiredDependencyException: ", ""),
    // pkg-config, pkgconf.
    missing(Tentative, Package, "Package ", " was not found in the pkg-config search path"),
    missing(Tentative, Package, "Package '", "' not found"),
    missing(Tentative, Package, "Package '", "', required by"),
    missing(Tentative, Package, "No package '", "' found"),
    // GNU ld, old and new.
    missing(Tentative, Library, "cannot find -l", ": No such file or directory"),
    missing(Tentative, Library, "cannot find -l", ""),
    // Python 3, Python 2 and `python -m`.
    missing(Certain, Module, "No module named '", "'"),
    missing(Certain, Module, "No module named ", ""),
];

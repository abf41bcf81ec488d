//! How tools say that something is missing.
//!
//! Never says what the name of it means: `needs` does.

use super::Kind::{self, Dependency, Header, Library, Module, Package, Program};
use super::Weight::{self, Decisive, Tentative};

/// How tools say that something is missing: its name stands between `before` and `after`, which is
/// the end of the line if empty.
pub(super) struct Phrase {
    pub(super) kind: Kind,
    pub(super) weight: Weight,
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

const fn phrase(weight: Weight, kind: Kind, before: &'static str, after: &'static str) -> Phrase {
    Phrase {
        kind,
        weight,
        before,
        after,
    }
}

#[rustfmt::skip]
pub(super) static PHRASES: &[Phrase] = &[
    // setuptools, old and new; Python; meson; the cc crate; rustc.
    phrase(Decisive, Program, "unable to execute '", "': No such file"),
    phrase(Decisive, Program, "command '", "' failed: No such file"),
    phrase(Decisive, Program, "No such file or directory: '", "'"),
    phrase(Decisive, Program, "Unknown compiler(s): [['", "'"),
    phrase(Decisive, Program, "ERROR: Program '", "' not found"),
    phrase(Decisive, Program, "failed to find tool \"", "\""),
    phrase(Decisive, Program, "Failed to find tool. Is `", "` installed"),
    phrase(Decisive, Program, "error: linker `", "` not found"),
    // Go's and Node's programs that start others.
    phrase(Decisive, Program, "exec: \"", "\": executable file not found"),
    phrase(Decisive, Program, "Error: spawn ", " ENOENT"),
    // Perl's programs, autoreconf among them.
    phrase(Decisive, Program, "Can't exec \"", "\": No such file"),
    // make, env, bash, dash.
    phrase(Decisive, Program, "make: ", ": No such file or directory"),
    phrase(Decisive, Program, "make: ", ": Command not found"),
    phrase(Decisive, Program, "make[1]: ", ": No such file or directory"),
    phrase(Tentative, Program, "env: '", "': No such file or directory"),
    phrase(Tentative, Program, ": ", ": command not found"),
    phrase(Tentative, Program, "sh: ", ": not found"),
    // GCC, clang.
    phrase(Decisive, Header, "fatal error: ", ": No such file or directory"),
    phrase(Decisive, Header, "fatal error: '", "' file not found"),
    // meson, CMake, Pillow.
    phrase(Decisive, Package, "ERROR: Dependency \"", "\" not found"),
    phrase(Decisive, Dependency, "Dependency lookup for ", " with method"),
    phrase(Decisive, Dependency, "Could NOT find ", ","),
    phrase(Decisive, Dependency, "Could NOT find ", " (missing:"),
    phrase(Decisive, Dependency, "package configuration file provided by \"", "\""),
    phrase(Decisive, Dependency, "headers or library files could not be found for ", ","),
    phrase(Decisive, Dependency, "RequiredDependencyException: ", ""),
    // pkg-config, pkgconf.
    phrase(Tentative, Package, "Package ", " was not found in the pkg-config search path"),
    phrase(Tentative, Package, "Package '", "' not found"),
    phrase(Tentative, Package, "Package '", "', required by"),
    phrase(Tentative, Package, "No package '", "' found"),
    // GNU ld, old and new.
    phrase(Tentative, Library, "cannot find -l", ": No such file or directory"),
    phrase(Tentative, Library, "cannot find -l", ""),
    // Python 3, Python 2 and `python -m`.
    phrase(Decisive, Module, "No module named '", "'"),
    phrase(Decisive, Module, "No module named ", ""),
];

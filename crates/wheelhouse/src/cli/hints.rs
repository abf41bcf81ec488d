//! The words of hints, which differ between a command line and an S2I build.
//!
//! All modules word their hints for the command line. A user of `s2i build` or `OpenShift` cannot pass options to
//! `wheelhouse s2i assemble`, so there [`PHRASES`] replaces phrases, [`OPTIONS`] replaces options with
//! variables, and sentences without an equivalent are left out.

use std::sync::{LazyLock, OnceLock};

use regex::{Captures, Regex};
use wheelhouse_types::Error;

use crate::cli::args::{Command, S2iCommand};

static CURRENT: OnceLock<HintStyle> = OnceLock::new();

/// The way in which the user starts the run, which determines how an error can be fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HintStyle {
    CommandLine,
    /// A build in a container that no longer exists when the user reads the output.
    S2iBuild,
}

/// The equivalent of an option in an S2I build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Equivalent {
    /// A variable in `.s2i/environment` or of `-e`, with its value if a certain one is needed.
    Variable(&'static str),
    /// An option at the end of a line of the requirements file.
    OfLine,
    /// The same option, because `s2i build` has it.
    Same,
    Nothing,
}

/// Every option that occurs in a hint.
#[rustfmt::skip]
const OPTIONS: [(&str, Equivalent); 55] = {
    use Equivalent::{Nothing, OfLine, Same, Variable};
    [
        ("--all-in-one", Nothing),
        ("--all-releases", Variable("PIP_ALL_RELEASES")),
        ("--allow", Nothing),
        ("--allow-network", Variable("WHEELHOUSE_ALLOW_NETWORK")),
        ("--arch", Nothing),
        ("--attestations", Nothing),
        ("--authfile", Variable("REGISTRY_AUTH_FILE")),
        ("--bind", Nothing),
        ("--build-constraint", Variable("PIP_BUILD_CONSTRAINT")),
        ("--build-env", Nothing),
        ("--build-timeout", Nothing),
        ("--cache-dir", Nothing),
        ("--cache-from", Variable("WHEELHOUSE_CACHE_FROM")),
        ("--cache-timeout", Variable("WHEELHOUSE_CACHE_TIMEOUT")),
        ("--cache-to", Variable("WHEELHOUSE_CACHE_TO")),
        ("--cache-verify-key", Variable("WHEELHOUSE_CACHE_VERIFY_KEY")),
        ("--cert", Variable("PIP_CERT")),
        ("--check", Nothing),
        ("--client-cert", Variable("PIP_CLIENT_CERT")),
        ("--exclude-newer", Variable("PIP_UPLOADED_PRIOR_TO")),
        ("--extra-index-url", Variable("PIP_EXTRA_INDEX_URL")),
        ("--find-links", Variable("PIP_FIND_LINKS")),
        ("--force", Nothing),
        ("--frozen", Nothing),
        ("--hash", OfLine),
        ("--ignore-error-codes", Nothing),
        ("--incremental", Same),
        ("--index-strategy", Nothing),
        ("--index-url", Variable("PIP_INDEX_URL")),
        ("--insecure", Nothing),
        ("--keyring-provider", Variable("PIP_KEYRING_PROVIDER")),
        ("--link-mode", Nothing),
        ("--lock", Nothing),
        ("--no-binary", Variable("PIP_NO_BINARY")),
        // A false value disables the isolation, as for pip.
        ("--no-build-isolation", Variable("PIP_NO_BUILD_ISOLATION=0")),
        ("--no-require-hashes", Variable("PIP_NO_REQUIRE_HASHES=1")),
        ("--offline", Nothing),
        ("--only-binary", Variable("PIP_ONLY_BINARY")),
        ("--output", Nothing),
        ("--path", Nothing),
        ("--platform", Nothing),
        ("--proxy", Variable("PIP_PROXY")),
        ("--python", Nothing),
        ("--python-version", Nothing),
        ("--requirement", Variable("REQUIREMENTS_FILE")),
        ("--same-versions", Nothing),
        ("--sandbox", Variable("WHEELHOUSE_SANDBOX")),
        ("--separate", Variable("WHEELHOUSE_SEPARATE=1")),
        ("--sign", Nothing),
        ("--source", Nothing),
        ("--timeout", Variable("PIP_TIMEOUT")),
        ("--trusted-host", Variable("PIP_TRUSTED_HOST")),
        ("--universal", Nothing),
        ("--workers", Nothing),
        ("-r", Variable("REQUIREMENTS_FILE")),
    ]
};

/// Phrases of hints, and their replacements in an S2I build.
const PHRASES: [(&str, &str); 20] = [
    (
        "Name a Python that it is for with --python",
        "Use a builder image with a Python that it is for",
    ),
    (
        "Choose another Python with --python",
        "Use a builder image with another Python",
    ),
    (
        "Name one with --python PATH or --python VERSION",
        "Use a builder image that has one",
    ),
    (", or replace what a package requires with --override", ""),
    (
        "Resolve again with --upgrade",
        "Build without --incremental",
    ),
    (
        "Free some space there (`wheelhouse cache prune`), or name another place with --cache-dir",
        "Free some space where the build runs",
    ),
    (
        "Free some space there (`wheelhouse cache prune`), or pass another directory with --cache-dir",
        "Free some space where the build runs",
    ),
    (
        "or use a file system that has some: --cache-dir is where builds run, TMPDIR is for their temporary files",
        "or give the build more",
    ),
    (
        "Make it writable, or pass another directory with --cache-dir",
        "Make it writable in the builder image",
    ),
    (
        "Pass a writable directory with --cache-dir",
        "Make it writable in the builder image",
    ),
    (
        "Make it readable, delete it, or pass another directory with --cache-dir",
        "Build without --incremental",
    ),
    (
        "Pass a new or empty directory with --cache-dir",
        "Build without --incremental",
    ),
    (
        "Build fewer packages at once with a lower --jobs, or give the machine or container more memory",
        "Give the build more memory",
    ),
    ("beside Python", "beside the Python of the builder image"),
    ("Install with `", "Install in the builder image with `"),
    (
        "Pass only the lock with --lock FILE",
        "Name only the lock in REQUIREMENTS_FILE",
    ),
    ("; run `wheelhouse config` to see where this one is set", ""),
    (
        "Run `wheelhouse config` to see where each is set",
        "Leave one of them out",
    ),
    (", or choose another output", ""),
    (", or choose another directory", ""),
];

/// A command that is run in the source tree instead of the container.
const LOCK_COMMAND: &str = "wheelhouse lock";

/// Matches words in backticks, or an option with the placeholder of its value, such as `FILE`.
static MENTION: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"`(?<quoted>[^`]*)`|(?<before>^|[\s(])(?<option>-r|--[a-z][a-z-]*)\b(?: (?<value>[A-Z]+)\b)?";
    Regex::new(pattern).expect("a valid pattern")
});

impl HintStyle {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::S2i(s2i)
                if matches!(s2i.command, S2iCommand::Assemble | S2iCommand::Tools) =>
            {
                Self::S2iBuild
            }
            _ => Self::CommandLine,
        }
    }

    /// Uses this style for the rest of the run.
    pub(super) fn set_current(self) {
        // The first call wins; a unit test may have made it.
        let _ = CURRENT.set(self);
    }

    pub(crate) fn current() -> Self {
        CURRENT.get().copied().unwrap_or(Self::CommandLine)
    }

    /// Rewrites `hint` in this style; `None` if it has no equivalent.
    pub(crate) fn hint(self, hint: &str) -> Option<String> {
        if self == Self::CommandLine {
            return Some(hint.to_owned());
        }
        let sentences = rephrased(hint);
        let sentences = sentences.split_inclusive(". ").filter_map(in_s2i_build);
        let hint = sentences.collect::<String>().trim_end().to_owned();
        (!hint.is_empty()).then_some(hint)
    }

    /// Returns the lines below the message of `error`. If the log of a failed build will be gone, its end is shown.
    pub(super) fn detail(self, error: &Error) -> Option<String> {
        match error.log() {
            Some(log) if self == Self::S2iBuild => Some(harmless(log)),
            _ => error.detail().map(ToOwned::to_owned),
        }
    }
}

fn rephrased(hint: &str) -> String {
    let replace = |text: String, (said, instead): &(&str, &str)| text.replace(said, instead);
    PHRASES.iter().fold(hint.to_owned(), replace)
}

/// Replaces options in `sentence`; `None` if one of them has no equivalent.
fn in_s2i_build(sentence: &str) -> Option<String> {
    let mut text = String::new();
    let mut end = 0;
    for mention in MENTION.captures_iter(sentence) {
        let whole = mention.get(0)?;
        text += &sentence[end..whole.start()];
        match mention.name("quoted") {
            Some(quoted) => text.extend(["`", &of_quoted(quoted.as_str())?, "`"]),
            None => text.extend([&mention["before"], &of_bare(&mention)?]),
        }
        end = whole.end();
    }
    Some(text + &sentence[end..])
}

fn of_quoted(quoted: &str) -> Option<String> {
    if quoted.starts_with('-') {
        let (option, value) = match quoted.split_once(' ') {
            Some((option, value)) => (option, Some(value)),
            None => (quoted, None),
        };
        return named(of_option(option)?, quoted, value);
    }
    let is_command = quoted.starts_with("wheelhouse ") && !quoted.starts_with(LOCK_COMMAND);
    (!is_command).then(|| quoted.to_owned())
}

fn of_bare(mention: &Captures<'_>) -> Option<String> {
    let option = &mention["option"];
    match of_option(option)? {
        Equivalent::OfLine => Some(format!("`{option}` in the requirements file")),
        other => named(
            other,
            option,
            mention.name("value").map(|value| value.as_str()),
        ),
    }
}

fn of_option(name: &str) -> Option<Equivalent> {
    let (_, equivalent) = OPTIONS.iter().find(|(option, _)| *option == name)?;
    Some(*equivalent)
}

/// Describes an option, spelled `written` in the hint, with `value`.
fn named(equivalent: Equivalent, written: &str, value: Option<&str>) -> Option<String> {
    match (equivalent, value) {
        (Equivalent::Variable(variable), Some(value)) => Some(format!("{variable}={value}")),
        (Equivalent::Variable(variable), None) => Some(variable.to_owned()),
        (Equivalent::OfLine | Equivalent::Same, _) => Some(written.to_owned()),
        (Equivalent::Nothing, _) => None,
    }
}

/// Removes control sequences from the output of a build, and all but the last state of lines that were
/// overwritten.
fn harmless(log: &str) -> String {
    let log = anstream::adapter::strip_str(log).to_string();
    let last_state = |line: &str| {
        let line = line.trim_end_matches('\r').rsplit('\r').next();
        line.unwrap_or_default()
            .replace(|letter: char| letter.is_control() && letter != '\t', "")
    };
    log.split('\n')
        .map(last_state)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests;

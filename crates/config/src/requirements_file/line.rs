//! Parses a logical line: the requirement and its options. Knows the options that pip accepts in a requirements file,
//! their spellings, and the syntax of their values.

use super::shlex::{QuoteError, split_words};

/// An option that may occur in a requirements file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineOption {
    IndexUrl,
    ExtraIndexUrl,
    NoIndex,
    Constraint,
    Requirement,
    Editable,
    FindLinks,
    NoBinary,
    OnlyBinary,
    PreferBinary,
    RequireHashes,
    NoRequireHashes,
    Pre,
    AllReleases,
    OnlyFinal,
    TrustedHost,
    UseFeature,
    UploadedPriorTo,
    Hash,
    ConfigSettings,
}

/// The options of pip 26.3, which may be abbreviated to a unique prefix.
const PIP_OPTIONS: [(&str, LineOption); 20] = [
    ("--index-url", LineOption::IndexUrl),
    ("--pypi-url", LineOption::IndexUrl),
    ("--extra-index-url", LineOption::ExtraIndexUrl),
    ("--no-index", LineOption::NoIndex),
    ("--constraint", LineOption::Constraint),
    ("--requirement", LineOption::Requirement),
    ("--editable", LineOption::Editable),
    ("--find-links", LineOption::FindLinks),
    ("--no-binary", LineOption::NoBinary),
    ("--only-binary", LineOption::OnlyBinary),
    ("--prefer-binary", LineOption::PreferBinary),
    ("--require-hashes", LineOption::RequireHashes),
    ("--no-require-hashes", LineOption::NoRequireHashes),
    ("--pre", LineOption::Pre),
    ("--all-releases", LineOption::AllReleases),
    ("--only-final", LineOption::OnlyFinal),
    ("--trusted-host", LineOption::TrustedHost),
    ("--use-feature", LineOption::UseFeature),
    ("--hash", LineOption::Hash),
    ("--config-settings", LineOption::ConfigSettings),
];

/// Options that pip only has on its command line; they cannot be abbreviated.
const OTHER_OPTIONS: [(&str, LineOption); 1] =
    [("--uploaded-prior-to", LineOption::UploadedPriorTo)];

const SHORT_OPTIONS: [(char, LineOption); 6] = [
    ('i', LineOption::IndexUrl),
    ('c', LineOption::Constraint),
    ('r', LineOption::Requirement),
    ('e', LineOption::Editable),
    ('f', LineOption::FindLinks),
    ('C', LineOption::ConfigSettings),
];

/// Options that pip has removed.
const REMOVED_OPTIONS: [&str; 3] = ["--global-option", "--build-option", "--install-option"];

/// The hash algorithms that pip accepts.
const HASH_ALGORITHMS: [&str; 3] = ["sha256", "sha384", "sha512"];

/// The values of `--use-feature` with an effect, then those that are always on.
const FEATURES: [&str; 3] = ["fast-deps", "inprocess-build-deps", "venv-isolation"];
const ALWAYS_ON_FEATURES: [&str; 3] = [
    "truststore",
    "no-binary-enable-wheel-cache",
    "build-constraint",
];

impl LineOption {
    /// Returns the main spelling of the option.
    pub(super) fn name(self) -> &'static str {
        PIP_OPTIONS
            .iter()
            .chain(&OTHER_OPTIONS)
            .find_map(|(name, option)| (*option == self).then_some(*name))
            .unwrap_or_default()
    }

    fn takes_value(self) -> bool {
        !matches!(
            self,
            Self::NoIndex
                | Self::PreferBinary
                | Self::RequireHashes
                | Self::NoRequireHashes
                | Self::Pre
        )
    }
}

/// An option with its value, which is empty for a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParsedOption {
    pub(super) option: LineOption,
    pub(super) value: String,
}

/// The contents of a logical line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ParsedLine {
    /// The text before the first option, which may be empty.
    pub(super) requirement: String,
    pub(super) options: Vec<ParsedOption>,
    /// Words after options that belong to none of them; pip ignores them silently.
    pub(super) leftovers: Vec<String>,
}

impl ParsedLine {
    /// Returns the values of `option` in order.
    pub(super) fn values(&self, option: LineOption) -> impl DoubleEndedIterator<Item = &str> {
        self.options
            .iter()
            .filter(move |given| given.option == option)
            .map(|given| given.value.as_str())
    }

    pub(super) fn has(&self, option: LineOption) -> bool {
        self.values(option).next().is_some()
    }
}

/// An error of an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The option is not allowed in a requirements file.
    #[error("option `{0}` is unknown")]
    Unknown(String),
    /// The option was removed from pip.
    #[error("option `{0}` is no longer supported")]
    Removed(String),
    /// The abbreviation is ambiguous.
    #[error("option `{given}` could be any of {}", .candidates.join(", "))]
    Ambiguous {
        /// The abbreviation.
        given: String,
        /// The options that it could stand for.
        candidates: Vec<&'static str>,
    },
    /// The option lacks a value.
    #[error("option `{0}` requires a value")]
    NoValue(&'static str),
    /// The option does not take a value.
    #[error("option `{0}` takes no value")]
    UnwantedValue(&'static str),
    /// The syntax of the value is invalid.
    #[error("option `{option}` has the value `{value}`, which is not {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
        /// A description of valid values.
        expected: String,
    },
    /// The value of a variable, which is not shown, makes the line invalid.
    #[error("the value of a variable makes the options invalid")]
    InVariable,
    /// Quotation marks or backslashes are not balanced.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

impl OptionError {
    /// Returns a suggestion for fixing the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Removed(_) => Some(
                "pass settings to the build backend with `--config-settings KEY=VALUE` instead",
            ),
            _ => None,
        }
    }
}

/// Parses a logical line.
pub(super) fn parse_line(line: &str) -> Result<ParsedLine, OptionError> {
    let (requirement, options) = split_at_options(line);
    let mut parsed = ParsedLine {
        requirement: requirement.trim_end_matches(' ').to_owned(),
        ..ParsedLine::default()
    };
    let mut words = split_words(options)?.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        match given_option(&word, &mut words)? {
            Some(given) => parsed.options.push(given),
            None => parsed.leftovers.push(word),
        }
    }
    parsed.leftovers.extend(words);
    Ok(parsed)
}

/// Splits the line before the first word that begins with a hyphen; words are separated by single spaces.
fn split_at_options(line: &str) -> (&str, &str) {
    if line.starts_with('-') {
        return ("", line);
    }
    match line.find(" -") {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, ""),
    }
}

fn given_option(
    word: &str,
    rest: &mut std::vec::IntoIter<String>,
) -> Result<Option<ParsedOption>, OptionError> {
    let (option, attached) = if word.starts_with("--") {
        match word.split_once('=') {
            Some((name, value)) => (long_option(name)?, Some(value)),
            None => (long_option(word)?, None),
        }
    } else if let Some((letter, value)) = short_option(word) {
        let option = SHORT_OPTIONS.iter().find(|(short, _)| *short == letter);
        let (_, option) = option.ok_or_else(|| OptionError::Unknown(format!("-{letter}")))?;
        (*option, (!value.is_empty()).then_some(value))
    } else {
        return Ok(None);
    };
    let value = match (option.takes_value(), attached) {
        (true, Some(value)) => value.to_owned(),
        (true, None) => rest.next().ok_or(OptionError::NoValue(option.name()))?,
        (false, Some(_)) => return Err(OptionError::UnwantedValue(option.name())),
        (false, None) => String::new(),
    };
    check_value(option, &value)?;
    Ok(Some(ParsedOption { option, value }))
}

/// Splits `-ifoo` into letter and value; every short option takes a value, so they cannot be combined.
fn short_option(word: &str) -> Option<(char, &str)> {
    let rest = word.strip_prefix('-')?;
    let letter = rest.chars().next()?;
    Some((letter, &rest[letter.len_utf8()..]))
}

fn long_option(name: &str) -> Result<LineOption, OptionError> {
    let mut known = PIP_OPTIONS.iter().chain(&OTHER_OPTIONS);
    if let Some((_, option)) = known.find(|(known, _)| *known == name) {
        return Ok(*option);
    }
    if REMOVED_OPTIONS.contains(&name) {
        return Err(OptionError::Removed(name.to_owned()));
    }
    let candidates: Vec<_> = PIP_OPTIONS
        .iter()
        .filter(|(known, _)| known.starts_with(name))
        .collect();
    match candidates.as_slice() {
        [] => Err(OptionError::Unknown(name.to_owned())),
        [(_, option)] => Ok(*option),
        _ => Err(OptionError::Ambiguous {
            given: name.to_owned(),
            candidates: candidates.iter().map(|(name, _)| *name).collect(),
        }),
    }
}

fn check_value(option: LineOption, value: &str) -> Result<(), OptionError> {
    match expected_value(option, value) {
        None => Ok(()),
        Some(expected) => Err(OptionError::Value {
            option: option.name(),
            value: value.to_owned(),
            expected,
        }),
    }
}

/// Describes the expected syntax, if `value` does not match it.
fn expected_value(option: LineOption, value: &str) -> Option<String> {
    use LineOption::{
        AllReleases, ConfigSettings, Hash, NoBinary, OnlyBinary, OnlyFinal, UseFeature,
    };
    match option {
        Hash if !is_hash(value) => {
            let algorithms = HASH_ALGORITHMS.join(", ");
            Some(format!("`ALGORITHM:DIGEST` with one of {algorithms}"))
        }
        ConfigSettings if !value.contains('=') => Some("`KEY=VALUE`".to_owned()),
        UseFeature if !FEATURES.contains(&value) && !is_always_on(value) => {
            let features = [FEATURES, ALWAYS_ON_FEATURES].concat().join(", ");
            Some(format!("one of {features}"))
        }
        NoBinary | OnlyBinary | AllReleases | OnlyFinal if value.starts_with('-') => {
            Some("a list of packages".to_owned())
        }
        _ => None,
    }
}

fn is_hash(value: &str) -> bool {
    value
        .split_once(':')
        .is_some_and(|(algorithm, _)| HASH_ALGORITHMS.contains(&algorithm))
}

/// Returns whether a value of `--use-feature` has no effect because it is always on.
pub(super) fn is_always_on(feature: &str) -> bool {
    ALWAYS_ON_FEATURES.contains(&feature)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;

//! Warnings about parts of a file without effect, or with an unexpected one.

use std::fmt;

use super::LineLocation;

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementsWarning {
    /// The location.
    pub location: LineLocation,
    /// The reason.
    pub kind: WarningKind,
}

/// The reason for a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// An option next to a requirement has no effect.
    BesideRequirement(&'static str),
    /// An option next to `-r` or `-c` has no effect.
    BesideFile(&'static str),
    /// A line repeats an option of which only the first counts.
    OnlyFirst(&'static str),
    /// An option lacks the requirement that it applies to.
    WithoutRequirement(&'static str),
    /// An option has no effect on an editable requirement.
    OnEditable(&'static str),
    /// Words after the options are ignored.
    Leftover(Vec<String>),
    /// `--index-url` drops earlier extra indexes.
    ExtraIndexesDropped,
    /// An index has no effect after `--no-index`.
    NoIndex(&'static str),
    /// A feature is always on.
    AlwaysOn(String),
    /// The file is neither UTF-8 nor declares its encoding; that of the locale was used.
    LocaleEncoding(String),
}

impl fmt::Display for RequirementsWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.location, self.kind)
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BesideRequirement(option) => {
                write!(formatter, "`{option}` has no effect beside a requirement")
            }
            Self::BesideFile(option) => {
                write!(
                    formatter,
                    "`{option}` has no effect beside the name of a file"
                )
            }
            Self::OnlyFirst(option) => {
                write!(
                    formatter,
                    "only the first `{option}` of a line has an effect"
                )
            }
            Self::WithoutRequirement(option) => {
                write!(formatter, "`{option}` has no effect without a requirement")
            }
            Self::OnEditable(option) => {
                write!(
                    formatter,
                    "`{option}` has no effect on an editable requirement"
                )
            }
            Self::Leftover(words) => write!(
                formatter,
                "`{}` is ignored, because it follows options",
                words.join(" ")
            ),
            Self::ExtraIndexesDropped => formatter
                .write_str("`--index-url` replaces the extra indexes that were given before it"),
            Self::NoIndex(option) => {
                write!(formatter, "`{option}` has no effect after `--no-index`")
            }
            Self::AlwaysOn(feature) => write!(formatter, "feature `{feature}` is always on"),
            Self::LocaleEncoding(encoding) => write!(
                formatter,
                "the file is not utf-8 and was read as {encoding}; add the first line \
                 `# -*- coding: {encoding} -*-` to declare it"
            ),
        }
    }
}

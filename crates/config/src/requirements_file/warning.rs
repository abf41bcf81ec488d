//! What was read and has no effect, or another one than it seems to have.
//!
//! Responsible for the wording. Never stops the reading: that is what errors are for.

use std::fmt;

use super::LineLocation;

/// Holds something that a reader of the file may not expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementsWarning {
    /// Where it was read.
    pub location: LineLocation,
    /// What it is.
    pub kind: WarningKind,
}

/// Says what a notice is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// An option has no effect beside a requirement.
    BesideRequirement(&'static str),
    /// An option has no effect beside `-r` or `-c`.
    BesideFile(&'static str),
    /// An option is read once in a line, and this line has it more often.
    OnlyFirst(&'static str),
    /// An option stands without the requirement that it is for.
    WithoutRequirement(&'static str),
    /// An option has no effect on an editable requirement.
    OnEditable(&'static str),
    /// Words behind the options belong to nothing.
    Leftover(Vec<String>),
    /// `--index-url` drops the extra indexes that were given before it.
    ExtraIndexesDropped,
    /// `--no-index` was given before, so an index has no effect.
    NoIndex(&'static str),
    /// A feature is always on.
    AlwaysOn(String),
    /// The file is not UTF-8, and says not what it is; the locale's encoding was taken.
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
                "`{}` is ignored, because it stands behind options",
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
                "the file is not utf-8 and was read as {encoding}; a first line \
                 `# -*- coding: {encoding} -*-` would say so"
            ),
        }
    }
}

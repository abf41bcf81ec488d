//! A setting of a configuration file or variable: its value, origin and effect.

use std::fmt;
use std::path::PathBuf;

/// The level of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigurationLevel {
    /// The machine.
    Global,
    /// A user.
    User,
    /// A Python installation or virtual environment.
    Site,
    /// The file named by `PIP_CONFIG_FILE`.
    Environment,
    /// The `pyproject.toml` of the project, which pip does not read.
    Project,
}

/// The type of an option, and the meaning of repeated settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionKind {
    /// A boolean; the last setting counts.
    Flag,
    /// A string; the last setting counts.
    Text,
    /// Words; the last list counts, and is not combined with others.
    List,
    /// A value that is appended to those of earlier settings.
    Accumulated,
}

/// The origin of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationOrigin {
    /// An environment variable.
    Environment(String),
    /// A file.
    File {
        /// The path.
        path: PathBuf,
        /// The section, without brackets.
        section: String,
        /// The line number, starting at 1.
        line: usize,
    },
    /// The `[tool.wheelhouse]` table of a project.
    Project {
        /// The path of the `pyproject.toml`.
        path: PathBuf,
        /// The key.
        key: String,
    },
}

impl fmt::Display for ConfigurationOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(variable) => write!(formatter, "`{variable}`"),
            Self::File {
                path,
                section,
                line,
            } => {
                write!(
                    formatter,
                    "`{}` line {line}, section `[{section}]`",
                    path.display()
                )
            }
            Self::Project { path, key } => {
                write!(formatter, "`{}`, `tool.wheelhouse.{key}`", path.display())
            }
        }
    }
}

/// The effect of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingStatus {
    /// The setting is used.
    Used,
    /// A setting with higher precedence replaces it.
    Overridden,
    /// The value is empty, which pip treats as unset.
    Empty,
    /// The section does not apply.
    OtherSection,
    /// The option is not supported.
    UnknownOption,
}

/// A setting of a file or variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The normalized name of the option without hyphens; aliases are resolved.
    pub option: String,
    /// The value as written.
    pub value: String,
    /// The values of a list, if they are not the words of `value`.
    pub values: Option<Vec<String>>,
    /// The origin.
    pub origin: ConfigurationOrigin,
    /// The effect.
    pub status: SettingStatus,
}

/// The result of looking for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// The file was read.
    Read,
    /// The file does not exist.
    Missing,
    /// The file cannot be read, and is ignored as by pip.
    Unreadable,
}

/// A location of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationFile {
    /// The path.
    pub path: PathBuf,
    /// The level.
    pub level: ConfigurationLevel,
    /// The result of looking for the file.
    pub status: FileStatus,
}

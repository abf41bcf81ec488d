//! The effective value of one option with its origin, and the inputs that settings are computed from.

use std::fmt;
use std::path::Path;

use crate::environment::Environment;
use crate::file_source::ReadSource;
use crate::pip_config::PipConfiguration;
use crate::setting::ConfigurationOrigin;

/// The effective value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSetting {
    /// The long name, without hyphens.
    pub option: &'static str,
    /// The value without credentials; one item for each element of a list.
    pub values: Vec<String>,
    /// The origins of the value, the deciding one last.
    pub origins: Vec<ValueOrigin>,
}

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The default.
    Default,
    /// The command line.
    CommandLine,
    /// A variable that is not pip's.
    Variable(&'static str),
    /// A file or variable of pip.
    Configuration(ConfigurationOrigin),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Variable(name) => write!(formatter, "`{name}`"),
            Self::Configuration(origin) => write!(formatter, "{origin}"),
        }
    }
}

/// The inputs of settings besides the command line.
#[derive(Clone, Copy)]
pub struct SettingsContext<'a> {
    /// The environment variables.
    pub environment: &'a Environment,
    /// The absolute working directory.
    pub working_directory: &'a Path,
    /// pip's configuration.
    pub pip: &'a PipConfiguration,
    /// The reader of files.
    pub reader: &'a dyn ReadSource,
    /// The number of processors.
    pub processors: usize,
    /// The user's cache directory for this program, if known.
    pub default_cache: Option<&'a Path>,
}

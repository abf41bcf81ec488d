//! pip's requirements files, read exactly as pip 26.3 reads them.
//!
//! Files, and the files that they name with `-r` and `-c`, become one value: requirements, constraints and their
//! combined options. Steps, each a pure function:
//!
//! 1. bytes to text ([`crate::encoding`]);
//! 2. text to logical lines (`lines`);
//! 3. a line to a requirement and options (`line`, with `shlex`);
//! 4. options to [`FileOptions`] (`global_options`), and files to a [`RequirementsFile`] (`reader`).
//!
//! What pip silently ignores is ignored here with a [`RequirementsWarning`]. Requirements are not parsed, and files are
//! read through a [`ReadSource`].
//!
//! Differences from pip: files at URLs are decoded like local files, regardless of the `Content-Type`;
//! `--uploaded-prior-to`, which pip has on its command line only, may occur in a file.

mod error;
mod global_options;
mod line;
mod lines;
mod reader;
mod shlex;
mod warning;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::file_source::{FileSource, ReadSource};

pub use error::RequirementsError;
pub use global_options::FileOptions;
pub use line::OptionError;
pub(super) use lines::expand_variables;
pub use reader::read_requirements;
pub use shlex::QuoteError;
pub use warning::{RequirementsWarning, WarningKind};

/// The meaning of the lines in a requirements file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileRole {
    /// The lines are requirements (`-r`).
    Requirements,
    /// The lines constrain other requirements (`-c`).
    Constraints,
}

impl fmt::Display for FileRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Requirements => "requirements",
            Self::Constraints => "constraints",
        })
    }
}

/// The inputs of reading besides the names of the files.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The variables for `${NAME}`, and the locale.
    pub environment: &'a Environment,
    /// The absolute directory that relative paths of files and requirements are resolved against.
    pub working_directory: &'a Path,
    /// The reader of the files.
    pub reader: &'a dyn ReadSource,
}

/// The location of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineLocation {
    /// The file, as named by the user, or else absolute.
    pub source: FileSource,
    /// The number of the line, or of the first of joined lines, starting at 1.
    pub line: usize,
}

impl fmt::Display for LineLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` line {}", self.source, self.line)
    }
}

/// A requirement or constraint with its own options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementLine {
    /// A PEP 508 requirement, a path or a URL, with variables expanded.
    pub text: String,
    /// The text before expansion, which can be shown because it contains no secrets of variables.
    pub written: String,
    /// True if the option `-e` was used.
    pub editable: bool,
    /// Values of `--hash`, each `algorithm:digest`.
    pub hashes: Vec<String>,
    /// Pairs of `--config-settings`; a repeated key has several values.
    pub config_settings: Vec<(String, String)>,
    /// The location.
    pub location: LineLocation,
    /// The directory that a relative path in `text` is resolved against: always the working directory, because
    /// pip ignores the location of the file.
    pub base: PathBuf,
}

impl fmt::Display for RequirementLine {
    /// Writes a line that is read as this value. It contains the secrets of expanded variables.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.editable {
            write!(formatter, "-e {}", shlex::quote(&self.text))?;
        } else {
            formatter.write_str(&self.text)?;
        }
        for hash in &self.hashes {
            write!(formatter, " --hash={}", shlex::quote(hash))?;
        }
        for (key, value) in &self.config_settings {
            let setting = shlex::quote(&format!("{key}={value}"));
            write!(formatter, " --config-settings={setting}")?;
        }
        Ok(())
    }
}

/// The combined contents of requirements files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequirementsFile {
    /// The requirements, in the order of the lines.
    pub requirements: Vec<RequirementLine>,
    /// The constraints, in the order of the lines.
    pub constraints: Vec<RequirementLine>,
    /// The combined options.
    pub options: FileOptions,
    /// Warnings about lines without effect, or with an unexpected one.
    pub notices: Vec<RequirementsWarning>,
}

#[cfg(test)]
mod tests;

//! pip's requirements files, read exactly as pip 26.3 reads them.
//!
//! Responsible for turning files, and the files that they name with `-r` and `-c`, into one plain
//! value: requirements, constraints and what their options add up to. Steps, each a pure function:
//!
//! 1. bytes to text ([`crate::encoding`]);
//! 2. text to logical lines (`lines`);
//! 3. a line to a requirement and options (`options`, with `shell`);
//! 4. options folded into [`FileOptions`] (`file_options`), files into [`RequirementsFile`] (`read`).
//!
//! What pip passes over in silence is passed over here too, but told as a [`RequirementsWarning`]. Never parses
//! a requirement itself, never looks at what a path requirement names, and does no network: files
//! come from a [`ReadSource`].
//!
//! Differences from pip: what a URL serves is decoded like a file, whatever its `Content-Type`
//! says; `--uploaded-prior-to`, which pip has on its command line only, may stand in a file.

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

/// Says what the lines of a requirements file are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileRole {
    /// They are to be had (`-r`).
    Requirements,
    /// They narrow what is had for other reasons (`-c`).
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

/// Holds what reading needs beside the names of the files.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The variables that `${NAME}` stands for, and the locale.
    pub environment: &'a Environment,
    /// The absolute directory that relative paths of files and requirements begin in.
    pub working_directory: &'a Path,
    /// What reads the files.
    pub reader: &'a dyn ReadSource,
}

/// Says where a line is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineLocation {
    /// The file, as it was named at the top, or else absolute.
    pub source: FileSource,
    /// The number of the line, or of the first of joined lines, from 1.
    pub line: usize,
}

impl fmt::Display for LineLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` line {}", self.source, self.line)
    }
}

/// Holds one requirement or constraint, and the options that belong to it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementLine {
    /// A PEP 508 requirement, a path or a URL, with variables expanded.
    pub text: String,
    /// The same before variables were expanded: this can be shown, the other may hold secrets.
    pub written: String,
    /// Whether it was given with `-e`.
    pub editable: bool,
    /// Values of `--hash`, each `algorithm:digest`.
    pub hashes: Vec<String>,
    /// Pairs of `--config-settings`; a key that comes twice has both values.
    pub config_settings: Vec<(String, String)>,
    /// Where it stands.
    pub location: LineLocation,
    /// The directory that a relative path in `text` begins in: always the working directory, for
    /// pip does not look at where the file is.
    pub base: PathBuf,
}

impl fmt::Display for RequirementLine {
    /// Writes a line that reads as this value; it holds whatever secrets the variables held.
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

/// Holds what requirements files say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequirementsFile {
    /// What is required, in the order of the lines.
    pub requirements: Vec<RequirementLine>,
    /// What only narrows, in the order of the lines.
    pub constraints: Vec<RequirementLine>,
    /// What the options add up to.
    pub options: FileOptions,
    /// What was passed over, and what may surprise.
    pub notices: Vec<RequirementsWarning>,
}

#[cfg(test)]
mod tests;

//! Errors of reading requirements files. Messages name the file, line and option, and never contain the value of a variable.

use std::io;

use super::line::OptionError;
use super::{FileRole, LineLocation};

use crate::encoding::DecodeError;
use crate::file_source::FileSource;

/// An error of reading requirements files.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// A file named by the user cannot be read.
    #[error("{role} file `{file}` cannot be read")]
    Read {
        /// The file.
        file: FileSource,
        /// The role of the file.
        role: FileRole,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A file named by another one cannot be read.
    #[error("{role} file `{file}`, which {named_by} names, cannot be read")]
    ReadNested {
        /// The file.
        file: FileSource,
        /// The role of the file.
        role: FileRole,
        /// The line that names the file.
        named_by: LineLocation,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// A file is not text.
    #[error("{role} file `{file}` is not text")]
    Decode {
        /// The file.
        file: FileSource,
        /// The role of the file.
        role: FileRole,
        /// The cause.
        #[source]
        cause: DecodeError,
    },
    /// A line has an option that is not allowed, or with invalid syntax.
    #[error("{location} reads `{written}`")]
    Line {
        /// The location of the line.
        location: LineLocation,
        /// The line, with variables unexpanded.
        written: String,
        /// The cause.
        #[source]
        cause: OptionError,
    },
    /// A line names a file with an invalid URL.
    #[error("{location} names the file `{named}`")]
    Url {
        /// The location of the line.
        location: LineLocation,
        /// The name, with variables unexpanded.
        named: String,
        /// The cause.
        #[source]
        cause: url::ParseError,
    },
    /// The files contain too many requirements.
    #[error("{location} exceeds the limit of {most} requirements")]
    TooMany {
        /// The first line beyond the limit.
        location: LineLocation,
        /// The limit.
        most: usize,
    },
    /// Files are nested too deeply.
    #[error("{location} names `{file}`, which is nested too deeply")]
    TooDeep {
        /// The line that names the file.
        location: LineLocation,
        /// The file.
        file: FileSource,
    },
    /// A file includes itself, possibly through others.
    #[error("{location} names `{file}`, which is already being read{}", .first_named_in.as_ref().map(|first| format!(" because `{first}` names it")).unwrap_or_default())]
    Recursive {
        /// The line that names the file again.
        location: LineLocation,
        /// The file.
        file: FileSource,
        /// The file that named it first; `None` for a file named by the user.
        first_named_in: Option<FileSource>,
    },
}

impl RequirementsError {
    /// Returns the error of the reader, if a file cannot be read.
    #[must_use]
    pub fn unread(&self) -> Option<&io::Error> {
        match self {
            Self::Read { cause, .. } | Self::ReadNested { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Returns a suggestion for fixing the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Line { cause, .. } => cause.hint(),
            _ => None,
        }
    }
}

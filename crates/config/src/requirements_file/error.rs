//! Why requirements files cannot be read.
//!
//! Responsible for messages that name file, line and option. Never shows the value of a variable.

use std::io;

use super::line::OptionError;
use super::{FileRole, LineLocation};

use crate::encoding::DecodeError;
use crate::file_source::FileSource;

/// Says why requirements files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// A file that was asked for cannot be read.
    #[error("{role} file `{file}` cannot be read")]
    Read {
        /// The file.
        file: FileSource,
        /// What it was to be read for.
        role: FileRole,
        /// Why it cannot be read.
        #[source]
        cause: io::Error,
    },
    /// A file that another one names cannot be read.
    #[error("{role} file `{file}`, which {named_by} names, cannot be read")]
    ReadNested {
        /// The file.
        file: FileSource,
        /// What it was to be read for.
        role: FileRole,
        /// The line that names it.
        named_by: LineLocation,
        /// Why it cannot be read.
        #[source]
        cause: io::Error,
    },
    /// A file is no text.
    #[error("{role} file `{file}` is no text")]
    Decode {
        /// The file.
        file: FileSource,
        /// What it was to be read for.
        role: FileRole,
        /// Why it is no text.
        #[source]
        cause: DecodeError,
    },
    /// A line has an option that does not belong there, or not in that form.
    #[error("{location} reads `{written}`")]
    ReadLine {
        /// Where the line is.
        location: LineLocation,
        /// The line, with variables as they are written.
        written: String,
        /// What is wrong with it.
        #[source]
        cause: OptionError,
    },
    /// A line names a file with a URL that is none.
    #[error("{location} names the file `{named}`")]
    Url {
        /// Where the line is.
        location: LineLocation,
        /// The name, with variables as they are written.
        named: String,
        /// What is wrong with it.
        #[source]
        cause: url::ParseError,
    },
    /// The files have more lines with requirements than may be.
    #[error("{location} is one requirement too many: more than {most} are not read")]
    TooMany {
        /// The first line that is not read.
        location: LineLocation,
        /// The number of files that are read.
        most: usize,
    },
    /// Files name one another in a row without end.
    #[error("{location} names `{file}`, and too many files have led there")]
    TooDeep {
        /// The line that names the file.
        location: LineLocation,
        /// The file.
        file: FileSource,
    },
    /// A file names itself, perhaps through others.
    #[error("{location} names `{file}`, which is being read already{}", .first_named_in.as_ref().map(|first| format!(" because `{first}` names it")).unwrap_or_default())]
    Recursive {
        /// The line that names the file again.
        location: LineLocation,
        /// The file.
        file: FileSource,
        /// The file that named it first; a file that was asked for has none.
        first_named_in: Option<FileSource>,
    },
}

impl RequirementsError {
    /// Returns what its reader said of a file that cannot be read.
    #[must_use]
    pub fn unread(&self) -> Option<&io::Error> {
        match self {
            Self::Read { cause, .. } | Self::ReadNested { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Returns what could be done instead.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::ReadLine { cause, .. } => cause.hint(),
            _ => None,
        }
    }
}

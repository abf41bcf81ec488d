//! The location of a requirements file: a path or a URL.
//!
//! Resolves nested locations as pip does, and displays URLs without passwords. Files are read through
//! [`ReadSource`].

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use url::Url;

use wheelhouse_fs::input;

/// The location of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileSource {
    /// A local path.
    File(PathBuf),
    /// An `http:`, `https:` or `file:` URL.
    Url(Box<Url>),
}

impl FileSource {
    /// Parses a path or a URL. As in pip, a URL has the scheme `http`, `https` or `file`.
    ///
    /// # Errors
    /// Fails if the text has such a scheme but is not a valid URL.
    pub fn parse(text: &str) -> Result<Self, url::ParseError> {
        if has_scheme(text) {
            Url::parse(text).map(Self::from)
        } else {
            Ok(Self::File(PathBuf::from(text)))
        }
    }

    /// Resolves the argument of `-r` or `-c` in a file at this location.
    pub(super) fn join(&self, named: &str, directory: &Path) -> Result<Self, url::ParseError> {
        match self {
            Self::Url(url) => url.join(named).map(Self::from),
            Self::File(_) if has_scheme(named) => Url::parse(named).map(Self::from),
            Self::File(path) => {
                let parent = path.parent().unwrap_or(Path::new(""));
                Ok(Self::File(absolute_path(directory, &parent.join(named))))
            }
        }
    }

    /// Makes the path absolute relative to `directory`.
    pub(super) fn absolute(&self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(absolute_path(directory, path)),
            Self::Url(_) => self.clone(),
        }
    }

    /// Returns the directory of the file; `None` for a URL.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Url(_) => None,
        }
    }
}

impl From<Url> for FileSource {
    fn from(url: Url) -> Self {
        Self::Url(Box::new(url))
    }
}

impl fmt::Display for FileSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Url(url) => write!(formatter, "{}", redacted(url)),
        }
    }
}

/// Masks the password of a URL, or the user name if that is the secret.
fn redacted(url: &Url) -> Url {
    let mut shown = url.clone();
    // A URL without a host has no credentials, so a failure to set them does not matter.
    if url.password().is_some() {
        let _ = shown.set_password(Some("****"));
    } else if !url.username().is_empty() {
        let _ = shown.set_username("****");
    }
    shown
}

fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        ["http", "https", "file"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

/// Makes `path` absolute and removes `.` and `..` lexically, like Python's `abspath`.
pub(super) fn absolute_path(directory: &Path, path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Reads requirements files. Callers with an HTTP client provide their own implementation.
pub trait ReadSource {
    /// Returns the bytes at `source`, whose path is absolute.
    ///
    /// # Errors
    /// Fails if the file does not exist or cannot be read. A `wheelhouse_types::Error` inside
    /// is reported with its own kind and hint.
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>>;

    /// Returns whether a local path exists, which determines the meaning of a relative `--find-links`.
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl<Read: Fn(&FileSource) -> io::Result<Vec<u8>>> ReadSource for Read {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        self(source)
    }
}

/// Reads paths and `file:` URLs, and rejects other URLs.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalReader;

impl ReadSource for LocalReader {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        match source {
            FileSource::File(path) => input::read(path),
            FileSource::Url(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => input::read(&path),
                Err(()) => Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("`{url}` names no local file"),
                )),
            },
            FileSource::Url(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("`{source}` is not local"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> FileSource {
        FileSource::parse(text).unwrap()
    }

    fn joined(file: &str, named: &str) -> String {
        let joined = source(file).join(named, Path::new("/srv")).unwrap();
        joined.to_string()
    }

    #[test]
    fn recognizes_urls_of_three_schemes() {
        assert!(matches!(source("HTTPS://host/a.txt"), FileSource::Url(_)));
        assert!(matches!(source("file:///a.txt"), FileSource::Url(_)));
        assert!(matches!(source("ftp://host/a.txt"), FileSource::File(_)));
        assert!(matches!(source("requirements.txt"), FileSource::File(_)));
        assert!(FileSource::parse("http://").is_err());
    }

    #[test]
    fn resolves_nested_files_relative_to_their_parent() {
        assert_eq!(joined("parent/a.txt", "b.txt"), "/srv/parent/b.txt");
        assert_eq!(joined("./parent/a.txt", "../b.txt"), "/srv/b.txt");
        assert_eq!(joined("a.txt", "/other/b.txt"), "/other/b.txt");
        assert_eq!(
            joined("a.txt", "http://me.com/b.txt"),
            "http://me.com/b.txt"
        );
        assert_eq!(
            joined("http://me.com/me/a.txt", "b.txt"),
            "http://me.com/me/b.txt"
        );
        assert_eq!(
            joined("http://me.com/me/a.txt", "/b.txt"),
            "http://me.com/b.txt"
        );
    }

    #[test]
    fn masks_credentials() {
        assert_eq!(
            source("https://me:secret@host/").to_string(),
            "https://me:****@host/"
        );
        assert_eq!(
            source("https://token@host/").to_string(),
            "https://****@host/"
        );
    }

    #[test]
    fn local_reader_rejects_urls() {
        let error = LocalReader.read(&source("https://me:secret@host/a.txt"));
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "`https://me:****@host/a.txt` is not local");
    }
}

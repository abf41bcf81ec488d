//! Files that the server receives: streamed into a temporary file of the wheelhouse, counted and digested on the way, and
//! inspected before they are added.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use wheelhouse_archive::{Limits, metadata};
use wheelhouse_fs::digest::{Algorithm, Digester, Digests};
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_publish::DirectoryPublisher;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, PackageName, Result, Version, WheelFilename, limits};

/// The reason why a file cannot be received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The file has more than this number of bytes.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file that is being received.
pub(crate) struct Incoming {
    file: NamedTempFile,
    writer: tokio::fs::File,
    digester: Digester,
    blake2: Blake2b<U32>,
    /// The largest number of bytes.
    limit: u64,
}

impl Incoming {
    /// Creates an empty temporary file in the directory of `publisher`.
    pub(crate) async fn create(publisher: &DirectoryPublisher, limit: u64) -> io::Result<Self> {
        let publisher = publisher.clone();
        let file = tokio::task::spawn_blocking(move || publisher.incoming_file()).await??;
        let writer = tokio::fs::File::from_std(file.as_file().try_clone()?);
        Ok(Self {
            file,
            writer,
            digester: Digester::new([Algorithm::Md5]),
            blake2: Blake2b::new(),
            limit,
        })
    }

    /// Appends `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        if self.digester.length() + bytes.len() as u64 > self.limit {
            return Err(ReceiveError::TooLarge(self.limit));
        }
        self.digester.update(bytes);
        self.blake2.update(bytes);
        Ok(self.writer.write_all(bytes).await?)
    }

    /// Completes the file.
    pub(crate) async fn finish(mut self) -> io::Result<ReceivedFile> {
        self.writer.flush().await?;
        Ok(ReceivedFile {
            file: self.file,
            digests: self.digester.finish(),
            blake2: hex::encode(self.blake2.finalize()),
        })
    }
}

/// A file that was received completely. It is removed when it is dropped, unless it was added to the wheelhouse.
pub(crate) struct ReceivedFile {
    pub(crate) file: NamedTempFile,
    pub(crate) digests: Digests,
    /// The `BLAKE2b` with 256 bits in lower-case hexadecimal.
    pub(crate) blake2: String,
}

/// The metadata of a distribution.
pub(crate) struct Inspected {
    pub(crate) requires_python: Option<String>,
    /// The bytes of the `METADATA` of a wheel.
    pub(crate) metadata: Option<Vec<u8>>,
}

/// Inspects every byte of the wheel or sdist at `path`, which has the name and version of its `filename`.
///
/// # Errors
/// [`Kind::Fetch`] with the reason why it is not a valid distribution.
pub(crate) fn inspect(path: &Path, filename: &DistributionName) -> Result<Inspected> {
    if filename.is_wheel {
        let inspected = wheelhouse_archive::inspect(path, &filename.text)?;
        let differences =
            wheelhouse_archive::verify_contents(path, &filename.text, &Limits::default())?;
        if let Some(difference) = differences.first() {
            let message = format!("{} does not match its RECORD: {difference}", filename.text);
            return Err(Error::new(Kind::Fetch, message));
        }
        return Ok(Inspected {
            requires_python: inspected.requires_python,
            metadata: Some(inspected.metadata),
        });
    }
    wheelhouse_archive::examine(path, &filename.text, &Limits::default())?;
    let failed = || format!("failed to unpack {}", filename.text);
    let parent = path.parent().unwrap_or(Path::new("."));
    let scratch = Scratch::in_directory(parent).context(Kind::Publish, failed)?;
    let into = scratch.path().join("sdist");
    let sdist = wheelhouse_archive::unpack(path, &filename.text, &into, &Limits::default())?;
    let root = sdist.root;
    let invalid = |reason: String| {
        let message = format!("{} is not a valid sdist: {reason}", filename.text);
        Error::new(Kind::Fetch, message)
    };
    let bytes = fs_err::File::open(root.join("PKG-INFO"))
        .and_then(|file| limits::read(file, limits::METADATA))
        .map_err(|_| invalid("it has no PKG-INFO".to_owned()))?;
    let text = String::from_utf8_lossy(&bytes);
    let field = |name: &str| metadata::value(&text, name).unwrap_or_default();
    let (name, version) = (field("Name"), field("Version"));
    if PackageName::from_str(&name).ok().as_ref() != Some(&filename.name)
        || Version::from_str(&version).ok().as_ref() != Some(&filename.version)
    {
        return Err(invalid(format!(
            "its PKG-INFO is that of {} {}",
            limits::excerpt(&name),
            limits::excerpt(&version)
        )));
    }
    Ok(Inspected {
        requires_python: metadata::value(&text, "Requires-Python"),
        metadata: None,
    })
}

/// The file name of a wheel or an sdist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DistributionName {
    pub(crate) text: String,
    pub(crate) is_wheel: bool,
    pub(crate) name: PackageName,
    pub(crate) version: Version,
}

impl DistributionName {
    /// Parses the file name `text` of a project called `name`. Returns `None` if it is not the name of a wheel or an sdist of
    /// this project that pip finds, or cannot be a plain file name.
    pub(crate) fn parse(text: &str, name: &PackageName) -> Option<Self> {
        let is_plain = text
            .chars()
            .all(|one| one.is_ascii_graphic() && !matches!(one, '/' | '\\'));
        if text.len() > wheelhouse_publish::simple_index::LONGEST_NAME
            || !is_plain
            || text.starts_with('.')
            || !wheelhouse_archive::is_find_links_name(text)
        {
            return None;
        }
        let is_wheel = is_wheel(text);
        let version = if is_wheel {
            let filename = WheelFilename::from_str(text).ok()?;
            (filename.name == *name).then_some(filename.version)?
        } else {
            let stem = wheelhouse_archive::strip_sdist_suffix(text)?;
            stem.match_indices('-').find_map(|(index, _)| {
                let is_name = PackageName::from_str(&stem[..index]).ok().as_ref() == Some(name);
                let version = Version::from_str(&stem[index + 1..]).ok();
                version.filter(|_| is_name)
            })?
        };
        Some(Self {
            text: text.to_owned(),
            is_wheel,
            name: name.clone(),
            version,
        })
    }
}

/// Returns whether `filename` is that of a wheel.
pub(crate) fn is_wheel(filename: &str) -> bool {
    Path::new(filename)
        .extension()
        .is_some_and(|end| end == "whl")
}

/// Locks by the names of files, so that concurrent requests inspect or fetch each file once.
#[derive(Debug, Default)]
pub(crate) struct FileLocks(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl FileLocks {
    /// Waits for the lock of the file `name`.
    pub(crate) async fn lock(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(name.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, name: &str) -> Option<(bool, String)> {
        let parsed = DistributionName::parse(text, &name.parse().unwrap())?;
        Some((parsed.is_wheel, parsed.version.to_string()))
    }

    #[test]
    fn reads_names_of_wheels_and_sdists() {
        for (text, name, version) in [
            ("my_lib-1.0-py3-none-any.whl", "my-lib", "1.0"),
            ("My.Lib-1.0.tar.gz", "my-lib", "1.0"),
            ("my-lib-1.0-1.zip", "my-lib", "1.0.post1"),
            ("a-2-b-3.tar.gz", "a-2-b", "3"),
        ] {
            let is_wheel = text.ends_with("whl");
            assert_eq!(
                parse(text, name),
                Some((is_wheel, version.to_owned())),
                "{text}"
            );
        }
        for text in [
            "other-1.0.tar.gz",
            "my_lib-1.0.tar.gz.asc",
            "my_lib-1.0.exe",
            "my_lib-1.0-py3.whl",
            "my_lib-one.tar.gz",
            "../my_lib-1.0.tar.gz",
            "..\\my_lib-1.0.tar.gz",
            ".my_lib-1.0.tar.gz",
            "my_lib-1.0\n.tar.gz",
            "my_lib-1.0\u{e9}.tar.gz",
            "",
        ] {
            assert_eq!(parse(text, "my-lib"), None, "{text}");
        }
    }
}

//! A file of a wheelhouse, kept open so that it can be served after it was replaced or removed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use wheelhouse_types::Sha256;

/// The values that identify the content of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    /// Returns the version of the file at `path`, whose last component may be a link; `None` if there is no file.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns whether `error` means that there is no file of the name.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl From<&Metadata> for FileVersion {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The number of files that snapshots may keep open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    free: AtomicUsize,
}

impl OpenFiles {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(limit),
        })
    }

    fn take(self: &Arc<Self>) -> Option<OpenFile> {
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(1)
            });
        taken.is_ok().then(|| OpenFile(Arc::clone(self)))
    }
}

/// The right to keep one file open.
#[derive(Debug)]
struct OpenFile(Arc<OpenFiles>);

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// One file of a wheelhouse as it was when the directory was read.
#[derive(Debug)]
pub(crate) struct ServedFile {
    directory: PathBuf,
    name: String,
    /// `None` if the file could not be opened; requests try again and get the error.
    version: Option<FileVersion>,
    kept: Option<(Arc<File>, OpenFile)>,
    /// The digest, if it is known from the manifest or was computed.
    sha256: OnceLock<Sha256>,
    modified: Option<SystemTime>,
}

impl ServedFile {
    /// Opens the file `name` of `directory`, and keeps it open if `open_files` permits.
    pub(crate) fn open(directory: &Path, name: &str, open_files: &Arc<OpenFiles>) -> Self {
        let opened = open_regular(directory, name).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let mut served = Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            version: None,
            kept: None,
            sha256: OnceLock::new(),
            modified: None,
        };
        match opened {
            Ok((file, metadata)) => {
                served.version = Some(FileVersion::from(&metadata));
                // Not the time of modification, which is 1980 in many wheels, so that it is the same for replaced files.
                let seconds = u64::try_from(metadata.ctime()).ok();
                served.modified =
                    seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
                served.kept = open_files.take().map(|right| (Arc::new(file), right));
            }
            Err(error) => tracing::debug!(name, %error, "failed to open a file of the wheelhouse"),
        }
        served
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn version(&self) -> Option<FileVersion> {
        self.version
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.version.map(|version| version.size)
    }

    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    pub(crate) fn sha256(&self) -> Option<Sha256> {
        self.sha256.get().copied()
    }

    pub(crate) fn set_sha256(&self, sha256: Sha256) {
        let _ = self.sha256.set(sha256);
    }

    /// Returns the strong entity tag: the digest if it is known, else the version of the file.
    pub(crate) fn entity_tag(&self) -> Option<HeaderValue> {
        let tag = match (self.sha256(), self.version) {
            (Some(sha256), _) => format!("\"{sha256}\""),
            (None, Some(version)) => format!(
                "\"{:x}-{:x}-{:x}.{:x}\"",
                version.inode, version.size, version.modified.0, version.modified.1
            ),
            (None, None) => return None,
        };
        HeaderValue::try_from(tag).ok()
    }

    /// Returns the open file with its size.
    ///
    /// # Errors
    /// Fails if the file was not kept open and cannot be opened, or is no longer the same.
    pub(crate) fn handle(&self) -> io::Result<(Arc<File>, u64)> {
        if let (Some((file, _)), Some(version)) = (&self.kept, self.version) {
            return Ok((Arc::clone(file), version.size));
        }
        let file = open_regular(&self.directory, &self.name)?;
        let found = FileVersion::from(&file.metadata()?);
        match self.version {
            // The next request sees a newer snapshot.
            Some(version) if version != found => Err(io::ErrorKind::ResourceBusy.into()),
            _ => Ok((Arc::new(file), found.size)),
        }
    }

    /// Reads the whole file, if it has at most `limit` bytes.
    pub(crate) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let (file, size) = self.handle()?;
        if size > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Computes the digest of the file.
    pub(crate) fn digest(&self) -> io::Result<Sha256> {
        if let Some(sha256) = self.sha256() {
            return Ok(sha256);
        }
        let (file, _) = self.handle()?;
        let mut reader = AtOffset { file: &file, at: 0 };
        let (sha256, _) = wheelhouse_fs::digest::sha256(&mut reader)?;
        Ok(*self.sha256.get_or_init(|| sha256))
    }
}

/// Reads a shared file from its start, without its position.
struct AtOffset<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for AtOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Opens the regular file `name` in `directory`. The name is one component, and may not be a link.
fn open_regular(directory: &Path, name: &str) -> io::Result<File> {
    if name.contains(['/', '\0']) || matches!(name, "" | "." | "..") {
        return Err(io::ErrorKind::NotFound.into());
    }
    let flags = OFlags::CLOEXEC | OFlags::PATH | OFlags::DIRECTORY;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    // Opening another kind of file could block, or affect the process at the other end.
    let state = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(state.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::NotFound.into());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::openat(&directory, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}

//! Writes files into the store: digests a file while it grows under a temporary name, and gives it its final name when it is
//! complete, matches the expectation, and is flushed to the disk.
//!
//! Partial files are never visible. A dropped writer removes its file; the file of a killed process stays in the bucket for
//! unfinished files.

use std::fs::FileTimes;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::PoisonError;

use fs_err as fs;
use tempfile::NamedTempFile;
use wheelhouse_fs::digest::Digester;
use wheelhouse_fs::interruption::{self, Hold};
use wheelhouse_types::{Error, Kind, Result};

use crate::entry::{Lookup, StoredFile, store_mtime};
use crate::error;
use crate::expected::ExpectedFile;
use crate::store::{EntryState, Store};
use crate::temporary::create_new;

/// The size of one read of a local file, in bytes.
const CHUNK: usize = 256 << 10;

/// The size of the buffer of a writer, in bytes. It is small, because many writers are open at once.
const BUFFER: usize = 64 << 10;

/// The number of attempts to rename a file while other processes remove or create the entry: its directory may be missing,
/// a corrupt entry may exist, and each of these may happen again.
const COMMIT_ATTEMPTS: usize = 8;

/// An unfinished file of the store.
///
/// It can be kept while a transfer is interrupted, and continued from [`FileWriter::len`] or started again by
/// [`FileWriter::restart`].
#[derive(Debug)]
pub struct FileWriter {
    store: Store,
    expected: ExpectedFile,
    file: NamedTempFile<fs::File>,
    /// The bytes that are digested but not yet written.
    buffer: Vec<u8>,
    digester: Digester,
    _hold: Hold,
}

impl Store {
    /// Creates a writer for a file that must match `expected`.
    ///
    /// # Errors
    /// Fails if the store is read-only or full.
    pub fn writer(&self, expected: ExpectedFile) -> Result<FileWriter> {
        let file = self.temporary(create_new)?;
        Ok(FileWriter {
            store: self.clone(),
            digester: expected.digester(),
            expected,
            file,
            buffer: Vec::new(),
            _hold: interruption::hold(),
        })
    }

    /// Adds a copy of the local file `path`, which must match `expected`. The copy shares its blocks with the original if
    /// the filesystem can do that.
    ///
    /// # Errors
    /// Fails if the file cannot be read or does not match, or if the store cannot be written.
    pub fn add_file(&self, path: &Path, expected: ExpectedFile) -> Result<StoredFile> {
        let unreadable = |error| error::adding(path, error);
        let mut source = fs::File::open(path).map_err(unreadable)?;
        let mut writer = self.writer(expected)?;
        if reflink_copy::reflink_file(source.file(), writer.file.as_file().file()).is_ok() {
            let digested = fs::File::open(writer.file.path())
                .and_then(|mut clone| writer.digester.update_from(&mut clone));
            digested.map_err(|error| error::writing(self.root(), error))?;
            return writer.finish();
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            match source.read(&mut buffer).map_err(unreadable)? {
                0 => return writer.finish(),
                count => writer.write(&buffer[..count])?,
            }
        }
    }

    /// Renames a verified `file` to its final name, unless another process has created the entry.
    ///
    /// Does not replace an intact entry, because another process may be about to link to it.
    fn commit(&self, mut file: NamedTempFile<fs::File>, entry: StoredFile) -> Result<StoredFile> {
        for _ in 0..COMMIT_ATTEMPTS {
            let failure = match file.persist_noclobber(&entry.path) {
                Ok(file) => return Ok(self.committed(&file, entry)),
                Err(failure) => failure,
            };
            file = failure.file;
            match failure.error.kind() {
                io::ErrorKind::AlreadyExists => match self.find(&entry.sha256) {
                    Ok(Lookup::Hit(existing)) => return Ok(existing),
                    Ok(Lookup::Miss | Lookup::Corrupt(_)) => {}
                    // An unreadable entry is replaced.
                    Err(_) => break,
                },
                io::ErrorKind::NotFound => self.create_parent(&entry.path)?,
                // Not every filesystem can rename without replacing.
                _ => break,
            }
        }
        let file = self.persist(file, &entry.path)?;
        Ok(self.committed(&file, entry))
    }

    fn committed(&self, file: &fs::File, entry: StoredFile) -> StoredFile {
        if let Ok(metadata) = file.metadata() {
            let verified = self.verified(&entry.sha256);
            let mut verified = verified.lock().unwrap_or_else(PoisonError::into_inner);
            *verified = Some(EntryState::new(&metadata));
        }
        entry
    }

    /// Renames `file` to `path`, whose directory may not exist yet.
    pub(crate) fn persist<T>(&self, file: NamedTempFile<T>, path: &Path) -> Result<T> {
        let failure = match file.persist(path) {
            Ok(file) => return Ok(file),
            Err(failure) => failure,
        };
        self.create_parent(path)?;
        let file = failure.file.persist(path);
        file.map_err(|failure| error::writing(self.root(), failure.error))
    }

    fn create_parent(&self, path: &Path) -> Result<()> {
        let created = fs::create_dir_all(path.parent().unwrap_or(path));
        created.map_err(|error| error::writing(self.root(), error))
    }
}

impl FileWriter {
    /// Appends `bytes`. Fast enough to be called from asynchronous code.
    ///
    /// # Errors
    /// Fails if the store is full, or if there are more bytes than expected. The file can then only be restarted or dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.digester.update(bytes);
        self.expected.check_not_longer(self.len())?;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return self.write_through(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the number of bytes so far: the offset at which an interrupted transfer continues.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.digester.length()
    }

    /// Returns whether there are no bytes so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all bytes.
    ///
    /// # Errors
    /// Fails if the file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        self.buffer.clear();
        self.digester = self.expected.digester();
        let file = self.file.as_file_mut();
        let truncated = file.set_len(0).and_then(|()| file.rewind());
        truncated.map_err(|error| error::writing(self.store.root(), error))
    }

    /// Verifies the file, flushes it to the disk, and gives it its final name.
    ///
    /// Blocks on the disk for some milliseconds or more.
    ///
    /// # Errors
    /// Fails if the file does not match the expectation, or if the store is full.
    pub fn finish(mut self) -> Result<StoredFile> {
        self.flush()?;
        let digests = std::mem::take(&mut self.digester).finish();
        self.expected.check(&digests)?;
        let failed = |error| error::writing(self.store.root(), error);
        let file = self.file.as_file();
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() != digests.length {
            // The caller ignored an earlier error of `write`.
            let message = format!(
                "only {} of {} bytes of `{}` could be written to the cache `{}`",
                metadata.len(),
                digests.length,
                self.expected.name(),
                self.store.root().display()
            );
            return Err(Error::new(Kind::Fetch, message));
        }
        file.sync_data().map_err(failed)?;
        file.set_times(FileTimes::new().set_modified(store_mtime()))
            .map_err(failed)?;
        let path = self.store.layout().entry(&digests.sha256);
        let entry = StoredFile::new(&digests.sha256, path, &metadata);
        tracing::debug!(
            name = self.expected.name(),
            sha256 = %entry.sha256,
            size = entry.size,
            "adding file to cache"
        );
        self.store.commit(self.file, entry)
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write_through(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write_through(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.as_file_mut().write_all(bytes);
        written.map_err(|error| error::writing(self.store.root(), error))
    }
}

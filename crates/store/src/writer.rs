//! Writing into the store: a file is digested while it grows under a temporary name, and gets its
//! final name only when it is complete, right and on the disk.
//!
//! Never shows anybody a partial file: a writer that is dropped removes what it wrote, and what a
//! killed process leaves behind is in the bucket for unfinished files, where nobody looks.

use std::fs::{FileTimes, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use tempfile::NamedTempFile;
use wheelhouse_fs::digest::Digester;
use wheelhouse_types::{Error, Kind, Result};

use super::entry::{CHUNK, store_mtime, stored};
use super::layout::TEMPORARY_PREFIX;
use super::{ExpectedFile, Lookup, Store, StoredFile, error};
use wheelhouse_fs::interruption::{self, Hold};

/// How much a writer holds back, in bytes: many are open at once.
const BUFFER: usize = 64 * 1024;

/// The permissions that a new file asks for; the umask takes from them. A hard link into a
/// wheelhouse shares them, so others than the owner must be able to read.
const MODE: u32 = 0o644;

/// How often a file is put in its place while others remove or create it: the directory may be
/// missing, a corrupt entry there, and each of these once more.
const COMMIT_ATTEMPTS: usize = 8;

/// A file on its way into the store.
///
/// It can be kept while a transfer is interrupted: what was written and its digest go on from
/// [`FileWriter::len`], or begin again after [`FileWriter::restart`].
#[derive(Debug)]
pub struct FileWriter {
    store: Store,
    expected: ExpectedFile,
    file: NamedTempFile<fs::File>,
    /// What was taken in but is not in the file yet.
    buffer: Vec<u8>,
    digester: Digester,
    length: u64,
    _hold: Hold,
}

impl Store {
    /// Begins a file that has to be what `expected` says.
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
            length: 0,
            _hold: interruption::hold(),
        })
    }

    /// Takes in a copy of the local file `path`, which has to be what `expected` says. Where the
    /// filesystem can, the copy shares its blocks with the original.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not what it has to be, or if the store cannot be
    /// written.
    pub fn add_file(&self, path: &Path, expected: ExpectedFile) -> Result<StoredFile> {
        let unreadable = |error| error::adding(path, error);
        let mut source = fs::File::open(path).map_err(unreadable)?;
        let mut writer = self.writer(expected)?;
        if reflink_copy::reflink_file(source.file(), writer.file.as_file().file()).is_ok() {
            return writer.finish_clone();
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            match source.read(&mut buffer).map_err(unreadable)? {
                0 => return writer.finish(),
                count => writer.write(&buffer[..count])?,
            }
        }
    }

    /// Makes an unfinished file with `make`, under a name that nobody uses yet.
    pub(super) fn temporary<T>(
        &self,
        make: impl FnMut(&Path) -> io::Result<T>,
    ) -> Result<NamedTempFile<T>> {
        if !self.is_writable() {
            return Err(error::read_only(self.root()));
        }
        make_temporary(&self.layout().temporary(), make)
            .map_err(|error| error::writing(self.root(), error))
    }

    /// Gives a checked `file` its final name as `entry`, unless somebody else was faster.
    ///
    /// An intact entry is never replaced: whoever links to it at this moment would find it gone.
    fn commit(&self, mut file: NamedTempFile<fs::File>, entry: StoredFile) -> Result<StoredFile> {
        for _ in 0..COMMIT_ATTEMPTS {
            let refused = match file.persist_noclobber(&entry.path) {
                Ok(committed) => {
                    self.note_written(&committed, &entry);
                    return Ok(entry);
                }
                Err(refused) => refused,
            };
            file = refused.file;
            match refused.error.kind() {
                io::ErrorKind::AlreadyExists => match self.find(&entry.sha256) {
                    Ok(Lookup::Hit(existing)) => return Ok(existing),
                    Ok(Lookup::Miss | Lookup::Corrupt(_)) => {}
                    // What cannot even be read is replaced.
                    Err(_) => break,
                },
                io::ErrorKind::NotFound => self.create_directory_of(&entry.path)?,
                // Not every filesystem can rename in this way.
                _ => break,
            }
        }
        let committed = self.persist(file, &entry.path)?;
        self.note_written(&committed, &entry);
        Ok(entry)
    }

    /// Notes that an entry was digested while it was written.
    fn note_written(&self, file: &fs::File, entry: &StoredFile) {
        if let Ok(metadata) = file.metadata() {
            self.mark_verified(&entry.sha256, &metadata);
        }
    }

    /// Gives `file` its final name, in a directory that may not exist yet.
    pub(super) fn persist<T>(&self, file: NamedTempFile<T>, path: &Path) -> Result<T> {
        let first = match file.persist(path) {
            Ok(file) => return Ok(file),
            Err(first) => first,
        };
        self.create_directory_of(path)?;
        let second = first.file.persist(path);
        second.map_err(|second| error::writing(self.root(), second.error))
    }

    fn create_directory_of(&self, path: &Path) -> Result<()> {
        let created = fs::create_dir_all(path.parent().unwrap_or(path));
        created.map_err(|error| error::writing(self.root(), error))
    }
}

impl FileWriter {
    /// Takes in the next bytes. Cheap enough to be called from asynchronous code.
    ///
    /// # Errors
    /// Fails if the store is full, or if there are more bytes than expected. The file can then
    /// only be restarted or dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.digester.update(bytes);
        self.expected.check_not_longer(self.length)?;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return self.write_through(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes were taken in: where an interrupted transfer has to go on.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether no bytes were taken in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets all that was taken in.
    ///
    /// # Errors
    /// Fails if the file cannot be cut back.
    pub fn restart(&mut self) -> Result<()> {
        self.buffer.clear();
        self.digester = self.expected.digester();
        self.length = 0;
        let file = self.file.as_file_mut();
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(|error| error::writing(self.store.root(), error))
    }

    /// Checks the file, flushes it to the disk, and gives it its final name.
    ///
    /// Waits for the disk, some milliseconds or more: not for a thread that serves others.
    ///
    /// # Errors
    /// Fails if the file is not what was expected, or if the store is full.
    pub fn finish(mut self) -> Result<StoredFile> {
        self.flush()?;
        let digests = std::mem::take(&mut self.digester).finish();
        self.expected.check(&digests)?;
        let failed = |error| error::writing(self.store.root(), error);
        let file = self.file.as_file();
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() != self.length {
            return Err(self.torn(metadata.len()));
        }
        file.sync_data().map_err(failed)?;
        file.set_times(FileTimes::new().set_modified(store_mtime()))
            .map_err(failed)?;
        let path = self.store.layout().entry(&digests.sha256);
        let entry = stored(&digests.sha256, path, &metadata);
        self.store.commit(self.file, entry)
    }

    /// Digests a file whose blocks were cloned from another one, and finishes it.
    fn finish_clone(mut self) -> Result<StoredFile> {
        let digested = fs::File::open(self.file.path())
            .and_then(|mut clone| self.digester.update_from(&mut clone));
        digested.map_err(|error| error::writing(self.store.root(), error))?;
        self.length = self.digester.length();
        self.finish()
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

    /// An earlier failure to write was ignored.
    fn torn(&self, size: u64) -> Error {
        let message = format!(
            "only {size} of {} bytes of `{}` could be written to the cache `{}`",
            self.length,
            self.expected.name(),
            self.store.root().display()
        );
        Error::new(Kind::Fetch, message)
    }
}

/// Makes a file in `directory` with `make`, under a name that nobody uses yet; it is removed when
/// it is dropped.
pub(super) fn make_temporary<T>(
    directory: &Path,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<NamedTempFile<T>> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .make_in(directory, make)
}

/// Creates a file that does not exist yet, with the permissions that the umask leaves.
pub(super) fn create_new(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)
}

/// The permissions that [`create_new`] gives in this process.
pub(super) fn mode_of_new_files(store: &Store) -> Option<u32> {
    let file = store.temporary(create_new).ok()?;
    let metadata = file.as_file().metadata().ok()?;
    Some(metadata.permissions().mode() & 0o777)
}

/// The permission bits `mode`.
pub(super) fn permissions(mode: u32) -> Permissions {
    Permissions::from_mode(mode)
}

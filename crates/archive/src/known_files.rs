//! Known digests of files, so that an unchanged file of a large tree is not read again.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wheelhouse_types::Sha256;

/// The age from which the times of a file are certain to change with the next write. Filesystems store times in steps of up
/// to two seconds.
const MIN_AGE: Duration = Duration::from_secs(2);

/// The digests of files by path, each with the state of the file when it was read.
#[derive(Debug, Default)]
pub struct KnownFiles {
    /// The files of earlier runs.
    earlier: Files,
    /// The files of this run.
    now: Files,
}

type Files = BTreeMap<String, (FileStamp, Sha256)>;

/// The state of a file, which a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileStamp {
    size: u64,
    /// The modification time in nanoseconds since the Unix epoch.
    modified: u128,
    /// The change time in nanoseconds since the Unix epoch.
    changed: u128,
    inode: u64,
}

impl KnownFiles {
    /// Parses the output of [`to_bytes`](Self::to_bytes). Returns no files if `bytes` cannot be parsed.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            earlier: serde_json::from_slice(bytes).unwrap_or_default(),
            now: Files::new(),
        }
    }

    /// Returns the files of this run as JSON, or `None` if they equal those of earlier runs.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let is_new = self.now != self.earlier;
        is_new.then(|| serde_json::to_vec(&self.now).unwrap_or_default())
    }

    /// Returns the digest of the file at `path` if its state is unchanged.
    pub(crate) fn digest(&mut self, path: &Path, metadata: &Metadata) -> Option<Sha256> {
        let path = path.to_str()?;
        let (stamp, digest) = self.now.get(path).or_else(|| self.earlier.get(path))?;
        if FileStamp::new(metadata).as_ref() != Some(stamp) {
            return None;
        }
        let (stamp, digest) = (*stamp, *digest);
        self.now.insert(path.to_owned(), (stamp, digest));
        Some(digest)
    }

    /// Remembers the digest of the file at `path`, whose `metadata` was read before its content.
    pub(crate) fn remember(&mut self, path: &Path, metadata: &Metadata, digest: Sha256) {
        let (Some(path), Some(stamp)) = (path.to_str(), FileStamp::new(metadata)) else {
            return;
        };
        let newest = SystemTime::now() - MIN_AGE;
        if stamp.modified.max(stamp.changed) < nanoseconds(newest) {
            self.now.insert(path.to_owned(), (stamp, digest));
        }
    }
}

impl FileStamp {
    #[cfg(unix)]
    fn new(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let seconds = u64::try_from(metadata.ctime()).ok()?;
        let since = Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).ok()?);
        Some(Self {
            size: metadata.len(),
            modified: nanoseconds(metadata.modified().ok()?),
            changed: since.as_nanos(),
            inode: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    fn new(_metadata: &Metadata) -> Option<Self> {
        None
    }
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_file_until_its_state_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let digest = Sha256::of(b"one");
        let mut known = KnownFiles::default();
        known.remember(&path, &metadata, digest);
        assert_eq!(known.digest(&path, &metadata), None, "it was just written");
        assert_eq!(known.to_bytes(), None);

        let stamp = FileStamp::new(&metadata).unwrap();
        let name = path.to_str().unwrap().to_owned();
        known.now.insert(name, (stamp, digest));
        let bytes = known.to_bytes().unwrap();
        let mut known = KnownFiles::from_bytes(&bytes);
        assert_eq!(known.digest(&path, &metadata), Some(digest));
        assert_eq!(known.to_bytes(), None, "nothing is new");
        // Restoring the modification time does not hide the change.
        std::fs::write(&path, "two").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
        let changed = std::fs::metadata(&path).unwrap();
        assert_eq!(KnownFiles::from_bytes(&bytes).digest(&path, &changed), None);
        assert_eq!(KnownFiles::from_bytes(b"{").to_bytes(), None);
    }
}

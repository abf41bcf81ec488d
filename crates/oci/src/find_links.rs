//! Images as sources of wheels (`--find-links`): fetched into directories of the cache, each once.
//!
//! ```text
//! HEX/files/       the wheelhouse of the image whose manifest has this digest
//! HEX/files.json   its distributions, with digests and sizes; its modification time is that of the last use
//! HEX.json         the index with this digest
//! names/HEX        the last digest of a name, for runs with `--offline`
//! .lock            locked while an image is moved into place
//! ```
//!
//! Images are verified as in an extraction. An image is fetched again if the size or time of a file shows that the file was
//! modified.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use filetime::FileTime;
use fs_err as fs;
use oci_spec::image::{Descriptor, ImageIndex};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::linked_image::{LinkedFile, LinkedImage, LinkedWheelhouse};
use wheelhouse_types::{Error, Event, Kind, Observer, Result, Sha256};

use crate::extract;
use crate::image::blob::Blob;
use crate::registry::Access;
use crate::transport::image_reader::{self, ImageReader, SourceImage};
use crate::transport::{self, ImageLocation};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_publish::write_file;

const FILES: &str = "files";
const RECORD: &str = "files.json";
const NAMES: &str = "names";
const LOCK: &str = ".lock";

/// The name of an unpacked image in its staging directory.
const UNPACKED: &str = "whole";
/// The name of a damaged image in the staging directory.
const DAMAGED: &str = "damaged";

/// The images of an index to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchitectureSelection {
    /// The image for this machine.
    Native,
    /// All images, for several targets.
    All,
}

/// Fetches images into the cache.
#[derive(Clone)]
pub struct ImageFetcher {
    /// The directory of all images in the cache.
    pub cache: PathBuf,
    /// The images to fetch of an index.
    pub architectures: ArchitectureSelection,
    /// The access to registries.
    pub access: Access,
    /// The socket of docker or podman.
    pub socket: PathBuf,
    /// Observes the downloads.
    pub observer: Arc<dyn Observer>,
}

/// Fetches the image at `location` unless it is in the cache.
///
/// # Errors
/// [`Kind::Fetch`] if the image cannot be read, has another digest or has no wheelhouse; [`Kind::Publish`] if the cache
/// cannot be written.
pub async fn fetch(location: ImageLocation, fetcher: ImageFetcher) -> Result<LinkedImage> {
    let message = format!("failed to use --find-links {location}");
    find_or_fetch(location, fetcher)
        .await
        .map_err(|error| Error::new(error.kind(), message).caused_by(error))
}

async fn find_or_fetch(location: ImageLocation, fetcher: ImageFetcher) -> Result<LinkedImage> {
    if let Some(digest) = known_digest(&location, &fetcher) {
        let query = (location.clone(), fetcher.clone());
        let found = blocking(move || Ok(query.1.find_cached(&query.0, &digest))).await?;
        if let Some(linked) = found {
            tracing::debug!(image = %location, "found an image in the cache");
            return Ok(linked);
        }
    }
    let opened = transport::open(&location, &fetcher.access, &fetcher.socket).await;
    let source = opened.map_err(|error| match error {
        error if fetcher.access.offline && matches!(location, ImageLocation::Registry(_)) => {
            error.with_hint("Run the command once without --offline to add the image to the cache.")
        }
        error => error,
    })?;
    blocking(move || fetcher.fetch(&location, &source)).await
}

/// Returns the digest of the image if it is known without a request.
fn known_digest(location: &ImageLocation, fetcher: &ImageFetcher) -> Option<String> {
    let ImageLocation::Registry(reference) = location else {
        return None;
    };
    let named = reference.digest().map(ToOwned::to_owned);
    let remembered = || fs::read_to_string(fetcher.name_path(location)).ok();
    named.or_else(|| fetcher.access.offline.then(remembered)?)
}

/// Removes the images in the directory `cache` that were not used for the duration `unused_for`. Returns the number of
/// removed files and bytes.
///
/// # Errors
/// [`Kind::Publish`] if an image cannot be removed.
pub fn prune(cache: &Path, unused_for: Duration) -> Result<(usize, u64)> {
    let failed = || format!("failed to remove unused images from {}", cache.display());
    let (mut files, mut bytes) = (0, 0);
    // The directory may not exist.
    for image in fs::read_dir(cache).into_iter().flatten() {
        let image = image.context(Kind::Publish, failed)?.path();
        let used = fs::metadata(image.join(RECORD)).and_then(|record| record.modified());
        let unused = used.ok().and_then(|used| used.elapsed().ok());
        if unused.is_none_or(|unused| unused < unused_for) {
            continue;
        }
        for file in fs::read_dir(image.join(FILES)).into_iter().flatten() {
            let file = file.and_then(|file| file.metadata());
            bytes += file.context(Kind::Publish, failed)?.len();
            files += 1;
        }
        fs::remove_dir_all(&image).context(Kind::Publish, failed)?;
    }
    Ok((files, bytes))
}

impl ImageFetcher {
    /// Returns the cached image with this digest, if it is complete.
    fn find_cached(&self, location: &ImageLocation, digest: &str) -> Option<LinkedImage> {
        let index = fs::read(self.path(digest, ".json")).ok();
        let wheelhouses = match index.filter(|bytes| Blob::of(bytes).digest() == digest) {
            Some(bytes) => {
                let index: ImageIndex = serde_json::from_slice(&bytes).ok()?;
                self.select(&index, &location.to_string())
                    .ok()?
                    .iter()
                    .map(|descriptor| self.unpacked(descriptor.digest().as_ref()))
                    .collect()
            }
            None => self.unpacked(digest).map(|only| vec![only]),
        };
        Some(linked_image(location, digest, wheelhouses?))
    }

    /// Fetches the images that the cache lacks.
    fn fetch(
        &self,
        location: &ImageLocation,
        source: &Arc<dyn ImageReader>,
    ) -> Result<LinkedImage> {
        let root = source.root()?;
        let digest = Blob::of(&root).digest();
        let wheelhouses = if let Some(index) = image_reader::index(&root, &**source)? {
            write_file(&self.path(&digest, ".json"), &root, 0o666)?;
            let fetch = |descriptor: &Descriptor| {
                self.wheelhouse(descriptor.digest().as_ref(), || {
                    image_reader::image_from_descriptor(Arc::clone(source), descriptor)
                })
            };
            self.select(&index, &source.name())?
                .iter()
                .map(fetch)
                .collect::<Result<_>>()?
        } else {
            let image = || image_reader::image_from_manifest(Arc::clone(source), &root);
            vec![self.wheelhouse(&digest, image)?]
        };
        write_file(&self.name_path(location), digest.as_bytes(), 0o666)?;
        Ok(linked_image(location, &digest, wheelhouses))
    }

    fn select(&self, index: &ImageIndex, name: &str) -> Result<Vec<Descriptor>> {
        if self.architectures == ArchitectureSelection::Native {
            return Ok(vec![image_reader::select_platform(index, None, name)?]);
        }
        // Builders add attestations with an unknown architecture.
        let images = index.manifests().iter().filter(|descriptor| {
            let platform = descriptor.platform().as_ref();
            platform.is_none_or(|platform| platform.architecture().to_string() != "unknown")
        });
        Ok(images.cloned().collect())
    }

    /// Returns the wheelhouse of the image with this digest, which is unpacked if the cache does not have it.
    fn wheelhouse(
        &self,
        digest: &str,
        image: impl FnOnce() -> Result<SourceImage>,
    ) -> Result<LinkedWheelhouse> {
        if let Some(wheelhouse) = self.unpacked(digest) {
            tracing::debug!(digest, "found an image in the cache");
            return Ok(wheelhouse);
        }
        let image = image()?;
        let name = image.source.name();
        let start = Instant::now();
        self.observer.observe(&Event::FetchStarted {
            package: name.clone(),
            filename: name.clone(),
            bytes: None,
        });
        let unpacked = self.unpack(digest, &image);
        self.observer.observe(&match &unpacked {
            Ok(wheelhouse) => Event::FetchFinished {
                filename: name,
                bytes: wheelhouse.files.values().map(|file| file.size).sum(),
                seconds: seconds(start.elapsed()),
            },
            Err(_) => Event::FetchFailed { filename: name },
        });
        unpacked
    }

    /// Returns the cached wheelhouse of the image with this digest, or `None` if any file was modified.
    fn unpacked(&self, digest: &str) -> Option<LinkedWheelhouse> {
        let directory = self.path(digest, "");
        let found = read_cached(&directory)?;
        // The time of the last use is not recorded in a read-only cache.
        let _ = filetime::set_file_mtime(directory.join(RECORD), FileTime::now());
        Some(found)
    }

    /// Unpacks the image next to its final directory, so that the latter is always complete.
    fn unpack(&self, digest: &str, image: &SourceImage) -> Result<LinkedWheelhouse> {
        let failed = || format!("failed to write {}", self.cache.display());
        fs::create_dir_all(&self.cache).context(Kind::Publish, failed)?;
        let staging = tempfile::Builder::new()
            .prefix(".wheelhouse-")
            .tempdir_in(&self.cache)
            .context(Kind::Publish, failed)?;
        let unpacked = staging.path().join(UNPACKED);
        let extracted = extract::extract(image, None, &unpacked.join(FILES))?;
        let distributions = extracted.distributions.into_iter();
        let files: BTreeMap<String, LinkedFile> = distributions
            .map(|(name, Blob { sha256, size })| (name, LinkedFile { sha256, size }))
            .collect();
        let record = serde_json::to_vec(&files).context(Kind::Publish, failed)?;
        fs::write(unpacked.join(RECORD), record).context(Kind::Publish, failed)?;
        let place = self.path(digest, "");
        move_into_place(staging.path(), &place).context(Kind::Publish, failed)?;
        let directory = place.join(FILES);
        Ok(LinkedWheelhouse { directory, files })
    }

    fn path(&self, digest: &str, suffix: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.cache.join(format!("{hex}{suffix}"))
    }

    fn name_path(&self, location: &ImageLocation) -> PathBuf {
        let name = Sha256::of(location.to_string().as_bytes());
        self.cache.join(NAMES).join(name.to_string())
    }
}

/// Reads the wheelhouse at `place`, if every file exists and is unmodified.
fn read_cached(place: &Path) -> Option<LinkedWheelhouse> {
    let record = fs::read(place.join(RECORD)).ok()?;
    let files: BTreeMap<String, LinkedFile> = serde_json::from_slice(&record).ok()?;
    let directory = place.join(FILES);
    let is_unmodified = |(name, file): (&String, &LinkedFile)| {
        wheelhouse_store::is_unmodified(&directory.join(name), file.size)
    };
    files
        .iter()
        .all(is_unmodified)
        .then_some(LinkedWheelhouse { directory, files })
}

/// Moves the image that was unpacked below `staging` to `place`. If another process was faster, its image is kept unless it
/// is damaged, because a third process may be reading it.
fn move_into_place(staging: &Path, place: &Path) -> io::Result<()> {
    let lock = fs::File::create(place.with_file_name(LOCK))?;
    // Without locks, only the replacement of a damaged image can fail.
    let _ = locks::acquire(lock.file(), LockMode::Exclusive, "the images of the cache")
        .map_err(io::Error::other)?;
    if read_cached(place).is_some() {
        return Ok(());
    }
    match fs::rename(place, staging.join(DAMAGED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(staging.join(UNPACKED), place)
}

fn linked_image(
    location: &ImageLocation,
    digest: &str,
    wheelhouses: Vec<LinkedWheelhouse>,
) -> LinkedImage {
    let name = match location {
        ImageLocation::Registry(reference) => {
            format!(
                "docker://{}",
                reference.clone_with_digest(digest.to_owned())
            )
        }
        local => local.to_string(),
    };
    LinkedImage {
        name,
        digest: digest.to_owned(),
        wheelhouses,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Returns an unpacked image of one file, not yet in its final directory.
    fn staged(cache: &Path) -> tempfile::TempDir {
        let staging = tempfile::tempdir_in(cache).unwrap();
        let unpacked = staging.path().join(UNPACKED);
        fs::create_dir_all(unpacked.join(FILES)).unwrap();
        let wheel = unpacked.join(FILES).join("a.whl");
        fs::write(&wheel, "wheel").unwrap();
        let placed = i64::try_from(wheelhouse_store::STORE_MTIME.as_secs()).unwrap();
        filetime::set_file_mtime(&wheel, FileTime::from_unix_time(placed, 0)).unwrap();
        let (sha256, size) = (Sha256::of(b"wheel"), 5);
        let files = BTreeMap::from([("a.whl", LinkedFile { sha256, size })]);
        fs::write(unpacked.join(RECORD), serde_json::to_vec(&files).unwrap()).unwrap();
        staging
    }

    #[test]
    fn second_process_uses_existing_image_unless_corrupt() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("image");
        let wheel = place.join(FILES).join("a.whl");
        let move_another = || {
            move_into_place(staged(cache.path()).path(), &place).unwrap();
            fs::metadata(&wheel).unwrap().ino()
        };
        let first = move_another();
        assert_eq!(move_another(), first, "another process may be reading it");
        fs::write(&wheel, "whale").unwrap();
        assert_ne!(move_another(), first);
        assert_eq!(fs::read_to_string(&wheel).unwrap(), "wheel");
        fs::remove_file(place.join(RECORD)).unwrap();
        move_another();
        assert!(read_cached(&place).is_some());
        let left = fs::read_dir(cache.path()).unwrap().count();
        assert_eq!(left, 2, "the image and the lock");
    }
}

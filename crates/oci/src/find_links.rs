//! Images as sources of wheels (`--find-links`): brought into directories of the cache, each once.
//!
//! ```text
//! HEX/files/       the wheelhouse of the image whose manifest has this digest
//! HEX/files.json   its distributions, with digests and sizes; modified when it was wanted last
//! HEX.json         the index with this digest
//! names/HEX        the digest that a name stood for last, for runs without a network
//! .lock            held while an image gets its place
//! ```
//!
//! Everything in an image is checked as when it is extracted, and brought again when size or time of
//! a file tell that somebody has written to it. Never resolves anything.

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
use crate::transport::ImageLocation;
use crate::transport::{self, ImageReader, SourceImage, image_reader};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::locks::{self, LockMode};
use wheelhouse_publish::write_file;

const FILES: &str = "files";
const RECORD: &str = "files.json";
const NAMES: &str = "names";
const LOCK: &str = ".lock";

/// Where an unpacked image waits for its place.
const WHOLE: &str = "whole";
/// Where one that was found damaged goes.
const DAMAGED: &str = "damaged";

/// The images of an index that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchitectureSelection {
    /// That of this machine.
    Native,
    /// All, for several targets.
    All,
}

/// How images are brought, and where to.
#[derive(Clone)]
pub struct ImageFetcher {
    /// The directory of all images in the cache.
    pub cache: PathBuf,
    pub architectures: ArchitectureSelection,
    pub access: Access,
    /// The socket of docker or podman.
    pub socket: PathBuf,
    pub observer: Arc<dyn Observer>,
}

/// Brings the image at `location`, unless the cache has what the name stands for.
///
/// # Errors
/// [`Kind::Fetch`], when it cannot be read, is not what its digests say or has no wheelhouse;
/// [`Kind::Publish`], when the cache cannot be written.
pub async fn fetch(location: ImageLocation, fetcher: ImageFetcher) -> Result<LinkedImage> {
    let unusable = format!("--find-links {location} cannot be used");
    let linked = fetch_or_find(location, fetcher).await;
    linked.map_err(|error| Error::new(error.kind(), unusable).caused_by(error))
}

async fn fetch_or_find(location: ImageLocation, fetcher: ImageFetcher) -> Result<LinkedImage> {
    if let Some(digest) = known_digest(&location, &fetcher) {
        let known = (location.clone(), fetcher.clone());
        let found = blocking(move || Ok(known.1.in_cache(&known.0, &digest))).await?;
        if let Some(linked) = found {
            return Ok(linked);
        }
    }
    let opened = transport::open(&location, &fetcher.access, &fetcher.socket).await;
    let source = opened.map_err(|error| match error {
        error if fetcher.access.offline && matches!(location, ImageLocation::Registry(_)) => {
            error.with_hint("Run once without --offline: the cache then has it.")
        }
        error => error,
    })?;
    blocking(move || fetcher.fetch(&location, &source)).await
}

/// The digest of the image, as far as it is known without asking anybody.
fn known_digest(location: &ImageLocation, fetcher: &ImageFetcher) -> Option<String> {
    let ImageLocation::Registry(reference) = location else {
        return None;
    };
    let named = reference.digest().map(ToOwned::to_owned);
    let remembered = || fs::read_to_string(fetcher.name_path(location)).ok();
    named.or_else(|| fetcher.access.offline.then(remembered)?)
}

/// Removes the images in the directory `cache` that nobody has wanted for so long. Returns how many
/// files that were, and how many bytes.
///
/// # Errors
/// [`Kind::Publish`], when one cannot be removed.
pub fn prune(cache: &Path, unused_for: Duration) -> Result<(usize, u64)> {
    let failed = || format!("failed to remove unused images from {}", cache.display());
    let (mut files, mut bytes) = (0, 0);
    // There may be none.
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
    /// What the cache has of the image with this digest, if that is all that is wanted.
    fn in_cache(&self, location: &ImageLocation, digest: &str) -> Option<LinkedImage> {
        let index = fs::read(self.path(digest, ".json")).ok();
        let wheelhouses = match index.filter(|bytes| Blob::of(bytes).digest() == digest) {
            Some(bytes) => {
                let index: ImageIndex = serde_json::from_slice(&bytes).ok()?;
                let wanted = self.wanted(&index, &location.to_string()).ok()?;
                let wanted = wanted.iter().map(|wanted| wanted.digest().to_string());
                wanted.map(|digest| self.unpacked(&digest)).collect()
            }
            None => self.unpacked(digest).map(|only| vec![only]),
        };
        Some(linked(location, digest, wheelhouses?))
    }

    /// Brings what the cache lacks.
    fn fetch(
        &self,
        location: &ImageLocation,
        source: &Arc<dyn ImageReader>,
    ) -> Result<LinkedImage> {
        let root = source.root()?;
        let digest = Blob::of(&root).digest();
        let wheelhouses = if let Some(index) = image_reader::index(&root, &**source)? {
            write_file(&self.path(&digest, ".json"), &root, 0o666)?;
            let wanted = self.wanted(&index, &source.name())?;
            let bring = |wanted: &Descriptor| {
                self.wheelhouse(wanted.digest().as_ref(), || {
                    image_reader::image_from_descriptor(Arc::clone(source), wanted)
                })
            };
            wanted.iter().map(bring).collect::<Result<_>>()?
        } else {
            let image = || image_reader::image_from_manifest(Arc::clone(source), &root);
            vec![self.wheelhouse(&digest, image)?]
        };
        write_file(&self.name_path(location), digest.as_bytes(), 0o666)?;
        Ok(linked(location, &digest, wheelhouses))
    }

    fn wanted(&self, index: &ImageIndex, name: &str) -> Result<Vec<Descriptor>> {
        if self.architectures == ArchitectureSelection::Native {
            return Ok(vec![image_reader::select_platform(index, None, name)?]);
        }
        // What is for no architecture is about another image: builders attest so.
        let images = index.manifests().iter().filter(|descriptor| {
            let platform = descriptor.platform().as_ref();
            platform.is_none_or(|platform| platform.architecture().to_string() != "unknown")
        });
        Ok(images.cloned().collect())
    }

    /// The wheelhouse of the image with this digest, unpacked now if it was not before.
    fn wheelhouse(
        &self,
        digest: &str,
        image: impl FnOnce() -> Result<SourceImage>,
    ) -> Result<LinkedWheelhouse> {
        if let Some(wheelhouse) = self.unpacked(digest) {
            return Ok(wheelhouse);
        }
        let image = image()?;
        let name = image.source.name();
        let begun = Instant::now();
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
                seconds: seconds(begun.elapsed()),
            },
            Err(_) => Event::FetchFailed { filename: name },
        });
        unpacked
    }

    /// What the cache has of the image with this digest; nothing if any file is damaged.
    fn unpacked(&self, digest: &str) -> Option<LinkedWheelhouse> {
        let place = self.path(digest, "");
        let found = look(&place)?;
        // A cache that cannot be written need not know.
        let _ = filetime::set_file_mtime(place.join(RECORD), FileTime::now());
        Some(found)
    }

    /// Unpacks the image beside its place, so that what is there is whole.
    fn unpack(&self, digest: &str, image: &SourceImage) -> Result<LinkedWheelhouse> {
        let failed = || format!("failed to write {}", self.cache.display());
        fs::create_dir_all(&self.cache).context(Kind::Publish, failed)?;
        let staging = tempfile::Builder::new()
            .prefix(".wheelhouse-")
            .tempdir_in(&self.cache)
            .context(Kind::Publish, failed)?;
        let whole = staging.path().join(WHOLE);
        let extracted = extract::extract(image, None, &whole.join(FILES))?;
        let distributions = extracted.distributions.into_iter();
        let files: BTreeMap<String, LinkedFile> = distributions
            .map(|(name, Blob { sha256, size })| (name, LinkedFile { sha256, size }))
            .collect();
        let record = serde_json::to_vec(&files).context(Kind::Publish, failed)?;
        fs::write(whole.join(RECORD), record).context(Kind::Publish, failed)?;
        let place = self.path(digest, "");
        settle(staging.path(), &place).context(Kind::Publish, failed)?;
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

/// What is at `place`, if every file is there in full and nobody has written to it.
fn look(place: &Path) -> Option<LinkedWheelhouse> {
    let record = fs::read(place.join(RECORD)).ok()?;
    let files: BTreeMap<String, LinkedFile> = serde_json::from_slice(&record).ok()?;
    let directory = place.join(FILES);
    let is_whole = |(name, file): (&String, &LinkedFile)| {
        wheelhouse_store::is_unmodified(&directory.join(name), file.size)
    };
    let all = files.iter().all(is_whole);
    all.then_some(LinkedWheelhouse { directory, files })
}

/// Gives what was unpacked below `staging` its place, unless somebody else was quicker: others may be
/// reading what is there, so it stays unless it is damaged.
fn settle(staging: &Path, place: &Path) -> io::Result<()> {
    let lock = fs::File::create(place.with_file_name(LOCK))?;
    // Where there are no locks, only the replacing of a damaged image can go wrong.
    let _ = locks::acquire(lock.file(), LockMode::Exclusive, "the images of the cache")
        .map_err(io::Error::other)?;
    if look(place).is_some() {
        return Ok(());
    }
    match fs::rename(place, staging.join(DAMAGED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(staging.join(WHOLE), place)
}

fn linked(
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
        let whole = staging.path().join(WHOLE);
        fs::create_dir_all(whole.join(FILES)).unwrap();
        let wheel = whole.join(FILES).join("a.whl");
        fs::write(&wheel, "wheel").unwrap();
        let placed = i64::try_from(wheelhouse_store::STORE_MTIME.as_secs()).unwrap();
        filetime::set_file_mtime(&wheel, FileTime::from_unix_time(placed, 0)).unwrap();
        let (sha256, size) = (Sha256::of(b"wheel"), 5);
        let files = BTreeMap::from([("a.whl", LinkedFile { sha256, size })]);
        fs::write(whole.join(RECORD), serde_json::to_vec(&files).unwrap()).unwrap();
        staging
    }

    #[test]
    fn second_process_uses_existing_image_unless_corrupt() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("image");
        let wheel = place.join(FILES).join("a.whl");
        let settle_another = || {
            settle(staged(cache.path()).path(), &place).unwrap();
            fs::metadata(&wheel).unwrap().ino()
        };
        let first = settle_another();
        assert_eq!(settle_another(), first, "another process may be reading it");
        fs::write(&wheel, "whale").unwrap();
        assert_ne!(settle_another(), first);
        assert_eq!(fs::read_to_string(&wheel).unwrap(), "wheel");
        fs::remove_file(place.join(RECORD)).unwrap();
        settle_another();
        assert!(look(&place).is_some());
        let left = fs::read_dir(cache.path()).unwrap().count();
        assert_eq!(left, 2, "the image and the lock");
    }
}

//! Extracting: the wheelhouse of an image becomes a directory again.
//!
//! 1. The files are unpacked beside the directory, each digested, with the time by which it is known
//!    later that nobody has written to it.
//! 2. They are compared with the manifest among them; without one, every wheel is looked into.
//! 3. The directory is brought to the state of the set, as when it was built.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use fs_err as fs;
use tempfile::TempPath;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::image::blob::{Blob, BlobWriter};
use crate::image::contents::{self, LARGEST_MANIFEST};
use crate::layer_reader::{self, ContentSink, DEFAULT_PATH};
use crate::transport::SourceImage;
use wheelhouse_archive::tarball::TarEntry;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_publish::{DirectoryPublisher, FilePlacer, Published, WheelhouseContents};
use wheelhouse_store::STORE_MTIME;

/// The most that locks, metadata and index may have together, in bytes.
const LARGEST_REST: u64 = 32 << 20;

/// What was extracted.
#[derive(Clone, Debug)]
pub struct Extraction {
    /// The wheels and sdists.
    pub distributions: BTreeMap<String, Blob>,
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// Files of the image that its manifest does not list; they were left out.
    pub unlisted: Vec<String>,
    /// What the directory was found to hold.
    pub published: Published,
    /// Whether the image has a manifest to compare with.
    pub has_manifest: bool,
}

/// Extracts the wheelhouse at `path` of `image`, or where the image says that it is, into
/// `directory`.
///
/// # Errors
/// [`Kind::Fetch`] for an image that is not as it should be, [`Kind::Publish`] for a directory that
/// cannot be written.
pub fn extract(image: &SourceImage, path: Option<&str>, directory: &Path) -> Result<Extraction> {
    let staged = stage(image, path, directory)?;
    let files = staged.files.values();
    let mut extracted = Extraction {
        distributions: BTreeMap::new(),
        bytes: files.map(|file| file.blob.size).sum(),
        unlisted: Vec::new(),
        published: Published::default(),
        has_manifest: staged.files.contains_key(MANIFEST_NAME),
    };
    if extracted.has_manifest {
        publish(&staged, image, directory, &mut extracted)?;
    } else {
        extracted.distributions = move_plain(&staged, image, directory)?;
    }
    Ok(extracted)
}

/// Files beside their directory.
struct UnpackedWheelhouse {
    /// By the names that they have in the wheelhouse, several of which may stand for one file.
    files: BTreeMap<String, Arc<UnpackedFile>>,
    /// Removed when the files are.
    _directory: Scratch,
}

/// A file that was unpacked, and is removed again unless it is moved.
struct UnpackedFile {
    path: TempPath,
    blob: Blob,
}

fn stage(image: &SourceImage, path: Option<&str>, directory: &Path) -> Result<UnpackedWheelhouse> {
    let failed = || format!("failed to write {}", directory.display());
    let parent = directory
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).context(Kind::Publish, failed)?;
    let staging = Scratch::in_directory(parent).context(Kind::Publish, failed)?;
    let mut stager = UnpackSink {
        directory: staging.path(),
    };
    let labelled = layer_reader::labelled_path(&image.config);
    let path = path.or(labelled).unwrap_or(DEFAULT_PATH);
    let found = layer_reader::visit(image, path, 0, &mut stager)?;
    if found.files.is_empty() {
        return Err(nothing(image, path, &found.elsewhere));
    }
    let files = found.files.into_iter();
    Ok(UnpackedWheelhouse {
        files: files
            .filter_map(|(name, file)| Some((name, file.taken?)))
            .collect(),
        _directory: staging,
    })
}

pub(super) fn nothing(image: &SourceImage, path: &str, elsewhere: &BTreeSet<String>) -> Error {
    let message = format!("{} has no wheelhouse at /{path}", image.source.name());
    let error = Error::new(Kind::Fetch, message);
    if elsewhere.is_empty() {
        return error.with_hint("`extract` and `inspect` are told with --path where it is.");
    }
    let elsewhere: Vec<_> = elsewhere.iter().map(|path| format!("/{path}")).collect();
    let hint = format!(
        "It has wheels at {}, where `extract` and `inspect` look with --path.",
        elsewhere.join(", ")
    );
    error.with_hint(hint)
}

/// Unpacks files into a directory, whatever their names are.
struct UnpackSink<'a> {
    directory: &'a Path,
}

impl ContentSink for UnpackSink<'_> {
    type Output = UnpackedFile;

    const EAGER_BYTES: u64 = u64::MAX;

    fn wants(&self, _name: &str) -> bool {
        true
    }

    fn take(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<UnpackedFile> {
        let failed = || format!("`{name}` cannot be unpacked");
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(self.directory)
            .context(Kind::Publish, failed)?;
        let size = content.size();
        let mut writer = BlobWriter::new(file);
        io::copy(content, &mut writer).context(Kind::Fetch, failed)?;
        let (mut file, blob) = writer.finish();
        file.flush()
            .and_then(|()| file.as_file().set_modified(UNIX_EPOCH + STORE_MTIME))
            .context(Kind::Publish, failed)?;
        if blob.size != size {
            return Err(Error::new(Kind::Fetch, format!("`{name}` is cut short")));
        }
        let path = file.into_temp_path();
        Ok(UnpackedFile { path, blob })
    }
}

impl UnpackedFile {
    /// Moves the file to `destination`, or copies it if it has other names, too.
    fn put(self: &Arc<Self>, destination: &Path) -> io::Result<()> {
        if Arc::strong_count(self) == 1 {
            return fs::rename(&self.path, destination);
        }
        fs::copy(&self.path, destination)?;
        let copy = fs::File::options().write(true).open(destination)?;
        copy.set_modified(UNIX_EPOCH + STORE_MTIME)
    }
}

impl FilePlacer for UnpackedWheelhouse {
    /// Moves or copies a file there. What is wanted under several names is there under each of them,
    /// so the first that is left will do.
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        let mut files = self.files.values();
        let is_left = |file: &&Arc<UnpackedFile>| file.blob.sha256 == *sha256 && file.path.exists();
        let file = files.find(is_left).ok_or_else(|| {
            Error::new(
                Kind::Publish,
                format!("nothing with the digest {sha256} was unpacked"),
            )
        })?;
        file.put(destination).context(Kind::Publish, || {
            format!("failed to write {}", destination.display())
        })
    }
}

fn publish(
    staged: &UnpackedWheelhouse,
    image: &SourceImage,
    directory: &Path,
    extracted: &mut Extraction,
) -> Result<()> {
    let place = format!("the {MANIFEST_NAME} of {}", image.source.name());
    let bytes = read(staged, MANIFEST_NAME, LARGEST_MANIFEST)?;
    let manifest =
        contents::parse(&bytes, &place).context(Kind::Fetch, || format!("{place} is of no use"))?;
    let others = check(staged, &manifest, &place)?;
    let listed = |name: &String| {
        name == MANIFEST_NAME
            || others.contains_key(name)
            || manifest.distributions().any(|file| file.filename == name)
    };
    extracted.unlisted = staged
        .files
        .keys()
        .filter(|name| !listed(name))
        .cloned()
        .collect();
    extracted.distributions = manifest
        .distributions()
        .map(|file| (file.filename.to_owned(), staged.files[file.filename].blob))
        .collect();
    let published = DirectoryPublisher {
        directory: directory.to_owned(),
        // An image of somebody else says what is written.
        overwrite: false,
    }
    .publish(&WheelhouseContents {
        manifest,
        files: others,
        placer: staged,
    })?;
    extracted.published = published;
    Ok(())
}

/// Compares what was unpacked with the manifest, and reads the files beside the wheels.
fn check(
    staged: &UnpackedWheelhouse,
    manifest: &Manifest,
    place: &str,
) -> Result<BTreeMap<String, Vec<u8>>> {
    for file in manifest.distributions() {
        let expected = Blob {
            sha256: file.sha256,
            size: file.size,
        };
        match staged.files.get(file.filename) {
            Some(found) if found.blob == expected => {}
            found => {
                let what = found.map_or("which is not there", |_| "which has another digest");
                let message = format!("{place} lists `{}`, {what}", file.filename);
                return Err(Error::new(Kind::Fetch, message));
            }
        }
    }
    let mut left = LARGEST_REST;
    let mut others = BTreeMap::new();
    for name in &manifest.files {
        if !staged.files.contains_key(name) {
            let message = format!("{place} lists `{name}`, which is not there");
            return Err(Error::new(Kind::Fetch, message));
        }
        let bytes = read(staged, name, left)?;
        left -= bytes.len() as u64;
        others.insert(name.clone(), bytes);
    }
    Ok(others)
}

fn read(staged: &UnpackedWheelhouse, name: &str, most: u64) -> Result<Vec<u8>> {
    let file = &staged.files[name];
    if file.blob.size > most {
        let message = format!("`{name}` is larger than it may be");
        return Err(Error::new(Kind::Fetch, message));
    }
    fs::read(&file.path).context(Kind::Fetch, || format!("`{name}` cannot be read"))
}

/// Moves wheels that nothing describes into an empty directory.
fn move_plain(
    staged: &UnpackedWheelhouse,
    image: &SourceImage,
    directory: &Path,
) -> Result<BTreeMap<String, Blob>> {
    let wheels: BTreeMap<String, Blob> = staged
        .files
        .iter()
        .filter(|(name, _)| !name.contains('/') && layer_reader::is_wheel(name))
        .map(|(name, file)| (name.clone(), file.blob))
        .collect();
    if wheels.is_empty() {
        let message = format!("{} has files there, and no wheel", image.source.name());
        return Err(Error::new(Kind::Fetch, message));
    }
    for wheel in wheels.keys() {
        wheelhouse_archive::inspect(&staged.files[wheel].path, wheel)?;
    }
    let failed = || format!("failed to write {}", directory.display());
    fs::create_dir_all(directory).context(Kind::Publish, failed)?;
    if fs::read_dir(directory)
        .context(Kind::Publish, failed)?
        .next()
        .is_some()
    {
        let message = format!("`{}` is not empty", directory.display());
        let hint = "The image has no manifest to compare it with: name a new directory.";
        return Err(Error::new(Kind::Publish, message).with_hint(hint));
    }
    for (name, file) in &staged.files {
        let destination = directory.join(name);
        let parent = destination.parent().unwrap_or(directory);
        fs::create_dir_all(parent)
            .and_then(|()| file.put(&destination))
            .context(Kind::Publish, failed)?;
    }
    Ok(wheels)
}

//! Extraction of the wheelhouse of an image into a directory.
//!
//! 1. The files are unpacked next to the directory. Their digests are computed, and they get the modification time by which
//!    later writes are detected.
//! 2. The files are compared with the manifest among them. If there is no manifest, every wheel is inspected.
//! 3. The directory is published in the same way as after a build.

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
use wheelhouse_types::manifest::{MANIFEST_NAME, SIGNATURES_NAME};
use wheelhouse_types::{Error, Kind, Manifest, Result, Sha256};

use crate::image::blob::{Blob, BlobWriter};
use crate::image::contents::{self, MAX_MANIFEST_SIZE};
use crate::layer_reader::{self, ContentSink, DEFAULT_PATH};
use crate::transport::image_reader::SourceImage;
use wheelhouse_archive::tarball::TarEntry;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_publish::{DirectoryPublisher, FilePlacer, Published, WheelhouseContents};
use wheelhouse_store::STORE_MTIME;

/// The maximum total size of locks, metadata and index, in bytes.
const MAX_OTHER_FILES: u64 = 32 << 20;

/// The outcome of an extraction.
#[derive(Clone, Debug)]
pub struct Extraction {
    /// The wheels and sdists.
    pub distributions: BTreeMap<String, Blob>,
    /// The total size of all files, in bytes.
    pub bytes: u64,
    /// Files of the image that its manifest does not list and that were skipped.
    pub unlisted: Vec<String>,
    /// The changes in the directory.
    pub published: Published,
    /// Set if the image has a manifest to compare with.
    pub has_manifest: bool,
}

/// Extracts the wheelhouse of `image` into `directory`. The default of `path` is the path in the label of the image.
///
/// # Errors
/// [`Kind::Fetch`] if the image is invalid or incomplete, [`Kind::Publish`] if the directory cannot be written.
pub fn extract(image: &SourceImage, path: Option<&str>, directory: &Path) -> Result<Extraction> {
    let unpacked = unpack(image, path, directory)?;
    let files = unpacked.files.values();
    let mut extraction = Extraction {
        distributions: BTreeMap::new(),
        bytes: files.map(|file| file.blob.size).sum(),
        unlisted: Vec::new(),
        published: Published::default(),
        has_manifest: unpacked.files.contains_key(MANIFEST_NAME),
    };
    if extraction.has_manifest {
        publish(&unpacked, image, directory, &mut extraction)?;
    } else {
        extraction.distributions = move_unlisted(&unpacked, image, directory)?;
    }
    Ok(extraction)
}

/// Unpacked files in a temporary directory.
struct UnpackedWheelhouse {
    /// The files by their names in the wheelhouse. Several names may refer to one file.
    files: BTreeMap<String, Arc<UnpackedFile>>,
    /// Keeps the temporary directory until this is dropped.
    _directory: Scratch,
}

/// An unpacked file, which is removed on drop unless it was moved.
struct UnpackedFile {
    path: TempPath,
    blob: Blob,
}

fn unpack(image: &SourceImage, path: Option<&str>, directory: &Path) -> Result<UnpackedWheelhouse> {
    let failed = || format!("failed to write {}", directory.display());
    let parent = directory
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).context(Kind::Publish, failed)?;
    let staging = Scratch::in_directory(parent).context(Kind::Publish, failed)?;
    let mut sink = UnpackSink {
        directory: staging.path(),
    };
    let label = layer_reader::path_from_label(&image.config);
    let path = path.or(label).unwrap_or(DEFAULT_PATH);
    let found = layer_reader::read_directory(image, path, 0, &mut sink)?;
    if found.files.is_empty() {
        return Err(missing_wheelhouse(image, path, &found.other_directories));
    }
    let files = found.files.into_iter();
    Ok(UnpackedWheelhouse {
        files: files
            .filter_map(|(name, file)| Some((name, file.output?)))
            .collect(),
        _directory: staging,
    })
}

/// Creates the error of an image without a wheelhouse at `path`.
pub(super) fn missing_wheelhouse(
    image: &SourceImage,
    path: &str,
    other_directories: &BTreeSet<String>,
) -> Error {
    let message = format!("{} has no wheelhouse at /{path}", image.source.name());
    let error = Error::new(Kind::Fetch, message);
    if other_directories.is_empty() {
        return error
            .with_hint("Pass the path of the wheelhouse to `extract` or `inspect` with --path.");
    }
    let paths: Vec<_> = other_directories
        .iter()
        .map(|path| format!("/{path}"))
        .collect();
    let hint = format!(
        "Pass a path with wheels to `extract` or `inspect` with --path: {}.",
        paths.join(", ")
    );
    error.with_hint(hint)
}

/// Unpacks files into a directory under generated names.
struct UnpackSink<'a> {
    directory: &'a Path,
}

impl ContentSink for UnpackSink<'_> {
    type Output = UnpackedFile;

    const EAGER_BYTES: u64 = u64::MAX;

    fn wants(&self, _name: &str) -> bool {
        true
    }

    fn read(&mut self, name: &str, content: &mut TarEntry<'_>) -> Result<UnpackedFile> {
        let failed = || format!("failed to unpack `{name}`");
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
    /// Moves the file to `destination`, or copies it if it has other names.
    fn move_or_copy(self: &Arc<Self>, destination: &Path) -> io::Result<()> {
        if Arc::strong_count(self) == 1 {
            return fs::rename(&self.path, destination);
        }
        fs::copy(&self.path, destination)?;
        let copy = fs::File::options().write(true).open(destination)?;
        copy.set_modified(UNIX_EPOCH + STORE_MTIME)
    }
}

impl FilePlacer for UnpackedWheelhouse {
    /// Moves or copies any file with this digest that was not moved yet. A file with several names is listed under each of
    /// them, so one is left for every destination.
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        let mut files = self.files.values();
        let is_left = |file: &&Arc<UnpackedFile>| file.blob.sha256 == *sha256 && file.path.exists();
        let file = files.find(is_left).ok_or_else(|| {
            Error::new(
                Kind::Publish,
                format!("no unpacked file has the digest {sha256}"),
            )
        })?;
        file.move_or_copy(destination).context(Kind::Publish, || {
            format!("failed to write {}", destination.display())
        })
    }
}

fn publish(
    unpacked: &UnpackedWheelhouse,
    image: &SourceImage,
    directory: &Path,
    extraction: &mut Extraction,
) -> Result<()> {
    let place = format!("the {MANIFEST_NAME} of {}", image.source.name());
    let bytes = read_file(unpacked, MANIFEST_NAME, MAX_MANIFEST_SIZE)?;
    let manifest = contents::parse_manifest(&bytes, &place)
        .context(Kind::Fetch, || format!("failed to use {place}"))?;
    let others = check(unpacked, &manifest, &place)?;
    let listed = |name: &String| {
        [MANIFEST_NAME, SIGNATURES_NAME].contains(&name.as_str())
            || others.contains_key(name)
            || manifest.stored_files().any(|file| file.filename == name)
    };
    extraction.unlisted = unpacked
        .files
        .keys()
        .filter(|name| !listed(name))
        .cloned()
        .collect();
    extraction.distributions = manifest
        .distributions()
        .map(|file| (file.filename.to_owned(), unpacked.files[file.filename].blob))
        .collect();
    let published = DirectoryPublisher {
        directory: directory.to_owned(),
        // The image may be from an untrusted source.
        overwrite: false,
    }
    .publish(&WheelhouseContents {
        has_index: false,
        manifest,
        files: others,
        placer: unpacked,
    })?;
    extraction.published = published;
    if unpacked.files.contains_key(SIGNATURES_NAME) {
        let bytes = read_file(unpacked, SIGNATURES_NAME, MAX_OTHER_FILES)?;
        wheelhouse_publish::write_file(&directory.join(SIGNATURES_NAME), &bytes, 0o666)?;
    }
    Ok(())
}

/// Compares the unpacked files with the manifest, and reads those without a digest there.
fn check(
    unpacked: &UnpackedWheelhouse,
    manifest: &Manifest,
    place: &str,
) -> Result<BTreeMap<String, Vec<u8>>> {
    for file in manifest.stored_files() {
        let expected = Blob {
            sha256: file.sha256,
            size: file.size,
        };
        match unpacked.files.get(file.filename) {
            Some(found) if found.blob == expected => {}
            found => {
                let what = found.map_or("which is missing", |_| "which has another digest");
                let message = format!("{place} lists `{}`, {what}", file.filename);
                return Err(Error::new(Kind::Fetch, message));
            }
        }
    }
    let mut bytes_left = MAX_OTHER_FILES;
    let mut others = BTreeMap::new();
    for name in &manifest.files {
        if !unpacked.files.contains_key(name) {
            let message = format!("{place} lists `{name}`, which is missing");
            return Err(Error::new(Kind::Fetch, message));
        }
        let bytes = read_file(unpacked, name, bytes_left)?;
        bytes_left -= bytes.len() as u64;
        others.insert(name.clone(), bytes);
    }
    Ok(others)
}

fn read_file(unpacked: &UnpackedWheelhouse, name: &str, limit: u64) -> Result<Vec<u8>> {
    let file = &unpacked.files[name];
    if file.blob.size > limit {
        let message = format!("`{name}` is too large");
        return Err(Error::new(Kind::Fetch, message));
    }
    fs::read(&file.path).context(Kind::Fetch, || format!("failed to read `{name}`"))
}

/// Moves files without a manifest into an empty directory.
fn move_unlisted(
    unpacked: &UnpackedWheelhouse,
    image: &SourceImage,
    directory: &Path,
) -> Result<BTreeMap<String, Blob>> {
    let wheels: BTreeMap<String, Blob> = unpacked
        .files
        .iter()
        .filter(|(name, _)| !name.contains('/') && layer_reader::is_wheel(name))
        .map(|(name, file)| (name.clone(), file.blob))
        .collect();
    if wheels.is_empty() {
        let message = format!(
            "the directory in {} contains no wheels",
            image.source.name()
        );
        return Err(Error::new(Kind::Fetch, message));
    }
    for wheel in wheels.keys() {
        wheelhouse_archive::inspect(&unpacked.files[wheel].path, wheel)?;
    }
    let failed = || format!("failed to write {}", directory.display());
    fs::create_dir_all(directory).context(Kind::Publish, failed)?;
    if fs::read_dir(directory)
        .context(Kind::Publish, failed)?
        .next()
        .is_some()
    {
        let message = format!("`{}` is not empty", directory.display());
        let hint =
            "Pass a new directory, because the image has no manifest to compare the files with.";
        return Err(Error::new(Kind::Publish, message).with_hint(hint));
    }
    for (name, file) in &unpacked.files {
        let destination = directory.join(name);
        let parent = destination.parent().unwrap_or(directory);
        fs::create_dir_all(parent)
            .and_then(|()| file.move_or_copy(&destination))
            .context(Kind::Publish, failed)?;
    }
    Ok(wheels)
}

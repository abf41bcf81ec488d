//! Images among the `--find-links` places, once they lie in directories of this machine.
//!
//! Responsible for telling which file of which image a path is, and back. Never brings an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Hashes, Sha256};

/// An image whose wheelhouse was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedImage {
    /// The name as skopeo writes it; by digest for an image of a registry, so that the name goes on
    /// to stand for the same.
    pub name: String,
    /// The digest of the manifest or index that the name stood for, `sha256:HEX`.
    pub digest: String,
    /// A wheelhouse for each architecture that is wanted.
    pub wheelhouses: Vec<LinkedWheelhouse>,
}

/// The wheelhouse of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedWheelhouse {
    /// Absolute.
    pub directory: PathBuf,
    /// The distributions in it, by their names.
    pub files: BTreeMap<String, LinkedFile>,
}

/// The facts recorded about a file when it was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedFile {
    /// The digest of the file.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

/// Finds the image of which the file at `path` is one, and what is known of it.
#[must_use]
pub fn at<'a>(images: &'a [LinkedImage], path: &Path) -> Option<(&'a LinkedImage, LinkedFile)> {
    let (directory, name) = (path.parent()?, path.file_name()?.to_str()?);
    images.iter().find_map(|image| {
        let mut wheelhouses = image.wheelhouses.iter();
        let wheelhouse = wheelhouses.find(|wheelhouse| wheelhouse.directory == directory)?;
        Some((image, *wheelhouse.files.get(name)?))
    })
}

/// Finds where the file `filename` of the image `name` lies: the one that `hashes` describe, where
/// the architectures have different ones under that name.
#[must_use]
pub fn path_of(
    images: &[LinkedImage],
    name: &str,
    filename: &str,
    hashes: &Hashes,
) -> Option<PathBuf> {
    let wanted = hashes.sha256();
    let of_name = images.iter().filter(|image| image.name == name);
    let mut wheelhouses = of_name.flat_map(|image| &image.wheelhouses);
    let found = wheelhouses.find(|wheelhouse| {
        let found = wheelhouse.files.get(filename);
        found.is_some_and(|file| wanted.is_none_or(|wanted| wanted == file.sha256))
    })?;
    Some(found.directory.join(filename))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheelhouse(directory: &str, content: &[u8]) -> LinkedWheelhouse {
        let file = LinkedFile {
            sha256: Sha256::of(content),
            size: content.len() as u64,
        };
        LinkedWheelhouse {
            directory: directory.into(),
            files: BTreeMap::from([("a.whl".to_owned(), file)]),
        }
    }

    #[test]
    fn maps_files_to_images_and_back() {
        let images = [LinkedImage {
            name: "oci:/wheels:1".to_owned(),
            digest: "sha256:00".to_owned(),
            wheelhouses: vec![wheelhouse("/one", b"one"), wheelhouse("/two", b"two!")],
        }];
        let (image, file) = at(&images, Path::new("/two/a.whl")).unwrap();
        assert_eq!((image.name.as_str(), file.size), ("oci:/wheels:1", 4));
        assert_eq!(at(&images, Path::new("/two/b.whl")), None);
        assert_eq!(at(&images, Path::new("/three/a.whl")), None);
        let path = |content: &[u8]| {
            let hashes = Hashes::sha256_only(Sha256::of(content));
            path_of(&images, "oci:/wheels:1", "a.whl", &hashes)
        };
        assert_eq!(path(b"two!"), Some("/two/a.whl".into()));
        assert_eq!(path(b"three"), None);
        let any = path_of(&images, "oci:/wheels:1", "a.whl", &Hashes::default());
        assert_eq!(any, Some("/one/a.whl".into()));
    }
}

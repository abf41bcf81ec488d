//! Reads the facts of a wheelhouse from its directory, with the manifest or without one.

use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use jiff::Timestamp;
use tracing::debug;
use wheelhouse_archive::{metadata, safe_path, strip_sdist_suffix};
use wheelhouse_publish::IndexedWheel;
use wheelhouse_publish::simple_index::{indexed_files, metadata_name};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, PREVIOUS_NAME};
use wheelhouse_types::{
    Error, Kind, Listing, Manifest, PackageName, Result, Sha256, Version, WheelFilename, limits,
};

use crate::facts::{SiteFile, WheelhouseFacts};

/// Reads the wheelhouse in `directory`, whose title is `name`. With a manifest, only the files that it names are listed, and
/// not compared with it; without one, all wheels and sdists are read.
///
/// # Errors
/// [`Kind::Input`] if the directory or its manifest cannot be read.
pub fn read_directory(directory: &Path, name: &str) -> Result<WheelhouseFacts> {
    let path = directory.join(MANIFEST_NAME);
    if !path.exists() {
        return Ok(WheelhouseFacts {
            name: name.to_owned(),
            files: scan(directory)?,
            ..WheelhouseFacts::default()
        });
    }
    let failed = || format!("failed to read {}", path.display());
    let bytes = wheelhouse_fs::input::read(&path).context(Kind::Input, failed)?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|error| Error::new(Kind::Input, format!("{} {error}", path.display())))?;
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
    Ok(WheelhouseFacts {
        name: name.to_owned(),
        made: modified
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok()),
        files: listed(directory, &manifest),
        previous: wheelhouse_fs::input::read_regular(&directory.join(PREVIOUS_NAME))
            .ok()
            .and_then(|bytes| Manifest::parse(&bytes).ok()),
        manifest: Some(manifest),
        ..WheelhouseFacts::default()
    })
}

/// Returns the files of `manifest`, without those whose names or versions are not valid.
fn listed(directory: &Path, manifest: &Manifest) -> Vec<SiteFile> {
    let files = indexed_files(manifest, |_| None).into_iter();
    files
        .map(|mut indexed| {
            let metadata = wheel_metadata(directory, &indexed.filename);
            indexed.metadata = metadata.as_deref().map(Sha256::of);
            SiteFile { indexed, metadata }
        })
        .collect()
}

/// Returns the bytes of the file `FILENAME.metadata`, or of `METADATA` in the wheel; `None` for an sdist.
fn wheel_metadata(directory: &Path, filename: &str) -> Option<Arc<[u8]>> {
    if strip_sdist_suffix(filename).is_some() {
        return None;
    }
    // The name comes from the manifest.
    if safe_path::components(filename).ok()? != [filename] {
        return None;
    }
    if let Some(name) = metadata_name(filename)
        && let Ok(bytes) = wheelhouse_fs::input::read_regular(&directory.join(name))
        && bytes.len() as u64 <= limits::METADATA
    {
        return Some(bytes.into());
    }
    wheelhouse_archive::inspect(&directory.join(filename), filename)
        .inspect_err(|error| debug!(filename, %error, "failed to read the metadata"))
        .ok()
        .map(|inspection| inspection.metadata.into())
}

/// Returns the wheels and sdists in `directory`.
fn scan(directory: &Path) -> Result<Vec<SiteFile>> {
    let failed = || format!("failed to read {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context(Kind::Input, failed)? {
        let entry = entry.context(Kind::Input, failed)?;
        let Ok(filename) = entry.file_name().into_string() else {
            continue;
        };
        let Some((name, version)) = name_and_version(&filename) else {
            continue;
        };
        wheelhouse_fs::interruption::check()?;
        let Ok(mut file) = wheelhouse_fs::input::open(&entry.path()) else {
            continue;
        };
        let (sha256, size) = wheelhouse_fs::digest::sha256(&mut file)
            .context(Kind::Input, || format!("failed to read {filename}"))?;
        let metadata = wheel_metadata(directory, &filename);
        let requires_python = metadata
            .as_deref()
            .and_then(|bytes| metadata::value(&String::from_utf8_lossy(bytes), "Requires-Python"));
        files.push(SiteFile {
            indexed: IndexedWheel {
                filename,
                name,
                version,
                sha256,
                size,
                requires_python,
                metadata: metadata.as_deref().map(Sha256::of),
                listing: Listing::default(),
            },
            metadata,
        });
    }
    Ok(files)
}

/// Returns the parts of the name of a wheel or an sdist; `None` for other files.
fn name_and_version(filename: &str) -> Option<(PackageName, Version)> {
    if let Some(stem) = strip_sdist_suffix(filename) {
        let (name, version) = stem.rsplit_once('-')?;
        return Some((name.parse().ok()?, version.parse().ok()?));
    }
    let wheel: WheelFilename = filename.parse().ok()?;
    Some((wheel.name, wheel.version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wheelhouse_archive::testing::{METADATA, WHEEL_NAME, WheelSample};

    use super::*;

    fn manifest(filename: &str) -> String {
        json!({
            "schema": "wheelhouse-manifest/1", "generator": "wheelhouse 1", "targets": [], "requirements": [],
            "request": "", "files": [], "wheels": [{
                "filename": filename, "name": "example", "version": "1.0", "sha256": "a".repeat(64), "size": 1,
                "origin": {"kind": "direct"}, "source": "x",
            }],
        })
        .to_string()
    }

    #[test]
    fn directory_without_manifest_is_scanned() {
        let directory = tempfile::tempdir().unwrap();
        let wheel = WheelSample::new().bytes();
        fs::write(directory.path().join(WHEEL_NAME), &wheel).unwrap();
        fs::write(directory.path().join("other-2.0.tar.gz"), "x").unwrap();
        fs::write(directory.path().join("notes.txt"), "x").unwrap();
        fs::write(directory.path().join("broken-1.0-py3-none-any.whl"), "x").unwrap();
        let mut facts = read_directory(directory.path(), "set").unwrap();
        facts
            .files
            .sort_by(|one, other| one.indexed.name.cmp(&other.indexed.name));
        let found: Vec<_> = facts
            .files
            .iter()
            .map(|file| (file.indexed.name.as_ref(), file.metadata.is_some()))
            .collect();
        assert_eq!(
            found,
            [("broken", false), ("example", true), ("other", false)]
        );
        let example = &facts.files[1].indexed;
        assert_eq!(example.sha256, Sha256::of(&wheel));
        assert_eq!(example.requires_python.as_deref(), Some(">=3.8"));
        assert!(facts.manifest.is_none());
    }

    #[test]
    fn metadata_file_is_preferred_to_the_wheel() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(MANIFEST_NAME), manifest(WHEEL_NAME)).unwrap();
        let metadata = || {
            let facts = read_directory(directory.path(), "set").unwrap();
            facts.files[0].metadata.clone()
        };
        assert_eq!(metadata(), None);
        let wheel = WheelSample::new().bytes();
        fs::write(directory.path().join(WHEEL_NAME), wheel).unwrap();
        assert_eq!(metadata().as_deref(), Some(METADATA.as_bytes()));
        let name = metadata_name(WHEEL_NAME).unwrap();
        fs::write(directory.path().join(name), "Name: example\n").unwrap();
        assert_eq!(metadata().as_deref(), Some(b"Name: example\n".as_slice()));
    }

    #[test]
    fn manifest_does_not_lead_out_of_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("set");
        fs::create_dir(&directory).unwrap();
        fs::write(parent.path().join("secret.metadata"), "Summary: secret\n").unwrap();
        fs::write(directory.join(MANIFEST_NAME), manifest("../secret")).unwrap();
        let facts = read_directory(&directory, "set").unwrap();
        assert!(facts.files.iter().all(|file| file.metadata.is_none()));
    }

    #[test]
    fn damaged_manifest_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(MANIFEST_NAME), "{").unwrap();
        let error = read_directory(directory.path(), "set").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
    }
}

//! Finds files in the store, and checks that they are the ones that are required.

use std::str::FromStr as _;

use tracing::debug;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Event, Kind, Observer, Result, WheelFilename,
};

use super::super::wheel_metadata::CoreMetadata;
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Lookup, Store, StoredFile};

const MAY_BE_SHARED: &str =
    "Verify the wheelhouses that were made with this cache: they may share the file.";

/// Returns the file of `artifact` if the index publishes its SHA-256, the store has it, and it has one
/// of the `required_hashes`, if there are any. Warns if the file is corrupt.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::pipeline) fn find_artifact(
    store: &Store,
    observer: &dyn Observer,
    artifact: &Artifact,
    required_hashes: &[String],
) -> Result<Option<StoredFile>> {
    let Some(sha256) = artifact.hashes.sha256() else {
        return Ok(None);
    };
    let stored = match store.find(&sha256)? {
        Lookup::Hit(stored) => {
            has_required_hash(&stored, artifact, required_hashes)?.then_some(stored)
        }
        Lookup::Miss => None,
        Lookup::Corrupt(_) => {
            warn_corrupt(observer, artifact);
            None
        }
    };
    let filename = &artifact.filename;
    debug!(
        filename,
        hit = stored.is_some(),
        "looked up a file in the cache"
    );
    Ok(stored)
}

/// Returns the metadata that the store has saved for the wheel `artifact`, if it has the wheel as well. The wheel is not
/// digested: the resolver does not wait for the digest of a wheel that may not become part of the lock.
pub(super) fn saved_metadata(
    store: &Store,
    artifact: &Artifact,
    required_hashes: &[String],
) -> Option<Vec<u8>> {
    let sha256 = artifact.hashes.sha256()?;
    let is_accepted =
        required_hashes.is_empty() || required_hashes.contains(&format!("sha256:{sha256}"));
    if !is_accepted || !store.has_entry(&sha256) {
        return None;
    }
    store.metadata(&sha256)
}

/// Returns whether `stored`, the file of `artifact`, has one of the required hashes. Digests other than
/// SHA-256 are computed from the file: those that an index publishes may be wrong.
fn has_required_hash(
    stored: &StoredFile,
    artifact: &Artifact,
    required_hashes: &[String],
) -> Result<bool> {
    let sha256 = format!("sha256:{}", stored.sha256);
    if required_hashes.is_empty() || required_hashes.contains(&sha256) {
        return Ok(true);
    }
    let failed = || format!("failed to read {} in the store", artifact.filename);
    let mut file = fs_err::File::open(&stored.path).context(Kind::Fetch, failed)?;
    let expected = ExpectedFile::any(&artifact.filename).required(required_hashes);
    expected.is_met_by(&mut file).context(Kind::Fetch, failed)
}

/// Returns whether the metadata that the store keeps for `stored` is that of `distribution`: an index
/// may list the same bytes under any name.
pub(in crate::pipeline) fn is_wheel_of(
    store: &Store,
    stored: &StoredFile,
    distribution: &Distribution,
) -> bool {
    let Some(metadata) = store.metadata(&stored.sha256) else {
        return false;
    };
    is_metadata_of(&metadata, distribution)
}

fn is_metadata_of(metadata: &[u8], distribution: &Distribution) -> bool {
    let metadata = String::from_utf8_lossy(metadata);
    let value = |field| wheelhouse_archive::metadata::value(&metadata, field).unwrap_or_default();
    let version = distribution.version.as_ref();
    value("Name").parse().as_ref() == Ok(&distribution.name)
        && version.is_none_or(|version| value("Version").parse().as_ref() == Ok(version))
}

/// Returns the wheel that was built under `key` with the `required` protections. Warns if it is corrupt, or if its record names the wheel of
/// another package: records have no digest of their own, and may name any file of the store.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::pipeline) fn find_built_wheel(
    store: &Store,
    observer: &dyn Observer,
    key: &BuildKey,
    distribution: &Distribution,
    required: &[Protection],
) -> Result<Option<(BuildRecord, StoredFile)>> {
    let (built, stored) = match store.find_built(key)? {
        Lookup::Hit((built, _))
            if !required.iter().all(|one| built.protections().contains(one)) =>
        {
            debug!(%distribution, "the cached wheel was built with less of a sandbox");
            return Ok(None);
        }
        Lookup::Hit(found) => found,
        Lookup::Miss => {
            debug!(%distribution, hit = false, "looked up a built wheel in the cache");
            return Ok(None);
        }
        Lookup::Corrupt(_) => {
            observer.observe(&Event::Warning {
                message: format!(
                    "the cached wheel of {distribution} is corrupt and is built again"
                ),
                hint: Some(MAY_BE_SHARED.to_owned()),
            });
            return Ok(None);
        }
    };
    let filename = WheelFilename::from_str(&built.filename);
    let version = distribution.version.as_ref();
    let has_name = filename.is_ok_and(|filename| {
        filename.name == distribution.name && version.is_none_or(|it| *it == filename.version)
    });
    if has_name
        && CoreMetadata::read(store, &stored, &built.filename)
            .is_ok_and(|metadata| is_metadata_of(&metadata.bytes, distribution))
    {
        debug!(%distribution, hit = true, filename = built.filename, "looked up a built wheel in the cache");
        return Ok(Some((built, stored)));
    }
    observer.observe(&Event::warning(format!(
        "the record of the cached wheel of {distribution} names {}; the wheel is built again",
        built.filename
    )));
    store.remove_build_record(key);
    Ok(None)
}

/// Warns that the cached file of `artifact` is corrupt.
pub(in crate::pipeline) fn warn_corrupt(observer: &dyn Observer, artifact: &Artifact) {
    let action = match artifact.location {
        ArtifactLocation::Url(_) => "downloaded",
        ArtifactLocation::Path(_) | ArtifactLocation::Image { .. } => "copied",
    };
    observer.observe(&Event::Warning {
        message: format!(
            "the cached copy of {} is corrupt and is {action} again",
            artifact.filename
        ),
        hint: Some(MAY_BE_SHARED.to_owned()),
    });
}

//! Takes the wheels of builds from the shared caches, and writes them there.

use std::rc::Rc;
use std::str::FromStr as _;

use tracing::debug;
use wheelhouse_archive::Limits;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{BuildKey, BuildRecord, ExpectedFile, Store, StoredFile};
use wheelhouse_types::target::glibc_of_wheel;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Event, PackageName, Result, Version, WheelFilename,
};

use super::super::context::RunContext;
use super::local::LocalWorker;

impl LocalWorker {
    /// Returns the wheel that another machine has built from the inputs `key`, after it was copied into the store and
    /// checked.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) async fn find_shared(
        self: &Rc<Self>,
        key: &BuildKey,
        distribution: &Distribution,
    ) -> Result<Option<(BuildRecord, StoredFile)>> {
        let context = &self.context;
        let Some(shared_key) = context.shared_key(key, distribution).await else {
            return Ok(None);
        };
        let Some(build) = context.shared.find(&shared_key).await else {
            return Ok(None);
        };
        if !is_acceptable(context, &build.record, distribution) {
            return Ok(None);
        }
        let Some(stored) = context.shared.fetch(&build, &context.store).await else {
            return Ok(None);
        };
        let (store, file) = (context.store.clone(), stored.clone());
        let filename = build.record.filename.clone();
        let (name, version) = (distribution.name.clone(), distribution.version.clone());
        let checking = blocking(move || check(&store, &file, &filename, &name, version.as_ref()));
        let mut record = build.record.clone();
        record.key = Some(*key);
        match checking.await {
            Ok(glibc) => record.glibc = glibc,
            Err(error) => {
                context.shared.report_wrong(&build, &error.display_chain());
                return Ok(None);
            }
        }
        if !is_acceptable(context, &record, distribution) {
            return Ok(None);
        }
        context.store.save_build_record(key, &record)?;
        context.observer.observe(&Event::WheelCopied {
            package: distribution.to_string(),
            filename: record.filename.clone(),
            bytes: record.size,
            location: build.location,
        });
        Ok(Some((record, stored)))
    }

    /// Writes a finished build to the shared cache, in the background.
    pub(super) async fn share(
        &self,
        key: &BuildKey,
        distribution: &Distribution,
        (record, stored): &(BuildRecord, StoredFile),
    ) {
        let context = &self.context;
        if let Some(shared_key) = context.shared_key(key, distribution).await {
            context.shared.save(shared_key, record, stored);
        }
    }

    /// Returns the file of `artifact` from a shared cache, if downloaded files are shared and its SHA-256 is known.
    pub(super) async fn shared_file(
        &self,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> Option<StoredFile> {
        let context = &self.context;
        if !context.shared.shares_fetched()
            || !matches!(artifact.location, ArtifactLocation::Url(_))
        {
            return None;
        }
        let expected = ExpectedFile::any(&artifact.filename)
            .published(&artifact.hashes)
            .required(&distribution.required_hashes)
            .size(artifact.size);
        let (hashes, size) = (&artifact.hashes, artifact.size);
        let file = context.shared.file(expected, hashes, size, &context.store);
        let stored = file.await?;
        self.note_received(stored.size);
        Some(stored)
    }
}

/// Returns whether the wheel of `record` can be used for `distribution` on this machine, as far as the record says.
pub(in crate::pipeline) fn is_acceptable(
    context: &RunContext,
    record: &BuildRecord,
    distribution: &Distribution,
) -> bool {
    let version = distribution.version.as_ref();
    let has_name = WheelFilename::from_str(&record.filename).is_ok_and(|filename| {
        filename.name == distribution.name && version.is_none_or(|it| *it == filename.version)
    });
    let building = &context.request.building;
    let required = building.required_protections(&distribution.name);
    let is_protected = required
        .iter()
        .all(|one| record.protections().contains(one));
    let needed = glibc_of_wheel(&record.filename).max(record.glibc);
    let is_new_enough = needed <= context.host_glibc() || context.host_glibc().is_none();
    debug!(%distribution, has_name, is_protected, is_new_enough, "judged a shared build");
    has_name && is_protected && is_new_enough
}

/// Checks the wheel `stored` as one that was built here. Returns the newest version of glibc that its binaries need.
fn check(
    store: &Store,
    stored: &StoredFile,
    filename: &str,
    name: &PackageName,
    version: Option<&Version>,
) -> Result<Option<(u16, u16)>> {
    let inspection = wheelhouse_archive::inspect(&stored.path, filename)?;
    if inspection.name != *name || version.is_some_and(|version| *version != inspection.version) {
        let message = format!(
            "it is a wheel of {} {}",
            inspection.name, inspection.version
        );
        return Err(wheelhouse_types::Error::new(
            wheelhouse_types::Kind::Fetch,
            message,
        ));
    }
    store.save_metadata(&stored.sha256, &inspection.metadata);
    wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())
}

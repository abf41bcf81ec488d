//! Gets published wheels: from the store if it has them, or else by download, with an inspection.

use std::path::Path;
use std::rc::Rc;

use wheelhouse_archive::Limits;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::StoredFile;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Event, Kind, Outcome, Result,
};

use super::artifact::WheelArtifact;
use super::cache::is_wheel_of;
use super::local::LocalWorker;

impl LocalWorker {
    /// Gets the wheel `artifact` of `distribution`.
    ///
    /// # Errors
    /// When it cannot be downloaded, is damaged, or is the wheel of another package.
    pub(super) async fn get_wheel(
        self: &Rc<Self>,
        distribution: &Distribution,
        artifact: &Artifact,
    ) -> Result<WheelArtifact> {
        let found = self.find(artifact, &distribution.required_hashes).await?;
        let (stored, outcome) = match found {
            Some(stored) => (stored, Outcome::Reused),
            None => (self.file(distribution, artifact).await?, Outcome::Fetched),
        };
        if outcome == Outcome::Fetched || !is_wheel_of(&self.context.store, &stored, distribution) {
            self.inspect(&stored, artifact, distribution).await?;
        }
        Ok(WheelArtifact {
            stored,
            filename: artifact.filename.clone(),
            outcome,
            built: None,
            sdist: None,
        })
    }

    /// Inspects a wheel that was not built here. A local wheel, or one with a published digest, may have the
    /// irregularities that pip ignores. Without a published digest all files are compared with `RECORD`.
    async fn inspect(
        &self,
        stored: &StoredFile,
        artifact: &Artifact,
        distribution: &Distribution,
    ) -> Result<()> {
        let (store, stored) = (self.context.store.clone(), stored.clone());
        let filename = artifact.filename.clone();
        let has_digest = !artifact.hashes.is_empty() || !distribution.required_hashes.is_empty();
        let inspection = blocking(move || {
            let inspection = wheelhouse_archive::inspect(&stored.path, &filename)?;
            if !has_digest {
                check_contents(&stored.path, &filename)?;
            }
            store.save_metadata(&stored.sha256, &inspection.metadata);
            Ok(inspection)
        })
        .await?;
        if inspection.name != distribution.name {
            let message = format!(
                "{} is a wheel of {}, not of {}",
                artifact.filename, inspection.name, distribution.name
            );
            return Err(Error::new(Kind::Fetch, message));
        }
        if let Some(irregularity) = inspection.irregularities.first() {
            let message = format!("{}: {irregularity}", artifact.filename);
            let is_local = matches!(artifact.location, ArtifactLocation::Path(_));
            if !is_local && !has_digest {
                return Err(Error::new(Kind::Fetch, message).with_hint(
                    "The index publishes no digest of this wheel. Pass its digest with --hash to accept it.",
                ));
            }
            self.context.observer.observe(&Event::warning(message));
        }
        Ok(())
    }
}

/// Checks that the files in the wheel at `path` have the digests that its `RECORD` and the archive state.
fn check_contents(path: &Path, filename: &str) -> Result<()> {
    let differences = wheelhouse_archive::verify_contents(path, filename, &Limits::default())?;
    let damage = differences
        .iter()
        .find(|difference| difference.is_corruption());
    match damage {
        None => Ok(()),
        Some(damage) => {
            let message = format!("{filename} is damaged: {damage}");
            Err(Error::new(Kind::Fetch, message).with_hint(
                "Download or build this wheel again, or pass its digest with --hash if it was published like this.",
            ))
        }
    }
}

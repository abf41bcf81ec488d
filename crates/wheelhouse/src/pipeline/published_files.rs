//! The parts of a published directory that builds and downloads have in common.

use std::collections::HashMap;
use std::path::Path;

use tracing::debug;
use wheelhouse_publish::{FilePlacer, Published, simple_index};
use wheelhouse_store::{BuildRecord, LinkMode, LinkOptions, Store, StoredFile};
use wheelhouse_types::manifest::Wheel;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::target::KERNEL_MARKERS;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Error, Event, Hashes, Kind, Listing, Observer, Result, Sha256,
    Source, Target, manifest,
};

/// Identifies this program in manifests.
pub(super) const GENERATOR: &str = concat!("wheelhouse ", env!("CARGO_PKG_VERSION"));

/// Returns the file `filename` as a lock in the directory `output` names it.
pub(super) fn lock_artifact(filename: &str, stored: &StoredFile, output: &Path) -> Artifact {
    Artifact {
        filename: filename.to_owned(),
        location: ArtifactLocation::Path(output.join(filename)),
        size: Some(stored.size),
        hashes: Hashes::sha256_only(stored.sha256),
        listing: Listing::default(),
        project_status: None,
        subdirectory: None,
    }
}

/// Returns the statements of the index about the wheel of `source`.
pub(super) fn wheel_listing(source: &Source, is_built: bool) -> Listing {
    let mut listing = source.listing();
    if is_built {
        // The attestations are those of the sdist.
        listing.provenance = None;
    }
    listing
}

/// Adds the digest of the received file to `source` if the index published none, because a lock names
/// a digest for every file.
pub(super) fn complete_hashes(source: &mut Source, sha256: Sha256) {
    let (Source::Wheel(artifact) | Source::Sdist(artifact)) = source else {
        return;
    };
    if artifact.hashes.sha256().is_none() {
        let sha256 = sha256.to_string();
        artifact.hashes.0.insert("sha256".to_owned(), sha256);
    }
}

/// Returns how a manifest describes the build of a wheel from the sdist with the digest `sdist`.
pub(super) fn manifest_build(built: &BuildRecord, sdist: Option<Sha256>) -> manifest::Built {
    manifest::Built {
        sdist: sdist.map(Hashes::sha256_only).unwrap_or_default(),
        python: built.python.clone(),
        requirements: built.requirements.clone(),
        inputs: built.inputs.clone().map(Box::new),
        sandbox: built.protections().to_vec(),
    }
}

/// Returns the name and the bytes of the file with the provenance of `wheel`, if it was built, and its build was recorded.
pub(super) fn provenance_file(
    wheel: &Wheel,
    built: Option<&BuildRecord>,
) -> Option<(String, Vec<u8>)> {
    let name = simple_index::provenance_name(&wheel.filename)?;
    let statement = wheelhouse_attest::statement(wheel, built?.run.as_ref()?)?;
    Some((name, mask(&format!("{statement:#}\n")).into_bytes()))
}

/// Returns `target` as a manifest records it: with the kernel only if a marker in the `requirements` or
/// in the `metadata` of a wheel depends on it, so that machines with other kernels get the same manifest.
pub(super) fn manifest_target<'a>(
    target: &Target,
    metadata: impl IntoIterator<Item = &'a [u8]>,
    requirements: &[String],
) -> Target {
    let names_kernel = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        KERNEL_MARKERS.iter().any(|marker| text.contains(marker))
    };
    let mut requirements = requirements.iter().map(String::as_bytes);
    if requirements.any(names_kernel) || metadata.into_iter().any(names_kernel) {
        target.clone()
    } else {
        target.without_kernel()
    }
}

/// Returns the error of two sources that have different files called `filename`.
pub(super) fn conflicting_files(filename: &str, one: &Source, other: &Source) -> Error {
    let message = format!("{filename} is a different file at {one} than at {other}");
    Error::new(Kind::Fetch, message)
        .with_hint("Use only one of the indexes, or add a hash to the requirement.")
}

/// Places wheels from the store.
pub(super) struct StorePlacer<'a> {
    store: &'a Store,
    mode: LinkMode,
    files: HashMap<Sha256, &'a StoredFile>,
}

impl<'a> StorePlacer<'a> {
    pub(super) fn new(
        store: &'a Store,
        mode: LinkMode,
        files: impl Iterator<Item = &'a StoredFile>,
    ) -> Self {
        Self {
            store,
            mode,
            files: files.map(|stored| (stored.sha256, stored)).collect(),
        }
    }
}

impl FilePlacer for StorePlacer<'_> {
    fn place(&self, sha256: &Sha256, destination: &Path) -> Result<()> {
        debug!(%sha256, destination = %destination.display(), "placing a file");
        let options = LinkOptions {
            mode: self.mode,
            linked_before: false,
        };
        self.store.link(self.files[sha256], destination, options)?;
        Ok(())
    }
}

/// Reports the files that publishing removed, replaced or left alone.
pub(super) fn report_published(observer: &dyn Observer, output: &Path, published: &Published) {
    let output = output.display();
    let files = published.removed_distributions();
    if !files.is_empty() {
        observer.observe(&Event::Removed {
            directory: output.to_string(),
            files,
        });
    }
    let exceptions = [
        (
            &published.modified_since,
            "was replaced since an earlier run and is left alone",
        ),
        (
            &published.overwritten,
            "had the name of a file of the wheelhouse and was replaced",
        ),
    ];
    for (names, what) in exceptions {
        for name in names {
            observer.observe(&Event::warning(format!("{output}/{name} {what}")));
        }
    }
    for warning in &published.warnings {
        observer.observe(&Event::warning(warning));
    }
}

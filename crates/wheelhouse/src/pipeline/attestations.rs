//! Fetches the attestations of files of a wheelhouse, which are published beside them.
//!
//! An index offers them as a provenance object (PEP 740). The object that the output has already is kept if it is about the
//! same file.

use std::collections::BTreeMap;
use std::path::Path;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tracing::{debug, instrument};
use url::Url;
use wheelhouse_attest::Provenance;
use wheelhouse_engine::{RemoteFileKind, RemoteFiles};
use wheelhouse_fs::input;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_publish::simple_index;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::MANIFEST_NAME;
use wheelhouse_types::{Artifact, Error, Kind, Manifest, Result, Sha256};

use super::context::RunContext;

/// The number of concurrent requests.
const REQUESTS: usize = 16;

/// Provenance objects, by the names of the files that have them.
pub(super) type ProvenanceObjects = BTreeMap<String, Vec<u8>>;

/// A file whose index offers attestations.
pub(super) struct AttestedFile {
    filename: String,
    sha256: Sha256,
    /// The URL of the provenance object.
    url: String,
}

impl AttestedFile {
    /// Returns the file of `artifact` with the digest `sha256`, if its index offers attestations.
    pub(super) fn new(artifact: &Artifact, sha256: Sha256) -> Option<Self> {
        Some(Self {
            filename: artifact.filename.clone(),
            sha256,
            url: artifact.listing.provenance.clone()?,
        })
    }
}

/// Returns the provenance objects of `files`.
///
/// # Errors
/// When an object is neither in the output nor can be fetched, or has no attestations.
#[instrument(skip_all, fields(files = files.len()))]
pub(super) async fn fetch(
    context: &RunContext,
    files: Vec<AttestedFile>,
) -> Result<ProvenanceObjects> {
    let output = context.output.clone();
    let (mut objects, missing) = blocking(move || Ok(kept(&output, files))).await?;
    debug!(
        kept = objects.len(),
        missing = missing.len(),
        "looked up attestations"
    );
    let (network, indexes) = (&context.request.network, &context.request.indexes);
    let kind = RemoteFileKind::Provenance;
    let remote = &RemoteFiles::new(kind, network.clone(), indexes.urls.clone());
    let fetching = missing.into_iter().map(async |(name, file)| {
        let failed = || format!("failed to fetch the attestations of {}", file.filename);
        let url: Url = file.url.parse().context(Kind::Fetch, failed)?;
        let bytes = remote.read(&url).await.context(Kind::Fetch, failed)?;
        match Provenance::parse(&bytes) {
            Ok(_) => Ok((name, bytes)),
            Err(error) => Err(Error::new(Kind::Fetch, failed()).caused_by(error)),
        }
    });
    let fetched: Vec<_> = stream::iter(fetching)
        .buffer_unordered(REQUESTS)
        .try_collect()
        .await?;
    objects.extend(fetched);
    Ok(objects)
}

/// Returns the objects of `files` that `output` has, and the files without, each with the name of the object.
fn kept(
    output: &Path,
    files: Vec<AttestedFile>,
) -> (ProvenanceObjects, Vec<(String, AttestedFile)>) {
    let manifest = input::read_regular(&output.join(MANIFEST_NAME)).ok();
    let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
    let (mut objects, mut missing) = (BTreeMap::new(), Vec::new());
    for file in files {
        let Some(name) = simple_index::attestations_name(&file.filename) else {
            continue;
        };
        let is_known = manifest.as_ref().is_some_and(|manifest| {
            let mut stored = manifest.distributions();
            manifest.files.contains(&name)
                && stored
                    .any(|stored| stored.filename == file.filename && stored.sha256 == file.sha256)
        });
        let bytes = is_known.then(|| input::read_regular(&output.join(&name)).ok());
        match bytes
            .flatten()
            .filter(|bytes| Provenance::parse(bytes).is_ok())
        {
            Some(bytes) => drop(objects.insert(name, bytes)),
            None => missing.push((name, file)),
        }
    }
    (objects, missing)
}

//! Locations in OCI registries: one repository, with a manifest for each record and each file.
//!
//! | tag | configuration | layers |
//! | --- | --- | --- |
//! | `ac-KEY` | the record, also in the field `data` of its descriptor | the wheel |
//! | `cas-SHA256` | the empty configuration (OCI image specification, guidelines for artifacts) | the file |
//!
//! A record is one request, because its manifest contains it. Files are read as blobs, by digest. Each manifest keeps its
//! blobs from the garbage collection of the registry.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use hyper::body::Bytes;
use jiff::Timestamp;
use oci_spec::distribution::Reference;
use oci_spec::image::{Digest, MediaType};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wheelhouse_oci::image::blob::Blob;
use wheelhouse_oci::image::blob_source::BlobSource;
use wheelhouse_oci::image::manifest::{Document, EMPTY};
use wheelhouse_oci::progress::{NoProgress, TransferProgress};
use wheelhouse_oci::registry::client::Purpose;
use wheelhouse_oci::registry::push::Upload;
use wheelhouse_oci::registry::{Access, Registry};
use wheelhouse_store::BuildKey;
use wheelhouse_types::limits::{self, Excess};
use wheelhouse_types::{Result, Sha256};

use crate::location::{
    Entry, EntryName, FileId, Location, MAX_RECORD, RemoteFile, is_wrong_entry, wrong_entry,
};

/// The artifact type of the manifest of a record.
const BUILD_TYPE: &str = "application/vnd.wheelhouse.build.v1";

/// The artifact type of the manifest of a file.
const FILE_TYPE: &str = "application/vnd.wheelhouse.file.v1";

/// The media type of a record.
const RECORD_TYPE: &str = "application/vnd.wheelhouse.record.v1+json";

/// The media type of a wheel or an sdist.
const CONTENT_TYPE: &str = "application/vnd.wheelhouse.content.v1";

/// The media type of the empty configuration (OCI image specification 1.1).
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The annotation with the time at which a manifest was created (RFC 3339).
const CREATED: &str = "org.opencontainers.image.created";

/// The number of concurrent requests for a list.
const CONCURRENCY: usize = 8;

/// A repository of a registry.
pub(crate) struct RegistryLocation {
    registry: Registry,
    reference: Reference,
    access: Access,
    /// The client that may delete, which needs another token.
    deleting: OnceCell<Registry>,
    /// Set when the repository has the empty configuration.
    has_empty: OnceCell<()>,
}

/// The parts of a manifest that are read.
#[derive(Deserialize)]
struct Manifest {
    config: Part,
    layers: Vec<Part>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: String,
    size: u64,
    /// The content in base64.
    data: Option<String>,
}

impl Manifest {
    fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| wrong_entry(format!("its manifest is not valid: {error}")))
    }
}

impl RegistryLocation {
    /// Opens the repository of `reference`, whose tag has no meaning.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub(crate) async fn open(
        reference: &Reference,
        access: &Access,
        is_written: bool,
    ) -> Result<Self> {
        let purpose = if is_written {
            Purpose::Push { from: Vec::new() }
        } else {
            Purpose::Pull
        };
        Ok(Self {
            registry: Registry::open(reference, access, purpose).await?,
            reference: reference.clone(),
            access: access.clone(),
            deleting: OnceCell::new(),
            has_empty: OnceCell::new(),
        })
    }

    /// Returns the bytes of the manifest of `name`.
    async fn document(&self, name: EntryName) -> Result<Option<Vec<u8>>> {
        let read = self.registry.optional_document(&tag(name)).await;
        read.map_err(|error| {
            let excess = error.source().is_some_and(<dyn StdError>::is::<Excess>);
            if excess {
                wrong_entry(error.display_chain())
            } else {
                error
            }
        })
    }

    async fn read_record(&self, key: &BuildKey) -> Result<Option<Vec<u8>>> {
        let Some(manifest) = self.document(EntryName::Record(*key)).await? else {
            return Ok(None);
        };
        let config = Manifest::parse(&manifest)?.config;
        if config.media_type != RECORD_TYPE {
            return Err(wrong_entry("its manifest is not that of a record"));
        }
        limits::size(config.size, MAX_RECORD).map_err(|excess| wrong_entry(excess.to_string()))?;
        let record = match &config.data {
            Some(data) => STANDARD
                .decode(data)
                .map_err(|error| wrong_entry(format!("its manifest is not valid: {error}")))?,
            // Other programs that copy a repository may leave out the data.
            None => match self.blob(&config.digest).await? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        if Blob::of(&record).digest() != config.digest {
            return Err(wrong_entry("its record has another digest"));
        }
        Ok(Some(record))
    }

    /// Reads a blob that is a record.
    async fn blob(&self, digest: &str) -> Result<Option<Vec<u8>>> {
        // It becomes part of a URL.
        if digest.parse::<Digest>().is_err() {
            return Err(wrong_entry("its manifest has a digest that is not valid"));
        }
        let Some(mut download) = self.registry.open_blob(digest).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            limits::size((bytes.len() + chunk.len()) as u64, MAX_RECORD)
                .map_err(|excess| wrong_entry(excess.to_string()))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    async fn open_file(&self, sha256: &Sha256) -> Result<Option<RemoteFile>> {
        let digest = format!("sha256:{sha256}");
        let Some(download) = self.registry.open_blob(&digest).await? else {
            return Ok(None);
        };
        let size = download.size();
        let bytes = stream::try_unfold(download, |mut download| async move {
            let chunk: Option<Bytes> = download.chunk().await?;
            Ok(chunk.map(|chunk| (chunk, download)))
        });
        Ok(Some(RemoteFile {
            size,
            bytes: bytes.boxed(),
        }))
    }

    async fn push(&self, blob: Blob, source: BlobSource) -> Result<()> {
        let progress: Arc<dyn TransferProgress> = Arc::new(NoProgress);
        let upload = Upload {
            blob,
            source,
            mount_from: None,
        };
        self.registry
            .push_blobs(vec![upload], &progress)
            .await
            .map(drop)
    }

    /// Uploads the file unless the repository has it, and tags it. The registry computes the digest of what it receives, so a
    /// blob that it has need not be replaced.
    async fn put_file(&self, file: FileId, path: &Path) -> Result<()> {
        let name = EntryName::File(file.sha256);
        self.push(blob(file), BlobSource::File(path.to_owned()))
            .await?;
        if self.registry.optional_document(&tag(name)).await?.is_some() {
            return Ok(());
        }
        self.has_empty
            .get_or_try_init(|| self.push(Blob::of(EMPTY), BlobSource::Bytes(EMPTY.to_vec())))
            .await?;
        let config = part(EMPTY_TYPE, Blob::of(EMPTY));
        self.push_manifest(name, FILE_TYPE, config, file).await
    }

    async fn put_record(&self, key: &BuildKey, record: Vec<u8>, file: FileId) -> Result<()> {
        let blob = Blob::of(&record);
        let mut config = part(RECORD_TYPE, blob);
        config["data"] = STANDARD.encode(&record).into();
        self.push(blob, BlobSource::Bytes(record)).await?;
        self.push_manifest(EntryName::Record(*key), BUILD_TYPE, config, file)
            .await
    }

    async fn push_manifest(
        &self,
        name: EntryName,
        artifact_type: &str,
        config: Value,
        file: FileId,
    ) -> Result<()> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.to_string(),
            "artifactType": artifact_type,
            "config": config,
            "layers": [part(CONTENT_TYPE, blob(file))],
            "annotations": {CREATED: Timestamp::now().to_string()},
        });
        let manifest = Document::new(&manifest, MediaType::ImageManifest);
        self.registry
            .push_document(&manifest, &tag(name))
            .await
            .map(drop)
    }

    /// Returns an entry of the list. One whose manifest is wrong has no size and no time, so that it is listed and can be
    /// removed.
    async fn entry(&self, name: EntryName) -> Result<Option<Entry>> {
        let manifest = match self.document(name).await {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => Manifest::parse(&bytes),
            Err(error) => Err(error),
        };
        let manifest = match manifest {
            Err(error) if !is_wrong_entry(&error) => return Err(error),
            manifest => manifest.ok(),
        };
        let size = manifest.as_ref().map(|manifest| match name {
            EntryName::Record(_) => manifest.config.size,
            EntryName::File(_) => manifest.layers.first().map_or(0, |layer| layer.size),
        });
        let created = manifest.and_then(|mut manifest| manifest.annotations.remove(CREATED));
        let modified = created.and_then(|text| text.parse::<Timestamp>().ok());
        Ok(Some(Entry {
            name,
            size: size.unwrap_or_default(),
            modified: modified.map(SystemTime::from),
        }))
    }

    async fn list(&self) -> Result<BoxStream<'_, Result<Entry>>> {
        let tags = self.registry.tags().await?;
        let names: Vec<EntryName> = tags.iter().filter_map(|tag| entry_name(tag)).collect();
        let entries = stream::iter(names)
            .map(|name| self.entry(name))
            .buffer_unordered(CONCURRENCY);
        Ok(entries.try_filter_map(async |entry| Ok(entry)).boxed())
    }

    async fn delete(&self, name: EntryName) -> Result<()> {
        let Some(manifest) = self.document(name).await? else {
            return Ok(());
        };
        let open = || Registry::open(&self.reference, &self.access, Purpose::Delete);
        let registry = self.deleting.get_or_try_init(open).await?;
        registry
            .delete_document(&Blob::of(&manifest).digest())
            .await
            .map(drop)
    }
}

impl Location for RegistryLocation {
    fn record<'a>(&'a self, key: &'a BuildKey) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        self.read_record(key).boxed()
    }

    fn file<'a>(&'a self, sha256: &'a Sha256) -> BoxFuture<'a, Result<Option<RemoteFile>>> {
        self.open_file(sha256).boxed()
    }

    fn write_file<'a>(
        &'a self,
        file: FileId,
        path: &'a Path,
        _: bool,
    ) -> BoxFuture<'a, Result<()>> {
        self.put_file(file, path).boxed()
    }

    fn write_record<'a>(
        &'a self,
        key: &'a BuildKey,
        record: Vec<u8>,
        file: FileId,
    ) -> BoxFuture<'a, Result<()>> {
        self.put_record(key, record, file).boxed()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry>> {
        self.list().try_flatten_stream().boxed()
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<()>> {
        self.delete(*name).boxed()
    }
}

fn blob(file: FileId) -> Blob {
    Blob {
        sha256: file.sha256,
        size: file.size,
    }
}

fn part(media_type: &str, blob: Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest(), "size": blob.size})
}

fn tag(name: EntryName) -> String {
    name.to_string().replace('/', "-")
}

fn entry_name(tag: &str) -> Option<EntryName> {
    tag.replacen('-', "/", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_entries() {
        let name = EntryName::Record(BuildKey::new([("a", "b")]));
        assert!(tag(name).starts_with("ac-"));
        assert_eq!(entry_name(&tag(name)), Some(name));
        let name = EntryName::File(Sha256::of(b"wheel"));
        assert_eq!(entry_name(&tag(name)), Some(name));
        for other in ["latest", "ac-1", "sha256-0", "ac/1", ""] {
            assert_eq!(entry_name(other), None, "{other}");
        }
    }
}

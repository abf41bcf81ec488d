//! Locations in OCI registries: one repository, with a manifest for each record and each file.
//!
//! | tag | configuration | layers |
//! | --- | --- | --- |
//! | `ac-KEY` | the record, also in the field `data` of its descriptor | the wheel |
//! | `cas-SHA256` | the empty configuration (OCI image specification, guidelines for artifacts) | the file |
//!
//! A record is one request, because its manifest contains it. Files are read as blobs, by digest. Each manifest keeps its
//! blobs from the garbage collection of the registry.

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
use oci_spec::image::MediaType;
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
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result, Sha256, limits};

use crate::location::{Entry, EntryName, FileId, Location, MAX_RECORD, RemoteFile};

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

    fn error(&self, name: EntryName, reason: &str) -> Error {
        let (host, repository) = (self.reference.registry(), self.reference.repository());
        let message = format!("docker://{host}/{repository}: the manifest of {name} {reason}");
        Error::new(Kind::Fetch, message)
    }

    /// Returns the manifest of `name` and its digest.
    async fn manifest(&self, name: EntryName) -> Result<Option<(Manifest, String)>> {
        let Some(bytes) = self.registry.optional_document(&tag(name)).await? else {
            return Ok(None);
        };
        let invalid = || self.error(name, "is not valid").to_string();
        let manifest = serde_json::from_slice(&bytes).context(Kind::Fetch, invalid)?;
        Ok(Some((manifest, Blob::of(&bytes).digest())))
    }

    async fn read_record(&self, key: &BuildKey) -> Result<Option<Vec<u8>>> {
        let name = EntryName::Record(*key);
        let Some((manifest, _)) = self.manifest(name).await? else {
            return Ok(None);
        };
        let config = manifest.config;
        if config.media_type != RECORD_TYPE {
            return Err(self.error(name, "contains no record"));
        }
        let too_long = || {
            self.error(name, "contains a record that is too large")
                .to_string()
        };
        limits::size(config.size, MAX_RECORD).context(Kind::Fetch, too_long)?;
        let record = match &config.data {
            Some(data) => STANDARD
                .decode(data)
                .context(Kind::Fetch, || self.error(name, "is not valid").to_string())?,
            // Other programs that copy a repository may leave out the data.
            None => match self.blob(&config.digest).await? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        if Blob::of(&record).digest() != config.digest {
            return Err(self.error(name, "contains a record with another digest"));
        }
        Ok(Some(record))
    }

    /// Reads a blob that is a record.
    async fn blob(&self, digest: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut download) = self.registry.open_blob(digest).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            limits::size((bytes.len() + chunk.len()) as u64, MAX_RECORD)
                .context(Kind::Fetch, || format!("the blob {digest} is too large"))?;
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

    async fn entry(&self, name: EntryName) -> Result<Option<Entry>> {
        let Some((manifest, _)) = self.manifest(name).await? else {
            return Ok(None);
        };
        let size = match name {
            EntryName::Record(_) => manifest.config.size,
            EntryName::File(_) => manifest.layers.first().map_or(0, |layer| layer.size),
        };
        let created = manifest.annotations.get(CREATED);
        let modified = created.and_then(|text| text.parse::<Timestamp>().ok());
        Ok(Some(Entry {
            name,
            size,
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
        let Some((_, digest)) = self.manifest(name).await? else {
            return Ok(());
        };
        let open = || Registry::open(&self.reference, &self.access, Purpose::Delete);
        let registry = self.deleting.get_or_try_init(open).await?;
        registry.delete_document(&digest).await.map(drop)
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

//! Locations in directories, buckets and HTTP servers, by the crate `object_store`.
//!
//! `object_store` rather than `opendal`: one trait for exactly these kinds, maintained by Apache Arrow, over the HTTP client
//! and TLS that the program has already. It sends requests through the client of registries, so that certificates, proxy and
//! time-outs are the same.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use hyper::body::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::buffered::BufWriter;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig,
};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Body, Client, Method, StatusCode};
use tokio::io::AsyncWriteExt as _;
use url::Url;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_oci::registry::{FileTooLarge, client_with};
use wheelhouse_store::BuildKey;
use wheelhouse_types::error::{Context as _, display_chain};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{CacheLocation, Error, Kind, Result, Sha256, limits};

use crate::location::{
    ConnectOptions, Entry, EntryName, FileId, Location, MAX_RECORD, RemoteFile, wrong_entry,
};

/// The size of one read of a local file, in bytes.
const CHUNK: usize = 1 << 20;

/// Larger files are written to buckets in parts of this size (bytes).
const PART: usize = 16 << 20;

/// The length of a failure in a message, in characters. Servers answer with whole pages.
const LONGEST: usize = 300;

/// A location that `object_store` reads and writes.
pub(crate) struct ObjectLocation {
    location: CacheLocation,
    objects: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// The client and the URL of an HTTP server. `object_store` would read a whole file into memory to send it.
    http: Option<(Client, Url)>,
}

/// Passes our client to `object_store`.
#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl ObjectLocation {
    /// Opens a location that is not a registry.
    ///
    /// # Errors
    /// [`Kind::Input`] if the options are not sufficient or not valid, or if a directory does not exist.
    pub(crate) fn open(
        location: &CacheLocation,
        options: &ConnectOptions,
        is_written: bool,
    ) -> Result<Self> {
        let invalid = || format!("{location} cannot be used");
        let retry = RetryConfig {
            max_retries: usize::try_from(options.access.retries.min(2)).unwrap_or_default(),
            retry_timeout: options.access.timeout,
            backoff: object_store::BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(1),
                base: 2.0,
            },
        };
        let mut http = None;
        let (objects, prefix): (Arc<dyn ObjectStore>, _) = match location {
            CacheLocation::Directory(path) => {
                if is_written {
                    fs_err::create_dir_all(path).context(Kind::Publish, invalid)?;
                }
                let directory = LocalFileSystem::new_with_prefix(path);
                (
                    Arc::new(directory.context(Kind::Fetch, invalid)?),
                    ObjectPath::default(),
                )
            }
            CacheLocation::Bucket(url) => {
                let client = client_with(&options.access, HeaderMap::new())?;
                let prefix = ObjectPath::from_url_path(url.path()).context(Kind::Input, invalid)?;
                let objects = bucket(url, options, Connector(client), retry);
                (objects.context(Kind::Input, invalid)?, prefix)
            }
            CacheLocation::Http(url) => {
                let (url, headers) = without_user(url)?;
                let client = client_with(&options.access, headers)?;
                let objects = HttpBuilder::new()
                    .with_url(url.as_str())
                    .with_retry(retry)
                    .with_http_connector(Connector(client.clone()))
                    .build()
                    .context(Kind::Input, invalid)?;
                http = Some((client, url));
                (Arc::new(objects), ObjectPath::default())
            }
            CacheLocation::Registry(_) => unreachable!("a registry is another location"),
        };
        Ok(Self {
            location: location.clone(),
            objects,
            prefix,
            http,
        })
    }

    fn path(&self, name: EntryName) -> ObjectPath {
        let parts = self.prefix.parts();
        let path: ObjectPath = parts.collect();
        name.to_string().split('/').fold(path, ObjectPath::join)
    }

    fn error(&self, kind: Kind, action: &str, name: EntryName, cause: &str) -> Error {
        let cause: String = redacted(cause).chars().take(LONGEST).collect();
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        let message = format!("failed to {action} {}/{name}: {cause}", self.location);
        Error::new(kind, message)
    }

    async fn get(&self, name: EntryName) -> Result<Option<RemoteFile>> {
        let failed =
            |error: &object_store::Error| self.error(Kind::Fetch, "read", name, &cause_of(error));
        let found = match self.objects.get(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) if is_unreadable_file(&error) => {
                return Err(wrong_entry(cause_of(&error)));
            }
            found => found.map_err(|error| failed(&error))?,
        };
        let size = Some(found.meta.size);
        let bytes = match found.payload {
            GetResultPayload::File(file, path) => {
                local_bytes(fs_err::File::from_parts(file, path)).boxed()
            }
            GetResultPayload::Stream(bytes) => {
                let location = self.location.clone();
                bytes
                    .map_err(move |error| {
                        let cause = redacted(&cause_of(&error));
                        let message = format!("failed to read {location}/{name}: {cause}");
                        Error::new(Kind::Fetch, message)
                    })
                    .boxed()
            }
        };
        Ok(Some(RemoteFile { size, bytes }))
    }

    async fn read_record(&self, key: &BuildKey) -> Result<Option<Vec<u8>>> {
        let name = EntryName::Record(*key);
        let Some(mut file) = self.get(name).await? else {
            return Ok(None);
        };
        let mut record = Vec::new();
        while let Some(bytes) = file.bytes.try_next().await? {
            limits::size((record.len() + bytes.len()) as u64, MAX_RECORD)
                .map_err(|excess| wrong_entry(excess.to_string()))?;
            record.extend_from_slice(&bytes);
        }
        Ok(Some(record))
    }

    async fn put_file(&self, file: FileId, path: &Path, replace: bool) -> Result<()> {
        let name = EntryName::File(file.sha256);
        let target = self.path(name);
        if !replace
            && let Ok(found) = self.objects.head(&target).await
            && found.size == file.size
        {
            return Ok(());
        }
        let failed = |cause: &str| self.error(Kind::Publish, "write", name, cause);
        if let Some((client, url)) = &self.http {
            let status = send(client, url, name, file, path).await;
            return match status.map_err(|cause| failed(&cause))? {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let message = format!("failed to write {}/{name}", self.location);
                    Err(Error::new(Kind::Publish, message).caused_by(FileTooLarge))
                }
                status if status.is_success() => Ok(()),
                status => Err(failed(&format!("the server answered {status}"))),
            };
        }
        let opened = fs_err::tokio::File::open(path).await;
        let mut source = opened.map_err(|error| failed(&error.to_string()))?;
        let mut writer = BufWriter::with_capacity(Arc::clone(&self.objects), target, PART);
        let copied = tokio::io::copy(&mut source, &mut writer).await;
        let written = match copied {
            Ok(_) => writer.shutdown().await,
            Err(error) => {
                // A part that was begun costs money until it is aborted.
                let _ = writer.abort().await;
                Err(error)
            }
        };
        written.map_err(|error| failed(&display_chain(&error)))
    }

    async fn put_record(&self, key: &BuildKey, record: Vec<u8>) -> Result<()> {
        let name = EntryName::Record(*key);
        let target = self.path(name);
        let mut written = self.objects.put(&target, record.clone().into()).await;
        // If another writer makes the directory at the same time, `object_store` takes that for a failure.
        if self.http.is_some() && written.is_err() {
            written = self.objects.put(&target, record.into()).await;
        }
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(Kind::Publish, "write", name, &cause_of(&error))),
        }
    }
}

impl Location for ObjectLocation {
    fn record<'a>(&'a self, key: &'a BuildKey) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        self.read_record(key).boxed()
    }

    fn file<'a>(&'a self, sha256: &'a Sha256) -> BoxFuture<'a, Result<Option<RemoteFile>>> {
        self.get(EntryName::File(*sha256)).boxed()
    }

    fn write_file<'a>(
        &'a self,
        file: FileId,
        path: &'a Path,
        replace: bool,
    ) -> BoxFuture<'a, Result<()>> {
        self.put_file(file, path, replace).boxed()
    }

    fn write_record<'a>(
        &'a self,
        key: &'a BuildKey,
        record: Vec<u8>,
        _: FileId,
    ) -> BoxFuture<'a, Result<()>> {
        self.put_record(key, record).boxed()
    }

    fn entries(&self) -> BoxStream<'_, Result<Entry>> {
        let below = |kind: &'static str| {
            let prefix = self.prefix.clone().join(kind);
            let listed = match &self.http {
                // WebDAV servers refuse to list more than one level (RFC 4918, section 9.1).
                Some(_) => self.list_level(prefix).boxed(),
                None => self.objects.list(Some(&prefix)),
            };
            listed.map_err(move |error| {
                let error = self.location_error("list", &cause_of(&error));
                match self.location {
                    CacheLocation::Http(_) => error.with_hint(
                        "The server must support WebDAV (PROPFIND) for this. Let it expire old entries by its own rules instead.",
                    ),
                    _ => error,
                }
            })
        };
        let listed = below("ac").chain(below("cas"));
        listed
            .try_filter_map(move |found| async move {
                // WebDAV servers list whole paths, others what is below the location.
                let path: &str = found.location.as_ref();
                let start = path.rmatch_indices('/').nth(1);
                let start = start.map_or(0, |(position, _)| position + 1);
                let name = path[start..].parse::<EntryName>().ok();
                Ok(name.map(|name| Entry {
                    name,
                    size: found.size,
                    modified: Some(found.last_modified.into()),
                }))
            })
            .boxed()
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<()>> {
        async move {
            match self.objects.delete(&self.path(*name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.error(Kind::Publish, "remove", *name, &cause_of(&error))),
            }
        }
        .boxed()
    }
}

impl ObjectLocation {
    /// Lists the objects directly below `prefix`.
    fn list_level(
        &self,
        prefix: ObjectPath,
    ) -> impl Stream<Item = object_store::Result<ObjectMeta>> + Send {
        let objects = Arc::clone(&self.objects);
        let listed = async move { objects.list_with_delimiter(Some(&prefix)).await };
        listed
            .map_ok(|listed| stream::iter(listed.objects.into_iter().map(Ok)))
            .try_flatten_stream()
    }

    fn location_error(&self, action: &str, cause: &str) -> Error {
        let cause: String = redacted(cause).chars().take(LONGEST).collect();
        Error::new(
            Kind::Fetch,
            format!("failed to {action} {}: {cause}", self.location),
        )
    }
}

/// Opens the bucket of `url`. Each kind takes the variables whose names begin with its prefix.
fn bucket(
    url: &Url,
    options: &ConnectOptions,
    connector: Connector,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let variables = options.variables.iter();
    let of = |prefix: &'static str| {
        variables
            .clone()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
    };
    Ok(match url.scheme() {
        "s3" => {
            let mut builder = AmazonS3Builder::new();
            for (name, value) in of("AWS_") {
                if let Ok(key) = name.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            let builder = builder.with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (name, value) in of("GOOGLE_") {
                if let Ok(key) = name.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            let builder = builder.with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        _ => {
            let mut builder = MicrosoftAzureBuilder::new();
            for (name, value) in of("AZURE_") {
                if let Ok(key) = name.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            let builder = builder.with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
    })
}

/// Returns whether `error` is that of a local file that this user must not read, because another user wrote it.
fn is_unreadable_file(error: &object_store::Error) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            return cause.kind() == ErrorKind::PermissionDenied;
        }
        source = cause.source();
    }
    false
}

/// Moves the user and the password of a URL into a header.
fn without_user(url: &Url) -> Result<(Url, HeaderMap)> {
    let mut headers = HeaderMap::new();
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    if !url.username().is_empty() || url.password().is_some() {
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let pair = format!("{}:{}", decoded(user), decoded(password));
        let value = format!("Basic {}", STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&value)
            .context(Kind::Input, || "the credentials are not valid".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut url = url.clone();
    // Both fail only for URLs that cannot have credentials.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    Ok((url, headers))
}

/// Sends a file by PUT, and returns the status of the answer. A `WebDAV` server answers 404 or 409 as long as the directory is missing (RFC 4918, section 9.7.1).
async fn send(
    client: &Client,
    url: &Url,
    name: EntryName,
    file: FileId,
    path: &Path,
) -> std::result::Result<StatusCode, String> {
    let mut target = url.clone();
    target.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
    for is_second in [false, true] {
        let source = fs_err::File::open(path).map_err(|error| error.to_string())?;
        let body = Body::wrap_stream(local_bytes(source));
        let put = client
            .put(target.clone())
            .header(CONTENT_LENGTH, file.size)
            .body(body);
        let response = put.send().await.map_err(|error| display_chain(&error))?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT if !is_second => {
                let method = Method::from_bytes(b"MKCOL").map_err(|error| error.to_string())?;
                for (end, _) in target.path().match_indices('/').skip(1) {
                    let mut directory = target.clone();
                    directory.set_path(&target.path()[..end]);
                    // A directory that exists is another error of the server, and one that is missing fails the second PUT.
                    let made = client.request(method.clone(), directory).send().await;
                    made.map_err(|error| display_chain(&error))?;
                }
            }
            status => return Ok(status),
        }
    }
    Err("the server accepts no directory for it".to_owned())
}

/// Returns the bytes of a local file.
fn local_bytes(file: fs_err::File) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        blocking(move || {
            use std::io::Read as _;
            let mut buffer = Vec::new();
            // The error of `fs_err` names the file.
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer);
            let count = read.context(Kind::Fetch, || "failed to read a file".to_owned())?;
            Ok((count > 0).then(|| (Bytes::from(buffer), file)))
        })
        .await
    })
    .boxed()
}

fn cause_of(error: &object_store::Error) -> String {
    display_chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::options;

    async fn bytes_of(file: RemoteFile) -> Vec<u8> {
        let chunks: Vec<Bytes> = file.bytes.try_collect().await.unwrap();
        chunks.concat()
    }

    #[tokio::test]
    async fn directory_keeps_what_is_written() {
        let root = tempfile::tempdir().unwrap();
        let place = CacheLocation::Directory(root.path().join("new/cache"));
        assert!(ObjectLocation::open(&place, &options(), false).is_err());
        let location = ObjectLocation::open(&place, &options(), true).unwrap();
        let local = root.path().join("file");
        let content = vec![7; 3 << 20];
        fs_err::write(&local, &content).unwrap();
        let id = FileId {
            sha256: Sha256::of(&content),
            size: content.len() as u64,
        };
        let key = BuildKey::new([("step", "1")]);
        assert_eq!(location.record(&key).await.unwrap(), None);
        assert!(location.file(&id.sha256).await.unwrap().is_none());
        location.write_file(id, &local, false).await.unwrap();
        location
            .write_record(&key, b"{}".to_vec(), id)
            .await
            .unwrap();
        assert_eq!(location.record(&key).await.unwrap().unwrap(), b"{}");
        let file = location.file(&id.sha256).await.unwrap().unwrap();
        assert_eq!(file.size, Some(id.size));
        assert_eq!(bytes_of(file).await, content);
        fs_err::write(root.path().join("new/cache/ac/other"), "").unwrap();
        let mut entries: Vec<Entry> = location.entries().try_collect().await.unwrap();
        entries.sort_by_key(|entry| entry.name);
        let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        assert_eq!(names, [EntryName::Record(key), EntryName::File(id.sha256)]);
        assert!(entries.iter().all(|entry| entry.modified.is_some()));
        for name in names {
            location.remove(&name).await.unwrap();
            location.remove(&name).await.unwrap();
        }
        assert!(location.file(&id.sha256).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn replaces_file_only_if_size_differs_or_caller_asks() {
        let root = tempfile::tempdir().unwrap();
        let place = CacheLocation::Directory(root.path().join("cache"));
        let location = ObjectLocation::open(&place, &options(), true).unwrap();
        let local = root.path().join("file");
        fs_err::write(&local, "right").unwrap();
        let id = FileId {
            sha256: Sha256::of(b"right"),
            size: 5,
        };
        let entry = root.path().join("cache/cas").join(id.sha256.to_string());
        fs_err::create_dir_all(entry.parent().unwrap()).unwrap();
        for (found, replace, after) in [
            ("wrong", false, "wrong"),
            ("wrong", true, "right"),
            ("short", false, "short"),
            ("cut", false, "right"),
        ] {
            fs_err::write(&entry, found).unwrap();
            location.write_file(id, &local, replace).await.unwrap();
            assert_eq!(fs_err::read_to_string(&entry).unwrap(), after);
        }
    }

    #[test]
    fn file_of_another_user_is_a_wrong_entry() {
        let failed = |kind: ErrorKind| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(std::io::Error::from(kind)),
        };
        assert!(is_unreadable_file(&failed(ErrorKind::PermissionDenied)));
        assert!(!is_unreadable_file(&failed(
            ErrorKind::StaleNetworkFileHandle
        )));
    }

    #[test]
    fn moves_credentials_of_url_into_header() {
        let url = Url::parse("https://me:a%40b@host.example/dav").unwrap();
        let (url, headers) = without_user(&url).unwrap();
        assert_eq!(url.as_str(), "https://host.example/dav");
        assert_eq!(headers[AUTHORIZATION], "Basic bWU6YUBi");
        assert!(headers[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn bucket_takes_variables_of_its_kind() {
        let mut options = options();
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ] {
            options.variables.insert(name.to_owned(), value.to_owned());
        }
        for text in ["s3://bucket/prefix", "az://container/prefix"] {
            let location = ObjectLocation::open(&text.parse().unwrap(), &options, false).unwrap();
            let path = location.path(EntryName::File(Sha256::of(b"")));
            assert!(path.as_ref().starts_with("prefix/cas/"), "{path}");
        }
    }
}

//! Metadata of wheels for which an index provides no metadata file: range requests for the parts of the wheel with its
//! central directory and its `METADATA`.
//!
//! uv can do that, too, but without limits on what it decompresses and parses. The metadata is kept in the cache, beside
//! the wheels of uv.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE,
};
use http::{Method, StatusCode};
use reqwest::Response;
use tokio::sync::OnceCell;
use url::Url;
use uv_cache::{Cache, CacheBucket};
use uv_distribution_types::{BuiltDist, Dist, IndexUrl, RegistryBuiltWheel};
use uv_normalize::DistInfoName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Kind, Result, Sha256, limits};
use zip::ZipArchive;

use crate::error::explain;
use crate::network::clients::Clients;
use crate::network::download::content_range;

/// The size of the first request (bytes): the end of the wheel, with the central directory of most wheels.
const FIRST_PART: u64 = 32 << 10;

/// A gap of up to this size (bytes) between two parts is requested as a whole.
const GAP: u64 = 256 << 10;

/// The maximum number of requests for one wheel. Ranges grow, so even the largest directory and metadata take fewer.
const REQUESTS: u32 = 16;

/// The maximum that is requested of one wheel (bytes).
const MOST: u64 = 64 << 20;

/// The metadata of a wheel as found in parts of it.
pub(crate) enum PartialMetadata {
    /// The contents of `METADATA`.
    Found(Vec<u8>),
    /// The wheel has no metadata of its own, for this reason.
    Missing(String),
    /// The index does not support range requests, or the wheel cannot be read by them: the whole wheel is needed.
    Unknown,
}

/// Reads metadata by range requests, and remembers which indexes support them.
pub(crate) struct WheelRanges {
    clients: Arc<Clients>,
    cache: Cache,
    support: Mutex<HashMap<IndexUrl, Arc<OnceCell<bool>>>>,
}

impl WheelRanges {
    pub(super) fn new(clients: Arc<Clients>, cache: Cache) -> Self {
        Self {
            clients,
            cache,
            support: Mutex::default(),
        }
    }

    /// Reads the `METADATA` of `dist`, a wheel of an index without a metadata file for it.
    ///
    /// # Errors
    /// `Fetch` if the server cannot be reached, or the response exceeds the limits.
    pub(crate) async fn metadata(&self, dist: &Dist) -> Result<PartialMetadata> {
        let Some((wheel, url)) = remote_wheel(dist) else {
            return Ok(PartialMetadata::Unknown);
        };
        let path = self.cached_path(wheel, &url);
        let is_known = wheel.file.hashes.first().is_some() || self.clients.is_offline();
        if let Some(kept) = fs_err::read(&path).ok().filter(|_| is_known) {
            tracing::debug!(wheel = %wheel.filename, "metadata is cached");
            return Ok(PartialMetadata::Found(kept));
        }
        if self.clients.is_offline() || !self.supports_ranges(wheel, &url).await {
            return Ok(PartialMetadata::Unknown);
        }
        let failed = || format!("failed to read the metadata of {}", wheel.filename);
        let metadata = match self.read_in_parts(wheel, &url).await? {
            PartialMetadata::Found(metadata) => metadata,
            other => return Ok(other),
        };
        let refused = || format!("the metadata in {} is refused", redacted(url.as_str()));
        limits::metadata(&metadata).context(Kind::Fetch, refused)?;
        let directory = path.parent().expect("it is in a directory");
        fs_err::create_dir_all(directory).context(Kind::Fetch, failed)?;
        let file = tempfile::NamedTempFile::new_in(directory).context(Kind::Fetch, failed)?;
        fs_err::write(file.path(), &metadata).context(Kind::Fetch, failed)?;
        file.persist(path).context(Kind::Fetch, failed)?;
        Ok(PartialMetadata::Found(metadata))
    }

    /// Returns the path of the cached metadata of `wheel`, which depends on its URL and digests.
    fn cached_path(&self, wheel: &RegistryBuiltWheel, url: &Url) -> PathBuf {
        let hashes = wheel.file.hashes.iter().map(ToString::to_string);
        let known_as: Vec<String> = [url.to_string()].into_iter().chain(hashes).collect();
        let bucket = self.cache.bucket(CacheBucket::Wheels).join("parts-v1");
        let name = wheel.filename.name.as_ref();
        let digest = Sha256::of(known_as.join("\n").as_bytes());
        bucket.join(name).join(digest.to_string())
    }

    /// Returns whether the index of `wheel`, at `url`, supports range requests. The first wheel of each index is probed.
    async fn supports_ranges(&self, wheel: &RegistryBuiltWheel, url: &Url) -> bool {
        let known = {
            let mut indexes = self.support.lock().expect("no panic while locked");
            Arc::clone(indexes.entry(wheel.index.clone()).or_default())
        };
        let supported = known.get_or_init(async || match self.head(url).await {
            Ok(answer) => answer
                .headers()
                .get(ACCEPT_RANGES)
                .is_some_and(|unit| unit == "bytes"),
            // The range request fails as well, with the cause.
            Err(_) => true,
        });
        *supported.await
    }

    async fn head(&self, url: &Url) -> reqwest_middleware::Result<Response> {
        let mut request = reqwest::Request::new(Method::HEAD, url.clone());
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let client = self.clients.single_attempt().cached_client().uncached();
        client.execute(request).await
    }

    async fn read_in_parts(
        &self,
        wheel: &RegistryBuiltWheel,
        url: &Url,
    ) -> Result<PartialMetadata> {
        let size = match wheel.file.size {
            Some(size) => Some(size),
            None => self.head(url).await.ok().and_then(|answer| {
                let length = answer.headers().get(CONTENT_LENGTH)?;
                length.to_str().ok()?.parse().ok()
            }),
        };
        let Some(size) = size.filter(|size| *size > 0) else {
            return Ok(PartialMetadata::Unknown);
        };
        tracing::debug!(wheel = %wheel.filename, "reading metadata by range requests");
        let mut parts = FetchedRanges::new(size);
        let mut wanted = size.saturating_sub(FIRST_PART)..size;
        for request in 0..REQUESTS {
            let Some(bytes) = self.part(url, &wanted, size).await? else {
                return Ok(PartialMetadata::Unknown);
            };
            parts.insert(wanted.start, bytes);
            match metadata_of(&mut parts, wheel) {
                Ok(metadata) => return Ok(PartialMetadata::Found(metadata)),
                Err(error) => match parts.missing.take() {
                    Some(start) if parts.received < MOST => {
                        wanted = start..parts.end_of_part(start, FIRST_PART << request);
                    }
                    None if error.kind() == io::ErrorKind::FileTooLarge => {
                        let url = redacted(url.as_str());
                        let refused = || format!("the metadata in {url} is refused");
                        return Err(error).context(Kind::Fetch, refused);
                    }
                    None if error.kind() == io::ErrorKind::NotFound => {
                        return Ok(PartialMetadata::Missing(error.to_string()));
                    }
                    // Reading the whole wheel reports the error.
                    _ => return Ok(PartialMetadata::Unknown),
                },
            }
        }
        Ok(PartialMetadata::Unknown)
    }

    /// Requests the bytes `wanted` of the file of `size` bytes at `url`. Returns `None` if the server sends something else.
    async fn part(&self, url: &Url, wanted: &Range<u64>, size: u64) -> Result<Option<Bytes>> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let message = format!("failed to read a part of {}", redacted(url.as_str()));
            explain(error, &message)
        };
        let client = self
            .clients
            .registry()
            .uncached_client(DisplaySafeUrl::ref_cast(url));
        let bytes = format!("bytes={}-{}", wanted.start, wanted.end - 1);
        let request = client.get(url.clone()).header(RANGE, bytes);
        let request = request.header(ACCEPT_ENCODING, "identity");
        let mut answer = request.send().await.map_err(|error| failed(&error))?;
        let sent = answer.headers().get(CONTENT_RANGE);
        let sent = sent.and_then(|range| content_range(range.to_str().ok()?));
        if answer.status() != StatusCode::PARTIAL_CONTENT
            || sent != Some((wanted.start, Some(size)))
        {
            return Ok(None);
        }
        let length = wanted.end - wanted.start;
        let mut part = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
            part.extend_from_slice(&chunk);
            if part.len() as u64 > length {
                return Ok(None);
            }
        }
        Ok((part.len() as u64 == length).then(|| part.freeze()))
    }
}

/// Returns the wheel of an index on a server, if the index provides no metadata file for it.
fn remote_wheel(dist: &Dist) -> Option<(&RegistryBuiltWheel, Url)> {
    let Dist::Built(BuiltDist::Registry(wheels)) = dist else {
        return None;
    };
    let wheel = wheels.best_wheel();
    let url = Url::from(wheel.file.url.to_url().ok()?);
    let is_remote = url.scheme().starts_with("http") && !wheel.file.dist_info_metadata;
    is_remote.then_some((wheel, url))
}

/// Returns whether the metadata of the wheel `dist` takes range requests.
pub(crate) fn needs_range_requests(dist: &Dist) -> bool {
    remote_wheel(dist).is_some()
}

/// Reads `METADATA` of `wheel`. The position of a missing part is recorded in `parts`.
fn metadata_of(parts: &mut FetchedRanges, wheel: &RegistryBuiltWheel) -> io::Result<Vec<u8>> {
    let mut archive = ZipArchive::new(parts)?;
    let directory = |path: &str| {
        let directory = path.strip_suffix(".dist-info/METADATA")?;
        (!directory.contains('/')).then(|| directory.to_owned())
    };
    let names = archive.file_names().filter_map(std::result::Result::ok);
    let found: Vec<String> = names.filter_map(|path| directory(&path)).collect();
    let name = wheel.filename.name.as_str();
    let lacking = |message| io::Error::new(io::ErrorKind::NotFound, message);
    let path = match &found[..] {
        [] => return Err(lacking("it has no METADATA".to_owned())),
        [own] if DistInfoName::new(own).as_ref().starts_with(name) => {
            format!("{own}.dist-info/METADATA")
        }
        [other, ..] => {
            let message = format!("its {other}.dist-info is not that of {name}");
            return Err(lacking(message));
        }
    };
    let entry = archive.by_name(&path)?;
    limits::read(entry, limits::METADATA).map_err(|error| match error.get_ref() {
        Some(excess) if excess.is::<limits::Excess>() => {
            io::Error::new(io::ErrorKind::FileTooLarge, error)
        }
        _ => error,
    })
}

/// The parts of a file received so far.
struct FetchedRanges {
    size: u64,
    received: u64,
    chunks: BTreeMap<u64, Bytes>,
    position: u64,
    /// The position of the last read that no part covers.
    missing: Option<u64>,
}

impl FetchedRanges {
    fn new(size: u64) -> Self {
        Self {
            size,
            received: 0,
            chunks: BTreeMap::new(),
            position: 0,
            missing: None,
        }
    }

    fn insert(&mut self, start: u64, bytes: Bytes) {
        self.received += bytes.len() as u64;
        self.chunks.insert(start, bytes);
    }

    /// Returns the end of the next request, which begins at `start`: the next known part if it is close.
    fn end_of_part(&self, start: u64, length: u64) -> u64 {
        let next = self.chunks.range(start..).next();
        let next = next.map_or(self.size, |(next, _)| *next);
        if next - start <= GAP {
            next
        } else {
            next.min(start + length.max(FIRST_PART))
        }
    }
}

impl Read for FetchedRanges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let part = self.chunks.range(..=self.position).next_back();
        let rest = part.and_then(|(start, bytes)| {
            let begun = usize::try_from(self.position - start).ok()?;
            bytes.get(begun..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = rest else {
            self.missing = Some(self.position);
            return Err(io::Error::other("this part is missing"));
        };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for FetchedRanges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn reads_archive_from_parts() {
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("a/data", options).unwrap();
        archive.write_all(&vec![7; 1 << 20]).unwrap();
        archive.start_file("b", options).unwrap();
        archive.write_all(b"contents").unwrap();
        let file = Bytes::from(archive.finish().unwrap().into_inner());
        let mut parts = FetchedRanges::new(file.len() as u64);
        let mut requests = 0;
        let read = loop {
            let attempt = ZipArchive::new(&mut parts).map_err(io::Error::from);
            let attempt = attempt.and_then(|mut archive| {
                let mut text = String::new();
                archive.by_name("b")?.read_to_string(&mut text)?;
                Ok(text)
            });
            match attempt {
                Ok(text) => break text,
                Err(error) => {
                    let Some(start) = parts.missing.take() else {
                        panic!("{error}");
                    };
                    let end = start + 100;
                    let end = end.min(file.len() as u64);
                    let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
                    parts.insert(start, file.slice(range));
                    requests += 1;
                    assert!(requests < 50);
                }
            }
        };
        assert_eq!(read, "contents");
    }
}

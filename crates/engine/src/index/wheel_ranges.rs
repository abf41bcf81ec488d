//! Metadata of wheels of which an index gives none: parts of a wheel are asked for, those with its directory and its
//! `METADATA`.
//!
//! uv can do that, too, but inflates and parses whatever comes. So it is done here, within limits, and kept in a cache of
//! its own, where uv would keep it.

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
use uv_cache::CacheBucket;
use uv_distribution_types::{BuiltDist, Dist, IndexUrl, RegistryBuiltWheel};
use uv_normalize::DistInfoName;
use uv_redacted::DisplaySafeUrl;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::{Kind, Result, Sha256, limits};
use zip::ZipArchive;

use crate::network::download::content_range;
use crate::state::EngineState;

/// The part of a wheel that is asked for first: its end, with the directory of most wheels (bytes).
const FIRST_PART: u64 = 32 << 10;

/// A gap between parts up to this size is asked for as a whole (bytes).
const GAP: u64 = 256 << 10;

/// The most requests for one wheel. Parts grow, so the largest directory and metadata come with fewer.
const REQUESTS: u32 = 16;

/// The most that is asked for of one wheel (bytes).
const MOST: u64 = 64 << 20;

/// The metadata of a wheel as far as parts of the wheel tell.
pub(crate) enum PartialMetadata {
    Found(Vec<u8>),
    /// The wheel has none that is its own, for this reason.
    Lacking(String),
    /// The index sends no parts, or the wheel cannot be read so; then all of the wheel is wanted.
    Unknown,
}

/// Which indexes send parts of files, as far as that is known.
#[derive(Default)]
pub(crate) struct WheelRanges(Mutex<HashMap<IndexUrl, Arc<OnceCell<bool>>>>);

impl EngineState {
    /// The `METADATA` of `dist`, a wheel of an index that gives none of it, read in parts of the wheel.
    ///
    /// # Errors
    /// `Fetch` if the server cannot be reached, or what it sends exceeds the limits.
    pub(crate) async fn metadata_in_parts(&self, dist: &Dist) -> Result<PartialMetadata> {
        let Some((wheel, url)) = remote_wheel(dist) else {
            return Ok(PartialMetadata::Unknown);
        };
        let path = self.kept_metadata(wheel, &url);
        let is_known = wheel.file.hashes.first().is_some() || self.request.network.offline;
        if let Some(kept) = fs_err::read(&path).ok().filter(|_| is_known) {
            return Ok(PartialMetadata::Found(kept));
        }
        if self.request.network.offline || !self.sends_parts(wheel, &url).await {
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

    /// The path of what is kept of the metadata of `wheel`, by its URL and digests.
    fn kept_metadata(&self, wheel: &RegistryBuiltWheel, url: &Url) -> PathBuf {
        let hashes = wheel.file.hashes.iter().map(ToString::to_string);
        let known_as: Vec<String> = [url.to_string()].into_iter().chain(hashes).collect();
        let bucket = self.cache.bucket(CacheBucket::Wheels).join("parts-v1");
        let name = wheel.filename.name.as_ref();
        let digest = Sha256::of(known_as.join("\n").as_bytes());
        bucket.join(name).join(digest.to_string())
    }

    /// Returns whether the index of `wheel`, at `url`, sends parts. Asks the first time that it is about a wheel of an index.
    async fn sends_parts(&self, wheel: &RegistryBuiltWheel, url: &Url) -> bool {
        let known = {
            let mut indexes = self.ranges.0.lock().expect("no panic while locked");
            Arc::clone(indexes.entry(wheel.index.clone()).or_default())
        };
        let sends_parts = known.get_or_init(async || match self.head(url).await {
            Ok(answer) => answer
                .headers()
                .get(ACCEPT_RANGES)
                .is_some_and(|unit| unit == "bytes"),
            // The request for a part fails as well, and says why.
            Err(_) => true,
        });
        *sends_parts.await
    }

    async fn head(&self, url: &Url) -> reqwest_middleware::Result<Response> {
        let mut request = reqwest::Request::new(Method::HEAD, url.clone());
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let client = self.brief_client.cached_client().uncached();
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
        let mut parts = Parts::new(size);
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
                        return Ok(PartialMetadata::Lacking(error.to_string()));
                    }
                    // The reader of whole wheels says what is wrong with it, if that is not its size.
                    _ => return Ok(PartialMetadata::Unknown),
                },
            }
        }
        Ok(PartialMetadata::Unknown)
    }

    /// The bytes `wanted` of the file of `size` bytes at `url`; `None` if the server sends something else.
    async fn part(&self, url: &Url, wanted: &Range<u64>, size: u64) -> Result<Option<Bytes>> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let message = format!("failed to read a part of {}", redacted(url.as_str()));
            self.failures.explained(error, &message)
        };
        let client = self.client.uncached_client(DisplaySafeUrl::ref_cast(url));
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

/// A wheel that an index has on a server, without its metadata beside it.
fn remote_wheel(dist: &Dist) -> Option<(&RegistryBuiltWheel, Url)> {
    let Dist::Built(BuiltDist::Registry(wheels)) = dist else {
        return None;
    };
    let wheel = wheels.best_wheel();
    let url = Url::from(wheel.file.url.to_url().ok()?);
    let is_remote = url.scheme().starts_with("http") && !wheel.file.dist_info_metadata;
    is_remote.then_some((wheel, url))
}

/// Returns whether uv would ask a server for parts of the wheel `dist`.
pub(crate) fn comes_in_parts(dist: &Dist) -> bool {
    remote_wheel(dist).is_some()
}

/// Reads `METADATA` of `wheel`. What lacks is noted in `parts`.
fn metadata_of(parts: &mut Parts, wheel: &RegistryBuiltWheel) -> io::Result<Vec<u8>> {
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

/// The parts of a file that came.
struct Parts {
    size: u64,
    received: u64,
    came: BTreeMap<u64, Bytes>,
    position: u64,
    /// The place that was read and has not come.
    missing: Option<u64>,
}

impl Parts {
    fn new(size: u64) -> Self {
        Self {
            size,
            received: 0,
            came: BTreeMap::new(),
            position: 0,
            missing: None,
        }
    }

    fn insert(&mut self, start: u64, bytes: Bytes) {
        self.received += bytes.len() as u64;
        self.came.insert(start, bytes);
    }

    /// The end of the part to ask for that begins at `start`: the next that came, if it is near.
    fn end_of_part(&self, start: u64, length: u64) -> u64 {
        let next = self.came.range(start..).next();
        let next = next.map_or(self.size, |(next, _)| *next);
        if next - start <= GAP {
            next
        } else {
            next.min(start + length.max(FIRST_PART))
        }
    }
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let part = self.came.range(..=self.position).next_back();
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

impl Seek for Parts {
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
    fn parts_are_read_as_they_come() {
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("a/data", options).unwrap();
        archive.write_all(&vec![7; 1 << 20]).unwrap();
        archive.start_file("b", options).unwrap();
        archive.write_all(b"contents").unwrap();
        let file = Bytes::from(archive.finish().unwrap().into_inner());
        let mut parts = Parts::new(file.len() as u64);
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

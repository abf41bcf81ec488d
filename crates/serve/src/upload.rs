//! Uploads into a wheelhouse by the legacy API of `PyPI`, which twine, uv and others speak: a `POST` of a form
//! (`multipart/form-data`) with `:action=file_upload`.
//!
//! The file is streamed into a temporary file of the wheelhouse. It is added if its digests are the stated ones, its name
//! is that of the stated project and version, and its contents are valid throughout. No file is ever replaced: the same
//! bytes again are a success, and other bytes of the same name a conflict (409, which twine recognizes).

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::http::{Response, StatusCode};
use headers::{ContentLength, HeaderMapExt as _};
use hyper::header::ORIGIN;
use tokio::sync::Semaphore;
use wheelhouse_fs::digest::Algorithm;
use wheelhouse_publish::addition::AddedEntry;
use wheelhouse_publish::{AddOutcome, Addition, DirectoryPublisher};
use wheelhouse_types::manifest::{MANIFEST_NAME, Sdist, Wheel};
use wheelhouse_types::{
    Error, Kind, Listing, Manifest, Origin, PackageName, StatusMarker, Version, limits,
};

use crate::incoming::{self, DistributionName, FileLocks, Incoming, ReceiveError, ReceivedFile};
use crate::respond;

/// The size of the largest uploaded file in bytes, unless the caller chooses another one. The default of `PyPI` default is 100 MiB, and
/// its largest exceptions are at some GiB.
pub const DEFAULT_MAX_SIZE: u64 = 4 << 30;

/// The largest total size of the other fields: the metadata with its description, and attestations.
const MAX_FIELDS: u64 = 4 * limits::METADATA;

/// The largest size of a field that is read, in bytes.
const MAX_FIELD: usize = 4 << 10;

/// The time after which a client that sends nothing is given up.
const STALLED: Duration = Duration::from_mins(1);

/// The fields that are compared with the file.
const FIELDS: [&str; 8] = [
    ":action",
    "protocol_version",
    "name",
    "version",
    "filetype",
    "sha256_digest",
    "md5_digest",
    "blake2_256_digest",
];

/// The wheelhouse that receives uploads.
#[derive(Debug)]
pub(crate) struct UploadTarget {
    publisher: DirectoryPublisher,
    max_size: u64,
    locks: FileLocks,
    /// Limits the inspections that run at once, which take a core each.
    inspections: Semaphore,
}

impl UploadTarget {
    /// Accepts files of up to `max_size` bytes into the wheelhouse in `directory`.
    #[must_use]
    pub(crate) fn new(directory: PathBuf, max_size: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            publisher: DirectoryPublisher {
                directory,
                overwrite: false,
            },
            max_size,
            locks: FileLocks::default(),
            inspections: Semaphore::new(cores),
        }
    }

    /// Returns the limit of the bodies of requests, a layer of the route of [`post`].
    pub(crate) fn body_limit(&self) -> DefaultBodyLimit {
        DefaultBodyLimit::max(usize::try_from(self.max_body()).unwrap_or(usize::MAX))
    }

    fn max_body(&self) -> u64 {
        self.max_size.saturating_add(MAX_FIELDS)
    }
}

/// The refusal of an upload.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
        }
    }

    fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    fn too_large(limit: u64) -> Self {
        let reason = format!("the file is larger than {limit} bytes, the limit of this server");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    }

    /// The refusal after a failure on the side of the server, whose details are for its log only.
    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        let mut chain = Vec::new();
        while let Some(error) = next {
            chain.push(error.to_string());
            let kind = error
                .downcast_ref::<std::io::Error>()
                .map(std::io::Error::kind);
            if let Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) = kind
            {
                status = StatusCode::INSUFFICIENT_STORAGE;
            }
            next = error.source();
        }
        tracing::error!(error = chain.join(": "), "an upload failed");
        let reason = "the file cannot be stored; the log of the server has the reason";
        Self::new(status, reason)
    }
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(error.status(), "the request is too large");
        }
        Self::bad(format!("the form is not valid: {error}"))
    }
}

/// Handles an upload.
pub(crate) async fn post(
    State(target): State<Arc<UploadTarget>>,
    request: Request,
) -> Response<Body> {
    // Browsers send the credentials of a user with the forms of foreign pages, and always this header; installers never do.
    if request.headers().contains_key(ORIGIN) {
        return respond::text(
            StatusCode::FORBIDDEN,
            "uploads by browsers are not accepted",
        );
    }
    match accept(&target, request).await {
        Ok((filename, AddOutcome::Added)) => {
            tracing::info!(filename, "added an upload");
            respond::text(StatusCode::OK, &format!("added {filename}"))
        }
        Ok((filename, _)) => {
            tracing::debug!(filename, "an upload is there already");
            let reason = format!("{filename} is there already, with the same content");
            respond::text(StatusCode::OK, &reason)
        }
        Err(refusal) => {
            let Refusal { status, reason } = refusal;
            tracing::info!(status = status.as_u16(), reason, "refused an upload");
            respond::text(status, &reason)
        }
    }
}

/// Reads, checks and adds an upload. Returns its file name and the outcome.
async fn accept(
    target: &Arc<UploadTarget>,
    request: Request,
) -> Result<(String, AddOutcome), Refusal> {
    let length = request.headers().typed_get::<ContentLength>();
    if length.is_some_and(|ContentLength(length)| length > target.max_body()) {
        return Err(Refusal::too_large(target.max_size));
    }
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|_| Refusal::bad("the request is not a form (multipart/form-data)"))?;
    let form = Form::read(form, target).await?;
    let filename = form.filename()?;
    let received = &form.content.as_ref().expect("filename() checks for it").1;
    form.check_digests(received)?;
    let _lock = target.locks.lock(&filename.text).await;
    let permit = target.inspections.acquire().await;
    let work = {
        let target = Arc::clone(target);
        tokio::task::spawn_blocking(move || add(&target, form, &filename))
    };
    let outcome = work.await.map_err(|error| Refusal::failed(&error))?;
    drop(permit);
    outcome
}

/// Inspects and adds the received file `filename`.
fn add(
    target: &UploadTarget,
    form: Form,
    filename: &DistributionName,
) -> Result<(String, AddOutcome), Refusal> {
    let (_, received) = form.content.expect("the caller has checked it");
    let text = filename.text.clone();
    let publisher = &target.publisher;
    check_status(publisher, &filename.name)?;
    let known = publisher.lookup(&text, received.digests.sha256);
    let outcome = if let Some(known) = known {
        known
    } else {
        let inspected = incoming::inspect(received.file.path(), filename);
        let inspected = inspected.map_err(|error| match error.kind() {
            Kind::Fetch => Refusal::bad(error.display_chain()),
            _ => Refusal::failed(&error),
        })?;
        let addition = Addition {
            entry: entry(filename, &received, inspected.requires_python),
            metadata: inspected.metadata,
            status: None,
        };
        publisher
            .add(received.file.path(), &addition)
            .map_err(|error: Error| Refusal::failed(&error))?
    };
    if outcome == AddOutcome::Conflict {
        let reason = format!("{text} already exists with other content");
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    Ok((text, outcome))
}

/// Fails if the project does not accept files (PEP 792).
fn check_status(publisher: &DirectoryPublisher, name: &PackageName) -> Result<(), Refusal> {
    let bytes = wheelhouse_fs::input::read_regular(&publisher.directory.join(MANIFEST_NAME));
    let manifest = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
    let status = manifest.and_then(|manifest| manifest.project_status.get(name).cloned());
    match status.map(|status| status.status) {
        Some(marker @ (StatusMarker::Archived | StatusMarker::Quarantined)) => {
            let reason = format!("the project {name} is {}", marker.as_str());
            Err(Refusal::new(StatusCode::FORBIDDEN, reason))
        }
        _ => Ok(()),
    }
}

/// Returns the entry of an uploaded file in the manifest.
fn entry(
    filename: &DistributionName,
    received: &ReceivedFile,
    requires_python: Option<String>,
) -> AddedEntry {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let listing = Listing {
        uploaded: now.and_then(|time| i64::try_from(time.as_millis()).ok()),
        ..Listing::default()
    };
    let (name, version) = (filename.name.to_string(), filename.version.to_string());
    let (sha256, size) = (received.digests.sha256, received.digests.length);
    let text = filename.text.clone();
    if filename.is_wheel {
        AddedEntry::Wheel(Wheel {
            filename: text.clone(),
            name,
            version,
            sha256,
            size,
            requires_python,
            dependencies: Vec::new(),
            origin: Origin::Upload,
            source: text,
            listing,
            added: true,
            build_only: false,
            built: None,
        })
    } else {
        AddedEntry::Sdist(Sdist {
            filename: text.clone(),
            name,
            version,
            sha256,
            size,
            origin: Origin::Upload,
            source: text,
            requires_python,
            listing,
            added: true,
            build_only: false,
        })
    }
}

/// The form of an upload.
struct Form {
    /// The fields of [`FIELDS`] that it has.
    fields: HashMap<&'static str, String>,
    /// The stated file name, and the file.
    content: Option<(String, ReceivedFile)>,
}

impl Form {
    async fn read(mut form: Multipart, target: &UploadTarget) -> Result<Self, Refusal> {
        let mut fields = HashMap::new();
        let mut content = None;
        while let Some(field) = in_time(form.next_field()).await? {
            let name = field.name().unwrap_or_default();
            if name == "content" {
                if content.is_some() {
                    return Err(Refusal::bad("the form has several files"));
                }
                let filename = field.file_name().unwrap_or_default().to_owned();
                content = Some((filename, receive(field, target).await?));
            } else if let Some(name) = FIELDS.into_iter().find(|known| *known == name)
                && fields.insert(name, text(field, name).await?).is_some()
            {
                return Err(Refusal::bad(format!(
                    "the form has several fields `{name}`"
                )));
            }
        }
        Ok(Self { fields, content })
    }

    fn field(&self, name: &str) -> Option<&str> {
        let value = self.fields.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Returns the name of the file if it is that of the stated project, version and type.
    fn filename(&self) -> Result<DistributionName, Refusal> {
        if self.field(":action") != Some("file_upload") {
            return Err(Refusal::bad("`:action` is not `file_upload`"));
        }
        if self
            .field("protocol_version")
            .is_some_and(|version| version != "1")
        {
            return Err(Refusal::bad("`protocol_version` is not 1"));
        }
        let Some((filename, _)) = &self.content else {
            return Err(Refusal::bad("the form has no file `content`"));
        };
        let shown = limits::excerpt(filename);
        let missing = |name: &str| Refusal::bad(format!("the form has no field `{name}`"));
        let name = self.field("name").ok_or_else(|| missing("name"))?;
        let name = PackageName::from_str(name).map_err(|_| {
            Refusal::bad(format!("`{}` is not a valid name", limits::excerpt(name)))
        })?;
        let version = self.field("version").ok_or_else(|| missing("version"))?;
        let version = Version::from_str(version).map_err(|_| {
            Refusal::bad(format!(
                "`{}` is not a valid version",
                limits::excerpt(version)
            ))
        })?;
        let filename = DistributionName::parse(filename, &name).ok_or_else(|| {
            Refusal::bad(format!(
                "`{shown}` is not the name of a wheel or an sdist of {name}"
            ))
        })?;
        if filename.version != version {
            return Err(Refusal::bad(format!(
                "`{shown}` is not of version {version}"
            )));
        }
        let expected = if filename.is_wheel {
            "bdist_wheel"
        } else {
            "sdist"
        };
        if self
            .field("filetype")
            .is_some_and(|filetype| filetype != expected)
        {
            return Err(Refusal::bad(format!(
                "`filetype` of `{shown}` is not {expected}"
            )));
        }
        Ok(filename)
    }

    /// Compares the stated digests with those of the received file.
    fn check_digests(&self, received: &ReceivedFile) -> Result<(), Refusal> {
        let digests = [
            ("sha256_digest", Some(received.digests.sha256.to_string())),
            ("md5_digest", received.digests.get(Algorithm::Md5)),
            ("blake2_256_digest", Some(received.blake2.clone())),
        ];
        for (field, digest) in digests {
            if let (Some(stated), Some(digest)) = (self.field(field), digest)
                && !stated.eq_ignore_ascii_case(&digest)
            {
                return Err(Refusal::bad(format!(
                    "the file does not have the `{field}` of the form"
                )));
            }
        }
        Ok(())
    }
}

/// Receives the file of an upload.
async fn receive(mut field: Field<'_>, target: &UploadTarget) -> Result<ReceivedFile, Refusal> {
    let incoming = Incoming::create(&target.publisher, target.max_size).await;
    let mut incoming = incoming.map_err(|error| Refusal::failed(&error))?;
    while let Some(chunk) = in_time(field.chunk()).await? {
        incoming.write(&chunk).await.map_err(|error| match error {
            ReceiveError::TooLarge(limit) => Refusal::too_large(limit),
            ReceiveError::Io(error) => Refusal::failed(&error),
        })?;
    }
    incoming
        .finish()
        .await
        .map_err(|error| Refusal::failed(&error))
}

/// Reads the short text of the field `name`.
async fn text(mut field: Field<'_>, name: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = in_time(field.chunk()).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD {
            return Err(Refusal::bad(format!("the field `{name}` is too long")));
        }
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad(format!("the field `{name}` is not UTF-8")))
}

/// Waits for `next` part of a request, but not for ever.
async fn in_time<T>(next: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Refusal> {
    match tokio::time::timeout(STALLED, next).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request has stalled",
        )),
    }
}

#[cfg(test)]
mod tests;

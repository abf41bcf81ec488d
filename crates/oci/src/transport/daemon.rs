//! The transport `docker-daemon:`: loads and saves archives through the API of docker and podman.

use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use reqwest::{Body, Client, Response};
use tempfile::TempDir;
use tokio::runtime::Handle;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::image_set::ImageSet;
use crate::stream::{self, StreamWriter};
use crate::transport::archive::{ArchiveFormat, ArchiveReader, ArchiveWriter};
use crate::transport::image_writer::{BlobOutput, ImageWriter};
use wheelhouse_fs::interruption::blocking;

/// The maximum size of a response, in bytes.
const MAX_RESPONSE: u64 = 1 << 20;

/// Writes an image into docker or podman, by way of an archive, because the API requires its size in advance.
pub struct DaemonWriter {
    archive: Box<ArchiveWriter>,
    directory: TempDir,
    socket: PathBuf,
    name: String,
    handle: Handle,
}

const ARCHIVE: &str = "image.tar";

impl DaemonWriter {
    /// Creates a writer of the image `name` for the daemon at `socket`.
    ///
    /// # Errors
    /// [`Kind::Publish`] if temporary files cannot be created; [`Kind::Input`] if `socket` is not an absolute path.
    pub fn new(socket: &Path, name: String) -> Result<Self> {
        check_socket(socket)?;
        let directory = tempfile::tempdir().context(Kind::Publish, || {
            "failed to create a temporary directory".to_owned()
        })?;
        let format = ArchiveFormat::Docker(Some(name.clone()));
        Ok(Self {
            archive: Box::new(ArchiveWriter::new(directory.path().join(ARCHIVE), format)?),
            directory,
            socket: socket.to_owned(),
            name,
            handle: Handle::current(),
        })
    }
}

impl ImageWriter for DaemonWriter {
    fn wants_plain(&self) -> bool {
        self.archive.wants_plain()
    }

    fn begin(&mut self, sizes: &[u64]) -> Result<()> {
        self.archive.begin(sizes)
    }

    fn open(&self, index: usize) -> Result<Box<dyn BlobOutput + '_>> {
        self.archive.open(index)
    }

    fn finish(self: Box<Self>, images: &ImageSet) -> Result<()> {
        self.archive.finish(images)?;
        let path = self.directory.path().join(ARCHIVE);
        self.handle.block_on(load(&self.socket, &self.name, &path))
    }
}

/// Loads an archive into the daemon.
async fn load(socket: &Path, name: &str, archive: &Path) -> Result<()> {
    let failed = || format!("failed to load docker-daemon:{name}");
    let file = tokio::fs::File::open(archive)
        .await
        .context(Kind::Publish, failed)?;
    let size = file.metadata().await.context(Kind::Publish, failed)?.len();
    let (sender, mut receiver) = stream::channel();
    let mut file = file.into_std().await;
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter::new(sender, 0);
        // If reading fails, the request fails because the stream is too short.
        let _ =
            std::io::copy(&mut file, &mut writer).and_then(|_| std::io::Write::flush(&mut writer));
    });
    let body = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    let request = client(socket)?
        .post("http://localhost/images/load?quiet=1")
        .header("content-type", "application/x-tar")
        .header("content-length", size)
        .body(Body::wrap_stream(body));
    let response = request
        .send()
        .await
        .map_err(|error| unreachable(Kind::Publish, socket, error))?;
    let (ok, text) = read_response(response)
        .await
        .context(Kind::Publish, failed)?;
    // The daemon reports a failure during the load as a JSON message in a successful response.
    let has_error = serde_json::Deserializer::from_str(&text)
        .into_iter::<serde_json::Value>()
        .map_while(Result::ok)
        .any(|message| !message["error"].is_null());
    tracing::debug!(
        name,
        bytes = size,
        succeeded = ok && !has_error,
        "loaded an image into the daemon"
    );
    if ok && !has_error {
        return Ok(());
    }
    Err(Error::new(Kind::Publish, failed()).with_detail(text))
}

/// Saves the image `name` of the daemon.
///
/// # Errors
/// [`Kind::Fetch`] if the daemon cannot be reached or does not have the image; [`Kind::Input`] if `socket` is not an absolute
/// path.
pub async fn save(socket: &Path, name: &str) -> Result<ArchiveReader> {
    check_socket(socket)?;
    let failed = || format!("failed to read docker-daemon:{name}");
    let request = client(socket)?.get(format!("http://localhost/images/{name}/get"));
    let response = request
        .send()
        .await
        .map_err(|error| unreachable(Kind::Fetch, socket, error))?;
    if !response.status().is_success() {
        let (_, text) = read_response(response).await.context(Kind::Fetch, failed)?;
        return Err(Error::new(Kind::Fetch, failed()).with_detail(text));
    }
    let mut file = spool(response).await.context(Kind::Fetch, failed)?;
    file.seek(SeekFrom::Start(0)).context(Kind::Fetch, failed)?;
    let name = format!("docker-daemon:{name}");
    blocking(move || ArchiveReader::read(file, name, ArchiveFormat::Docker(None))).await
}

/// Writes a body to an unnamed temporary file.
async fn spool(mut response: Response) -> std::io::Result<std::fs::File> {
    use tokio::io::AsyncWriteExt as _;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    while let Some(chunk) = response.chunk().await.map_err(std::io::Error::other)? {
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

async fn read_response(response: Response) -> std::io::Result<(bool, String)> {
    let ok = response.status().is_success();
    let bytes = crate::registry::http::read_local_body(response, MAX_RESPONSE).await?;
    let mut text = String::new();
    let _ = (&bytes[..]).read_to_string(&mut text);
    Ok((ok, text))
}

fn check_socket(socket: &Path) -> Result<()> {
    if socket.is_absolute() {
        return Ok(());
    }
    let message = format!("DOCKER_HOST `{}` is not a Unix socket", socket.display());
    Err(Error::new(Kind::Input, message)
        .with_hint("Set it to unix:///PATH. For a daemon on another machine, push to a registry, or load an archive there."))
}

fn client(socket: &Path) -> Result<Client> {
    Client::builder()
        .unix_socket(socket)
        .build()
        .context(Kind::Input, || "failed to create an HTTP client".to_owned())
}

fn unreachable(kind: Kind, socket: &Path, error: reqwest::Error) -> Error {
    let message = format!("failed to connect to {}", socket.display());
    Error::new(kind, message).caused_by(error).with_hint(
        "Start docker or podman (`podman system service`), or set DOCKER_HOST to its socket.",
    )
}

//! docker and podman, through the socket of their common API.
//!
//! Responsible for handing archives over and taking them. Never runs a container.

use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use reqwest::{Body, Client, Response};
use tempfile::TempDir;
use tokio::runtime::Handle;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::image::image_set::ImageSet;
use crate::stream::{self, StreamWriter};
use crate::transport::ArchiveReader;
use crate::transport::archive::{ArchiveFormat, ArchiveWriter};
use crate::transport::{BlobOutput, ImageWriter};
use wheelhouse_fs::interruption::blocking;

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// An image on its way into docker or podman: an archive first, because its API wants sizes
/// before contents.
pub struct DaemonWriter {
    archive: Box<ArchiveWriter>,
    directory: TempDir,
    socket: PathBuf,
    name: String,
    handle: Handle,
}

const ARCHIVE: &str = "image.tar";

impl DaemonWriter {
    /// Begins the image `name`, for whoever listens at `socket`.
    ///
    /// # Errors
    /// [`Kind::Publish`], when there is no room for temporary files; [`Kind::Input`], when `socket` is
    /// no path.
    pub fn new(socket: &Path, name: String) -> Result<Self> {
        check(socket)?;
        let directory = tempfile::tempdir().context(Kind::Publish, || {
            "no temporary directory can be made".to_owned()
        })?;
        let form = ArchiveFormat::Docker(Some(name.clone()));
        Ok(Self {
            archive: Box::new(ArchiveWriter::new(directory.path().join(ARCHIVE), form)?),
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

    fn finish(self: Box<Self>, composed: &ImageSet) -> Result<()> {
        self.archive.finish(composed)?;
        let path = self.directory.path().join(ARCHIVE);
        self.handle.block_on(load(&self.socket, &self.name, &path))
    }
}

/// Has the daemon load an archive.
async fn load(socket: &Path, name: &str, archive: &Path) -> Result<()> {
    let failed = || format!("docker-daemon:{name} cannot be loaded");
    let file = tokio::fs::File::open(archive)
        .await
        .context(Kind::Publish, failed)?;
    let size = file.metadata().await.context(Kind::Publish, failed)?.len();
    let (sender, mut receiver) = stream::channel();
    let mut file = file.into_std().await;
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter::new(sender, 0);
        // Whoever takes the stream notices when it ends early.
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
    let (ok, said) = answer(response).await.context(Kind::Publish, failed)?;
    // A failure in mid-work comes with a good status.
    if ok && !said.contains("\"error\"") {
        return Ok(());
    }
    Err(Error::new(Kind::Publish, failed()).with_detail(said))
}

/// Takes the image `name` out of the daemon.
///
/// # Errors
/// [`Kind::Fetch`], when nobody listens or there is no such image; [`Kind::Input`], when `socket` is
/// no path.
pub async fn save(socket: &Path, name: &str) -> Result<ArchiveReader> {
    check(socket)?;
    let failed = || format!("docker-daemon:{name} cannot be read");
    let request = client(socket)?.get(format!("http://localhost/images/{name}/get"));
    let response = request
        .send()
        .await
        .map_err(|error| unreachable(Kind::Fetch, socket, error))?;
    if !response.status().is_success() {
        let (_, said) = answer(response).await.context(Kind::Fetch, failed)?;
        return Err(Error::new(Kind::Fetch, failed()).with_detail(said));
    }
    let mut file = spool(response).await.context(Kind::Fetch, failed)?;
    file.seek(SeekFrom::Start(0)).context(Kind::Fetch, failed)?;
    let name = format!("docker-daemon:{name}");
    blocking(move || ArchiveReader::read(file, name, ArchiveFormat::Docker(None))).await
}

/// Writes a body into a file that has no name.
async fn spool(mut response: Response) -> std::io::Result<std::fs::File> {
    use tokio::io::AsyncWriteExt as _;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    while let Some(chunk) = response.chunk().await.map_err(std::io::Error::other)? {
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(file.into_std().await)
}

async fn answer(response: Response) -> std::io::Result<(bool, String)> {
    let ok = response.status().is_success();
    let bytes = crate::registry::http::local(response, LARGEST_ANSWER).await?;
    let mut said = String::new();
    let _ = (&bytes[..]).read_to_string(&mut said);
    Ok((ok, said))
}

fn check(socket: &Path) -> Result<()> {
    if socket.is_absolute() {
        return Ok(());
    }
    let message = format!("DOCKER_HOST `{}` is no socket", socket.display());
    Err(Error::new(Kind::Input, message)
        .with_hint("Name one as unix:///PATH; for a daemon elsewhere, push to a registry, or load an archive there."))
}

fn client(socket: &Path) -> Result<Client> {
    Client::builder()
        .unix_socket(socket)
        .build()
        .context(Kind::Input, || "no HTTP client can be made".to_owned())
}

fn unreachable(kind: Kind, socket: &Path, error: reqwest::Error) -> Error {
    let message = format!("nobody answers at {}", socket.display());
    Error::new(kind, message).caused_by(error).with_hint(
        "Start docker or podman (`podman system service`), or say in DOCKER_HOST where it listens.",
    )
}

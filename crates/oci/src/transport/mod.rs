//! The transports of images, one module each.

pub mod archive;
pub mod daemon;
pub mod image_reader;
pub mod image_writer;
pub mod layout;
pub mod registry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_types::Result;

pub use image_reader::{ImageReader, SourceImage, find_image};
pub use image_writer::{BlobOutput, ImageWriter};
pub use wheelhouse_types::image_location::ImageLocation;

use crate::registry::client::Purpose;
use crate::registry::{Access, Registry};
use archive::{ArchiveFormat, ArchiveReader, ArchiveWriter};
use daemon::DaemonWriter;
use layout::{LayoutReader, LayoutWriter};
use registry::RegistryReader;

/// Opens an image. `socket` is that of docker or podman.
///
/// # Errors
/// [`Kind::Fetch`](wheelhouse_types::Kind::Fetch) if the image cannot be read.
pub async fn open(
    location: &ImageLocation,
    access: &Access,
    socket: &Path,
) -> Result<Arc<dyn ImageReader>> {
    Ok(match location.clone() {
        ImageLocation::Layout { directory, tag } => Arc::new(LayoutReader { directory, tag }),
        ImageLocation::LayoutArchive { file, tag } => {
            open_archive(file, ArchiveFormat::Layout(tag)).await?
        }
        ImageLocation::DockerArchive { file, name } => {
            open_archive(file, ArchiveFormat::Docker(name)).await?
        }
        ImageLocation::Registry(reference) => Arc::new(RegistryReader {
            registry: Registry::open(&reference, access, Purpose::Pull).await?,
            handle: Handle::current(),
        }),
        ImageLocation::Daemon { name } => Arc::new(daemon::save(socket, &name).await?),
    })
}

/// Lists the files of an archive on a blocking thread, because the archive may be large.
async fn open_archive(file: PathBuf, format: ArchiveFormat) -> Result<Arc<dyn ImageReader>> {
    Ok(Arc::new(
        blocking(move || ArchiveReader::open(&file, format)).await?,
    ))
}

/// Creates the writer of a local destination. For a registry there is none, because its layers are uploaded later, and only
/// those that it lacks.
pub(crate) fn create_writer(
    location: &ImageLocation,
    socket: &Path,
) -> Result<Option<Box<dyn ImageWriter>>> {
    Ok(match location.clone() {
        ImageLocation::Layout { directory, tag } => {
            Some(Box::new(LayoutWriter::new(directory, tag)))
        }
        ImageLocation::LayoutArchive { file, tag } => Some(Box::new(ArchiveWriter::new(
            file,
            ArchiveFormat::Layout(tag),
        )?)),
        ImageLocation::DockerArchive { file, name } => Some(Box::new(ArchiveWriter::new(
            file,
            ArchiveFormat::Docker(name),
        )?)),
        ImageLocation::Daemon { name } => Some(Box::new(DaemonWriter::new(socket, name)?)),
        ImageLocation::Registry(_) => None,
    })
}

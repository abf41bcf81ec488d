//! Wheelhouses as images (OCI image and distribution specifications), without a daemon.
//!
//! There:
//! 1. [`contents`] finds what of a wheelhouse goes into an image, [`architecture`] what of it fits
//!    which processor, and [`grouping`] what shares a layer.
//! 2. [`making`] makes the layers ([`layer`]) on all processors, each once, for all local
//!    destinations ([`layout`], [`archive`]) at the same time; [`compose`] makes the documents
//!    ([`document`]) of what is then known.
//! 3. [`registry`] gets what it lacks, and the bill of materials ([`sbom`]); [`daemon`] gets an
//!    archive.
//!
//! And back:
//! 4. [`source`] opens an image wherever it is; [`unpack`] reads its layers, and [`root`] tells which
//!    names, whiteouts and links they leave.
//! 5. [`extract`] makes a wheelhouse of them again, [`inspect`] tells what is in it.
//!
//! The same wheelhouse gives the same bytes: nothing of a clock, a user, a machine or an order gets
//! into an image. Never builds or resolves anything, and never runs what is in an image.

pub mod architecture;
pub mod archive;
pub mod blob;
pub mod compose;
pub mod contents;
pub mod daemon;
pub mod document;
pub mod extract;
pub mod grouping;
pub mod inspect;
pub mod layer;
pub mod layout;
pub mod linked;
pub mod making;
pub mod progress;
pub mod registry;
mod root;
pub mod sbom;
pub mod source;
mod stored;
mod stream;
pub mod supply;
pub mod unpack;

use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::distribution::Reference;
use tokio::runtime::Handle;
use wheelhouse_types::{Error, Kind, Result};

pub use compose::{Composed, Manner};
pub use making::Maker;
pub use progress::Watch;
pub use registry::Access;
pub use wheelhouse_types::image_location::ImageLocation as Location;

use archive::{ArchiveDestination, Form};
use compose::{Base, Draft, Image};
use contents::Contents;
use layout::LayoutDestination;
use making::Destination;
use registry::Registry;
use registry::client::Purpose;
use registry::push::{Pushed, Upload};
use source::{ArchiveSource, LayoutSource, RegistrySource, Source};
use supply::Supply;

/// An image to be made and published.
pub struct Job {
    /// Absolute.
    pub wheelhouses: Vec<PathBuf>,
    /// Their paths are absolute. None: nothing is written.
    pub destinations: Vec<Location>,
    pub manner: Manner,
    /// Whether one image has what several architectures need.
    pub all_in_one: bool,
    /// The image to put it upon.
    pub base: Option<Location>,
    pub access: Access,
    /// The socket of docker or podman.
    pub socket: PathBuf,
    pub maker: Maker,
}

/// What was published where.
pub struct Published {
    pub composed: Arc<Composed>,
    /// For each registry, what was sent.
    pub pushed: Vec<(Location, Pushed)>,
}

/// Makes the image, and publishes it to all destinations.
///
/// # Errors
/// Wheelhouses that cannot be read, and destinations that cannot be written.
pub async fn publish(job: Job, watch: Arc<dyn Watch>) -> Result<Published> {
    let (manner, maker) = (job.manner.clone(), job.maker.clone());
    let base = match &job.base {
        Some(location) => Some(open(location, &job.access, &job.socket).await?),
        None => None,
    };
    let (wheelhouses, all_in_one) = (job.wheelhouses, job.all_in_one);
    let mut local: Vec<Box<dyn Destination>> = Vec::new();
    for location in &job.destinations {
        local.extend(destination(location, &job.socket)?);
    }
    let composing = move || {
        let drafts = drafts(&wheelhouses, all_in_one, base.as_ref())?;
        compose::compose(drafts, &manner, local, &maker)
    };
    let composed = Arc::new(on_thread(composing).await?);
    let mut pushed = Vec::new();
    for location in job.destinations {
        if let Location::Registry(reference) = &location {
            let base = job.base.as_ref();
            let sent = push(reference, base, &job.access, &composed, &watch).await?;
            pushed.push((location, sent));
        }
    }
    Ok(Published { composed, pushed })
}

/// Runs what waits for files and networks where no task has to wait for it.
///
/// # Errors
/// Whatever `work` fails with.
pub async fn on_thread<Output: Send + 'static>(
    work: impl FnOnce() -> Result<Output> + Send + 'static,
) -> Result<Output> {
    wheelhouse_fs::interruption::blocking(work).await
}

/// Opens an image.
///
/// # Errors
/// [`Kind::Fetch`], when it cannot be read.
pub async fn open(
    location: &Location,
    access: &Access,
    socket: &std::path::Path,
) -> Result<Arc<dyn Source>> {
    Ok(match location.clone() {
        Location::Layout { directory, tag } => Arc::new(LayoutSource { directory, tag }),
        Location::LayoutArchive { file, tag } => opened_archive(file, Form::Layout(tag)).await?,
        Location::DockerArchive { file, name } => opened_archive(file, Form::Docker(name)).await?,
        Location::Registry(reference) => Arc::new(RegistrySource {
            registry: Registry::open(&reference, access, Purpose::Pull).await?,
            handle: Handle::current(),
        }),
        Location::Daemon { name } => Arc::new(daemon::save(socket, &name).await?),
    })
}

/// Looks an archive through, which may be large.
async fn opened_archive(file: PathBuf, form: Form) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(
        on_thread(move || ArchiveSource::open(&file, form)).await?,
    ))
}

/// Where layers are written while they are made; nothing for a registry, which is asked first what
/// it has.
fn destination(
    location: &Location,
    socket: &std::path::Path,
) -> Result<Option<Box<dyn Destination>>> {
    Ok(match location.clone() {
        Location::Layout { directory, tag } => {
            Some(Box::new(LayoutDestination::new(directory, tag)))
        }
        Location::LayoutArchive { file, tag } => {
            Some(Box::new(ArchiveDestination::new(file, Form::Layout(tag))?))
        }
        Location::DockerArchive { file, name } => {
            Some(Box::new(ArchiveDestination::new(file, Form::Docker(name))?))
        }
        Location::Daemon { name } => Some(Box::new(daemon::DaemonDestination::new(socket, name)?)),
        Location::Registry(_) => None,
    })
}

/// One image for each architecture, each on its base.
fn drafts(
    wheelhouses: &[PathBuf],
    all_in_one: bool,
    base: Option<&Arc<dyn Source>>,
) -> Result<Vec<Draft>> {
    let mut drafts: Vec<Draft> = Vec::new();
    for directory in wheelhouses {
        let contents = Contents::open(directory)?;
        for (architecture, contents) in architecture::split(contents, all_in_one)? {
            if drafts
                .iter()
                .any(|draft| draft.architecture == architecture)
            {
                let message = format!(
                    "`{}` is the second wheelhouse for {architecture}",
                    directory.display()
                );
                return Err(Error::new(Kind::Input, message).with_hint(
                    "An image has one wheelhouse for each architecture; `wheelhouse download` makes one for several targets.",
                ));
            }
            let base = base.map(|source| Base::find(Arc::clone(source), &architecture));
            drafts.push(Draft {
                base: base.transpose()?,
                architecture,
                contents,
            });
        }
    }
    drafts.sort_by(|one, other| one.architecture.cmp(&other.architecture));
    Ok(drafts)
}

async fn push(
    reference: &Reference,
    base: Option<&Location>,
    access: &Access,
    composed: &Composed,
    watch: &Arc<dyn Watch>,
) -> Result<Pushed> {
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    let tag = tag.ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!("`docker://{reference}` names a digest"),
        )
        .with_hint("Name a tag to push to.")
    })?;
    let from = base.and_then(|base| match base {
        Location::Registry(base) if base.registry() == reference.registry() => {
            Some(base.repository().to_owned())
        }
        _ => None,
    });
    let purpose = Purpose::Push {
        from: from.iter().cloned().collect(),
    };
    let registry = Registry::open(reference, access, purpose).await?;
    let uploads = uploads(composed, from.as_deref());
    if registry.has_document(composed.root(), tag).await? {
        return Ok(Pushed {
            present: uploads.len(),
            ..Pushed::default()
        });
    }
    let pushed = registry.push_blobs(uploads, watch).await?;
    for Image {
        sbom,
        referrer,
        manifest,
        ..
    } in &composed.images
    {
        registry.attach(sbom, referrer, manifest).await?;
    }
    if composed.index.is_some() {
        for image in &composed.images {
            let digest = image.manifest.blob.digest();
            registry.push_document(&image.manifest, &digest).await?;
        }
    }
    registry.push_document(composed.root(), tag).await?;
    Ok(pushed)
}

/// Every blob of the images, large ones first.
fn uploads(composed: &Composed, from: Option<&str>) -> Vec<Upload> {
    let layers = composed.layers.iter().map(|made| Upload {
        blob: made.blob,
        supply: Supply::Layer(made.layer.clone()),
        from: None,
    });
    let configs = composed.images.iter().map(|image| Upload {
        blob: image.config.blob,
        supply: Supply::Bytes(image.config.bytes.clone()),
        from: None,
    });
    let foreign = composed.foreign().map(|(blob, supply)| Upload {
        blob,
        supply,
        from: from.map(ToOwned::to_owned),
    });
    let mut uploads: Vec<Upload> = layers.chain(configs).chain(foreign).collect();
    uploads.sort_by_key(|upload| std::cmp::Reverse(upload.blob.size));
    uploads
}

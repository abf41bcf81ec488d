//! Access to the wheelhouse that a command reads: a directory, or an image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_fs::scratch::Scratch;
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{Error, Kind, Result, image_location, names_image};

use crate::cli::args::{GlobalOptions, ImageReadArgs, WheelhouseArgs};
use crate::cli::commands::registry_access;
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::{self, Verbosity};
use wheelhouse_oci::extract::{self, Extraction};
use wheelhouse_oci::image::builder::path_in_image;
use wheelhouse_oci::registry::Access;
use wheelhouse_oci::transport::{self, ImageLocation, ImageReader, SourceImage};

/// The wheelhouse that a command reads.
pub(crate) enum WheelhouseInput {
    /// An existing directory.
    Directory(PathBuf),
    /// An image, which is not opened yet.
    Image(Box<ImageOpener>),
}

impl WheelhouseInput {
    /// Returns the directory or image that `arguments` name.
    ///
    /// # Errors
    /// `Input` if the directory does not exist, or if the image location or the configuration is not valid.
    pub(crate) fn new(
        arguments: &WheelhouseArgs,
        globals: &GlobalOptions,
        process: &ProcessEnv,
    ) -> Result<Self> {
        let place = &arguments.place;
        if names_image(place) {
            let image = place.parse()?;
            let opener = ImageOpener::new(&image, &arguments.read_args, globals, process)?;
            return Ok(Self::Image(Box::new(opener)));
        }
        let directory = process.directory.join(place);
        if !directory.is_dir() {
            let message = format!("the directory `{place}` does not exist");
            let meant = image_location::meant(place);
            let hint = format!("Name an image with its transport, such as `{meant}`.");
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
        Ok(Self::Directory(directory))
    }
}

/// An image to open.
pub(crate) struct ImageOpener {
    location: ImageLocation,
    access: Access,
    socket: PathBuf,
    choice: ImageSelection,
}

/// The selected image and the path of the wheelhouse in it.
pub(crate) struct ImageSelection {
    pub(crate) path: Option<String>,
    architecture: Option<String>,
}

impl ImageOpener {
    pub(crate) fn new(
        location: &ImageLocation,
        read_args: &ImageReadArgs,
        globals: &GlobalOptions,
        process: &ProcessEnv,
    ) -> Result<Self> {
        let settings = process.settings(&read_args.raw(globals))?;
        let verbosity = Verbosity::new(settings.quiet, settings.verbose);
        let notices = RetryNotices::new(render::choose(verbosity, false, false));
        Ok(Self {
            location: location.clone().below(&process.directory),
            access: registry_access::access(&read_args.registry, &settings, process, notices),
            socket: registry_access::socket(process),
            choice: ImageSelection {
                path: read_args.path.as_deref().map(path_in_image).transpose()?,
                architecture: read_args.arch.clone(),
            },
        })
    }

    /// Extracts the wheelhouse to `directory`.
    pub(crate) async fn extract(self, directory: PathBuf) -> Result<(SourceImage, Extraction)> {
        let (source, choice) = self.open().await?;
        wheelhouse_fs::interruption::blocking(move || choice.extract(source, &directory)).await
    }

    /// Extracts the wheelhouse to a temporary directory, and returns what `read` finds there.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let scratch = Scratch::new()?;
        let (source, choice) = self.open().await?;
        wheelhouse_fs::interruption::blocking(move || {
            let directory = scratch.path().join("wheelhouse");
            choice.extract(source, &directory)?;
            read(&directory)
        })
        .await
    }

    pub(crate) async fn open(self) -> Result<(Arc<dyn ImageReader>, ImageSelection)> {
        let source = transport::open(&self.location, &self.access, &self.socket).await?;
        Ok((source, self.choice))
    }
}

impl ImageSelection {
    pub(crate) fn find(&self, source: Arc<dyn ImageReader>) -> Result<SourceImage> {
        transport::find_image(source, self.architecture.as_deref())
    }

    fn extract(
        &self,
        source: Arc<dyn ImageReader>,
        directory: &Path,
    ) -> Result<(SourceImage, Extraction)> {
        let image = self.find(source)?;
        let extraction = extract::extract(&image, self.path.as_deref(), directory)?;
        Ok((image, extraction))
    }
}

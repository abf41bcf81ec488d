//! The `extract` command.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_types::Result;
use wheelhouse_types::retry::RetryNotices;

use crate::cli::args::{ExtractArgs, GlobalOptions, ImageReadArgs};
use crate::cli::commands::registry_access;
use crate::cli::commands::requirements_reader::SourceReader;
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::upload_bar::Activity;
use crate::cli::render::{self, Verbosity};
use crate::cli::{format, output, signals, style};
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_config::resolve_settings;
use wheelhouse_oci::extract::{self, Extraction};
use wheelhouse_oci::image::builder::path_in_image;
use wheelhouse_oci::registry::Access;
use wheelhouse_oci::transport::{self, ImageLocation, ImageReader, SourceImage};

const SCHEMA: &str = "wheelhouse-extract/1";

/// Runs the command.
pub(crate) fn run(arguments: &ExtractArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let opening = ImageOpener::new(&arguments.image, &arguments.read_args, globals, &process)?;
    let directory = process.directory.join(&arguments.directory);
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    let activity = Activity::new(globals.shows_progress(), verbosity);
    activity.begin(&format!("Extracting {}", arguments.image));
    let work = async move || {
        let (source, read_args) = opening.open().await?;
        wheelhouse_fs::interruption::blocking(move || {
            let image = read_args.find(source)?;
            let extracted = extract::extract(&image, read_args.path.as_deref(), &directory)?;
            Ok((image, extracted))
        })
        .await
    };
    let outcome = signals::run(work);
    activity.close();
    let (image, extracted) = outcome?;
    print_result(arguments, globals, &image, &extracted);
    Ok(())
}

/// An image to open.
pub(crate) struct ImageOpener {
    location: ImageLocation,
    access: Access,
    socket: std::path::PathBuf,
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
        let raw = read_args.raw(globals);
        let pip = process.pip_configuration(&raw)?;
        let reader = SourceReader::default();
        let settings = resolve_settings(&raw, &process.settings_context(&pip, &reader))?;
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

    /// Extracts the wheelhouse to a temporary directory, and returns what `read` finds there.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let scratch = Scratch::new()?;
        let (source, choice) = self.open().await?;
        wheelhouse_fs::interruption::blocking(move || {
            let directory = scratch.path().join("wheelhouse");
            let image = choice.find(source)?;
            extract::extract(&image, choice.path.as_deref(), &directory)?;
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
}

fn print_result(
    arguments: &ExtractArgs,
    globals: &GlobalOptions,
    image: &SourceImage,
    extracted: &Extraction,
) {
    let directory = arguments.directory.display().to_string();
    let published = &extracted.published;
    if globals.json {
        let document = json!({
            "schema": SCHEMA,
            "image": arguments.image.to_string(),
            "digest": image.digest,
            "directory": directory,
            "packages": extracted.distributions.len(),
            "bytes": extracted.bytes,
            "manifest": extracted.has_manifest,
            "unlisted": extracted.unlisted,
            "foreign": published.foreign,
            "removed": published.removed_distributions(),
        });
        output::data(&format!("{document:#}\n"));
        return;
    }
    let warnings = [
        (
            &extracted.unlisted,
            "is not in the manifest of the image and was not extracted",
        ),
        (&published.foreign, "existed in the directory before"),
        (
            &published.modified_since,
            "was replaced since an earlier run and was not changed",
        ),
    ];
    for (names, what) in warnings {
        for name in names {
            warn(&format!("`{}` {what}", escape_for_display(name)));
        }
    }
    for warning in &published.warnings {
        warn(warning);
    }
    let removed = published.removed_distributions();
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    if !removed.is_empty() && verbosity >= Verbosity::Normal {
        output::status(&render::removed(&directory, &removed, verbosity));
    }
    if !extracted.has_manifest {
        warn(
            "the image has no manifest to compare with; run `wheelhouse verify` to check the wheels",
        );
    }
    if globals.quiet == 0 {
        let packages = format::count(extracted.distributions.len(), "package");
        output::status(&format!(
            "{packages}, {} in {directory}",
            format::bytes(extracted.bytes)
        ));
    }
}

fn warn(text: &str) {
    output::status(&style::labeled(style::WARNING, "warning", text));
}

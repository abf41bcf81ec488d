//! The verb `extract`.
//!
//! Responsible for opening what is named, and for telling what came out of it. Never looks into a
//! layer itself.

use std::sync::Arc;

use serde_json::json;
use wheelhouse_types::Result;
use wheelhouse_types::retry::RetryNotices;

use crate::cli::args::{Extract, Globals, Reading};
use crate::cli::commands::registry_access;
use crate::cli::commands::requirements_reader::Reader;
use crate::cli::process_env::Process;
use crate::cli::render::upload_bar::Activity;
use crate::cli::render::{self, Verbosity};
use crate::cli::{format, output, signals, style};
use wheelhouse_archive::safe_path::shown;
use wheelhouse_config::settle;
use wheelhouse_oci::extract::{self, Extracted};
use wheelhouse_oci::image::builder::path_in_image;
use wheelhouse_oci::registry::Access;
use wheelhouse_oci::transport::{self, ImageReader, Location, SourceImage};

const SCHEMA: &str = "wheelhouse-extract/1";

/// Runs the verb.
pub(crate) fn run(arguments: &Extract, globals: &Globals) -> Result<()> {
    let process = Process::read()?;
    let opening = Opening::new(&arguments.image, &arguments.reading, globals, &process)?;
    let directory = process.directory.join(&arguments.directory);
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    let activity = Activity::new(globals.shows_progress(), verbosity);
    activity.begin(&format!("Extracting {}", arguments.image));
    let work = async move || {
        let (source, reading) = opening.open().await?;
        wheelhouse_fs::interruption::blocking(move || {
            let image = reading.find(source)?;
            let extracted = extract::extract(&image, reading.path.as_deref(), &directory)?;
            Ok((image, extracted))
        })
        .await
    };
    let outcome = signals::run(work);
    activity.close();
    let (image, extracted) = outcome?;
    tell(arguments, globals, &image, &extracted);
    Ok(())
}

/// An image to be opened.
pub(crate) struct Opening {
    location: Location,
    access: Access,
    socket: std::path::PathBuf,
    choice: Choice,
}

/// Which image, and what of it.
pub(crate) struct Choice {
    pub(crate) path: Option<String>,
    architecture: Option<String>,
}

impl Opening {
    pub(crate) fn new(
        location: &Location,
        reading: &Reading,
        globals: &Globals,
        process: &Process,
    ) -> Result<Self> {
        let raw = reading.raw(globals);
        let pip = process.pip_configuration(&raw)?;
        let reader = Reader::default();
        let settings = settle(&raw, &process.settings_context(&pip, &reader))?;
        let verbosity = Verbosity::new(settings.quiet, settings.verbose);
        let notices = RetryNotices::new(render::choose(verbosity, false, false));
        Ok(Self {
            location: location.clone().below(&process.directory),
            access: registry_access::access(&reading.registry, &settings, process, notices),
            socket: registry_access::socket(process),
            choice: Choice {
                path: reading.path.as_deref().map(path_in_image).transpose()?,
                architecture: reading.arch.clone(),
            },
        })
    }

    pub(crate) async fn open(self) -> Result<(Arc<dyn ImageReader>, Choice)> {
        let source = transport::open(&self.location, &self.access, &self.socket).await?;
        Ok((source, self.choice))
    }
}

impl Choice {
    pub(crate) fn find(&self, source: Arc<dyn ImageReader>) -> Result<SourceImage> {
        transport::find(source, self.architecture.as_deref())
    }
}

fn tell(arguments: &Extract, globals: &Globals, image: &SourceImage, extracted: &Extracted) {
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
            "is in the image, but not in its manifest, and was left out",
        ),
        (&published.foreign, "was in the directory before"),
        (
            &published.replaced_since,
            "was replaced since an earlier run and was left alone",
        ),
    ];
    for (names, what) in warnings {
        for name in names {
            warn(&format!("`{}` {what}", shown(name)));
        }
    }
    for warning in &published.warnings {
        warn(warning);
    }
    let removed = published.removed_distributions();
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    if !removed.is_empty() && verbosity >= Verbosity::Normal {
        output::talk(&render::removed(&directory, &removed, verbosity));
    }
    if !extracted.has_manifest {
        warn("the image has no manifest to compare with; `wheelhouse verify` tells more");
    }
    if globals.quiet == 0 {
        let packages = format::count(extracted.distributions.len(), "package");
        output::talk(&format!(
            "{packages}, {} in {directory}",
            format::bytes(extracted.bytes)
        ));
    }
}

fn warn(text: &str) {
    output::talk(&style::labelled(style::WARNING, "warning", text));
}

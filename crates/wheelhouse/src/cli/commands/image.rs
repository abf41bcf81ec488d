//! The `image` command.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use serde_json::{Value, json};
use wheelhouse_types::{Error, Kind, Result};

use crate::cli::args::{GlobalOptions, ImageArgs, RunOptions};
use crate::cli::commands::session::CommandContext;
use crate::cli::commands::{build, registry_access};
use crate::cli::render::Verbosity;
use crate::cli::render::upload_bar::UploadBar;
use crate::cli::{format, output};
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_oci::image::builder::ImageOptions;
use wheelhouse_oci::image::builder::path_in_image;
use wheelhouse_oci::image::layer_writer::LayerWriter;
use wheelhouse_oci::publish::{PublishRequest, PublishedImages, publish};
use wheelhouse_oci::transport::ImageLocation;
use wheelhouse_store::Store;

const SCHEMA: &str = "wheelhouse-image/1";

/// The default path of the wheelhouse.
const WHEELHOUSE: &str = "wheelhouse";

/// Runs the command.
pub(crate) fn run(image: ImageArgs, globals: &GlobalOptions, matches: &ArgMatches) -> Result<()> {
    let paths = image.paths()?;
    let raw = image.raw(globals, matches);
    let mut context = CommandContext::new(raw, image.source.clone(), globals, true)?;
    context.registry = image.registry.clone();
    context.execute(move |context| Box::pin(execute(context, image, paths)))
}

async fn execute(
    mut context: CommandContext,
    image: ImageArgs,
    (wheelhouses, destinations): (Vec<PathBuf>, Vec<ImageLocation>),
) -> Result<()> {
    let mut job = job(&context, &image, wheelhouses, destinations)?;
    let (json, quiet) = (context.json, context.settings.quiet > 0);
    let settings = &context.settings;
    let verbosity = Verbosity::new(settings.quiet, settings.verbose);
    let bar = Arc::new(UploadBar::new(settings.progress, verbosity));
    let dry_run = image.manner.dry_run;
    let scratch = Scratch::new()?;
    if image.builds() {
        if dry_run {
            context.settings.output = scratch.path().join(WHEELHOUSE);
        }
        job.wheelhouses = vec![context.settings.output.clone()];
        Box::pin(build::execute(context, Vec::new(), RunOptions::default())).await?;
    }
    let named = std::mem::take(&mut job.destinations);
    job.destinations = if dry_run { Vec::new() } else { named.clone() };
    bar.begin("Making layers");
    let published = publish(job, bar.clone()).await;
    bar.close();
    let published = published?;
    if json {
        output::data(&format!("{:#}\n", as_json(&published, &named, dry_run)));
    } else {
        output::data(&format!("{}\n", published.images.root().blob.digest()));
        if !quiet {
            output::status(&summary(&published, &named, dry_run));
        }
    }
    Ok(())
}

fn job(
    context: &CommandContext,
    image: &ImageArgs,
    mut wheelhouses: Vec<PathBuf>,
    destinations: Vec<ImageLocation>,
) -> Result<PublishRequest> {
    let process = &context.process;
    let manner = &image.manner;
    if wheelhouses.is_empty() {
        wheelhouses.push(WHEELHOUSE.into());
    }
    let created = process.environment.get_nonempty("SOURCE_DATE_EPOCH");
    let cache = context.settings.cache.clone();
    let below = |location: ImageLocation| location.below(&process.directory);
    Ok(PublishRequest {
        wheelhouses: wheelhouses
            .iter()
            .map(|path| process.directory.join(path))
            .collect(),
        destinations: destinations.into_iter().map(below).collect(),
        options: ImageOptions {
            path: path_in_image(&manner.path)?,
            single_layer: manner.single_layer,
            created: created.map(epoch).transpose()?,
            annotations: manner.annotations()?,
            labels: manner.labels()?,
        },
        all_in_one: manner.all_in_one,
        base: manner.base.clone().map(below),
        access: registry_access::access(
            &image.registry,
            &context.settings,
            process,
            context.notices.clone(),
        ),
        socket: registry_access::socket(process),
        layer_writer: LayerWriter {
            threads: process.processors,
            store: cache.and_then(|cache| Store::open(cache).ok()),
        },
    })
}

fn epoch(text: &str) -> Result<i64> {
    let seconds = text.parse().ok().filter(|seconds| *seconds >= 0);
    seconds.ok_or_else(|| {
        let message = format!("SOURCE_DATE_EPOCH `{text}` is not a number of seconds");
        Error::new(Kind::Input, message)
    })
}

fn summary(published: &PublishedImages, destinations: &[ImageLocation], dry_run: bool) -> String {
    let composed = &published.images;
    let packages = composed
        .images
        .iter()
        .map(|image| image.wheelhouse.distributions().count());
    let mut text = format!(
        "{} in {}, {}",
        format::count(packages.sum(), "package"),
        format::count(composed.layers.len(), "layer"),
        format::bytes(composed.size()),
    );
    for location in destinations.iter().filter(|_| !dry_run) {
        let _ = write!(text, "\n{location}");
        if let Some((_, pushed)) = published.pushed.iter().find(|(other, _)| other == location) {
            let _ = write!(
                text,
                ": {} uploaded ({}), {} already present",
                format::count(pushed.uploaded, "blob"),
                format::bytes(pushed.bytes),
                pushed.present,
            );
        }
    }
    text
}

fn as_json(published: &PublishedImages, destinations: &[ImageLocation], dry_run: bool) -> Value {
    let composed = &published.images;
    let images = composed.images.iter().map(|image| {
        let layers = image
            .layers
            .iter()
            .map(|index| composed.layers[*index].blob);
        let layers: Vec<_> = layers
            .map(|blob| json!({"digest": blob.digest(), "size": blob.size}))
            .collect();
        json!({
            "architecture": image.architecture,
            "digest": image.manifest.blob.digest(),
            "config": image.config.blob.digest(),
            "sbom": image.referrer.blob.digest(),
            "packages": image.wheelhouse.distributions().count(),
            "layers": layers,
        })
    });
    let destinations = destinations.iter().map(|location| {
        let pushed = published.pushed.iter().find(|(other, _)| other == location);
        json!({
            "name": location.to_string(),
            "uploaded": pushed.map(|(_, pushed)| pushed.uploaded),
            "bytes-uploaded": pushed.map(|(_, pushed)| pushed.bytes),
            "present": pushed.map(|(_, pushed)| pushed.present),
        })
    });
    json!({
        "schema": SCHEMA,
        "digest": composed.root().blob.digest(),
        "media-type": composed.root().media_type.to_string(),
        "bytes": composed.size(),
        "images": images.collect::<Vec<_>>(),
        "destinations": destinations.collect::<Vec<_>>(),
        "dry-run": dry_run,
    })
}

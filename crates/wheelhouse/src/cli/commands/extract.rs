//! The `extract` command.

use serde_json::json;
use wheelhouse_types::Result;

use crate::cli::args::{ExtractArgs, GlobalOptions};
use crate::cli::commands::image_opener::ImageOpener;
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::upload_bar::Activity;
use crate::cli::render::{self, Verbosity};
use crate::cli::{format, output, signals, style};
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_oci::extract::Extraction;
use wheelhouse_oci::transport::SourceImage;

const SCHEMA: &str = "wheelhouse-extract/1";

/// Runs the command.
pub(crate) fn run(arguments: &ExtractArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let opening = ImageOpener::new(&arguments.image, &arguments.read_args, globals, &process)?;
    let directory = process.directory.join(&arguments.directory);
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    let activity = Activity::new(globals.shows_progress(), verbosity);
    activity.begin(&format!("Extracting {}", arguments.image));
    let outcome = signals::run(move || opening.extract(directory));
    activity.close();
    let (image, extracted) = outcome?;
    print_result(arguments, globals, &image, &extracted);
    Ok(())
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

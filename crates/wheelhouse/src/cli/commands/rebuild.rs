//! The `rebuild` command, and the comparison of `build --verify-reproducible`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgMatches;
use serde_json::{Value, json};
use wheelhouse_archive::WheelDifference;
use wheelhouse_archive::safe_path::escape_for_display;
use wheelhouse_fs::input;
use wheelhouse_oci::find_links::ArchitectureSelection;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::manifest::{MANIFEST_NAME, Wheel};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind, Manifest, Result};

use crate::cli::args::{GlobalOptions, RebuildArgs};
use crate::cli::commands::farm;
use crate::cli::commands::session::{CommandContext, RunSession};
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::Verbosity;
use crate::cli::render::upload_bar::Activity;
use crate::cli::{error_report, exit_code, format, output, style};
use crate::pipeline::LockPolicy;
use crate::pipeline::rebuild::{self, RebuildJob, RebuildOutcome, RebuildProgress, RebuiltWheel};

const SCHEMA: &str = "wheelhouse-rebuild/1";

/// The number of differences of a wheel that are shown.
const SHOWN: usize = 10;

/// The built wheels of one wheelhouse.
struct Selection {
    directory: PathBuf,
    wheels: Vec<Wheel>,
}

/// Runs the command, and returns the exit code.
pub(crate) fn run(
    arguments: &RebuildArgs,
    globals: &GlobalOptions,
    matches: &ArgMatches,
) -> Result<u8> {
    let directory = ProcessEnv::read()?.directory;
    let places = arguments.places();
    let places = places.iter().map(|place| directory.join(place));
    let selections: Vec<Selection> = places.map(|place| select(&place)).collect::<Result<_>>()?;
    let wheels = || selections.iter().flat_map(|selection| &selection.wheels);
    let mut raw = arguments.raw(globals, matches);
    if raw.python.is_none() {
        raw.python = wheels().find_map(|wheel| python(&wheel.built.as_ref()?.python));
    }
    // A request needs requirements; those of each wheel replace them.
    raw.requirements = vec!["pip".to_owned()];
    let context = CommandContext::new(raw, None, globals, true)?;
    let kept = context.settings.output.clone();
    let json = globals.json;
    let options = arguments.farm.clone();
    let results = context.execute(move |context| {
        Box::pin(async move {
            let mut session = Box::pin(context.begin(ArchitectureSelection::Native)).await?;
            session.farm = farm::start(&options, &session).await?;
            Box::pin(rebuild_all(&session, selections, &kept)).await
        })
    })?;
    if json {
        output::data(&mask(&format!("{:#}\n", as_json(&results))));
    }
    match outcome(&results) {
        Ok(()) => Ok(exit_code::SUCCESS),
        Err(error) => {
            // The JSON document reports the failure already.
            if !json {
                error_report::report(&error, false);
            }
            Ok(exit_code::code(error.kind()))
        }
    }
}

/// Rebuilds the built wheels of the wheelhouse in the output directory of `session`.
pub(super) async fn after_build(session: &RunSession) -> Result<()> {
    let directory = session.context.settings.output.clone();
    let selection = select(&directory)?;
    // Beside the wheelhouse, in which only its own files belong.
    let mut kept = directory.into_os_string();
    kept.push("-rebuilt");
    let results = Box::pin(rebuild_all(session, vec![selection], Path::new(&kept))).await?;
    if session.context.json {
        output::data(&mask(&format!("{}\n", as_json(&results))));
    }
    outcome(&results)
}

/// Reads the manifest of a wheelhouse, or of that of a wheel.
fn select(place: &Path) -> Result<Selection> {
    let is_wheel = place
        .extension()
        .is_some_and(|extension| extension == "whl");
    let directory = match place.parent() {
        Some(parent) if is_wheel => parent,
        _ => place,
    };
    let path = directory.join(MANIFEST_NAME);
    let unreadable = || format!("failed to read the manifest {}", path.display());
    let bytes = input::read(&path).context(Kind::Input, unreadable)?;
    let manifest = Manifest::parse(&bytes).context(Kind::Input, unreadable)?;
    let mut wheels = manifest.wheels;
    if is_wheel {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        wheels.retain(|wheel| wheel.filename == *name);
        let fault = match wheels.first().map(|wheel| wheel.built.is_some()) {
            Some(true) => None,
            Some(false) => Some("was not built: it is as its index published it"),
            None => Some("is not part of the wheelhouse"),
        };
        if let Some(fault) = fault {
            let message = format!("{} {fault}", place.display());
            return Err(Error::new(Kind::Input, message));
        }
    }
    wheels.retain(|wheel| wheel.built.is_some());
    Ok(Selection {
        directory: directory.to_owned(),
        wheels,
    })
}

/// Returns the name of the Python that a manifest describes as `cpython 3.12.3`.
fn python(described: &str) -> Option<String> {
    let (implementation, version) = described.split_once(' ')?;
    let mut numbers = version.split('.');
    let version = format!("{}.{}", numbers.next()?, numbers.next()?);
    Some(match implementation {
        "cpython" => version,
        other => format!("{other}{version}"),
    })
}

/// Rebuilds the wheels of `selections`, and prints each result unless there will be a JSON document.
async fn rebuild_all(
    session: &RunSession,
    selections: Vec<Selection>,
    kept: &Path,
) -> Result<Vec<RebuiltWheel>> {
    let context = &session.context;
    context.renderer.close();
    let settings = &context.settings;
    let verbosity = Verbosity::new(settings.quiet, settings.verbose);
    let activity = Arc::new(Activity::new(settings.progress, verbosity));
    let (json, enough) = (context.json, verbosity < Verbosity::Normal);
    let mut results = Vec::new();
    for Selection { directory, wheels } in selections {
        let (line, original) = (Arc::clone(&activity), directory.clone());
        let progress = move |progress: RebuildProgress<'_>| match progress {
            RebuildProgress::Started(filename) => {
                line.begin(&format!("Rebuilding {filename}"));
            }
            RebuildProgress::Finished(rebuilt) if !json => {
                let text = as_text(rebuilt, &original, enough);
                line.above(|| output::data(&mask(&text)));
            }
            RebuildProgress::Finished(_) => {}
        };
        let job = RebuildJob {
            inputs: session.inputs(LockPolicy::Upgrade, false),
            directory,
            wheels,
            output: kept.to_owned(),
            progress: Arc::new(progress),
        };
        let rebuilt = Box::pin(rebuild::rebuild(job)).await;
        results.extend(rebuilt.inspect_err(|_| activity.close())?);
    }
    activity.close();
    if results.is_empty() && !json {
        output::data("no wheel was built: all are as their indexes published them\n");
    }
    Ok(results)
}

/// Returns an error if a wheel differs or could not be built.
fn outcome(results: &[RebuiltWheel]) -> Result<()> {
    let count = |is_counted: fn(&RebuildOutcome) -> bool| {
        let results = results.iter();
        results.filter(|one| is_counted(&one.outcome)).count()
    };
    let different = count(|one| matches!(one, RebuildOutcome::Different { .. }));
    let failed = count(|one| matches!(one, RebuildOutcome::Failed { .. }));
    let of_all = format!("of {} built wheels", results.len());
    if different > 0 {
        let message = format!("{different} {of_all} differ when they are built again");
        return Err(Error::new(Kind::Verification, message));
    }
    if failed > 0 {
        let message = format!("{failed} {of_all} could not be built again");
        return Err(Error::new(Kind::Build, message));
    }
    Ok(())
}

fn as_json(results: &[RebuiltWheel]) -> Value {
    json!({
        "schema": SCHEMA,
        "reproducible": outcome(results).is_ok(),
        "wheels": results,
    })
}

/// Formats the result for a wheel of the wheelhouse `directory`. With `enough`, an identical wheel is omitted.
fn as_text(rebuilt: &RebuiltWheel, directory: &Path, enough: bool) -> String {
    let (word, style) = match &rebuilt.outcome {
        RebuildOutcome::Identical if enough => return String::new(),
        RebuildOutcome::Identical => ("identical", style::DONE),
        RebuildOutcome::Different { .. } => ("different", style::ERROR),
        RebuildOutcome::Failed { .. } => ("failed", style::ERROR),
        RebuildOutcome::NotChecked { .. } => ("not checked", style::WARNING),
    };
    let filename = escape_for_display(&rebuilt.filename);
    let word = style::painted(style, &format!("{word:<11}"));
    let mut text = format!("{word}  {filename}\n");
    let (reason, detail) = match &rebuilt.outcome {
        RebuildOutcome::Identical => (None, None),
        RebuildOutcome::Different {
            differences,
            rebuilt: other,
        } => {
            for difference in differences.iter().take(SHOWN) {
                let _ = writeln!(text, "  {}", described(difference));
            }
            let more = differences.len().saturating_sub(SHOWN);
            if more > 0 {
                let _ = writeln!(text, "  and {}", format::count(more, "more difference"));
            }
            let original = directory.join(&rebuilt.filename);
            let command = format!(
                "Compare them with `diffoscope {} {}`.",
                original.display(),
                other.display()
            );
            let _ = writeln!(text, "  {}", style::labeled(style::HINT, "hint", &command));
            (None, None)
        }
        RebuildOutcome::Failed { reason, detail } => (Some(reason), detail.as_deref()),
        RebuildOutcome::NotChecked { reason } => (Some(reason), None),
    };
    for line in reason.iter().flat_map(|reason| reason.lines()) {
        let _ = writeln!(text, "  {}", style::presentable(line));
    }
    for line in detail.iter().flat_map(|detail| detail.lines()) {
        let _ = writeln!(text, "    {}", style::presentable(line));
    }
    text
}

/// Formats a difference as `file section: cause: detail`.
fn described(difference: &WheelDifference) -> String {
    let places = [&difference.file, &difference.section];
    let places: Vec<String> = places
        .into_iter()
        .flatten()
        .map(|place| escape_for_display(place))
        .collect();
    let place = (!places.is_empty()).then(|| places.join(" "));
    let cause = Some(difference.cause.to_string());
    let detail = difference.detail.as_deref().map(style::presentable);
    let parts = [place, cause, detail];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use wheelhouse_archive::Cause;

    use super::*;

    fn rebuilt(outcome: RebuildOutcome) -> RebuiltWheel {
        RebuiltWheel {
            filename: "alpha-1.0-py3-none-any.whl".to_owned(),
            outcome,
        }
    }

    fn different(count: usize) -> RebuiltWheel {
        let difference = WheelDifference {
            file: Some("alpha/_ext.so".to_owned()),
            section: Some(".debug_str".to_owned()),
            cause: Cause::Path,
            detail: Some("`/a` -> `/b`".to_owned()),
        };
        rebuilt(RebuildOutcome::Different {
            differences: vec![difference; count],
            rebuilt: "/out/alpha-1.0-py3-none-any.whl".into(),
        })
    }

    #[test]
    fn differences_fit_on_a_screen() {
        let text = as_text(&different(12), Path::new("/wheels"), false);
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 13);
        assert_eq!(lines[0], "different    alpha-1.0-py3-none-any.whl");
        assert_eq!(lines[1], "  alpha/_ext.so .debug_str: path: `/a` -> `/b`");
        assert_eq!(
            lines[11..],
            [
                "  and 2 more differences",
                "  hint: Compare them with `diffoscope /wheels/alpha-1.0-py3-none-any.whl /out/alpha-1.0-py3-none-any.whl`."
            ]
        );
    }

    #[test]
    fn difference_counts_more_than_failure() {
        let failed = || {
            rebuilt(RebuildOutcome::Failed {
                reason: "no compiler".to_owned(),
                detail: None,
            })
        };
        let kind = |results: &[RebuiltWheel]| outcome(results).map_err(|error| error.kind());
        assert_eq!(kind(&[rebuilt(RebuildOutcome::Identical)]), Ok(()));
        assert_eq!(kind(&[failed()]), Err(Kind::Build));
        assert_eq!(kind(&[failed(), different(1)]), Err(Kind::Verification));
    }

    #[test]
    fn python_of_manifest_is_a_name() {
        assert_eq!(python("cpython 3.12.3").as_deref(), Some("3.12"));
        assert_eq!(python("pypy 3.10.14").as_deref(), Some("pypy3.10"));
        assert_eq!(python("3"), None);
    }
}

//! The `build` command, and the builds that other commands start.

use std::collections::BTreeSet;

use clap::ArgMatches;
use wheelhouse_types::request::{Requirement, Resolution};
use wheelhouse_types::{Error, Kind, Request, Result};

use crate::cli::args::{BuildArgs, GlobalOptions, RunOptions};
use crate::cli::commands::after_build::AfterBuild;
use crate::cli::commands::session::{CommandContext, RunSession};
use crate::cli::commands::{dry_run, farm};
use crate::cli::hints::HintStyle;
use crate::pipeline::additional_set::{self, SetContents};
use crate::pipeline::{self, BuildJob, RunReport};
use wheelhouse_config::RawOptions;
use wheelhouse_oci::find_links::ArchitectureSelection;

/// A set of wheels that is added to the wheelhouse besides that of the request.
pub(crate) struct RequestedSet {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) request: SetRequest,
    pub(crate) contents: SetContents,
    pub(crate) build_only: bool,
    pub(crate) required: bool,
}

/// The requirements of an additional set.
pub(crate) enum SetRequest {
    /// A separate request.
    Own(Box<CommandContext>),
    /// Requirements that are resolved with the indexes and settings of the main request.
    SameSettings(Vec<Requirement>),
}

/// Runs the command.
pub(crate) fn run(build: BuildArgs, globals: &GlobalOptions, matches: &ArgMatches) -> Result<()> {
    let mut raw = build.raw(globals, matches);
    let (source, mut run_options) = (build.inputs.source, build.run_options);
    run_options.verify_reproducible = build.verify_reproducible;
    run_options.farm = build.farm;
    run_options.platform = build.platform.map(|name| name.parse()).transpose()?;
    let others = if build.separate {
        separate(&mut raw)
    } else {
        Vec::new()
    };
    let context = CommandContext::new(raw, source, globals, run_options.dry_run)?;
    let others = others.into_iter().map(|(name, raw)| {
        let context = CommandContext::new(raw, None, globals, run_options.dry_run)?;
        Ok(RequestedSet::of_file(name, context))
    });
    let others = others.collect::<Result<_>>()?;
    let work = move |context| Box::pin(execute(context, others, run_options));
    context.execute(work).map(drop)
}

/// Keeps the first requirements file in `raw`, and returns the others, each with the name of its lock and the
/// same settings.
pub(crate) fn separate(raw: &mut RawOptions) -> Vec<(String, RawOptions)> {
    let others = raw
        .requirement_files
        .split_off(raw.requirement_files.len().min(1));
    let mut names = BTreeSet::new();
    let others = others.into_iter().map(|file| {
        let name = set_name(&file, &mut names);
        let raw = RawOptions {
            requirements: Vec::new(),
            editables: Vec::new(),
            requirement_files: vec![file],
            extras: Vec::new(),
            groups: Vec::new(),
            ..raw.clone()
        };
        (name, raw)
    });
    others.collect()
}

/// Derives the name of a lock from the path of its requirements file; the name is added to `names`.
fn set_name(file: &str, names: &mut BTreeSet<String>) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let words = stem.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let base = match words.join("-") {
        empty if empty.is_empty() => "requirements".to_owned(),
        base => base,
    };
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut candidates = std::iter::once(base.clone()).chain(numbered);
    let free = |name: &String| names.insert(name.clone());
    candidates.find(free).unwrap_or(base)
}

impl RequestedSet {
    /// Creates the set of a requirements file.
    pub(crate) fn of_file(name: String, context: CommandContext) -> Self {
        Self {
            title: format!("the set `{name}`"),
            name,
            request: SetRequest::Own(Box::new(context)),
            contents: SetContents::Requirements,
            build_only: false,
            required: true,
        }
    }
}

/// Builds the request of `context` and the sets of `additions`.
pub(crate) async fn execute(
    mut context: CommandContext,
    additions: Vec<RequestedSet>,
    run_options: RunOptions,
) -> Result<RunReport> {
    let after = AfterBuild::new(&run_options, &mut context)?;
    let (session, mut job) = Box::pin(begin(context, &run_options)).await?;
    // The requests of additional sets refer to files of their sessions, which must stay until the end.
    let mut others = Vec::new();
    for addition in additions {
        let request = match addition.request {
            SetRequest::SameSettings(requirements) => alike(&job.inputs.request, requirements),
            SetRequest::Own(context) => {
                let other = context.begin(ArchitectureSelection::Native).await?;
                let request = other.request.clone();
                others.push(other);
                request
            }
        };
        job.additional_sets.push(additional_set::AdditionalSet {
            request,
            name: addition.name,
            title: addition.title,
            contents: addition.contents,
            build_only: addition.build_only,
            required: addition.required,
        });
    }
    if run_options.dry_run {
        let preview = Box::pin(pipeline::preview(job, session.observer)).await?;
        session.context.renderer.close();
        dry_run::print(&preview, session.context.json);
        return Ok(RunReport::default());
    }
    let has_several_files = session.context.settings.requirement_files.len() > 1;
    let report = pipeline::build(job, session.observer.clone()).await;
    session.shared.finish().await;
    let report = report.map_err(|error| match error.kind() {
        Kind::Resolution if has_several_files => may_be_separate(error),
        _ => error,
    })?;
    after.finish(session, &report).await?;
    Ok(report)
}

/// Copies `request` with other `requirements`.
fn alike(request: &Request, requirements: Vec<Requirement>) -> Request {
    Request {
        requirements,
        constraints: Vec::new(),
        overrides: Vec::new(),
        builds: Vec::new(),
        resolution: Resolution {
            // Only a lock is complete without dependencies, and these requirements are not from one.
            no_dependencies: false,
            ..request.resolution.clone()
        },
        ..request.clone()
    }
}

/// Adds a hint that conflicting requirements files can be resolved separately.
fn may_be_separate(error: Error) -> Error {
    let separate = "Pass --separate to resolve conflicting requirements files independently.";
    let hint = match error.hint() {
        Some(hint) => format!("{hint} {separate}"),
        None => separate.to_owned(),
    };
    error.with_hint(hint)
}

/// Builds the request of `context` as part of another command, without a summary.
pub(crate) async fn execute_quietly(context: CommandContext) -> Result<()> {
    let (session, job) = Box::pin(begin(context, &RunOptions::default())).await?;
    let built = pipeline::build(job, session.observer.clone()).await;
    session.shared.finish().await;
    session.context.renderer.close();
    built.map(drop)
}

/// Starts the session, and creates the job of the pipeline.
async fn begin(
    context: CommandContext,
    run_options: &RunOptions,
) -> Result<(RunSession, BuildJob)> {
    let mut session = Box::pin(context.begin(ArchitectureSelection::Native)).await?;
    if !run_options.dry_run {
        session.farm = farm::start(&run_options.farm, &session).await?;
    }
    session
        .context
        .check_scope(
            &session.scope,
            &session.request,
            session.python.as_deref(),
            &session.store,
        )
        .await?;
    let job = BuildJob {
        inputs: session.inputs(run_options.lock_policy(), run_options.keep_going),
        additional_sets: Vec::new(),
        output: session.context.settings.output.clone(),
        platform: run_options.platform.clone(),
        warn_new_systems: HintStyle::current() == HintStyle::CommandLine,
        link_mode: run_options.link_mode(),
        attestations: run_options.attestations,
    };
    Ok((session, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_named_after_files() {
        let mut names = BTreeSet::new();
        let mut name = |file| set_name(file, &mut names);
        assert_eq!(name("requirements/dev.txt"), "requirements-dev");
        assert_eq!(name("./requirements/dev.in"), "requirements-dev-2");
        assert_eq!(name("https://host/a b.txt"), "https-host-a-b");
        assert_eq!(name("...txt"), "requirements");
    }
}

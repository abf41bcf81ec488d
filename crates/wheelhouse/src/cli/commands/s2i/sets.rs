//! What `assemble` makes wheels of: the requirements of the application, and the sets beside them that
//! installing the application takes.

use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Event, Result};

use super::{is_true, raw};
use crate::cli::args::GlobalOptions;
use crate::cli::commands::build::{self, AdditionalSet, SetRequest};
use crate::cli::commands::session::CommandContext;
use crate::cli::process_env::ProcessEnv;
use crate::pipeline::additional_set::{SetContents, SourceProject};
use crate::s2i::Paths;
use crate::s2i::installation::{self, ProjectMetadata, Tools};
use crate::s2i::requirements::{self, RequirementsSource};
use wheelhouse_config::{Dependencies, RawOptions};

/// Set to 1 to resolve each of the files that `REQUIREMENTS_FILE` names by itself.
const SEPARATE: &str = "WHEELHOUSE_SEPARATE";

/// Prepares what the application in the current directory requires, and the sets beside it.
///
/// # Errors
/// `Input` when there are no requirements, or when settings are not valid.
pub(crate) fn prepare(
    paths: &Paths,
    process: &ProcessEnv,
    globals: &GlobalOptions,
) -> Result<(CommandContext, Vec<AdditionalSet>)> {
    let mut raw = RawOptions {
        output: Some(paths.wheelhouse()),
        ..raw(paths, globals)
    };
    let alone = raw.clone();
    let named = process.environment.get("REQUIREMENTS_FILE");
    let found = requirements::find(&process.directory, named)?;
    let is_project = found == RequirementsSource::Project;
    let (source, missing) = match found {
        RequirementsSource::Named { files, missing } => {
            raw.requirement_files = files;
            (None, missing)
        }
        RequirementsSource::Source | RequirementsSource::Project => {
            (Some(".".to_owned()), Vec::new())
        }
    };
    let separate = if is_true(process.environment.get_nonempty(SEPARATE)) {
        build::separate(&mut raw)
    } else {
        Vec::new()
    };
    let context = CommandContext::new(raw, source, globals, false)?;
    for name in missing {
        let message = format!("`{name}` of REQUIREMENTS_FILE is not there and is skipped");
        context.renderer.observe(&Event::warning(message));
    }
    let mut additions = Vec::new();
    for (name, raw) in separate {
        let context = CommandContext::new(raw, None, globals, false)?;
        additions.push(AdditionalSet::of_file(name, context));
    }
    let is_installed = installation::is_installed(&process.directory, variables(process));
    let project = is_installed.then(|| installation::stated(&process.directory));
    if let Some(project) = project.as_ref().filter(|_| !is_project) {
        additions.extend(dependencies_of(project, alone, process, globals)?);
    }
    additions.push(builds(project, process));
    additions.extend(tools(process));
    Ok((context, additions))
}

/// The variables of `process` that are set and not empty.
fn variables(process: &ProcessEnv) -> impl Fn(&str) -> Option<String> {
    |name| process.environment.get_nonempty(name).map(str::to_owned)
}

/// What `pip install .` installs beside the requirements; `None` if the source states that it is nothing.
fn dependencies_of(
    project: &ProjectMetadata,
    raw: RawOptions,
    process: &ProcessEnv,
    globals: &GlobalOptions,
) -> Result<Option<AdditionalSet>> {
    let requirements = match &project.dependencies {
        Dependencies::Absent => Vec::new(),
        Dependencies::Static(texts) => texts.clone(),
        Dependencies::Dynamic => vec![process.directory.display().to_string()],
    };
    if requirements.is_empty() {
        return Ok(None);
    }
    let raw = RawOptions {
        requirements,
        ..raw
    };
    let context = CommandContext::new(raw, None, globals, false)?;
    Ok(Some(AdditionalSet {
        name: "project".to_owned(),
        title: "what the application depends on as a project".to_owned(),
        request: SetRequest::Own(Box::new(context)),
        contents: SetContents::DependenciesOf(process.directory.clone()),
        build_only: false,
        required: false,
    }))
}

/// What building the application requires, if it is a `project`, and the local trees among its
/// requirements.
fn builds(project: Option<ProjectMetadata>, process: &ProcessEnv) -> AdditionalSet {
    AdditionalSet {
        name: "build".to_owned(),
        title: "what building the application requires".to_owned(),
        request: SetRequest::SameSettings(Vec::new()),
        contents: SetContents::BuildRequirementsOf(project.map(|project| SourceProject {
            name: project.name,
            path: process.directory.clone(),
        })),
        build_only: true,
        required: false,
    }
}

/// The tools that the build of the application fetches: those that are named must be there.
fn tools(process: &ProcessEnv) -> impl Iterator<Item = AdditionalSet> {
    let Tools { named, implied } = Tools::find(variables(process));
    let base = process.directory.clone();
    let sets = [("tools", named, true), ("implied-tools", implied, false)];
    let sets = sets.into_iter().filter(|(_, tools, _)| !tools.is_empty());
    sets.map(move |(name, tools, required)| {
        let requirements = tools.into_iter().map(|text| Requirement {
            text,
            origin: installation::TOOLS.to_owned(),
            base: base.clone(),
            ..Requirement::default()
        });
        AdditionalSet {
            name: name.to_owned(),
            title: "the tools of the application's build".to_owned(),
            request: SetRequest::SameSettings(requirements.collect()),
            contents: SetContents::Requirements,
            build_only: true,
            required,
        }
    })
}

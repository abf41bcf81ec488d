//! The sets of wheels that `assemble` builds: the requirements of the application, and what installing it takes besides.

use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Event, Result};

use super::{is_true, raw};
use crate::cli::args::GlobalOptions;
use crate::cli::commands::build::{self, RequestedSet, SetRequest};
use crate::cli::commands::session::CommandContext;
use crate::cli::process_env::ProcessEnv;
use crate::pipeline::additional_set::{SetContents, SourceProject};
use crate::s2i::Paths;
use crate::s2i::installation::{self, ProjectMetadata, Tools};
use crate::s2i::requirements::{self, RequirementsSource};
use wheelhouse_config::{Dependencies, RawOptions};

/// A value of 1 resolves each file in `REQUIREMENTS_FILE` independently.
const SEPARATE: &str = "WHEELHOUSE_SEPARATE";

/// Prepares the requirements of the application in the current directory, and the additional sets.
///
/// # Errors
/// `Input` if there are no requirements, or if a setting is not valid.
pub(crate) fn prepare(
    paths: &Paths,
    process: &ProcessEnv,
    globals: &GlobalOptions,
) -> Result<(CommandContext, Vec<RequestedSet>)> {
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
        let message = format!("`{name}` in REQUIREMENTS_FILE does not exist and is skipped");
        context.renderer.observe(&Event::warning(message));
    }
    let mut additions = Vec::new();
    for (name, raw) in separate {
        let context = CommandContext::new(raw, None, globals, false)?;
        additions.push(RequestedSet::of_file(name, context));
    }
    let is_installed = installation::is_installed(&process.directory, variables(process));
    let project = is_installed.then(|| installation::project_metadata(&process.directory));
    if let Some(project) = project.as_ref().filter(|_| !is_project) {
        additions.extend(dependencies_of(project, alone, process, globals)?);
    }
    additions.push(builds(project, process));
    additions.extend(tools(process));
    Ok((context, additions))
}

/// Returns a lookup of the variables that are set and not empty.
fn variables(process: &ProcessEnv) -> impl Fn(&str) -> Option<String> {
    |name| process.environment.get_nonempty(name).map(str::to_owned)
}

/// Returns the set that `pip install .` needs besides the requirements; `None` if the source declares no dependencies.
fn dependencies_of(
    project: &ProjectMetadata,
    raw: RawOptions,
    process: &ProcessEnv,
    globals: &GlobalOptions,
) -> Result<Option<RequestedSet>> {
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
    Ok(Some(RequestedSet {
        name: "project".to_owned(),
        title: "the dependencies of the application".to_owned(),
        request: SetRequest::Own(Box::new(context)),
        contents: SetContents::DependenciesOf(process.directory.clone()),
        build_only: false,
        required: false,
    }))
}

/// Returns the build dependencies of the application, if it is a `project`, and of the local trees among its
/// requirements.
fn builds(project: Option<ProjectMetadata>, process: &ProcessEnv) -> RequestedSet {
    RequestedSet {
        name: "build".to_owned(),
        title: "the build dependencies of the application".to_owned(),
        request: SetRequest::SameSettings(Vec::new()),
        contents: SetContents::BuildRequirementsOf(project.map(|project| SourceProject {
            name: project.name,
            path: process.directory.clone(),
        })),
        build_only: true,
        required: false,
    }
}

/// Returns the tools that the build of the application fetches; those that are named explicitly are required.
fn tools(process: &ProcessEnv) -> impl Iterator<Item = RequestedSet> {
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
        RequestedSet {
            name: name.to_owned(),
            title: "the tools for building the application".to_owned(),
            request: SetRequest::SameSettings(requirements.collect()),
            contents: SetContents::Requirements,
            build_only: true,
            required,
        }
    })
}

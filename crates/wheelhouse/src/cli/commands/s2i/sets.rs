//! What `assemble` makes wheels of: the requirements of the application, and the sets beside them that
//! installing the application takes.

use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Event, Result};

use super::{is_true, raw};
use crate::cli::args::Globals;
use crate::cli::commands::build::{self, Addition, Asks};
use crate::cli::commands::session::Preparation;
use crate::cli::process_env::Process;
use crate::pipeline::supplement::{Tree, Wants};
use crate::s2i::Places;
use crate::s2i::installation::{self, Stated, Tools};
use crate::s2i::requirements::{self, Requirements};
use wheelhouse_config::{Dependencies, RawBuild};

/// Set to 1 to resolve each of the files that `REQUIREMENTS_FILE` names by itself.
const SEPARATE: &str = "WHEELHOUSE_SEPARATE";

/// Prepares what the application in the current directory requires, and the sets beside it.
///
/// # Errors
/// `Input` when there are no requirements, or when settings are not valid.
pub(crate) fn prepare(
    places: &Places,
    process: &Process,
    globals: &Globals,
) -> Result<(Preparation, Vec<Addition>)> {
    let mut raw = RawBuild {
        output: Some(places.wheelhouse()),
        ..raw(places, globals)
    };
    let alone = raw.clone();
    let named = process.environment.get("REQUIREMENTS_FILE");
    let found = requirements::find(&process.directory, named)?;
    let is_project = found == Requirements::Project;
    let (source, missing) = match found {
        Requirements::Named { files, missing } => {
            raw.requirement_files = files;
            (None, missing)
        }
        Requirements::Source | Requirements::Project => (Some(".".to_owned()), Vec::new()),
    };
    let separate = if is_true(process.environment.get_nonempty(SEPARATE)) {
        build::separate(&mut raw)
    } else {
        Vec::new()
    };
    let preparation = Preparation::new(raw, source, globals, false)?;
    for name in missing {
        let message = format!("`{name}` of REQUIREMENTS_FILE is not there and is skipped");
        preparation.renderer.observe(&Event::warning(message));
    }
    let mut additions = Vec::new();
    for (name, raw) in separate {
        let preparation = Preparation::new(raw, None, globals, false)?;
        additions.push(Addition::of_file(name, preparation));
    }
    let is_installed = installation::is_installed(&process.directory, variables(process));
    let project = is_installed.then(|| installation::stated(&process.directory));
    if let Some(project) = project.as_ref().filter(|_| !is_project) {
        additions.extend(dependencies_of(project, alone, process, globals)?);
    }
    additions.push(builds(project, process));
    additions.extend(tools(process));
    Ok((preparation, additions))
}

/// The variables of `process` that are set and not empty.
fn variables(process: &Process) -> impl Fn(&str) -> Option<String> {
    |name| process.environment.get_nonempty(name).map(str::to_owned)
}

/// What `pip install .` installs beside the requirements; `None` if the source states that it is nothing.
fn dependencies_of(
    project: &Stated,
    raw: RawBuild,
    process: &Process,
    globals: &Globals,
) -> Result<Option<Addition>> {
    let requirements = match &project.dependencies {
        Dependencies::Absent => Vec::new(),
        Dependencies::Static(texts) => texts.clone(),
        Dependencies::Dynamic => vec![process.directory.display().to_string()],
    };
    if requirements.is_empty() {
        return Ok(None);
    }
    let raw = RawBuild {
        requirements,
        ..raw
    };
    let preparation = Preparation::new(raw, None, globals, false)?;
    Ok(Some(Addition {
        name: "project".to_owned(),
        title: "what the application depends on as a project".to_owned(),
        asks: Asks::Own(Box::new(preparation)),
        wants: Wants::DependenciesOf(process.directory.clone()),
        build_only: false,
        required: false,
    }))
}

/// What building the application requires, if it is a `project`, and the local trees among its
/// requirements.
fn builds(project: Option<Stated>, process: &Process) -> Addition {
    Addition {
        name: "build".to_owned(),
        title: "what building the application requires".to_owned(),
        asks: Asks::Alike(Vec::new()),
        wants: Wants::BuildsOf(project.map(|project| Tree {
            name: project.name,
            path: process.directory.clone(),
        })),
        build_only: true,
        required: false,
    }
}

/// The tools that the build of the application fetches: those that are named must be there.
fn tools(process: &Process) -> impl Iterator<Item = Addition> {
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
        Addition {
            name: name.to_owned(),
            title: "the tools of the application's build".to_owned(),
            asks: Asks::Alike(requirements.collect()),
            wants: Wants::Requirements,
            build_only: true,
            required,
        }
    })
}

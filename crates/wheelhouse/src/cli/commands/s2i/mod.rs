//! The `s2i` command: the scripts of a builder image.
//!
//! Defines the order of the steps of `assemble`; [`sets`] determines what is built. The steps are
//! implemented in [`s2i`](crate::s2i) and `build`.

mod sets;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use wheelhouse_engine::{Host, WheelFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Event, Kind, Result, Sha256, Target, Version};

use crate::cli::args::{GlobalOptions, ListenArgs, RunOptions, S2iArgs, S2iCommand};
use crate::cli::commands::build::RequestedSet;
use crate::cli::commands::session::CommandContext;
use crate::cli::commands::{build, cache, open_store, serve};
use crate::cli::process_env::ProcessEnv;
use crate::cli::{output, reexec};
use crate::s2i::artifacts::{self, DownloadStats, RestoredArtifacts};
use crate::s2i::{Paths, USAGE, environment, move_tree, permissions, scaffold};
use wheelhouse_config::{LocalReader, RawOptions, resolve_settings};
use wheelhouse_serve::{ServeOptions, ServedDirectory};
use wheelhouse_store::Store;

const SCHEMA: &str = "wheelhouse-s2i/1";

/// The packages that are updated in a builder image before a build.
const TOOLS: [&str; 3] = ["pip", "setuptools", "wheel"];

/// A value of 0 disables the update.
const UPGRADE_TOOLS: &str = "WHEELHOUSE_UPGRADE_TOOLS";

/// Controls whether fetched wheels are saved for the next build; by default they are if fetching was slow.
const SAVE_FETCHED: &str = "WHEELHOUSE_SAVE_FETCHED";

/// Runs the command.
pub(crate) fn run(s2i: &S2iArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let paths = s2i.paths().from(&process.directory);
    match &s2i.command {
        S2iCommand::Assemble => assemble(&paths, &process, globals),
        S2iCommand::Tools if !wants_tools(&process) => Ok(()),
        S2iCommand::Tools => update_tools(&paths, globals),
        S2iCommand::SaveArtifacts => artifacts::save(&paths, output::bytes()?),
        S2iCommand::Run { listening } => run_server(&paths, listening, globals),
        S2iCommand::Usage => {
            output::data(USAGE);
            Ok(())
        }
        S2iCommand::Init { directory, force } => {
            init(&process.directory.join(directory), *force, globals)
        }
    }
}

/// The paths of a builder image, and whether steps are reported.
#[derive(Clone)]
struct BuilderImage {
    paths: Paths,
    talks: bool,
}

impl BuilderImage {
    fn new(paths: &Paths, globals: &GlobalOptions) -> Self {
        Self {
            paths: paths.clone(),
            talks: globals.quiet == 0,
        }
    }

    /// Discovers the Python of `context`, and locks the cache, where the engine stores the result.
    async fn host(&self, context: &CommandContext) -> Result<Host> {
        let cache = self.paths.cache();
        let _store = open_store::open(Some(&cache), &*context.renderer)?;
        let python = context.settings.python.as_deref();
        let located = context.process.locate_python(python);
        Host::discover(python, located.as_deref(), &cache.join("uv")).await
    }

    fn report_step(&self, step: &str) {
        if self.talks {
            output::status(&format!("---> {step}"));
        }
    }
}

fn assemble(paths: &Paths, process: &ProcessEnv, globals: &GlobalOptions) -> Result<()> {
    let variables = environment::read(&paths.source())?;
    reexec::with_missing(variables, &process.environment)?;
    start_again(paths, process, globals)?;
    let image = BuilderImage::new(paths, globals);
    let moved = move_tree::move_contents(&paths.source(), &process.directory)?;
    if !moved.is_empty() {
        image.report_step("Moved the source into place");
    }
    let tools = wants_tools(process)
        .then(|| tools(paths, globals))
        .transpose()?;
    let (application, additions) = sets::prepare(paths, process, globals)?;
    let made = application
        .execute(move |application| Box::pin(make(image, tools, application, additions)))?;
    let save_fetched = match process.environment.get_nonempty(SAVE_FETCHED) {
        None => made.fetched.is_slow(),
        value => is_true(value),
    };
    artifacts::tidy(paths, save_fetched, &made.restored, &cache::BUCKETS)?;
    // The source may contain passwords, and its packages are in the wheelhouse by now.
    moved.remove()?;
    permissions::share(&paths.root)
}

/// Replaces the process if the settings of the upload require other variables. This must happen before the upload is
/// moved, because a second process could not distinguish its files.
fn start_again(paths: &Paths, process: &ProcessEnv, globals: &GlobalOptions) -> Result<()> {
    let raw = raw(paths, globals);
    let source = paths.source().to_string_lossy().into_owned();
    let project = process.project_configuration(&raw, Some(&source))?;
    let pip = process.configuration(&raw, project)?;
    let settings = resolve_settings(&raw, &process.settings_context(&pip, &LocalReader))?;
    reexec::with_variables_of(&settings, &process.environment)
}

/// Prepares the wheelhouse of the newest tools, which is built concurrently with that of the application, without
/// output.
fn tools(paths: &Paths, globals: &GlobalOptions) -> Result<CommandContext> {
    let own = raw(paths, globals);
    let raw = RawOptions {
        requirements: TOOLS.map(str::to_owned).into(),
        output: Some(paths.tools()),
        quiet: own.quiet + 1,
        ..own
    };
    CommandContext::new(raw, None, globals, false)
}

fn raw(paths: &Paths, globals: &GlobalOptions) -> RawOptions {
    RawOptions {
        // The image has only this cache, even if its base image disables that of pip.
        cache_dir: Some(paths.cache()),
        offline: globals.offline,
        quiet: globals.quiet.into(),
        verbose: globals.verbose.into(),
        no_progress: globals.no_progress,
        ..RawOptions::default()
    }
}

fn wants_tools(process: &ProcessEnv) -> bool {
    let value = process.environment.get_nonempty(UPGRADE_TOOLS);
    value.is_none() || is_true(value)
}

fn is_true(value: Option<&str>) -> bool {
    value.is_some_and(|value| !["0", "false", "no", "off"].contains(&value.to_lowercase().as_str()))
}

/// The results of a build that the next one depends on.
struct AssemblyResult {
    /// The downloads of the build.
    fetched: DownloadStats,
    /// The files of the store that the artifacts contained.
    restored: BTreeSet<Sha256>,
}

/// Builds the wheelhouse, with the artifacts of the previous build and updated tools.
async fn make(
    image: BuilderImage,
    tools: Option<CommandContext>,
    application: CommandContext,
    additions: Vec<RequestedSet>,
) -> Result<AssemblyResult> {
    let paths = &image.paths;
    let host = image.host(&application).await?;
    let target = host.target();
    let mut left = BTreeSet::new();
    match artifacts::restore(paths, &target)? {
        RestoredArtifacts::Nothing => {}
        RestoredArtifacts::Everything(files) => {
            image.report_step("Restored the artifacts of the previous build");
            left = files;
        }
        RestoredArtifacts::Foreign(target) => image.report_step(&format!(
            "The artifacts of the previous build are for {target} and are not used"
        )),
    }
    let upgraded = async {
        match tools {
            Some(tools) => Box::pin(upgrade(tools, &host, &image)).await,
            None => Ok(()),
        }
    };
    let built = Box::pin(build::execute(
        application,
        additions,
        RunOptions::default(),
    ));
    let report = if looks_at_tools(&target) {
        upgraded.await?;
        built.await?
    } else {
        // Both spend most of their time waiting for an index.
        futures::future::try_join(upgraded, built).await?.1
    };
    Ok(AssemblyResult {
        fetched: DownloadStats {
            bytes: report.bytes_fetched,
            time: report.time_fetching,
        },
        restored: left,
    })
}

/// Returns whether builds with the Python of `target` read the packages of the image, which must then not be replaced
/// concurrently: before Python 3.6 there are no isolated environments.
fn looks_at_tools(target: &Target) -> bool {
    let version: std::result::Result<Version, _> = target.python_version.parse();
    version.is_ok_and(|version| version < Version::new([3, 6]))
}

/// Updates the tools of a builder image, so that builds have little left to do. Removes the cache, because each
/// build looks for the newest tools again.
fn update_tools(paths: &Paths, globals: &GlobalOptions) -> Result<()> {
    let tools = tools(paths, globals)?;
    let image = BuilderImage::new(paths, globals);
    let had_cache = paths.cache().exists();
    let brought = tools.execute(move |tools| {
        Box::pin(async move {
            let host = image.host(&tools).await?;
            Box::pin(upgrade(tools, &host, &image)).await
        })
    });
    let removed = if had_cache {
        Ok(())
    } else {
        fs_err::remove_dir_all(paths.cache())
            .context(Kind::Publish, || "failed to remove the cache".to_owned())
    };
    // Builds by arbitrary users need writable files, with and without a network.
    brought.and(removed).and(permissions::share(&paths.root))
}

/// Updates the tools of the image. They are kept if they cannot be fetched: `--find-links` locations without an
/// index may not have them.
async fn upgrade(tools: CommandContext, host: &Host, image: &BuilderImage) -> Result<()> {
    let renderer = tools.renderer.clone();
    match Box::pin(build::execute_quietly(tools)).await {
        Err(error) if error.kind() == Kind::Resolution => {
            let message = format!(
                "{} stay as they are: {}",
                TOOLS.join(", "),
                error.display_chain()
            );
            renderer.observe(&Event::warning(message));
            return Ok(());
        }
        built => built?,
    }
    // An open store keeps unfinished files from being removed as those of a killed process.
    let _cache = Store::open(image.paths.cache())?;
    let installed = host
        .install(&wheels(&image.paths.tools())?)
        .await
        .map_err(|error| {
            let hint = format!("Set {UPGRADE_TOOLS}=0 to keep them.");
            Error::new(Kind::Publish, "failed to upgrade the tools of the image")
                .with_hint(hint)
                .caused_by(error)
        })?;
    if !installed.is_empty() {
        image.report_step(&format!("Installed {}", installed.join(", ")));
    }
    Ok(())
}

/// Returns the wheels in `directory`, sorted by name.
fn wheels(directory: &Path) -> Result<Vec<WheelFile>> {
    let failed = || format!("failed to list `{}`", directory.display());
    let mut wheels = Vec::new();
    for entry in fs_err::read_dir(directory).context(Kind::Publish, failed)? {
        let path = entry.context(Kind::Publish, failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "whl")) {
            let filename = name.to_owned();
            wheels.push(WheelFile {
                filename,
                path,
                sha256: None,
                built_from: None,
                requirements: Vec::new(),
                crates: Vec::new(),
            });
        }
    }
    wheels.sort_by(|one, other| one.filename.cmp(&other.filename));
    Ok(wheels)
}

/// Serves the wheelhouse of the image.
fn run_server(paths: &Paths, listening: &ListenArgs, globals: &GlobalOptions) -> Result<()> {
    let directory = paths.wheelhouse();
    if !directory.is_dir() {
        let message = format!("`{}` does not contain a wheelhouse", directory.display());
        return Err(
            Error::new(Kind::Input, message).with_hint("Run `wheelhouse s2i assemble` first.")
        );
    }
    let options = ServeOptions {
        directories: vec![ServedDirectory {
            name: "wheelhouse".to_owned(),
            directory,
        }],
        ..serve::listen_options(listening)?
    };
    let (bind, quiet) = (listening.bind.clone(), globals.quiet > 0);
    wheelhouse_engine::run(
        move || async move { serve::serve_until_signal(options, &bind, quiet).await },
    )
}

fn init(directory: &Path, force: bool, globals: &GlobalOptions) -> Result<()> {
    let written = scaffold::write(directory, force)?;
    if globals.json {
        let document = json!({ "schema": SCHEMA, "written": written });
        output::data(&format!("{document:#}\n"));
    } else {
        for path in written {
            output::data(&format!(
                "{path}
"
            ));
        }
    }
    Ok(())
}

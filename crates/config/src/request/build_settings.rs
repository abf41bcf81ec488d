//! The settings of builds: those for build backends, from the command line and from lines of requirements
//! files, and the variables that builds depend on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{Building, Requirement, SandboxOptions};
use wheelhouse_types::requirement::{Named, named};
use wheelhouse_types::{Error, Kind, PackageName, Result, SourceDistExtension};

use crate::file_source::FileSource;
use crate::pyproject::PyProject;
use crate::settings::{Settings, SettingsContext};

type PackageSettings = BTreeMap<PackageName, Vec<(String, String)>>;

/// Returns the settings for building the wheels of `requirements`.
///
/// # Errors
/// `Input` for invalid settings, and for those of a line whose package is unknown.
pub(super) fn building(
    requirements: &[Requirement],
    settings: &Settings,
    context: &SettingsContext<'_>,
) -> Result<Building> {
    let (config_settings, mut package_settings) = given(&settings.config_settings)?;
    for line in requirements
        .iter()
        .filter(|line| !line.config_settings.is_empty())
    {
        let name = package(line, context).ok_or_else(|| nameless(line))?;
        let of_package = package_settings.entry(name).or_default();
        of_package.extend(line.config_settings.iter().cloned());
    }
    let environment = environment(settings, context);
    Ok(Building {
        sandbox: sandbox(settings, context)?,
        environment,
        isolated: settings.isolated,
        jobs: settings.jobs,
        timeout: settings.build_timeout,
        config_settings,
        package_settings,
        cargo: context.environment.of_cargo(),
        is_varied: false,
    })
}

/// Returns the variables of builds: those that always count, and those of `--build-env`.
fn environment(settings: &Settings, context: &SettingsContext<'_>) -> BTreeMap<String, String> {
    let mut variables = context.environment.of_builds();
    for named in &settings.build_env {
        let value = match named.split_once('=') {
            Some((name, value)) => Some((name, value)),
            None => context
                .environment
                .get(named)
                .map(|value| (named.as_str(), value)),
        };
        variables.extend(value.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    variables
}

/// Returns the sandbox of builds.
fn sandbox(settings: &Settings, context: &SettingsContext<'_>) -> Result<SandboxOptions> {
    let existing = |path: &str, option: &str| {
        let path = context.working_directory.join(path);
        // A path that cannot be examined exists.
        if path.try_exists().unwrap_or(true) {
            return Ok(path);
        }
        let message = format!("{}, given with {option}, does not exist", path.display());
        Err(Error::new(Kind::Input, message).with_hint("Create it first, or correct the path."))
    };
    let package = |text: &str, option: &str| {
        text.parse::<PackageName>().map_err(|error| {
            let message = format!("`{text}`, given with {option}, is not the name of a package");
            Error::new(Kind::Input, message).caused_by(error)
        })
    };
    let mut writable: BTreeMap<PackageName, Vec<PathBuf>> = BTreeMap::new();
    for text in &settings.allow_write {
        let Some((name, path)) = text.split_once(':') else {
            let message = format!("`{text}`, given with --allow-write, is not `PACKAGE:PATH`");
            return Err(Error::new(Kind::Input, message));
        };
        let paths = writable.entry(package(name, "--allow-write")?).or_default();
        paths.push(existing(path, "--allow-write")?);
    }
    let mut options = context.environment.sandbox();
    let network = settings.allow_network.iter();
    let network = network.map(|name| package(name, "--allow-network"));
    for path in &settings.allow_read {
        options.readable.push(existing(path, "--allow-read")?);
    }
    options.hidden.extend(
        [settings.cache.clone(), Some(settings.output.clone())]
            .into_iter()
            .flatten(),
    );
    Ok(SandboxOptions {
        mode: settings.sandbox,
        network: network.collect::<Result<_>>()?,
        writable,
        ..options
    })
}

/// Parses the values of `--config-settings`: those for all packages, and those for one.
fn given(settings: &[String]) -> Result<(Vec<(String, String)>, PackageSettings)> {
    let (mut general, mut of_packages) = (Vec::new(), PackageSettings::new());
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            let message = format!("`{setting}`, given with --config-settings, is not `KEY=VALUE`");
            return Err(Error::new(Kind::Input, message));
        };
        let of_package = key
            .split_once(':')
            .and_then(|(name, key)| Some((name.parse().ok()?, key)));
        match of_package {
            Some((name, key)) => {
                let settings: &mut Vec<_> = of_packages.entry(name).or_default();
                settings.push((key.to_owned(), value.to_owned()));
            }
            None => general.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok((general, of_packages))
}

/// Returns the package of `line`, as far as it is known without a build.
fn package(line: &Requirement, context: &SettingsContext<'_>) -> Option<PackageName> {
    match named(&line.text) {
        Named::Package(name, _) | Named::Direct(name, _) => return Some(name),
        Named::Nameless => {}
    }
    let url = line.text.split_whitespace().next()?;
    if let Some((_, egg)) = url.split_once("egg=") {
        return egg.split(['&', '[']).next()?.parse().ok();
    }
    let path = url.split(['#', '[']).next()?;
    let path = line.base.join(path.trim_start_matches("file://"));
    let filename = path.file_name()?.to_str()?;
    let of_archive = || {
        // Archives are called `NAME-VERSION`; other directories may have any name.
        let is_archive = path.is_file() && SourceDistExtension::from_path(filename).is_ok();
        let (name, _) = filename.rsplit_once('-').filter(|_| is_archive)?;
        name.parse().ok()
    };
    of_tree(&path, context).or_else(of_archive)
}

/// Returns the name in the `pyproject.toml` of a source tree.
fn of_tree(tree: &Path, context: &SettingsContext<'_>) -> Option<PackageName> {
    let path = tree.join("pyproject.toml");
    let bytes = context.reader.read(&FileSource::File(path.clone())).ok()?;
    let project = PyProject::parse(&path, std::str::from_utf8(&bytes).ok()?).ok()?;
    project.name().ok()??.parse().ok()
}

fn nameless(line: &Requirement) -> Error {
    let (text, origin) = (redacted(&line.text), &line.origin);
    let message = format!("`{text}` in {origin} has settings for a package with an unknown name");
    Error::new(Kind::Input, message).with_hint("Write it as `NAME @ URL`.")
}

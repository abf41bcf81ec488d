//! Builds a request from the settings, the requirements files and the application.
//!
//! Options in files take precedence over the settings. Steps:
//!
//! 1. `inputs` reads the files, with `locks` for locks and `project` for the application;
//! 2. `build_settings` determines the settings of builds;
//! 3. [`build_request`] combines them in a [`Request`].

mod build_settings;
mod files;
mod inputs;
mod locks;
mod misplaced_arguments;
mod project;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{
    Formats, HashPolicy, IndexStrategy, Indexes, Packages, Prereleases, Resolution,
};
use wheelhouse_types::{Error, Kind, PackageName, Request, Result, names_image};

use crate::error::input;
use crate::lockfile::SupportedTargets;
use crate::pypi::{PYPI, is_pypi};
use crate::requirements_file::FileOptions;
use crate::setting::ConfigurationOrigin;
use crate::settings::{RawOptions, Settings, SettingsContext};
use build_settings::building;
use inputs::RequestInputs;
use wheelhouse_types::image_location::ImageLocation;

/// The wheelhouse of an application's build. The variables of the application name it even before
/// it exists.
const APPLICATION_WHEELHOUSE: &str = ".s2i/wheelhouse";

/// Represents all packages in a list of names.
const ALL: &str = ":all:";

/// A request, and the information about its inputs that is shown to the user.
#[derive(Debug)]
pub struct BuiltRequest {
    /// The request.
    pub request: Request,
    /// The names of the inputs, and of files next to them that are not used.
    pub from: Vec<String>,
    /// Files beside the inputs that also declare requirements, but are not used.
    pub unused: Vec<String>,
    /// Warnings about settings with unexpected effects, one sentence each.
    pub notes: Vec<String>,
    /// The targets that the request supports: all, unless a lock restricts them.
    pub scope: SupportedTargets,
    /// The images among the `--find-links` locations, which are added to the request after they are fetched.
    pub images: Vec<ImageLocation>,
}

/// Builds the request for `settings`.
///
/// # Errors
/// `Input` if a file cannot be read, if an input does not exist or is not
/// supported, and if there are no requirements.
pub fn build_request(
    raw: &RawOptions,
    settings: &Settings,
    context: &SettingsContext<'_>,
) -> Result<BuiltRequest> {
    let inputs = inputs::read(raw, settings, context)?;
    let mut notes = inputs.notes.clone();
    notes.extend(secrets(context));
    let scope = inputs.scope.clone();
    let images = images(&inputs.options, context)?;
    let (from, unused) = (inputs.from.clone(), inputs.unused.clone());
    let request = request(inputs, settings, context, &mut notes)?;
    Ok(BuiltRequest {
        request,
        from,
        unused,
        notes,
        scope,
        images,
    })
}

fn request(
    inputs: RequestInputs,
    settings: &Settings,
    context: &SettingsContext<'_>,
    notes: &mut Vec<String>,
) -> Result<Request> {
    let options = &inputs.options;
    for feature in &options.features {
        notes.push(format!("pip's feature `{feature}` has no effect here"));
    }
    if context.pip.flag("ignore-requires-python").map_err(input)? == Some(true) {
        let note = "`ignore-requires-python` of pip's configuration has no effect: name the package in an override instead";
        notes.push(note.to_owned());
    }
    if options.trusted_hosts.iter().any(|host| host == "*") {
        let note = "`--trusted-host *` disables certificate checks for all hosts";
        notes.push(note.to_owned());
    }
    let indexes = indexes(options, settings, context, notes)?;
    Ok(Request {
        indexes,
        formats: Formats {
            no_binary: packages(options.format_control.no_binary())?,
            only_binary: packages(options.format_control.only_binary())?,
            prefer_binary: options.prefer_binary,
        },
        network: settings.network(options),
        resolution: Resolution {
            prereleases: prereleases(options)?,
            no_dependencies: settings.no_deps || inputs.is_locked,
            hashes: hash_policy(options)?,
            exclude_newer: options.uploaded_prior_to.clone(),
            ..Resolution::default()
        },
        building: building(&inputs.requirements, settings, context)?,
        python: settings.python.clone(),
        requirements: inputs.requirements,
        files: inputs.files,
        constraints: inputs.constraints,
        overrides: inputs.overrides,
        build_constraints: inputs.build_constraints,
        builds: inputs.builds,
        locked_files: inputs.locked_files,
    })
}

fn indexes(
    options: &FileOptions,
    settings: &Settings,
    context: &SettingsContext<'_>,
    notes: &mut Vec<String>,
) -> Result<Indexes> {
    let urls = index_urls(options, context)?;
    let mut find_links = Vec::new();
    for text in options.find_links.iter().filter(|text| !names_image(text)) {
        match find_links_location(text, context) {
            Some(location) if find_links.contains(&location) => {}
            Some(location) => find_links.push(location),
            None if text == APPLICATION_WHEELHOUSE => {}
            None => notes.push(format!("--find-links `{}` does not exist", redacted(text))),
        }
    }
    Ok(Indexes {
        urls,
        find_links,
        images: Arc::default(),
        no_index: options.no_index,
        strategy: settings.index_strategy,
        ignored_error_codes: settings.ignored_error_codes.clone(),
    })
}

/// Returns the distinct indexes, the main one first; empty if only the default index is used.
fn index_urls(options: &FileOptions, context: &SettingsContext<'_>) -> Result<Vec<Url>> {
    let main = match &options.index_url {
        None if options.extra_index_urls.is_empty() => None,
        None => Some(PYPI),
        Some(url) => Some(url.as_str()),
    };
    let extra = options.extra_index_urls.iter().map(String::as_str);
    let mut urls: Vec<Url> = Vec::new();
    for text in main.into_iter().chain(extra) {
        let url = index(text, context)?;
        // As in pip, a repeated index is searched once.
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Ok(urls)
}

/// Returns the indexes of the settings, without credentials, in the order in which they are searched. Options of
/// requirements files are not included.
///
/// # Errors
/// `Input` if an index is neither a URL nor a directory.
pub fn effective_indexes(
    settings: &Settings,
    context: &SettingsContext<'_>,
) -> Result<Vec<String>> {
    let options = &settings.file_options;
    if options.no_index {
        return Ok(Vec::new());
    }
    let mut urls = index_urls(options, context)?;
    if urls.is_empty() {
        urls.extend(Url::parse(PYPI));
    }
    if settings.index_strategy != IndexStrategy::BestMatch {
        urls.rotate_left(1);
    }
    Ok(urls.iter().map(|url| redacted(url.as_str())).collect())
}

/// Warns of credentials in files that are usually kept in a repository.
fn secrets(context: &SettingsContext<'_>) -> impl Iterator<Item = String> {
    let settings = context.pip.settings().iter();
    settings.filter_map(|setting| {
        let is_of_project = matches!(setting.origin, ConfigurationOrigin::Project { .. });
        (is_of_project && redacted(&setting.value) != setting.value).then(|| {
            format!(
                "{} has credentials: keep them out of the project, in a variable such as PIP_INDEX_URL, a netrc file or \
                 a keyring",
                setting.origin
            )
        })
    })
}

/// Returns the distinct images among the `--find-links` locations.
fn images(options: &FileOptions, context: &SettingsContext<'_>) -> Result<Vec<ImageLocation>> {
    let mut images = Vec::new();
    for text in options.find_links.iter().filter(|text| names_image(text)) {
        let image: ImageLocation = text.parse()?;
        let image = image.below(context.working_directory);
        if !images.contains(&image) {
            images.push(image);
        }
    }
    Ok(images)
}

/// Parses an index: a URL, or an existing path.
fn index(text: &str, context: &SettingsContext<'_>) -> Result<Url> {
    let path = context.working_directory.join(text);
    if !text.contains("://") && context.reader.exists(&path) {
        // An absolute path can always be converted to a URL.
        return Url::from_directory_path(&path).map_err(|()| no_index(text));
    }
    let text = match Url::parse(text) {
        Ok(url) if is_pypi(&url) => PYPI,
        _ => text,
    };
    Url::parse(text).map_err(|error| no_index(text).caused_by(error))
}

fn no_index(text: &str) -> Error {
    let message = format!(
        "the index `{}` is neither a URL nor a directory",
        redacted(text)
    );
    Error::new(Kind::Input, message)
        .with_hint("Pass an index with `--index-url https://HOST/simple`; run `wheelhouse config` to see where this one is set.")
}

/// Returns a URL unchanged and a path as absolute; `None` for a path that does not exist.
fn find_links_location(text: &str, context: &SettingsContext<'_>) -> Option<String> {
    if text.contains("://") || text.starts_with("file:") {
        return Some(text.to_owned());
    }
    // Components normalize the path, so that equal paths compare equal.
    let path: PathBuf = context.working_directory.join(text).components().collect();
    let path = Some(path).filter(|path| context.reader.exists(path))?;
    path.to_str().map(str::to_owned)
}

fn packages(names: &BTreeSet<String>) -> Result<Packages> {
    if names.contains(ALL) {
        return Ok(Packages::All);
    }
    let parse = |name: &String| package_name(name, "--no-binary or --only-binary");
    names
        .iter()
        .map(parse)
        .collect::<Result<_>>()
        .map(Packages::Only)
}

fn package_name(name: &str, option: &str) -> Result<PackageName> {
    name.parse().map_err(|_| {
        Error::new(
            Kind::Input,
            format!("`{name}`, given with {option}, is not a valid package name"),
        )
    })
}

fn prereleases(options: &FileOptions) -> Result<Prereleases> {
    let releases = &options.release_control;
    let names = releases.all_releases().iter().chain(releases.only_final());
    let packages = names
        .filter(|name| *name != ALL)
        .filter_map(|name| Some((name, releases.allows_prereleases(name)?)))
        .map(|(name, allowed)| {
            let name = package_name(name, "--all-releases or --only-final")?;
            Ok((name, allowed))
        });
    Ok(Prereleases {
        others: releases.allows_prereleases(ALL),
        packages: packages.collect::<Result<_>>()?,
    })
}

fn hash_policy(options: &FileOptions) -> Result<HashPolicy> {
    match (options.require_hashes, options.no_require_hashes) {
        (false, false) => Ok(HashPolicy::AllOrNone),
        (true, false) => Ok(HashPolicy::All),
        (false, true) => Ok(HashPolicy::Optional),
        (true, true) => Err(Error::new(
            Kind::Input,
            "`--require-hashes` and `--no-require-hashes` cannot be combined",
        )
        .with_hint("Run `wheelhouse config` to see where each is set.")),
    }
}

/// Returns `path` relative to `directory` if it is inside.
fn shown(path: &Path, directory: &Path) -> PathBuf {
    path.strip_prefix(directory).unwrap_or(path).to_owned()
}

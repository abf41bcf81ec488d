//! Parses requirements as written into those of uv.

pub(crate) mod archives;
pub(crate) mod legacy_sdists;
pub(crate) mod local_trees;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path};

use uv_configuration::{BuildOptions, NoBinary, NoBuild, PackageNameSpecifier};
use uv_distribution_types::{
    ConfigSettingEntry, ConfigSettings, PackageConfigSettings, Requirement as UvRequirement,
    RequirementSource, UnresolvedRequirement,
};
use uv_pep440::{Operator, VersionSpecifier};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::ParsedUrl;
use uv_requirements_txt::{RequirementEntry, RequirementsTxtRequirement};
use uv_resolver::{Preference, Preferences, ResolverEnvironment};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{Formats, Packages, Requirement};
use wheelhouse_types::{Error, Kind, PackageName, Result, Version, limits};

use legacy_sdists::accept_legacy_sdist;

/// Parses a PEP 508 requirement, a URL or a path, which may have a name in `#egg=`.
pub(crate) fn parse(requirement: &Requirement) -> Result<UnresolvedRequirement> {
    let parsed = parse_as_written(requirement)?;
    let UnresolvedRequirement::Unnamed(unnamed) = &parsed else {
        return Ok(parsed);
    };
    let url = unnamed.url.verbatim.to_url();
    let mut parts = url.fragment().unwrap_or_default().split('&');
    let Some(name) = parts.find_map(|part| part.strip_prefix("egg=")) else {
        return Ok(parsed);
    };
    let named = Requirement {
        text: format!("{name} @ {}", requirement.text),
        ..requirement.clone()
    };
    parse_as_written(&named)
}

fn parse_as_written(requirement: &Requirement) -> Result<UnresolvedRequirement> {
    let invalid = || {
        let text = redacted(&limits::excerpt(&requirement.text));
        let origin = &requirement.origin;
        Error::new(
            Kind::Input,
            format!("`{text}` in {origin} is not a requirement"),
        )
    };
    limits::requirement(&requirement.text).map_err(|excess| invalid().caused_by(excess))?;
    let (text, fragment) = without_file_fragment(&requirement.text);
    let suffixed = archives::with_suffix(&text);
    let readable = suffixed.as_deref().unwrap_or(&text);
    let parsed = RequirementsTxtRequirement::parse(readable, &requirement.base, false)
        .map_err(|error| invalid().caused_by(redacted(&error.to_string())))?;
    let mut parsed = match parsed {
        RequirementsTxtRequirement::Named(named) => {
            UnresolvedRequirement::Named(UvRequirement::from(named))
        }
        RequirementsTxtRequirement::Unnamed(unnamed) => UnresolvedRequirement::Unnamed(unnamed),
    };
    if let (UnresolvedRequirement::Unnamed(unnamed), Some(fragment)) = (&mut parsed, fragment) {
        let mut url = unnamed.url.verbatim.to_url();
        url.set_fragment(Some(fragment));
        unnamed.url.verbatim = VerbatimUrl::from_url(url);
    }
    if suffixed.is_some() {
        archives::without_suffix(&mut parsed);
    }
    enter_subdirectory(&mut parsed).map_err(|error| invalid().caused_by(error))?;
    accept_legacy_sdist(&mut parsed);
    if !requirement.hashes.is_empty() {
        loosen(&mut parsed);
    }
    Ok(parsed)
}

/// Splits a `file:` URL without a name into the URL, with its extras and marker, and the fragment, which uv would treat as
/// a part of the path.
fn without_file_fragment(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let (url, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    match url.split_once('#') {
        Some((url, fragment)) if url.starts_with("file:") => {
            // `#egg=NAME[EXTRA]`
            let extras = fragment.find('[').unwrap_or(fragment.len());
            let (fragment, extras) = fragment.split_at(extras);
            (format!("{url}{extras}{rest}").into(), Some(fragment))
        }
        _ => (text.into(), None),
    }
}

/// Replaces `===` by `==`: uv does not treat it as a pin, and with a hash both mean the same.
fn loosen(requirement: &mut UnresolvedRequirement) {
    let UnresolvedRequirement::Named(named) = requirement else {
        return;
    };
    let pinned = pinned_version(named).cloned();
    if let RequirementSource::Registry { specifier, .. } = &mut named.source
        && let Some(version) = pinned
    {
        *specifier = VersionSpecifier::equals_version(version).into();
    }
}

/// Replaces a local tree by the subdirectory that `#subdirectory=` names.
fn enter_subdirectory(requirement: &mut UnresolvedRequirement) -> Result<(), &'static str> {
    let (path, url) = match requirement {
        UnresolvedRequirement::Named(named) => match &mut named.source {
            RequirementSource::Directory {
                install_path, url, ..
            } => (Some(install_path), url),
            RequirementSource::Path { url, .. } => (None, url),
            _ => return Ok(()),
        },
        UnresolvedRequirement::Unnamed(unnamed) => match &mut unnamed.url.parsed_url {
            ParsedUrl::Directory(directory) => {
                (Some(&mut directory.install_path), &mut unnamed.url.verbatim)
            }
            ParsedUrl::Path(_) => (None, &mut unnamed.url.verbatim),
            _ => return Ok(()),
        },
    };
    let fragment = url.to_url().fragment().unwrap_or_default().to_owned();
    let mut parts = fragment.split('&');
    let Some(subdirectory) = parts.find_map(|part| part.strip_prefix("subdirectory=")) else {
        return Ok(());
    };
    let Some(path) = path else {
        return Err("a subdirectory of an archive on a disk cannot be named; unpack it");
    };
    let inside = Path::new(subdirectory);
    if !inside
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err("its subdirectory leads out of the tree");
    }
    let tree = path.join(inside);
    *url = VerbatimUrl::from_absolute_path(&tree).map_err(|_| "its path is not usable")?;
    *path = tree.into_boxed_path();
    Ok(())
}

/// Parses a requirement; `None` if it is a URL or path without a name.
pub(crate) fn parse_with_name(requirement: &Requirement) -> Result<Option<UvRequirement>> {
    Ok(match parse(requirement)? {
        UnresolvedRequirement::Named(named) => Some(named),
        UnresolvedRequirement::Unnamed(_) => None,
    })
}

/// Parses requirements that must have names, such as constraints.
pub(crate) fn parse_named(requirements: &[Requirement]) -> Result<Vec<UvRequirement>> {
    requirements
        .iter()
        .map(|requirement| match parse_with_name(requirement)? {
            Some(named) => Ok(named),
            None => Err(Error::new(
                Kind::Input,
                format!(
                    "`{}` in {} has no name",
                    redacted(&requirement.text),
                    requirement.origin
                ),
            )
            .with_hint("Constraints and overrides are written `NAME @ URL` when they name a URL.")),
        })
        .collect()
}

/// Parses overrides, which may not have hashes.
pub(crate) fn parse_overrides(lines: &[Requirement]) -> Result<Vec<UvRequirement>> {
    if let Some(line) = lines.iter().find(|line| !line.hashes.is_empty()) {
        let (text, origin) = (redacted(&line.text), &line.origin);
        let message = format!("`{text}` in {origin} has a hash, which an override cannot have");
        return Err(Error::new(Kind::Input, message)
            .with_hint("Give the hash in a constraint, or with the requirement."));
    }
    parse_named(lines)
}

/// Parses constraints, which may not have extras, nor hashes without a pin.
pub(crate) fn parse_constraints(lines: &[Requirement]) -> Result<Vec<UvRequirement>> {
    let parsed = parse_named(lines)?;
    if let Some((line, _)) = lines
        .iter()
        .zip(&parsed)
        .find(|(_, parsed)| !parsed.extras.is_empty())
    {
        let (text, origin) = (redacted(&line.text), &line.origin);
        let message = format!("`{text}` in {origin} has extras, which a constraint cannot have");
        return Err(Error::new(Kind::Input, message)
            .with_hint("Leave the extras out here, and name them with the requirement."));
    }
    refuse_idle_hashes(lines.iter().zip(&parsed))?;
    Ok(parsed)
}

/// Returns whether `requirement` is a pin (`==`) or a direct reference.
pub(crate) fn is_pinned(requirement: &UvRequirement) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => {
            matches!(specifier.as_ref(), [only] if *only.operator() == Operator::Equal)
        }
        _ => true,
    }
}

/// Returns the only version that `requirement` allows, which may be yanked (PEP 592).
pub(crate) fn pinned_version(requirement: &UvRequirement) -> Option<&Version> {
    let RequirementSource::Registry { specifier, .. } = &requirement.source else {
        return None;
    };
    let [specifier] = &**specifier else {
        return None;
    };
    let is_exact = matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual);
    is_exact.then(|| specifier.version())
}

/// Rejects a hash without a pin, which uv ignores if hashes are not required. Each line comes with its parsed requirement.
pub(crate) fn refuse_idle_hashes<'a>(
    lines: impl IntoIterator<Item = (&'a Requirement, &'a UvRequirement)>,
) -> Result<()> {
    let mut lines = lines.into_iter();
    match lines.find(|(line, parsed)| !line.hashes.is_empty() && !is_pinned(parsed)) {
        Some((line, _)) => Err(Error::new(
            Kind::Input,
            format!(
                "`{}` in {} has a hash, and no single version that it is of",
                redacted(&line.text),
                line.origin
            ),
        )
        .with_hint("Pin it with `==`, or leave out the hash.")),
        None => Ok(()),
    }
}

/// Converts the formats of a request.
pub(crate) fn build_options(formats: &Formats) -> BuildOptions {
    BuildOptions::new(
        NoBinary::from_pip_args(specifiers(&formats.no_binary)),
        NoBuild::from_pip_args(specifiers(&formats.only_binary), false),
    )
}

fn specifiers(packages: &Packages) -> Vec<PackageNameSpecifier> {
    match packages {
        Packages::All => vec![PackageNameSpecifier::All],
        Packages::Only(names) => names
            .iter()
            .cloned()
            .map(PackageNameSpecifier::Package)
            .collect(),
    }
}

/// Converts preferred versions for the resolver of `environment`.
pub(crate) fn preferences(
    versions: &[(PackageName, Version)],
    environment: &ResolverEnvironment,
) -> Preferences {
    let preferences = versions.iter().filter_map(|(name, version)| {
        let requirement = format!("{name}=={version}");
        let requirement = RequirementsTxtRequirement::parse(&requirement, "", false).ok()?;
        let entry = RequirementEntry {
            requirement,
            hashes: Vec::new(),
        };
        Preference::from_entry(entry).ok()?
    });
    Preferences::from_iter(preferences, environment)
}

/// Converts `KEY=VALUE` pairs into PEP 517 settings; a repeated key becomes a list.
pub(crate) fn config_settings(settings: &[(String, String)]) -> ConfigSettings {
    settings
        .iter()
        .filter_map(|(key, value)| format!("{key}={value}").parse::<ConfigSettingEntry>().ok())
        .collect()
}

/// Returns the PEP 517 settings of single packages.
pub(crate) fn package_settings(
    settings: &BTreeMap<PackageName, Vec<(String, String)>>,
) -> PackageConfigSettings {
    let entries = settings.iter().flat_map(|(name, settings)| {
        settings
            .iter()
            .filter_map(move |(key, value)| format!("{name}:{key}={value}").parse().ok())
    });
    entries.collect::<Vec<_>>().into_iter().collect()
}

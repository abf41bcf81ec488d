//! Requirements as they were written, turned into uv's.

use uv_configuration::{BuildOptions, NoBinary, NoBuild, PackageNameSpecifier};
use uv_distribution_types::{
    ConfigSettingEntry, ConfigSettings, Requirement as UvRequirement, RequirementSource,
    UnresolvedRequirement,
};
use uv_pep440::Operator;
use uv_requirements_txt::{RequirementEntry, RequirementsTxtRequirement};
use uv_resolver::{Preference, Preferences, ResolverEnvironment};
use wheelhouse_model::redact::redacted;
use wheelhouse_model::request::{Formats, Packages, Requirement};
use wheelhouse_model::{Error, Kind, PackageName, Result, Version};

/// Parses what the user wrote: a PEP 508 requirement, a URL or a path.
pub(crate) fn parse(requirement: &Requirement) -> Result<UnresolvedRequirement> {
    let parsed = RequirementsTxtRequirement::parse(&requirement.text, &requirement.base, false)
        .map_err(|error| {
            Error::new(
                Kind::Input,
                format!(
                    "`{}` in {} is not a requirement",
                    redacted(&requirement.text),
                    requirement.origin
                ),
            )
            .caused_by(redacted(&error.to_string()))
        })?;
    Ok(match parsed {
        RequirementsTxtRequirement::Named(named) => {
            UnresolvedRequirement::Named(UvRequirement::from(named))
        }
        RequirementsTxtRequirement::Unnamed(unnamed) => UnresolvedRequirement::Unnamed(unnamed),
    })
}

/// Parses a requirement; `None` if it is a URL or path without a name.
pub(crate) fn parse_with_name(requirement: &Requirement) -> Result<Option<UvRequirement>> {
    Ok(match parse(requirement)? {
        UnresolvedRequirement::Named(named) => Some(named),
        UnresolvedRequirement::Unnamed(_) => None,
    })
}

/// Parses requirements that must have a name, such as constraints.
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

/// Parses constraints, whose hashes must be of something.
pub(crate) fn parse_constraints(lines: &[Requirement]) -> Result<Vec<UvRequirement>> {
    let parsed = parse_named(lines)?;
    refuse_idle_hashes(lines.iter().zip(&parsed))?;
    Ok(parsed)
}

/// Whether `requirement` is of one version, or of one file or tree.
pub(crate) fn is_pinned(requirement: &UvRequirement) -> bool {
    match &requirement.source {
        RequirementSource::Registry { specifier, .. } => {
            matches!(specifier.as_ref(), [only] if *only.operator() == Operator::Equal)
        }
        _ => true,
    }
}

/// Refuses a hash beside what is not pinned, which uv passes over where hashes are not required.
/// Each line comes with what it was parsed into.
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

/// The build options that `formats` stands for.
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

/// Versions to choose where they fit, as the resolver of `environment` takes them.
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

/// PEP 517 settings from `KEY=VALUE` pairs; a repeated key becomes a list.
pub(crate) fn config_settings(settings: &[(String, String)]) -> ConfigSettings {
    settings
        .iter()
        .filter_map(|(key, value)| format!("{key}={value}").parse::<ConfigSettingEntry>().ok())
        .collect()
}

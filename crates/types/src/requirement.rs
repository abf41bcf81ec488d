//! Requirements (PEP 508): their parts, and the subject of a line that may be more than the specification allows.
//!
//! Never touches the file that a URL or path names.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use uv_normalize::{ExtraName, PackageName};
use uv_pep440::VersionSpecifiers;
use uv_pep508::{MarkerTree, Requirement, VerbatimUrl, VersionOrUrl};

use crate::redact::redacted;
use crate::{Error, Kind, Result, limits};

/// The parts of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementParts {
    /// The normalized name.
    pub name: PackageName,
    /// The requested extras.
    pub extras: BTreeSet<ExtraName>,
    /// Empty for a requirement without a version, and for one that names a URL.
    pub specifiers: VersionSpecifiers,
    /// True if it names a URL or a path.
    pub is_direct: bool,
    /// The condition.
    pub marker: MarkerTree,
}

impl RequirementParts {
    /// Returns the specifiers in an order that does not depend on the text.
    #[must_use]
    pub fn sorted_specifiers(&self) -> BTreeSet<String> {
        self.specifiers.iter().map(ToString::to_string).collect()
    }
}

/// Takes the requirement `text` apart.
///
/// # Errors
/// The text is not a requirement, or exceeds the [limits].
pub fn parse(text: &str) -> Result<RequirementParts> {
    let invalid = || {
        let message = format!(
            "`{}` is not a requirement",
            redacted(&limits::excerpt(text))
        );
        Error::new(Kind::Input, message)
    };
    limits::requirement(text).map_err(|excess| invalid().caused_by(excess))?;
    let requirement = Requirement::<VerbatimUrl>::from_str(text)
        .map_err(|error| invalid().caused_by(redacted(&error.message.to_string())))?;
    let (specifiers, is_direct) = match requirement.version_or_url {
        None => (VersionSpecifiers::empty(), false),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => (specifiers, false),
        Some(VersionOrUrl::Url(_)) => (VersionSpecifiers::empty(), true),
    };
    Ok(RequirementParts {
        name: requirement.name,
        extras: requirement.extras.into_iter().collect(),
        specifiers,
        is_direct,
        marker: requirement.marker,
    })
}

/// The subject of one line of requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A package and its versions; the text as it was.
    Package(PackageName, String),
    /// A package, and the file or tree that it is to be; the text without the latter.
    Direct(PackageName, String),
    /// A file or tree alone.
    Nameless,
}

/// Parses `text` if it is within the [limits].
pub(crate) fn parse_bounded(text: &str) -> Option<Requirement<VerbatimUrl>> {
    limits::requirement(text).ok()?;
    Requirement::from_str(text).ok()
}

/// Returns whether `text` is a requirement by PEP 508.
#[must_use]
pub fn is_requirement(text: &str) -> bool {
    parse_bounded(text).is_some()
}

/// Reads what `text`, one line of requirements, names.
#[must_use]
pub fn named(text: &str) -> Named {
    if let Some(mut parsed) = parse_bounded(text) {
        let name = parsed.name.clone();
        if matches!(parsed.version_or_url, Some(VersionOrUrl::Url(_))) {
            parsed.clear_url();
            return Named::Direct(name, parsed.to_string());
        }
        return Named::Package(name, text.to_owned());
    }
    // A relative path after the name is more than the specification allows.
    let (name, marker) = match text.split_once('@') {
        Some((name, rest)) => (name.trim(), rest.split_once(" ;").map(|(_, marker)| marker)),
        None => return Named::Nameless,
    };
    let line = match marker {
        Some(marker) => format!("{name} ;{marker}"),
        None => name.to_owned(),
    };
    match parse_bounded(&line) {
        Some(parsed) if parsed.version_or_url.is_none() => Named::Direct(parsed.name, line),
        _ => Named::Nameless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_requirement() {
        let parts = parse("Foo.Bar[b,a] <2,>=1 ; python_version >= '3.9'").unwrap();
        assert_eq!(parts.name.as_ref(), "foo-bar");
        assert_eq!(parts.extras.len(), 2);
        let specifiers: Vec<_> = parts.sorted_specifiers().into_iter().collect();
        assert_eq!(specifiers, ["<2", ">=1"]);
        assert!(!parts.is_direct);
        assert!(
            parse("foo @ https://example.org/foo.whl")
                .unwrap()
                .is_direct
        );
        let error = parse("foo bar").unwrap_err();
        assert_eq!(error.to_string(), "`foo bar` is not a requirement");
    }

    #[test]
    fn lines_name_packages_and_files() {
        let package =
            |name: &str, text: &str| Named::Package(name.parse().unwrap(), text.to_owned());
        let direct = |name: &str, text: &str| Named::Direct(name.parse().unwrap(), text.to_owned());
        assert_eq!(named("alpha >= 1"), package("alpha", "alpha >= 1"));
        assert_eq!(
            named("alpha[x] @ https://host/a.whl"),
            direct("alpha", "alpha[x]")
        );
        assert_eq!(named("alpha @ ./libs/alpha"), direct("alpha", "alpha"));
        assert_eq!(named("./libs/alpha"), Named::Nameless);
        assert_eq!(named("git+https://host/alpha@main"), Named::Nameless);
    }
}

//! Checks that the metadata in the wheels of a set agrees with its lock.
//!
//! A resolution relies on the metadata that an index publishes (PEP 658), or that a build backend returns
//! before it builds the wheel. The wheel itself may require more.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::limits;
use wheelhouse_types::lock::Package;
use wheelhouse_types::requirement::{self, Named, named};
use wheelhouse_types::unsatisfied::{Available, Unsatisfied, find_unsatisfied};
use wheelhouse_types::{
    Error, Kind, Lock, Origin, PackageName, Request, Result, Target, Version, VersionSpecifiers,
};

/// A distribution of the set that was downloaded or built.
pub(super) struct SetMember<'a> {
    pub(super) name: &'a PackageName,
    pub(super) version: &'a Version,
    /// The bytes of its METADATA; `None` for an sdist, whose metadata may depend on its build.
    pub(super) metadata: Option<&'a [u8]>,
}

/// Checks that `members` contain everything that one of them requires, and are for the Python of `target`.
/// `is_kept` says that their lock is that of an earlier run.
///
/// # Errors
/// [`Kind::Fetch`], naming a missing package and the wheel that requires it; [`Kind::Resolution`], naming a
/// member that is for other Pythons.
pub(super) fn check(
    request: &Request,
    target: &Target,
    members: &[SetMember<'_>],
    is_kept: bool,
) -> Result<()> {
    check_python(target, members)?;
    if request.resolution.no_dependencies {
        return Ok(());
    }
    let offers: BTreeMap<_, _> = members.iter().map(offer).collect();
    let overridden: BTreeSet<PackageName> = request
        .overrides
        .iter()
        .filter_map(|line| name(&line.text))
        .collect();
    // All members count, whatever requires them; the lines of the request add extras.
    let packages = offers.keys().map(ToString::to_string);
    let lines = request
        .requirements
        .iter()
        .filter_map(|line| match named(&line.text) {
            Named::Package(_, text) | Named::Direct(_, text) => Some(text),
            Named::Nameless => None,
        });
    let roots: Vec<_> = packages
        .chain(lines)
        .map(|line| (line, String::new()))
        .collect();
    let open = find_unsatisfied(&roots, &offers, target).unwrap_or_default();
    let mut missing = open
        .iter()
        // The resolver satisfied the lines of the request, some of which this check cannot parse.
        .filter(|open| !open.required_by.is_empty() && !overridden.contains(&open.name));
    missing
        .next()
        .map_or(Ok(()), |open| Err(missing_requirement(open, is_kept)))
}

/// Checks that the `Requires-Python` of each member includes the Python of `target`.
fn check_python(target: &Target, members: &[SetMember<'_>]) -> Result<()> {
    let Ok(python) = target.python_version.parse::<Version>() else {
        return Ok(());
    };
    for SetMember {
        name,
        version,
        metadata,
    } in members
    {
        let metadata = String::from_utf8_lossy(metadata.unwrap_or_default());
        let requires = wheelhouse_archive::metadata::value(&metadata, "Requires-Python");
        // pip, too, ignores values that it cannot parse.
        let requires = requires.and_then(|text| {
            limits::requirement(&text).ok()?;
            text.parse::<VersionSpecifiers>().ok()
        });
        if let Some(requires) =
            requires.filter(|requires| !requires.contains(&python.only_release()))
        {
            let label = target.label();
            let message =
                format!("{name}=={version} requires Python {requires}, which {label} is not");
            return Err(Error::new(Kind::Resolution, message).with_hint(
                "Choose another Python with --python, or allow other versions of the package.",
            ));
        }
    }
    Ok(())
}

/// Returns warnings about requirements that uv parses leniently and the newest pip of `target` rejects.
pub(super) fn pip_incompatibilities(target: &Target, members: &[SetMember<'_>]) -> Vec<String> {
    if target.pip_is_lenient() {
        return Vec::new();
    }
    let rejected = members.iter().filter_map(|member| {
        let mut lines = requires(member).into_iter();
        Some((
            member,
            lines.find(|line| !requirement::is_requirement(line))?,
        ))
    });
    let warnings = rejected.map(|(SetMember { name, version, .. }, line)| {
        format!(
            "{name}=={version} requires `{line}`, which pip 24.1 and newer reject: they will not install it"
        )
    });
    warnings.collect()
}

/// Returns warnings about packages of `lock` that only the metadata of an index or a build backend requires: neither a
/// wheel of `members` nor the request names them.
pub(super) fn unrequired(request: &Request, lock: &Lock, members: &[SetMember<'_>]) -> Vec<String> {
    if request.resolution.no_dependencies {
        return Vec::new();
    }
    let lines = request.requirements.iter().chain(&request.overrides);
    let lines = lines.filter_map(|line| name(&line.text));
    let required = members.iter().flat_map(requires);
    let named: BTreeSet<PackageName> = required
        .filter_map(|line| leading_name(&line))
        .chain(lines)
        .collect();
    let is_unnamed =
        |package: &&Package| package.origin != Origin::Direct && !named.contains(&package.name);
    let unnamed = lock.packages.iter().filter(is_unnamed);
    let warnings = unnamed.filter_map(|package| {
        let parent = lock
            .packages
            .iter()
            .find(|parent| parent.dependencies.contains(&package.name))?;
        let mut wheels = members.iter().filter(|member| member.metadata.is_some());
        wheels.find(|member| *member.name == parent.name)?;
        Some(format!(
            "published metadata says that {} is required by {}=={}, but the wheel does not require it",
            package.name, parent.name, parent.version
        ))
    });
    warnings.collect()
}

/// Returns the package that the `Requires-Dist` value `line` names, even if the rest cannot be parsed.
fn leading_name(line: &str) -> Option<PackageName> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
    let end = line.find(|one| !is_part(one)).unwrap_or(line.len());
    line[..end].parse().ok()
}

fn offer(member: &SetMember<'_>) -> (PackageName, Vec<Available>) {
    let offer = Available {
        version: member.version.clone(),
        requires: requires(member),
    };
    (member.name.clone(), vec![offer])
}

fn requires(member: &SetMember<'_>) -> Vec<String> {
    let metadata = String::from_utf8_lossy(member.metadata.unwrap_or_default());
    wheelhouse_archive::metadata::values(&metadata, "Requires-Dist")
}

fn name(line: &str) -> Option<PackageName> {
    match named(line) {
        Named::Package(name, _) | Named::Direct(name, _) => Some(name),
        Named::Nameless => None,
    }
}

fn missing_requirement(open: &Unsatisfied, is_kept: bool) -> Error {
    let present = match open.present.first() {
        Some(version) => format!("{} is {version}", open.name),
        None => format!("{} is missing", open.name),
    };
    let source = if is_kept {
        "the lock"
    } else {
        "its published metadata"
    };
    let message = format!(
        "the wheel of {} requires `{}`, which {source} does not mention, and {present}",
        open.required_by, open.requirement
    );
    Error::new(Kind::Fetch, message).with_hint(if is_kept {
        "Resolve again with --upgrade."
    } else {
        "Run it again: the metadata in the wheel is cached now and takes precedence. Report the wrong metadata to the maintainers of the index."
    })
}

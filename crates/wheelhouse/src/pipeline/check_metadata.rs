//! Whether a set is closed: what its wheels require themselves is there, and pip can read it.
//!
//! A resolution believes what an index says of a wheel (PEP 658), or what a back end says before it
//! builds one. The wheel that comes may require more.

use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::limits;
use wheelhouse_types::lock::Package;
use wheelhouse_types::unsatisfied::{self, Named, Offer, Open, named};
use wheelhouse_types::{
    Error, Kind, Lock, Origin, PackageName, Request, Result, Target, Version, VersionSpecifiers,
};

/// A distribution of the set, as it came.
pub(super) struct Member<'a> {
    pub(super) name: &'a PackageName,
    pub(super) version: &'a Version,
    /// The bytes of its METADATA; `None` for an sdist, which may not know before it is built.
    pub(super) metadata: Option<&'a [u8]>,
}

/// Checks that `members` answer `request` on `target` with nothing missing that one of them requires. The
/// lock that names them may have been kept from an earlier run.
///
/// # Errors
/// [`Kind::Fetch`], naming what is missing and who requires it; [`Kind::Resolution`], naming what is for
/// other Pythons.
pub(super) fn check(
    request: &Request,
    target: &Target,
    members: &[Member<'_>],
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
    // Each counts, whoever requires it; the lines of the request say with which extras.
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
    let open = unsatisfied::open(&roots, &offers, target).unwrap_or_default();
    let mut missing = open
        .iter()
        // What the request itself asks for was settled by the resolver, which takes more lines.
        .filter(|open| !open.wanted_by.is_empty() && !overridden.contains(&open.name));
    missing
        .next()
        .map_or(Ok(()), |open| Err(missing_requirement(open, is_kept)))
}

/// Checks that the Pythons for which `members` are include that of `target`.
///
/// # Errors
/// [`Kind::Resolution`], naming the first that is for others.
fn check_python(target: &Target, members: &[Member<'_>]) -> Result<()> {
    let Ok(python) = target.python_version.parse::<Version>() else {
        return Ok(());
    };
    for Member {
        name,
        version,
        metadata,
    } in members
    {
        let metadata = String::from_utf8_lossy(metadata.unwrap_or_default());
        let requires = wheelhouse_archive::metadata::value(&metadata, "Requires-Python");
        // What cannot be read says nothing, as for pip.
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
                "Name a Python that it is for with --python, or allow other versions.",
            ));
        }
    }
    Ok(())
}

/// What is to be said of those of `members` that uv reads as they were meant, and the newest pip of `target` refuses.
pub(super) fn flaws(target: &Target, members: &[Member<'_>]) -> Vec<String> {
    if target.pip_is_lenient() {
        return Vec::new();
    }
    let flawed = members.iter().filter_map(|member| {
        let mut lines = requires(member).into_iter();
        Some((
            member,
            lines.find(|line| !unsatisfied::is_requirement(line))?,
        ))
    });
    let said = flawed.map(|(Member { name, version, .. }, line)| {
        format!(
            "{name}=={version} requires `{line}`, which pip 24.1 and newer do not take: they will not install it"
        )
    });
    said.collect()
}

/// Returns what to say of the packages of `lock` that only the index or a build backend says are required: no wheel of
/// `members` names them, nor does the request.
pub(super) fn superfluous(request: &Request, lock: &Lock, members: &[Member<'_>]) -> Vec<String> {
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
    let said = unnamed.filter_map(|package| {
        let parent = lock
            .packages
            .iter()
            .find(|parent| parent.dependencies.contains(&package.name))?;
        let mut came = members.iter().filter(|member| member.metadata.is_some());
        came.find(|member| *member.name == parent.name)?;
        Some(format!(
            "{} was said to be required by {}=={}, whose wheel does not require it",
            package.name, parent.name, parent.version
        ))
    });
    said.collect()
}

/// Returns the package that `line`, a `Requires-Dist` value, names, even if the rest of it cannot be read.
fn leading_name(line: &str) -> Option<PackageName> {
    let is_part = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
    let end = line.find(|one| !is_part(one)).unwrap_or(line.len());
    line[..end].parse().ok()
}

fn offer(member: &Member<'_>) -> (PackageName, Vec<Offer>) {
    let offer = Offer {
        version: member.version.clone(),
        requires: requires(member),
    };
    (member.name.clone(), vec![offer])
}

fn requires(member: &Member<'_>) -> Vec<String> {
    let metadata = String::from_utf8_lossy(member.metadata.unwrap_or_default());
    wheelhouse_archive::metadata::values(&metadata, "Requires-Dist")
}

fn name(line: &str) -> Option<PackageName> {
    match named(line) {
        Named::Package(name, _) | Named::Direct(name, _) => Some(name),
        Named::Nameless => None,
    }
}

fn missing_requirement(open: &Open, is_kept: bool) -> Error {
    let there = match open.present.first() {
        Some(version) => format!("{} is {version}", open.name),
        None => format!("{} is not there", open.name),
    };
    let who_else = if is_kept {
        "the lock does not know"
    } else {
        "nobody said before it came"
    };
    let message = format!(
        "the wheel of {} requires `{}`, which {who_else}, and {there}",
        open.wanted_by, open.requirement
    );
    Error::new(Kind::Fetch, message).with_hint(if is_kept {
        "Resolve anew with --upgrade."
    } else {
        "Run it again: what the wheel says itself counts now. Tell whoever keeps the index that its metadata is wrong."
    })
}

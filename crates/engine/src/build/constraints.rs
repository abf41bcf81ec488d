//! The constraints of build requirements: those of the request, and the pins of a lock for one source.

use std::collections::BTreeSet;

use uv_configuration::{Constraints, HashCheckingMode};
use uv_distribution_types::Requirement;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Build;
use wheelhouse_types::request::{HashPolicy, Requirement as Line};
use wheelhouse_types::{Distribution, Error, Kind, Request, Result};

use crate::requirements::parse_named;
use crate::target::TargetEnvironment;

/// The source of a build, as far as it is known before the build.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) name: PackageName,
    pub(crate) version: Option<Version>,
}

/// The constraints of one build.
pub(crate) struct BuildConstraints {
    pub(crate) constraints: Constraints,
    pub(crate) hasher: HashStrategy,
    /// Equal for equal constraints.
    pub(crate) key: String,
    /// The only packages that are allowed, if a lock pins them.
    pinned: Option<BTreeSet<PackageName>>,
    require_hashes: bool,
}

impl BuildConstraints {
    /// Returns the constraints of the build of `builder` for a target. `common` are the parsed build constraints of `request`.
    ///
    /// # Errors
    /// `Input` if a pin is not valid, or the hashes contradict each other.
    pub(crate) fn new(
        request: &Request,
        common: &[Requirement],
        builder: Option<&Builder>,
        target_env: &TargetEnvironment,
    ) -> Result<Self> {
        let pins = builder.and_then(|builder| {
            Build::find(&request.builds, &builder.name, builder.version.as_ref())
        });
        let pins = pins.map(lines);
        let pinned = parse_named(pins.as_deref().unwrap_or_default())?;
        let lines: Vec<&Line> = request
            .build_constraints
            .iter()
            .chain(pins.iter().flatten())
            .collect();
        let requirements = [common, &pinned].concat();
        let hashes = lines.iter().map(|line| line.hashes.as_slice());
        let hasher = HashStrategy::from_requirements(
            std::iter::empty(),
            requirements.iter().zip(hashes),
            Some(&target_env.markers),
            HashCheckingMode::Verify,
        )
        .context(Kind::Input, || {
            "the hashes of the build constraints contradict each other".to_owned()
        })?;
        Ok(Self {
            key: format!("{lines:?}"),
            pinned: pins.is_some().then(|| applicable(&pinned, target_env)),
            require_hashes: request.resolution.hashes == HashPolicy::All,
            constraints: Constraints::from_requirements(requirements.into_iter()),
            hasher,
        })
    }
}

/// Returns the names of the `requirements` that apply to the target.
fn applicable(
    requirements: &[Requirement],
    target_env: &TargetEnvironment,
) -> BTreeSet<PackageName> {
    let markers = target_env.markers.markers();
    let holds = |one: &&Requirement| one.evaluate_markers(Some(markers), &[]);
    let names = requirements.iter().filter(holds);
    names.map(|one| one.name.clone()).collect()
}

fn lines(build: &Build) -> Vec<Line> {
    let pins = build.closure.iter().map(|pin| Line {
        text: pin.requirement.clone(),
        hashes: pin.hashes.clone(),
        origin: format!("the lock, for building {}", build.name),
        ..Line::default()
    });
    pins.collect()
}

impl BuildConstraints {
    /// Adds a hint to the error of a resolution, if a lock pins the build requirements.
    pub(crate) fn with_upgrade_hint(&self, error: Error) -> Error {
        match self.pinned {
            Some(_) => error.with_hint(
                "The lock pins what this build may use; `wheelhouse lock --upgrade` pins it anew.",
            ),
            None => error,
        }
    }

    /// Checks that a build may use `resolved`.
    ///
    /// # Errors
    /// `Build` if the lock does not pin one of them, or one has no hash although hashes are required.
    pub(crate) fn check(&self, resolved: &[Distribution]) -> Result<()> {
        let is_pinned = |name| self.pinned.as_ref().is_none_or(|pins| pins.contains(name));
        let beside = resolved.iter().filter(|one| !is_pinned(&one.name));
        if let Some(names) = listed(beside) {
            let message = format!("the lock does not pin {names}, which the build requires");
            return Err(self.with_upgrade_hint(Error::new(Kind::Build, message)));
        }
        let has_hash = |one: &Distribution| !one.required_hashes.is_empty();
        let unhashed = resolved.iter().filter(|one| !has_hash(one));
        match listed(unhashed) {
            Some(names) if self.require_hashes => Err(Error::new(
                Kind::Build,
                format!("hashes are required, and these build requirements have none: {names}"),
            )
            .with_hint(
                "Pin them with hashes in a --build-constraint file, or build from the lock that \
                 `wheelhouse lock` writes.",
            )),
            _ => Ok(()),
        }
    }
}

/// Joins the names of `distributions`, if there are any.
fn listed<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Option<String> {
    let names: Vec<String> = distributions.map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

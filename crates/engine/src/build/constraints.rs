//! What builds may use: build constraints, and the pins of a lock for the source that is built.
//!
//! Never settles anything: it says what a search is held to, and whether what it found was allowed.

use std::collections::BTreeSet;

use uv_configuration::{Constraints, HashCheckingMode};
use uv_distribution_types::Requirement;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Build;
use wheelhouse_types::request::{HashPolicy, Requirement as Line};
use wheelhouse_types::{Distribution, Error, Kind, Result};

use crate::requirements::parse_named;
use crate::state::EngineState;
use crate::target::TargetEnvironment;

/// A source that is built, as far as it is known before.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) name: PackageName,
    pub(crate) version: Option<Version>,
}

/// What one build may use.
pub(crate) struct BuildConstraints {
    pub(crate) constraints: Constraints,
    pub(crate) hasher: HashStrategy,
    /// Equal for equal allowances.
    pub(crate) key: String,
    /// The only packages that may be used, if a lock names them.
    pinned: Option<BTreeSet<PackageName>>,
    require_hashes: bool,
}

impl EngineState {
    /// What the build of `builder` may use for the target of `target_env`.
    ///
    /// # Errors
    /// When a pin is not valid, or the hashes contradict each other.
    pub(crate) fn constraints(
        &self,
        builder: Option<&Builder>,
        target_env: &TargetEnvironment,
    ) -> Result<BuildConstraints> {
        let request = &self.request;
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
        let requirements = [&self.build_constraints[..], &pinned].concat();
        let hashes = lines.iter().map(|line| line.hashes.as_slice());
        let hasher = HashStrategy::from_requirements(
            std::iter::empty(),
            requirements.iter().zip(hashes),
            Some(&target_env.markers),
            HashCheckingMode::Verify,
        )
        .context(Kind::Input, || {
            "the hashes of the build constraints do not hold together".to_owned()
        })?;
        Ok(BuildConstraints {
            key: format!("{lines:?}"),
            pinned: pins.is_some().then(|| applicable(&pinned, target_env)),
            require_hashes: request.resolution.hashes == HashPolicy::All,
            constraints: Constraints::from_requirements(requirements.into_iter()),
            hasher,
        })
    }
}

/// The names of `requirements` whose markers hold.
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
    /// Says what to do when nothing that is allowed will do.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.pinned {
            Some(_) => error.with_hint(
                "The lock pins what this build may use; `wheelhouse lock --upgrade` pins it anew.",
            ),
            None => error,
        }
    }

    /// Checks that a build may use `settled`.
    ///
    /// # Errors
    /// When something is not pinned by the lock, or has no hash though everything must have one.
    pub(crate) fn check(&self, settled: &[Distribution]) -> Result<()> {
        let is_pinned = |name| self.pinned.as_ref().is_none_or(|pins| pins.contains(name));
        let beside = settled.iter().filter(|one| !is_pinned(&one.name));
        if let Some(names) = listed(beside) {
            let message = format!("the lock does not pin {names}, which the build requires");
            return Err(self.explain(Error::new(Kind::Build, message)));
        }
        let has_hash = |one: &Distribution| !one.required_hashes.is_empty();
        let unhashed = settled.iter().filter(|one| !has_hash(one));
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

/// The names of `distributions` in a row, if there are any.
fn listed<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Option<String> {
    let names: Vec<String> = distributions.map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

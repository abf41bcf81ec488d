//! A target in uv's terms: what a resolution for it needs to know.

use uv_distribution_types::RequiresPython;
use uv_platform_tags::Tags;
use uv_pypi_types::ResolverMarkerEnvironment;
use uv_python::Interpreter;
use uv_resolver::{PythonRequirement, ResolverEnvironment};
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result, Target};

use crate::convert;

/// The tags and markers that a target's distributions are chosen by.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) target: Target,
    pub(crate) markers: ResolverMarkerEnvironment,
    pub(crate) tags: Tags,
    pub(crate) python: PythonRequirement,
    pub(crate) requires_python: RequiresPython,
}

impl Terms {
    /// Those of the host target.
    pub(crate) fn of_interpreter(interpreter: &Interpreter) -> Result<Self> {
        let tags = interpreter
            .tags()
            .context(Kind::Input, || "the Python has no known tags".to_owned())?;
        Ok(Self {
            target: convert::target(interpreter),
            markers: interpreter.to_resolver_marker_environment(),
            tags: tags.clone(),
            python: PythonRequirement::from_interpreter(interpreter),
            requires_python: RequiresPython::greater_than_equal_version(
                &interpreter.python_full_version().version,
            ),
        })
    }

    pub(crate) fn environment(&self) -> ResolverEnvironment {
        ResolverEnvironment::specific(self.markers.clone())
    }
}

//! The requirements of a build, before they are resolved.

use uv_distribution_types::Requirement;
use wheelhouse_types::Result;

use super::build_system::build_requirements;
use super::constraints::Builder;

/// The requirements of the build of a source.
#[derive(Clone, Debug)]
pub struct BuildRequirements {
    /// The source, if the requirements are those of one.
    pub(crate) builder: Option<Builder>,
    pub(crate) requirements: Vec<Requirement>,
}

impl BuildRequirements {
    /// Parses PEP 508 requirements.
    ///
    /// # Errors
    /// `Build` if one is not valid.
    pub fn parse(texts: &[String]) -> Result<Self> {
        Ok(Self {
            builder: None,
            requirements: build_requirements(texts)?,
        })
    }

    /// Returns the requirements as PEP 508 strings.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.requirements.iter().map(ToString::to_string).collect()
    }

    /// Returns whether there are no requirements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

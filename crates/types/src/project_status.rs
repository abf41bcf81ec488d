//! The status that an index gives a project (PEP 792).

use serde::{Deserialize, Serialize};

/// The status of a project, as an index states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStatus {
    /// The marker.
    #[serde(default)]
    pub status: StatusMarker,
    /// The reason in the index's own words, if it gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ProjectStatus {
    /// Returns whether the status says no more than the default, which indexes need not state.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A project status marker of PEP 792.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusMarker {
    /// The default.
    #[default]
    Active,
    /// The project does not expect to be updated.
    Archived,
    /// The project is considered unsafe: an index must not offer its files.
    Quarantined,
    /// The project is considered obsolete.
    Deprecated,
}

impl StatusMarker {
    /// Reads a marker as indexes write it, or returns `None` for one that PEP 792 does not define.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Active,
            Self::Archived,
            Self::Quarantined,
            Self::Deprecated,
        ]
        .into_iter()
        .find(|marker| marker.as_str() == text)
    }

    /// Returns the marker as indexes write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Quarantined => "quarantined",
            Self::Deprecated => "deprecated",
        }
    }
}

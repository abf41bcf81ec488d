//! The mechanisms of the kernel that enforce a profile.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The means by which a profile is enforced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Namespaces of the kernel, in which the program has a root directory of its own.
    Namespaces,
    /// Landlock, as far as the kernel has it.
    Landlock,
    /// Nothing but the filter of system calls and resource limits.
    #[default]
    None,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "Landlock",
            Self::None => "none",
        })
    }
}

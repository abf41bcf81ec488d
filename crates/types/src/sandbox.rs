//! Protections of a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A guarantee of a sandbox.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// The program cannot reach any network.
    Network,
    /// The program reads and writes the paths of its profile only.
    Files,
    /// No process of the program survives, and it cannot send signals to other processes or trace them.
    Processes,
    /// System calls that administer the system or change the sandbox fail.
    SystemCalls,
}

impl Protection {
    /// All protections.
    pub const ALL: [Self; 4] = [
        Self::Network,
        Self::Files,
        Self::Processes,
        Self::SystemCalls,
    ];
}

impl fmt::Display for Protection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Network => "network",
            Self::Files => "files",
            Self::Processes => "processes",
            Self::SystemCalls => "system calls",
        })
    }
}

//! The rights of a program.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mechanism::Mechanism;

/// The rights of a program, written as JSON for the launcher.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Profile {
    /// The paths that the program can use. Those below others are allowed, and take precedence.
    pub mounts: Vec<PathMount>,
    /// Paths that the program cannot use although they are below a path that it can read.
    pub hidden: Vec<PathBuf>,
    /// The working directory, as the program sees it.
    pub directory: PathBuf,
    /// The home directory, as the program sees it.
    pub home: PathBuf,
    /// An empty directory, on which the root of the program is mounted. The program cannot see it.
    pub staging: PathBuf,
    /// True to grant network access.
    pub network: bool,
    /// The mechanism that enforces the profile.
    pub mechanism: Mechanism,
    /// The resource limits.
    pub limits: ResourceLimits,
    /// The file for the [requests](crate::NetworkRequests) of a program without network access.
    pub report: Option<PathBuf>,
}

/// A path that a program can use.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PathMount {
    /// The path in the sandbox. Without mount namespaces, the program uses [`PathMount::outside`] instead.
    pub inside: PathBuf,
    /// The path on this machine.
    pub outside: PathBuf,
    /// The rights of the program.
    pub access: PathAccess,
}

/// The rights of a program for the files below a path.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathAccess {
    /// Reading and executing.
    Read,
    /// Everything.
    Write,
}

/// The resource limits of a program and its descendants.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResourceLimits {
    /// The maximum number of processes and threads.
    pub processes: u64,
    /// The maximum size of a file (bytes).
    pub file_size: u64,
}

impl Default for ResourceLimits {
    /// Far more than a build of a large C++ project needs.
    fn default() -> Self {
        Self {
            processes: 4096,
            file_size: 8 << 30,
        }
    }
}

impl PathMount {
    /// Returns a mount of `path` at the same path.
    #[must_use]
    pub fn same(path: impl Into<PathBuf>, access: PathAccess) -> Self {
        let inside = path.into();
        Self {
            outside: inside.clone(),
            inside,
            access,
        }
    }
}

impl Profile {
    /// Returns the hidden paths, and where they are if they are or contain symbolic links.
    pub(crate) fn all_hidden(&self) -> Vec<PathBuf> {
        let real = self
            .hidden
            .iter()
            .filter_map(|path| fs_err::canonicalize(path).ok());
        let mut all: Vec<PathBuf> = self.hidden.iter().cloned().chain(real).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Returns where the program sees `path`: below the longest mount that contains it.
    #[must_use]
    pub fn inside(&self, path: &Path) -> PathBuf {
        if self.mechanism != Mechanism::Namespaces {
            return path.to_owned();
        }
        // Joining with an empty path would add a slash.
        let below = |mount: &PathMount| {
            let below = path.strip_prefix(&mount.outside).ok()?;
            Some(mount.inside.join(below).components().collect())
        };
        let holding = self
            .mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.outside));
        let longest = holding.max_by_key(|mount| mount.outside.components().count());
        longest.and_then(below).unwrap_or_else(|| path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(mechanism: Mechanism) -> Profile {
        let mount = |outside: &str, inside: &str| PathMount {
            inside: inside.into(),
            outside: outside.into(),
            access: PathAccess::Write,
        };
        Profile {
            mounts: vec![
                mount("/cache/builds/1", "/build/source"),
                mount("/cache/builds/1/wheels", "/build/wheels"),
                PathMount::same("/usr", PathAccess::Read),
            ],
            mechanism,
            ..Profile::default()
        }
    }

    #[test]
    fn translates_paths_below_longest_mount() {
        let profile = profile(Mechanism::Namespaces);
        let inside = |path: &str| profile.inside(Path::new(path));
        assert_eq!(
            inside("/cache/builds/1/a/b"),
            Path::new("/build/source/a/b")
        );
        assert_eq!(inside("/cache/builds/1/wheels"), Path::new("/build/wheels"));
        assert_eq!(inside("/usr/bin/cc"), Path::new("/usr/bin/cc"));
        assert_eq!(inside("/elsewhere"), Path::new("/elsewhere"));
        assert_eq!(inside("/cache/builds/1").as_os_str(), "/build/source");
    }

    #[test]
    fn keeps_paths_without_mount_namespace() {
        let path = Path::new("/cache/builds/1/a");
        assert_eq!(profile(Mechanism::Landlock).inside(path), path);
    }
}

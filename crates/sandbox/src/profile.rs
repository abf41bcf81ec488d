//! The rights of a program.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mechanism::Mechanism;

/// The rights of a program, written as JSON for the launcher.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Profile {
    /// The paths that the program can use. Those below others are allowed, and take precedence.
    pub mounts: Vec<PathMount>,
    /// Directories below the mounts whose contents are those of several directories. They need
    /// [`SandboxSupport::layers`](crate::SandboxSupport::layers).
    pub layered: Vec<LayeredDirectory>,
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

/// A directory that shows the files of several directories (`overlayfs`). What the program changes is copied before, so that
/// the layers stay as they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LayeredDirectory {
    /// The path in the sandbox.
    pub inside: PathBuf,
    /// The directory whose files hide those of the layers, and which receives what the program writes.
    pub upper: PathBuf,
    /// The directories below it, the upper ones first.
    pub layers: Vec<PathBuf>,
    /// An empty directory on the filesystem of `upper`, which serves only one launch.
    pub work: PathBuf,
}

/// The maximum length of the options of a mount: a page with a zero at its end.
const MAX_MOUNT_OPTIONS: usize = 4095;

impl LayeredDirectory {
    /// Adds `layer` above the other layers. Returns false, and adds nothing, if the kernel would not take so many or its
    /// path.
    pub fn add(&mut self, layer: &Path) -> bool {
        self.layers.insert(0, layer.to_owned());
        let is_possible = self.mount_options().is_some();
        if !is_possible {
            self.layers.remove(0);
        }
        is_possible
    }

    /// Returns the options of the mount, if the kernel takes them.
    pub(crate) fn mount_options(&self) -> Option<CString> {
        let mut options = b"userxattr,volatile".to_vec();
        let mut add = |prefix: &str, path: &Path| {
            let path = path.as_os_str().as_bytes();
            options.extend_from_slice(prefix.as_bytes());
            options.extend_from_slice(path);
            // These have a meaning in the options.
            !path.iter().any(|byte| b",:\\".contains(byte))
        };
        let mut prefix = ",lowerdir=";
        for layer in &self.layers {
            if !add(prefix, layer) {
                return None;
            }
            prefix = ":";
        }
        let is_valid = add(",upperdir=", &self.upper) && add(",workdir=", &self.work);
        if !is_valid || options.len() > MAX_MOUNT_OPTIONS {
            return None;
        }
        CString::new(options).ok()
    }
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
    fn layers_are_added_while_kernel_takes_them() {
        let mut directory = LayeredDirectory {
            inside: "/build/environment".into(),
            upper: "/cache/upper".into(),
            layers: Vec::new(),
            work: "/cache/work".into(),
        };
        assert!(directory.add(Path::new("/cache/1")));
        assert!(directory.add(Path::new("/cache/2")));
        for path in ["/cache/a:b", "/cache/a,b", "/cache/a\\b"] {
            assert!(!directory.add(Path::new(path)), "{path}");
        }
        assert_eq!(
            directory.mount_options().unwrap().to_str().unwrap(),
            "userxattr,volatile,lowerdir=/cache/2:/cache/1,upperdir=/cache/upper,workdir=/cache/work"
        );
        let long = PathBuf::from("/cache").join("x".repeat(100));
        let added = std::iter::repeat_with(|| directory.add(&long)).take_while(|added| *added);
        assert_eq!(added.count(), 37);
        assert_eq!(directory.layers.len(), 39);
        assert!(directory.mount_options().is_some());
    }

    #[test]
    fn keeps_paths_without_mount_namespace() {
        let path = Path::new("/cache/builds/1/a");
        assert_eq!(profile(Mechanism::Landlock).inside(path), path);
    }
}

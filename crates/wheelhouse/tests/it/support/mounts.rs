//! Disks that are small or read-only, mounted for a test, which needs privileges.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem mounted on a directory until it is dropped.
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts a filesystem of `size` bytes in memory. Where that is not permitted the test is left
    /// out, except where everything must be tested.
    pub(crate) fn memory(path: &Path, size: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        Self::new(path, &["-t", "tmpfs", "-o", &options, "tmpfs"])
    }

    fn new(path: &Path, arguments: &[&str]) -> Option<Self> {
        if mount(arguments, path) {
            return Some(Self {
                path: path.to_owned(),
            });
        }
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "cannot mount, and CI=true wants every test");
        let _ = writeln!(std::io::stderr(), "left out: mounting is not permitted");
        None
    }

    pub(crate) fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], &self.path));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).output();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

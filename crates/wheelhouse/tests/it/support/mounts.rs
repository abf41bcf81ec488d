//! Small or read-only filesystems, which are mounted for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A filesystem mounted on a directory until it is dropped.
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts a tmpfs of `size` bytes on `path`.
    ///
    /// Tests that call it are ignored without the feature `test-mounts`.
    pub(crate) fn memory(path: &Path, size: u32) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        assert!(mount(&arguments, path), "failed to mount a tmpfs");
        Self {
            path: path.to_owned(),
        }
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

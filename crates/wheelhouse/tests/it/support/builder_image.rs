//! A builder image without a container: its directories in a sandbox, where the program is called like its scripts
//! call it.
//!
//! It asserts nothing about `assemble`.

use std::path::PathBuf;
use std::process::Command;

use super::{Index, RunResult, Sandbox};

/// A builder image with an index; it runs one container after another.
pub(crate) struct BuilderImage {
    pub(crate) index: Index,
    pub(crate) sandbox: Sandbox,
    count: u32,
}

impl BuilderImage {
    pub(crate) fn new() -> Self {
        let (index, mut sandbox) = (Index::start(), Sandbox::new());
        sandbox.set("PIP_INDEX_URL", index.url());
        sandbox.set("WHEELHOUSE_UPGRADE_TOOLS", "0");
        // The default depends on the measured speed of downloads.
        sandbox.set("WHEELHOUSE_SAVE_FETCHED", "1");
        // Like in the images of sclorg.
        sandbox.set("PIP_NO_CACHE_DIR", "off");
        let mut image = Self {
            index,
            sandbox,
            count: 0,
        };
        image.start_container();
        image
    }

    /// Starts a container without files of earlier ones.
    pub(crate) fn start_container(&mut self) {
        self.count += 1;
        for directory in [self.root().join("src"), self.uploads().join("src")] {
            std::fs::create_dir_all(directory).unwrap();
        }
    }

    fn container(&self) -> PathBuf {
        self.sandbox.path(&format!("container-{}", self.count))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.container().join("app-root")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.container().join("tmp")
    }

    pub(crate) fn wheelhouse(&self) -> PathBuf {
        self.root().join("wheelhouse")
    }

    pub(crate) fn upload(&self, name: &str, text: &str) {
        let path = self.uploads().join("src").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, role: &[&str]) -> Command {
        let mut command = self.sandbox.command(env!("CARGO_BIN_EXE_wheelhouse"));
        command
            .current_dir(self.root().join("src"))
            .arg("s2i")
            .args(role);
        command
            .arg("--root")
            .arg(self.root())
            .arg("--uploads")
            .arg(self.uploads());
        command
    }

    pub(crate) fn assemble(&self) -> RunResult {
        self.sandbox.spawn(self.command(&["assemble"])).finish()
    }

    /// Starts a new container with the artifacts of this one.
    pub(crate) fn start_incremental_container(&mut self) {
        let saved = self.command(&["save-artifacts"]).output().unwrap();
        assert!(
            saved.status.success() && saved.stderr.is_empty(),
            "{saved:?}"
        );
        self.start_container();
        let artifacts = self.uploads().join("artifacts");
        tar::Archive::new(&*saved.stdout).unpack(artifacts).unwrap();
    }
}

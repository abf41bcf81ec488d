//! A builder image without a container: its directories in a sandbox, its scripts' calls made there.
//!
//! Never asserts anything about what `assemble` does.

use std::path::PathBuf;
use std::process::Command;

use super::{Finished, Index, Sandbox};

/// An image with an index to build from; containers come one after the other.
pub(crate) struct Image {
    pub(crate) index: Index,
    pub(crate) sandbox: Sandbox,
    count: u32,
}

impl Image {
    pub(crate) fn new() -> Self {
        let (index, mut sandbox) = (Index::start(), Sandbox::new());
        sandbox.set("PIP_INDEX_URL", index.url());
        sandbox.set("WHEELHOUSE_UPGRADE_TOOLS", "0");
        // Otherwise it depends on how busy the machine is.
        sandbox.set("WHEELHOUSE_SAVE_FETCHED", "1");
        // As the images of sclorg have it.
        sandbox.set("PIP_NO_CACHE_DIR", "off");
        let mut image = Self {
            index,
            sandbox,
            count: 0,
        };
        image.begin();
        image
    }

    /// Begins a container that has nothing of earlier ones.
    pub(crate) fn begin(&mut self) {
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

    pub(crate) fn assemble(&self) -> Finished {
        self.sandbox.spawn(self.command(&["assemble"])).finish()
    }

    /// Carries the artifacts of this container to a new one.
    pub(crate) fn continue_in_a_new_container(&mut self) {
        let saved = self.command(&["save-artifacts"]).output().unwrap();
        assert!(
            saved.status.success() && saved.stderr.is_empty(),
            "{saved:?}"
        );
        self.begin();
        let artifacts = self.uploads().join("artifacts");
        tar::Archive::new(&*saved.stdout).unpack(artifacts).unwrap();
    }
}

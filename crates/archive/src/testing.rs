//! Wheels and archives for tests, honest and hostile. Compiled for tests alone (feature `testing`).

pub mod archives;

use archives::record;
pub use archives::{Member, gzip, patched, tar, zip};

pub const WHEEL_NAME: &str = "example-1.0-py3-none-any.whl";
pub const METADATA: &str =
    "Metadata-Version: 2.1\nName: Example\nVersion: 1.0\nRequires-Python: >=3.8\n\nText\n";
pub const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n";

/// A wheel in the making: file names and contents in order.
#[derive(Clone)]
pub struct WheelSample {
    pub files: Vec<(String, Vec<u8>)>,
}

impl WheelSample {
    /// One module and a `dist-info` without `RECORD`.
    pub fn new() -> Self {
        let mut sample = Self { files: Vec::new() };
        sample.set("example.py", "print()\n");
        sample.set("example-1.0.dist-info/METADATA", METADATA);
        sample.set("example-1.0.dist-info/WHEEL", WHEEL);
        sample
    }

    pub fn set(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), content.into()));
    }

    pub fn without(mut self, name: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self
    }

    pub fn record(&self) -> String {
        record(&self.files, "example-1.0.dist-info")
    }

    /// The wheel with a right `RECORD`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut sample = self.clone();
        sample.set("example-1.0.dist-info/RECORD", self.record());
        zip(&sample.files)
    }
}

impl Member {
    pub fn directory(name: &str) -> Self {
        Self {
            kind: tar::EntryType::Directory,
            ..Self::file(name, "")
        }
    }
}

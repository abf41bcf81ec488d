//! Wheels and archives for tests, honest and hostile. Never used outside tests.

mod archives;

use archives::record;
pub(crate) use archives::{Member, gzip, patched, tar, zip};

pub(crate) const WHEEL_NAME: &str = "example-1.0-py3-none-any.whl";
pub(crate) const METADATA: &str =
    "Metadata-Version: 2.1\nName: Example\nVersion: 1.0\nRequires-Python: >=3.8\n\nText\n";
pub(crate) const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n";

/// A wheel in the making: file names and contents in order.
#[derive(Clone)]
pub(crate) struct WheelSample {
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl WheelSample {
    /// One module and a `dist-info` without `RECORD`.
    pub(crate) fn new() -> Self {
        let mut sample = Self { files: Vec::new() };
        sample.set("example.py", "print()\n");
        sample.set("example-1.0.dist-info/METADATA", METADATA);
        sample.set("example-1.0.dist-info/WHEEL", WHEEL);
        sample
    }

    pub(crate) fn set(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), content.into()));
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn record(&self) -> String {
        record(&self.files, "example-1.0.dist-info")
    }

    /// The wheel with a right `RECORD`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut sample = self.clone();
        sample.set("example-1.0.dist-info/RECORD", self.record());
        zip(&sample.files)
    }
}

impl Member {
    pub(crate) fn directory(name: &str) -> Self {
        Self {
            kind: tar::EntryType::Directory,
            ..Self::file(name, "")
        }
    }
}

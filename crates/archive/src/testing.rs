//! Wheels and archives for tests, valid and malicious. Compiled only with the feature `testing`.

pub mod archives;

use archives::record;
pub use archives::{Member, gzip, patched, tar, zip};

/// The file name of [`WheelSample`].
pub const WHEEL_NAME: &str = "example-1.0-py3-none-any.whl";
/// The `METADATA` of [`WheelSample`].
pub const METADATA: &str =
    "Metadata-Version: 2.1\nName: Example\nVersion: 1.0\nRequires-Python: >=3.8\n\nText\n";
/// The `WHEEL` of [`WheelSample`].
pub const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n";

/// The files of a wheel for tests.
#[derive(Clone)]
pub struct WheelSample {
    /// The names and contents in order.
    pub files: Vec<(String, Vec<u8>)>,
}

impl WheelSample {
    /// Creates a wheel with one module and a `dist-info` directory without `RECORD`.
    pub fn new() -> Self {
        let mut sample = Self { files: Vec::new() };
        sample.set("example.py", "print()\n");
        sample.set("example-1.0.dist-info/METADATA", METADATA);
        sample.set("example-1.0.dist-info/WHEEL", WHEEL);
        sample
    }

    /// Adds or replaces a file.
    pub fn set(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), content.into()));
    }

    /// Removes a file.
    pub fn without(mut self, name: &str) -> Self {
        self.files.retain(|(known, _)| known != name);
        self
    }

    /// Returns the `RECORD` of the files.
    pub fn record(&self) -> String {
        record(&self.files, "example-1.0.dist-info")
    }

    /// Returns the wheel with its `RECORD`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut sample = self.clone();
        sample.set("example-1.0.dist-info/RECORD", self.record());
        zip(&sample.files)
    }
}

impl Member {
    /// Creates a directory.
    pub fn directory(name: &str) -> Self {
        Self {
            kind: tar::EntryType::Directory,
            ..Self::file(name, "")
        }
    }
}

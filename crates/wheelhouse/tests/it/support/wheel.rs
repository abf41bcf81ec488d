//! Wheels as archives, correct and faulty.

use std::fmt::Write as _;

use wheelhouse_archive::testing::archives::{record, zip};

/// A builder of wheels, pure unless another tag is set.
#[derive(Clone)]
pub(crate) struct Wheel {
    name: String,
    version: String,
    tag: String,
    /// The content of METADATA, if it differs.
    metadata: Option<String>,
    requires: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    record: Option<String>,
}

impl Wheel {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            tag: "py3-none-any".to_owned(),
            metadata: None,
            requires: Vec::new(),
            files: vec![(
                format!("{name}.py"),
                format!("VERSION = '{version}'\n").into_bytes(),
            )],
            record: None,
        }
    }

    /// Sets the tag, such as `cp312-cp312-win_amd64`.
    pub(crate) fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    pub(crate) fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.to_owned());
        self
    }

    pub(crate) fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Adds a file of incompressible bytes.
    pub(crate) fn padded(self, length: usize) -> Self {
        let name = format!("{}.bin", self.name);
        let random_bytes = super::random_bytes(length, 7 + length as u64);
        self.file(&name, random_bytes)
    }

    pub(crate) fn metadata(mut self, metadata: &str) -> Self {
        self.metadata = Some(metadata.to_owned());
        self
    }

    pub(crate) fn record(mut self, record: &str) -> Self {
        self.record = Some(record.to_owned());
        self
    }

    pub(crate) fn filename(&self) -> String {
        format!("{}-{}-{}.whl", self.name, self.version, self.tag)
    }

    /// Returns a requirement that only this version meets.
    pub(crate) fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    pub(crate) fn metadata_text(&self) -> String {
        self.metadata.clone().unwrap_or_else(|| {
            let mut text = format!(
                "Metadata-Version: 2.1\nName: {}\nVersion: {}\n",
                self.name, self.version
            );
            for requirement in &self.requires {
                let _ = writeln!(text, "Requires-Dist: {requirement}");
            }
            text
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let dist_info = format!("{}-{}.dist-info", self.name, self.version);
        let mut files = self.files.clone();
        let description = format!(
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {}\nTag: {}\n",
            self.tag.ends_with("-none-any"),
            self.tag
        );
        files.push((
            format!("{dist_info}/METADATA"),
            self.metadata_text().into_bytes(),
        ));
        files.push((format!("{dist_info}/WHEEL"), description.into()));
        let right = || record(&files, &dist_info);
        let record = self.record.clone().unwrap_or_else(right);
        files.push((format!("{dist_info}/RECORD"), record.into_bytes()));
        zip(&files)
    }
}

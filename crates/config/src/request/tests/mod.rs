//! Tests of merging the command line, variables, pip's files, requirements files and defaults.

mod indexes;
mod precedence;
mod settings;
mod trees;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Request, Result};

use super::super::Environment;
use super::*;
use crate::file_source::{FileSource, ReadSource};
use crate::pip_config::{ConfigurationRequest, PathConventions, PipConfiguration};
use crate::settings::{FormatOption, ValueOrigin, resolve_settings};

/// Files by absolute path.
struct MemoryFiles(BTreeMap<String, String>);

impl ReadSource for MemoryFiles {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        let text = self.0.get(&source.to_string());
        text.map(|text| text.clone().into_bytes())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        let directory = format!("{}/", path.display());
        let holds = |known: &String| {
            known == &directory[..directory.len() - 1] || known.starts_with(&directory)
        };
        self.0.keys().any(holds)
    }
}

/// The inputs of a run.
#[derive(Default)]
struct World<'a> {
    variables: &'a [(&'a str, &'a str)],
    /// Relative to `/app`, or absolute. `/etc/pip.conf` is pip's.
    files: &'a [(&'a str, &'a str)],
}

impl<'a> World<'a> {
    fn of_files(files: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            files,
            ..Self::default()
        }
    }

    fn with<Output>(&self, act: impl FnOnce(&SettingsContext<'_>) -> Output) -> Output {
        let directory = Path::new("/app");
        let files = self.files.iter().map(|(path, text)| {
            (
                directory.join(path).display().to_string(),
                (*text).to_owned(),
            )
        });
        let reader = MemoryFiles(files.collect());
        let environment: Environment = self.variables.iter().copied().collect();
        let request = ConfigurationRequest {
            environment: &environment,
            working_directory: directory,
            sections: &["wheel"],
            prefix: None,
            isolated: false,
            platform: PathConventions::Unix,
        };
        let pip = PipConfiguration::load(&request, &reader).unwrap();
        act(&SettingsContext {
            environment: &environment,
            working_directory: directory,
            pip: &pip,
            reader: &reader,
            processors: 8,
            default_cache: Some(Path::new("/home/me/.cache/wheelhouse")),
        })
    }

    fn settings(&self, raw: &RawOptions) -> Result<Settings> {
        self.with(|context| resolve_settings(raw, context))
    }

    fn joined(&self, raw: &RawOptions) -> Result<BuiltRequest> {
        self.with(|context| build_request(raw, &resolve_settings(raw, context)?, context))
    }

    fn request(&self, raw: &RawOptions) -> Request {
        self.joined(raw).unwrap().request
    }

    fn error(&self, raw: &RawOptions) -> String {
        self.joined(raw).unwrap_err().display_chain()
    }
}

fn raw() -> RawOptions {
    RawOptions {
        requirements: vec!["django".to_owned()],
        ..RawOptions::default()
    }
}

fn urls(request: &Request) -> Vec<&str> {
    request.indexes.urls.iter().map(Url::as_str).collect()
}

fn texts(requirements: &[Requirement]) -> Vec<(&str, &str)> {
    requirements
        .iter()
        .map(|it| (it.text.as_str(), it.origin.as_str()))
        .collect()
}

const CONF: (&str, &str) = (
    "/etc/pip.conf",
    "[global]\nindex-url = https://file/simple\nretries = 1\ntimeout = 10\n\
     extra-index-url = https://file-extra/simple\nno-binary = a\npython = python3.10\n\
     [wheel]\nretries = 2\nwheel-dir = from-file\n",
);

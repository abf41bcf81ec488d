//! The requirements of an application: its requirements files, or the project itself, with extras and groups.

use std::path::{Path, PathBuf};

use wheelhouse_types::{Error, Kind, Result};

use super::inputs::{InputReader, InputRole, is_project};
use super::locks::{is_lock, is_one_lock};
use crate::error::input;
use crate::file_source::FileSource;
use crate::project_discovery::{ApplicationSource, SourceFilesError, find_application_source};
use crate::pyproject::{Dependencies, PyProject};
use crate::requirements_file::FileRole;
use crate::settings::Settings;

impl InputReader<'_> {
    /// Takes the application if one is named, or if there are no other inputs.
    pub(super) fn take_source(&mut self, settings: &Settings) -> Result<()> {
        let has_input = !self.raw.requirements.is_empty()
            || !settings.requirement_files.is_empty()
            || !settings.editables.is_empty()
            || !settings.groups.is_empty();
        if self.raw.source.is_none() && has_input {
            if self.raw.extras.is_empty()
                || settings.requirement_files.iter().any(|it| is_project(it))
            {
                return Ok(());
            }
            return Err(Error::new(Kind::Input, "--extra requires a project")
                .with_hint("Pass a project with --source DIR or -r DIR/pyproject.toml."));
        }
        let root = self.root();
        // The lock of the output directory is the result of the last run, not an input.
        let is_passed_over = |path: &Path| {
            let is_of_output = path.parent() == Some(settings.output.as_path());
            is_lock(path) && (self.raw.passes_over_locks || is_of_output)
        };
        let is_file = |path: &Path| path.is_file() && !is_passed_over(path);
        let named = self.context.environment.get("REQUIREMENTS_FILE");
        let found = find_application_source(&root, named, is_file).map_err(|mut error| {
            if let SourceFilesError::Nothing { looked_for, .. } = &mut error
                && self.raw.passes_over_locks
            {
                looked_for.retain(|name| !is_lock(Path::new(name)));
            }
            let implicit = self.raw.source.is_none();
            let error = Error::new(
                Kind::Input,
                if implicit { format!("no requirements to build: {error}") } else { error.to_string() },
            );
            error.with_hint("Pass requirements, a file with -r FILE, or the directory of an application with --source DIR.")
        })?;
        match found {
            ApplicationSource::Lock(path) => self.take_found_lock(&path, settings),
            ApplicationSource::RequirementsFiles(paths) if is_one_lock(&paths)? => {
                self.take_lock(&FileSource::File(paths[0].clone()), settings)
            }
            ApplicationSource::RequirementsFiles(paths) => {
                let files: Vec<_> = paths
                    .into_iter()
                    .map(|path| (FileRole::Requirements, FileSource::File(path)))
                    .collect();
                self.read_files(&files, &root, InputRole::Main)?;
                for extra in &self.raw.extras {
                    self.take_extra(&root.join("pyproject.toml"), extra)?;
                }
                Ok(())
            }
            ApplicationSource::Project(path) => self.take_project(&path),
        }
    }

    /// Returns the directory that extras, groups and requirements files are relative to.
    pub(super) fn root(&self) -> PathBuf {
        let root = self.raw.source.as_deref().unwrap_or(Path::new(""));
        // Components normalize the path, which is shown to the user.
        self.context
            .working_directory
            .join(root)
            .components()
            .collect()
    }

    /// Takes the dependencies of a project with the extras. Those that only the build backend knows are
    /// determined by building the project.
    pub(super) fn take_project(&mut self, path: &Path) -> Result<()> {
        self.record_file(path);
        let dependencies = match self.project(path)? {
            Some(project) => project.dependencies().map_err(input)?,
            None => Dependencies::Dynamic,
        };
        match dependencies {
            Dependencies::Static(texts) => {
                self.take_dependencies(path, texts);
                for extra in &self.raw.extras {
                    self.take_extra(path, extra)?;
                }
                Ok(())
            }
            Dependencies::Dynamic => {
                self.take_tree(path);
                Ok(())
            }
            Dependencies::Absent if !self.raw.extras.is_empty() || !self.raw.groups.is_empty() => {
                Ok(())
            }
            Dependencies::Absent => {
                let message = format!(
                    "`{}` does not define a project: it has neither `[project]` nor `[build-system]`",
                    self.name(path)
                );
                Err(Error::new(Kind::Input, message).with_hint("Pass requirements with -r FILE."))
            }
        }
    }

    fn take_dependencies(&mut self, path: &Path, texts: Vec<String>) {
        let (origin, base) = (self.name(path), directory(path));
        for text in texts {
            self.require(text, origin.clone(), &base);
        }
    }

    fn take_extra(&mut self, path: &Path, extra: &str) -> Result<()> {
        self.record_file(path);
        let Some(project) = self.project(path)? else {
            let message = format!(
                "`{}` does not exist, so the extra `{extra}` is not available",
                self.name(path)
            );
            return Err(Error::new(Kind::Input, message));
        };
        match project.extra(extra).map_err(input)? {
            Dependencies::Static(texts) => self.take_dependencies(path, texts),
            Dependencies::Dynamic | Dependencies::Absent => self.take_tree(path),
        }
        Ok(())
    }

    /// Requires the source tree itself, once.
    fn take_tree(&mut self, path: &Path) {
        let base = directory(path);
        let extras = self.raw.extras.join(",");
        let extras = if extras.is_empty() {
            extras
        } else {
            format!("[{extras}]")
        };
        let text = format!("{}{extras}", base.display());
        if self
            .inputs
            .requirements
            .iter()
            .any(|known| known.text == text)
        {
            return;
        }
        let origin = self.name(path);
        self.inputs.notes.push(format!(
            "what `{origin}` depends on is dynamic, so that the project itself becomes part of the wheelhouse"
        ));
        self.require(text, origin, &base);
    }

    pub(super) fn take_groups(&mut self, settings: &Settings) -> Result<()> {
        for named in &settings.groups {
            let (path, group) = match named.rsplit_once(':') {
                Some((path, group)) => (self.context.working_directory.join(path), group),
                None => (self.root().join("pyproject.toml"), named.as_str()),
            };
            self.record_file(&path);
            let Some(project) = self.project(&path)? else {
                let message = format!(
                    "`{}` does not exist, so the group `{group}` is not available",
                    self.name(&path)
                );
                return Err(Error::new(Kind::Input, message)
                    .with_hint("Pass the project with --source DIR, or the group as PATH:GROUP."));
            };
            let texts = project.group(group).map_err(input)?;
            self.take_dependencies(&path, texts);
        }
        Ok(())
    }

    /// Reads a `pyproject.toml`; for a project without one, `path` is its `setup.py`.
    fn project(&self, path: &Path) -> Result<Option<PyProject>> {
        if path.file_name().is_none_or(|name| name != "pyproject.toml")
            || !self.context.reader.exists(path)
        {
            return Ok(None);
        }
        let bytes = self.context.reader.read(&FileSource::File(path.to_owned()));
        let text = bytes
            .map(String::from_utf8)
            .map_err(input)?
            .map_err(input)?;
        PyProject::parse(path, &text).map(Some).map_err(input)
    }
}

fn directory(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

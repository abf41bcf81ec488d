//! What is to be built: requirements of the command line, of files and of an application's tree.
//!
//! Responsible for their order, which is pip's: constraints, then the command line, then files; and
//! for the rules of an application's tree. Never judges a requirement.

use std::path::{Path, PathBuf};

use wheelhouse_model::redact::redacted;
use wheelhouse_model::request::Requirement;
use wheelhouse_model::{Error, Kind, Result};

use super::super::lockfile::Scope;
use super::super::project::{Dependencies, Project};
use super::super::requirements_file::{
    FileOptions, ReadContext, RequirementLine, Requirements, RequirementsError, Role,
    read_requirements,
};
use super::super::source::Source;
use super::super::source_files::{ApplicationSource, find_application_source};
use super::locks::is_one_lock;
use super::{RawBuild, Settings, SettingsContext, input, shown};

/// Holds what was read.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) requirements: Vec<Requirement>,
    pub(super) constraints: Vec<Requirement>,
    pub(super) overrides: Vec<Requirement>,
    pub(super) build_constraints: Vec<Requirement>,
    /// What the settings and the options of all files add up to.
    pub(super) options: FileOptions,
    pub(super) notes: Vec<String>,
    /// Whether a lock gave the requirements, which are complete then.
    pub(super) is_locked: bool,
    /// The targets that this lock serves.
    pub(super) scope: Scope,
}

/// Says which part of a request lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// They are requirements and constraints, by their role.
    Main,
    Overrides,
    BuildConstraints,
}

pub(super) struct Reading<'a> {
    pub(super) raw: &'a RawBuild,
    pub(super) context: &'a SettingsContext<'a>,
    pub(super) inputs: Inputs,
}

/// Reads everything that the command line and the configuration name.
pub(super) fn read(
    raw: &RawBuild,
    settings: &Settings,
    context: &SettingsContext<'_>,
) -> Result<Inputs> {
    let mut reading = Reading {
        raw,
        context,
        inputs: Inputs {
            options: settings.file_options.clone(),
            ..Inputs::default()
        },
    };
    reading.take_command_line(settings);
    let lock = reading.named_lock(settings)?;
    let files = settings.requirement_files.iter().filter(|_| lock.is_none());
    let (projects, files): (Vec<_>, Vec<_>) = files.partition(|name| is_project(name));
    let constraints = named_files(Role::Constraints, &settings.constraint_files)?;
    let requirements = named_files(Role::Requirements, files)?;
    let files = [constraints, requirements].concat();
    reading.read_files(&files, context.working_directory, Part::Main)?;
    for project in &projects {
        let path = context.working_directory.join(project);
        reading.take_project(&path)?;
    }
    for (part, names) in [
        (Part::Overrides, &raw.override_files),
        (Part::BuildConstraints, &settings.build_constraint_files),
    ] {
        let files = named_files(Role::Constraints, names)?;
        reading.read_files(&files, context.working_directory, part)?;
    }
    match lock {
        Some(lock) => reading.take_named_lock(&lock, settings)?,
        None => reading.take_source(settings)?,
    }
    if !reading.inputs.is_locked {
        reading.take_groups(settings)?;
    }
    Ok(reading.inputs)
}

/// Whether `-r` means a project by `name`.
fn is_project(name: &str) -> bool {
    Path::new(name)
        .file_name()
        .is_some_and(|name| name == "pyproject.toml")
}

fn named_files<'a>(
    role: Role,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<(Role, Source)>> {
    let parse = |name: &String| {
        let source = Source::parse(name).map_err(|error| {
            let message = format!("the {role} file `{}` is no URL", redacted(name));
            Error::new(Kind::Input, message).caused_by(error)
        })?;
        Ok((role, source))
    };
    names.into_iter().map(parse).collect()
}

impl Reading<'_> {
    fn take_command_line(&mut self, settings: &Settings) {
        let requirements = self
            .raw
            .requirements
            .iter()
            .map(|text| (text.clone(), "the command line"));
        let given: Vec<_> = requirements.collect();
        for (text, origin) in given {
            self.require(text, origin, self.context.working_directory);
        }
        for text in &settings.editables {
            self.inputs
                .notes
                .push(not_editable(&redacted(text), "the command line"));
            let text = editable(text, self.context.working_directory);
            self.require(text, "the command line", self.context.working_directory);
        }
    }

    fn require(&mut self, text: String, origin: impl Into<String>, base: &Path) {
        self.inputs.requirements.push(Requirement {
            text,
            origin: origin.into(),
            base: base.to_owned(),
            ..Requirement::default()
        });
    }

    fn read_files(&mut self, files: &[(Role, Source)], directory: &Path, part: Part) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let context = ReadContext {
            environment: self.context.environment,
            working_directory: directory,
            reader: self.context.reader,
        };
        let options = match part {
            Part::Main => std::mem::take(&mut self.inputs.options),
            Part::Overrides | Part::BuildConstraints => FileOptions::default(),
        };
        let read = read_requirements(files, &context, options).map_err(unreadable)?;
        self.take_files(read, part);
        Ok(())
    }

    fn take_files(&mut self, read: Requirements, part: Part) {
        let notices = read.notices.iter().map(ToString::to_string);
        self.inputs.notes.extend(notices);
        if part == Part::Main {
            self.inputs.options = read.options;
        } else if read.options != FileOptions::default() {
            let note = "options in files of overrides and build constraints have no effect";
            self.inputs.notes.push(note.to_owned());
        }
        for line in read.requirements {
            let requirement = self.requirement(line);
            match part {
                Part::Main => self.inputs.requirements.push(requirement),
                Part::Overrides => self.inputs.overrides.push(requirement),
                Part::BuildConstraints => self.inputs.build_constraints.push(requirement),
            }
        }
        for line in read.constraints {
            let requirement = self.requirement(line);
            match part {
                Part::Main => self.inputs.constraints.push(requirement),
                Part::Overrides => self.inputs.overrides.push(requirement),
                Part::BuildConstraints => self.inputs.build_constraints.push(requirement),
            }
        }
    }

    fn requirement(&mut self, line: RequirementLine) -> Requirement {
        let origin = match &line.location.source {
            Source::File(path) if path.as_os_str() == "-" => "the standard input".to_owned(),
            Source::File(path) => shown(path, self.context.working_directory)
                .display()
                .to_string(),
            url @ Source::Url(_) => url.to_string(),
        };
        let origin = format!("{origin}:{}", line.location.line);
        let text = if line.editable {
            self.inputs
                .notes
                .push(not_editable(&redacted(&line.written), &origin));
            editable(&line.text, &line.base)
        } else {
            line.text
        };
        Requirement {
            text,
            hashes: line.hashes,
            config_settings: line.config_settings,
            origin,
            base: line.base,
        }
    }

    /// Takes the application's tree if one is named, or if there is nothing else to build from.
    fn take_source(&mut self, settings: &Settings) -> Result<()> {
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
            return Err(Error::new(Kind::Input, "--extra needs a project")
                .with_hint("Name it with --source DIR or -r DIR/pyproject.toml."));
        }
        let root = self.root();
        let is_file = |path: &Path| path.is_file();
        let named = self.context.environment.get("REQUIREMENTS_FILE");
        let found = find_application_source(&root, named, is_file).map_err(|error| {
            let implicit = self.raw.source.is_none();
            let error = Error::new(
                Kind::Input,
                if implicit { format!("there is nothing to build from: {error}") } else { error.to_string() },
            );
            error.with_hint("Name requirements, a file with -r FILE, or an application's tree with --source DIR.")
        })?;
        match found {
            ApplicationSource::Lock(path) => self.take_found_lock(&path, settings),
            ApplicationSource::RequirementsFiles(paths) if is_one_lock(&paths)? => {
                self.take_lock(&Source::File(paths[0].clone()), settings)
            }
            ApplicationSource::RequirementsFiles(paths) => {
                let files: Vec<_> = paths
                    .into_iter()
                    .map(|path| (Role::Requirements, Source::File(path)))
                    .collect();
                self.read_files(&files, &root, Part::Main)?;
                for extra in &self.raw.extras {
                    self.take_extra(&root.join("pyproject.toml"), extra)?;
                }
                Ok(())
            }
            ApplicationSource::Project(path) => self.take_project(&path),
        }
    }

    /// The tree that extras, groups and requirements files belong to.
    fn root(&self) -> PathBuf {
        let root = self.raw.source.as_deref().unwrap_or(Path::new(""));
        // Components have neither `.` nor a slash at the end, which would be shown.
        self.context
            .working_directory
            .join(root)
            .components()
            .collect()
    }

    /// Takes what a project depends on, with the extras; what only its back end knows is had by
    /// building it.
    fn take_project(&mut self, path: &Path) -> Result<()> {
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
                    "`{}` describes no project: it has neither `[project]` nor `[build-system]`",
                    self.name(path)
                );
                Err(Error::new(Kind::Input, message).with_hint("Name requirements with -r FILE."))
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
        let Some(project) = self.project(path)? else {
            let message = format!(
                "`{}` is not there, so there is no extra `{extra}`",
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

    /// Requires the tree itself, once.
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

    fn take_groups(&mut self, settings: &Settings) -> Result<()> {
        for named in &settings.groups {
            let (path, group) = match named.rsplit_once(':') {
                Some((path, group)) => (self.context.working_directory.join(path), group),
                None => (self.root().join("pyproject.toml"), named.as_str()),
            };
            let Some(project) = self.project(&path)? else {
                let message = format!(
                    "`{}` is not there, so there is no group `{group}`",
                    self.name(&path)
                );
                return Err(Error::new(Kind::Input, message)
                    .with_hint("Name the project with --source DIR, or the group as PATH:GROUP."));
            };
            let texts = project.group(group).map_err(input)?;
            self.take_dependencies(&path, texts);
        }
        Ok(())
    }

    /// Reads a `pyproject.toml`; a project without one has its `setup.py` at `path`.
    fn project(&self, path: &Path) -> Result<Option<Project>> {
        if path.file_name().is_none_or(|name| name != "pyproject.toml")
            || !self.context.reader.exists(path)
        {
            return Ok(None);
        }
        let bytes = self.context.reader.read(&Source::File(path.to_owned()));
        let text = bytes
            .map(String::from_utf8)
            .map_err(input)?
            .map_err(input)?;
        Project::parse(path, &text).map(Some).map_err(input)
    }

    pub(super) fn name(&self, path: &Path) -> String {
        shown(path, self.context.working_directory)
            .display()
            .to_string()
    }
}

fn directory(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// What `-e` names: a directory even without a slash in its name.
fn editable(text: &str, base: &Path) -> String {
    let path = text.split('[').next().unwrap_or(text);
    if !text.contains(['/', ':']) && base.join(path).is_dir() {
        format!("./{text}")
    } else {
        text.to_owned()
    }
}

fn not_editable(written: &str, origin: &str) -> String {
    format!(
        "`-e {written}` of {origin} is built as an ordinary wheel: a wheelhouse has no editables"
    )
}

fn unreadable(error: RequirementsError) -> Error {
    let hint = error.hint();
    let remote = matches!(
        &error,
        RequirementsError::Read { file: Source::Url(url), .. }
        | RequirementsError::ReadNested { file: Source::Url(url), .. } if url.scheme() != "file"
    );
    let error = input(error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None if remote => error.with_hint("Download the file first and name its path: requirements files are not read from the network yet."),
        None => error,
    }
}

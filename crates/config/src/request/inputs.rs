//! The inputs of a request: requirements of the command line, of files, and of an application.
//!
//! The order is that of pip: constraints, the command line, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wheelhouse_types::lock::Build;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{COMMAND_LINE, LockedFile, Requirement};
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::{misplaced_arguments, shown};
use crate::error::sentence;
use crate::file_source::FileSource;
use crate::lockfile::SupportedTargets;
use crate::requirements_file::{
    FileOptions, FileRole, ReadContext, RequirementLine, RequirementsError, RequirementsFile,
    read_requirements,
};
use crate::settings::{RawOptions, Settings, SettingsContext};

/// The inputs that were read.
#[derive(Debug, Default)]
pub(super) struct RequestInputs {
    pub(super) requirements: Vec<Requirement>,
    pub(super) constraints: Vec<Requirement>,
    pub(super) overrides: Vec<Requirement>,
    pub(super) build_constraints: Vec<Requirement>,
    /// The build closures of a lock.
    pub(super) builds: Vec<Build>,
    pub(super) locked_files: Vec<LockedFile>,
    /// The combined options of the settings and all files.
    pub(super) options: FileOptions,
    pub(super) notes: Vec<String>,
    /// The local files that were read, with the digests of their requirements.
    pub(super) files: BTreeMap<PathBuf, Sha256>,
    /// The names of all inputs, and of files next to them that are not used.
    pub(super) from: Vec<String>,
    pub(super) unused: Vec<String>,
    /// The file next to the lock that it was created from.
    pub(super) project_of_lock: Option<&'static str>,
    /// True if the requirements are from a lock, and therefore complete.
    pub(super) is_locked: bool,
    /// The targets that the lock supports.
    pub(super) scope: SupportedTargets,
}

/// The part of a request that lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InputRole {
    /// Requirements and constraints, by the role of their file.
    Main,
    Overrides,
    BuildConstraints,
}

pub(super) struct InputReader<'a> {
    pub(super) raw: &'a RawOptions,
    pub(super) context: &'a SettingsContext<'a>,
    pub(super) inputs: RequestInputs,
}

/// Reads all inputs of the command line and the configuration.
pub(super) fn read(
    raw: &RawOptions,
    settings: &Settings,
    context: &SettingsContext<'_>,
) -> Result<RequestInputs> {
    let mut reading = InputReader {
        raw,
        context,
        inputs: RequestInputs {
            options: settings.file_options.clone(),
            ..RequestInputs::default()
        },
    };
    misplaced_arguments::refuse_files(&raw.requirements, context)?;
    reading.take_command_line(settings);
    let lock = reading.named_lock(settings)?;
    let files = settings.requirement_files.iter().filter(|_| lock.is_none());
    let (projects, files): (Vec<_>, Vec<_>) = files.partition(|name| is_project(name));
    let constraints = named_files(FileRole::Constraints, &settings.constraint_files)?;
    let requirements = named_files(FileRole::Requirements, files)?;
    let files = [constraints, requirements].concat();
    reading.read_files(&files, context.working_directory, InputRole::Main)?;
    for project in &projects {
        refuse_remote_project(project)?;
        let path = context.working_directory.join(project);
        reading.take_project(&path)?;
    }
    for (part, names) in [
        (InputRole::Overrides, &settings.override_files),
        (
            InputRole::BuildConstraints,
            &settings.build_constraint_files,
        ),
    ] {
        let files = named_files(FileRole::Constraints, names)?;
        reading.read_files(&files, context.working_directory, part)?;
    }
    match lock {
        Some(lock) => reading.take_named_lock(&lock, settings)?,
        None => reading.take_source(settings)?,
    }
    if !reading.inputs.is_locked {
        reading.take_groups(settings)?;
    }
    misplaced_arguments::refuse_builds_of_conda(&reading.inputs.requirements, context)?;
    reading.finish_files(reading.inputs.project_of_lock);
    Ok(reading.inputs)
}

/// Returns whether `name` after `-r` is a project.
pub(super) fn is_project(name: &str) -> bool {
    Path::new(name)
        .file_name()
        .is_some_and(|name| name == "pyproject.toml")
}

/// Rejects a project at a URL: unlike a requirements file, it may need its source tree.
fn refuse_remote_project(name: &str) -> Result<()> {
    if !name.contains("://") {
        return Ok(());
    }
    let message = format!("the project `{}` is not local", redacted(name));
    Err(Error::new(Kind::Input, message)
        .with_hint("Download the project and pass its directory with --source DIR."))
}

fn named_files<'a>(
    role: FileRole,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<(FileRole, FileSource)>> {
    let parse = |name: &String| {
        let source = FileSource::parse(name).map_err(|error| {
            let message = format!("the {role} file `{}` is not a valid URL", redacted(name));
            Error::new(Kind::Input, message).caused_by(error)
        })?;
        Ok((role, source))
    };
    names.into_iter().map(parse).collect()
}

impl InputReader<'_> {
    fn take_command_line(&mut self, settings: &Settings) {
        let requirements = self
            .raw
            .requirements
            .iter()
            .map(|text| (text.clone(), COMMAND_LINE));
        let given: Vec<_> = requirements.collect();
        for (text, origin) in given {
            self.require(text, origin, self.context.working_directory);
        }
        for text in &settings.editables {
            self.inputs
                .notes
                .push(not_editable(&redacted(text), COMMAND_LINE));
            let text = editable(text, self.context.working_directory);
            self.require(text, COMMAND_LINE, self.context.working_directory);
        }
    }

    pub(super) fn require(&mut self, text: String, origin: impl Into<String>, base: &Path) {
        self.inputs.requirements.push(Requirement {
            text,
            origin: origin.into(),
            base: base.to_owned(),
            ..Requirement::default()
        });
    }

    pub(super) fn read_files(
        &mut self,
        files: &[(FileRole, FileSource)],
        directory: &Path,
        part: InputRole,
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        for (_, source) in files {
            self.record_source(&source.absolute(directory));
        }
        let context = ReadContext {
            environment: self.context.environment,
            working_directory: directory,
            reader: self.context.reader,
        };
        let options = match part {
            InputRole::Main => std::mem::take(&mut self.inputs.options),
            InputRole::Overrides | InputRole::BuildConstraints => FileOptions::default(),
        };
        let read = read_requirements(files, &context, options).map_err(unreadable)?;
        self.take_files(read, part);
        Ok(())
    }

    fn take_files(&mut self, read: RequirementsFile, part: InputRole) {
        let notices = read.notices.iter().map(ToString::to_string);
        self.inputs.notes.extend(notices);
        if part == InputRole::Main {
            self.inputs.options = read.options;
        } else if read.options != FileOptions::default() {
            let note = "options in files of overrides and build constraints have no effect";
            self.inputs.notes.push(note.to_owned());
        }
        for line in read.requirements.iter().chain(&read.constraints) {
            self.record_source(&line.location.source);
        }
        let requirements = read.requirements.into_iter().map(|line| (line, false));
        let constraints = read.constraints.into_iter().map(|line| (line, true));
        for (line, is_constraint) in requirements.chain(constraints) {
            let requirement = self.requirement(line);
            let lines = match part {
                InputRole::Main if is_constraint => &mut self.inputs.constraints,
                InputRole::Main => &mut self.inputs.requirements,
                InputRole::Overrides => &mut self.inputs.overrides,
                InputRole::BuildConstraints => &mut self.inputs.build_constraints,
            };
            lines.push(requirement);
        }
    }

    fn requirement(&mut self, line: RequirementLine) -> Requirement {
        let origin = match &line.location.source {
            FileSource::File(path) if path.as_os_str() == "-" => "the standard input".to_owned(),
            FileSource::File(path) => shown(path, self.context.working_directory)
                .display()
                .to_string(),
            url @ FileSource::Url(_) => url.to_string(),
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

    pub(super) fn name(&self, path: &Path) -> String {
        shown(path, self.context.working_directory)
            .display()
            .to_string()
    }
}

/// Returns the tree of `-e`, which is a directory even if its name has no slash.
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
        "`-e {written}` of {origin} is built as a regular wheel, because a wheelhouse cannot contain editables"
    )
}

/// Converts an error. An error of the program inside keeps its kind and hint.
fn unreadable(error: RequirementsError) -> Error {
    let ours = error
        .unread()
        .and_then(|cause| cause.get_ref()?.downcast_ref::<Error>());
    let kind = ours.map_or(Kind::Input, Error::kind);
    let hint = error.hint().or_else(|| ours?.hint()).map(str::to_owned);
    let error = Error::new(kind, sentence(error));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

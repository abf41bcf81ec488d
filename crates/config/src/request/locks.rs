//! Locks among the inputs.
//!
//! A lock is complete: it cannot be combined with other requirements, and dependencies are not resolved. Its
//! indexes are searched in addition to those of the user.

use std::path::{Path, PathBuf};

use url::Url;
use wheelhouse_types::redact::{redacted, without_credentials};
use wheelhouse_types::request::LockedFile;
use wheelhouse_types::{Error, Kind, Result};

use super::inputs::InputReader;
use crate::error::input;
use crate::file_source::FileSource;
use crate::lockfile::{self, LockFile, LockFormat, LockedInputs, Selection};
use crate::pypi::is_pypi;
use crate::requirements_file::{FileOptions, expand_variables};
use crate::settings::Settings;

/// Returns whether `path` has the name of a lock.
pub(super) fn is_lock(path: &Path) -> bool {
    LockFormat::of_name(&path.to_string_lossy()).is_some()
}

/// Returns whether `paths` is a single lock.
///
/// # Errors
/// There are other files besides the lock.
pub(super) fn is_one_lock(paths: &[PathBuf]) -> Result<bool> {
    let names: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    let Some(lock) = names
        .iter()
        .position(|name| LockFormat::of_name(name).is_some())
    else {
        return Ok(false);
    };
    match names.iter().enumerate().find(|(index, _)| *index != lock) {
        None => Ok(true),
        Some((_, other)) => Err(not_alone(&names[lock], other)),
    }
}

fn not_alone(lock: &str, other: &str) -> Error {
    let message = format!(
        "the lock `{}` cannot be used together with `{}`: a lock is complete",
        redacted(lock),
        redacted(other)
    );
    Error::new(Kind::Input, message).with_hint(
        "Pass only the lock with --lock FILE, or add to it with the tool that created it.",
    )
}

impl InputReader<'_> {
    /// Returns the lock of `--lock`, or of a `-r` with the name of a lock.
    pub(super) fn named_lock(&mut self, settings: &Settings) -> Result<Option<String>> {
        if let Some(lock) = &self.raw.lock {
            let configured = settings.requirement_files.iter().chain(&settings.editables);
            for other in configured {
                let note = format!(
                    "`{}` of pip's configuration has no effect beside --lock",
                    redacted(other)
                );
                self.inputs.notes.push(note);
            }
            self.inputs.requirements.clear();
            return Ok(Some(lock.clone()));
        }
        let files = &settings.requirement_files;
        let Some(lock) = files
            .iter()
            .find(|name| LockFormat::of_name(name).is_some())
        else {
            return Ok(None);
        };
        let source = self
            .raw
            .source
            .as_ref()
            .map(|path| path.display().to_string());
        let others = self
            .raw
            .requirements
            .iter()
            .chain(&settings.editables)
            .chain(files);
        match others.chain(source.iter()).find(|other| *other != lock) {
            Some(other) => Err(not_alone(lock, other)),
            None => Ok(Some(lock.clone())),
        }
    }

    /// Takes the lock that the user named, relative to the working directory.
    pub(super) fn take_named_lock(&mut self, name: &str, settings: &Settings) -> Result<()> {
        let source = FileSource::parse(name).map_err(|error| {
            let message = format!("the lock `{}` is not a valid URL", redacted(name));
            Error::new(Kind::Input, message).caused_by(error)
        })?;
        self.take_lock(&source.absolute(self.context.working_directory), settings)
    }

    /// Takes the lock that was found in an application.
    pub(super) fn take_found_lock(&mut self, path: &Path, settings: &Settings) -> Result<()> {
        let taken = self.take_lock(&FileSource::File(path.to_owned()), settings);
        let selects = !self.raw.extras.is_empty() || !settings.groups.is_empty();
        taken.map_err(|error| match error.hint() {
            None if selects => error.with_hint("Pass a file that includes it with -r FILE."),
            _ => error,
        })
    }

    pub(super) fn take_lock(&mut self, source: &FileSource, settings: &Settings) -> Result<()> {
        let name = match source {
            FileSource::File(path) => self.name(path),
            FileSource::Url(_) => source.to_string(),
        };
        let text = self
            .text_of(source)?
            .ok_or_else(|| Error::new(Kind::Input, format!("the lock `{name}` does not exist")))?;
        let format = lockfile::recognize(&name, &text)?;
        let directory = source
            .directory()
            .unwrap_or(self.context.working_directory)
            .to_owned();
        let project = match (source, format.project_file()) {
            (FileSource::File(_), Some(file)) => {
                self.text_of(&FileSource::File(directory.join(file)))?
            }
            _ => None,
        };
        let file = LockFile {
            name: &name,
            text: &text,
            base: &directory,
            project: project.as_deref(),
        };
        let selection = Selection::parse(&self.raw.extras, &settings.groups)?;
        let locked = lockfile::read(format, &file, &selection)?;
        self.check_files(&name, &locked.files)?;
        self.record_source(source);
        self.inputs.project_of_lock = format.project_file();
        self.take_locked(locked);
        Ok(())
    }

    /// Returns the text at `source`, if the file exists.
    fn text_of(&self, source: &FileSource) -> Result<Option<String>> {
        if let FileSource::File(path) = source
            && !self.context.reader.exists(path)
        {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(Kind::Input, format!("failed to read `{source}`: {error}"))
        };
        let bytes = self
            .context
            .reader
            .read(source)
            .map_err(|error| failed(&input(error)))?;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| failed(&error))
    }

    fn take_locked(&mut self, locked: LockedInputs) {
        let inputs = &mut self.inputs;
        inputs.is_locked = true;
        inputs.scope = locked.scope;
        inputs.requirements.extend(locked.requirements);
        inputs.constraints.extend(locked.constraints);
        inputs.builds.extend(locked.builds);
        let no_index = inputs.options.no_index;
        let files = locked.named_files.into_iter().map(|file| LockedFile {
            url: file.url.filter(|_| !no_index),
            ..file
        });
        inputs.locked_files.extend(files);
        inputs.notes.extend(locked.notes);
        let environment = self.context.environment;
        let indexes = locked
            .indexes
            .iter()
            .map(|index| expand_variables(index, environment));
        add_indexes(&mut inputs.options, indexes.collect());
        inputs.options.find_links.extend(locked.find_links);
    }
}

/// Adds the indexes of a lock. `PyPI` in the lock stands for the user's main index; if the lock does not
/// mention `PyPI` and the user named no index, its first index becomes the main one.
fn add_indexes(options: &mut FileOptions, indexes: Vec<String>) {
    if options.no_index {
        return;
    }
    let is_pypi = |index: &String| Url::parse(index).is_ok_and(|url| is_pypi(&url));
    let (pypi, others): (Vec<_>, Vec<_>) = indexes.into_iter().partition(is_pypi);
    let has_pypi = !pypi.is_empty();
    for index in others {
        let known = options.index_url.iter().chain(&options.extra_index_urls);
        if known.into_iter().any(|known| is_same(known, &index)) {
            continue;
        }
        if options.index_url.is_none() && !has_pypi && options.extra_index_urls.is_empty() {
            options.index_url = Some(index);
        } else {
            options.extra_index_urls.push(index);
        }
    }
}

/// Returns whether two URLs are the same index, ignoring credentials.
fn is_same(left: &str, right: &str) -> bool {
    let plain = |text: &str| match Url::parse(text) {
        Ok(url) => without_credentials(&url)
            .as_str()
            .trim_end_matches('/')
            .to_owned(),
        Err(_) => text.trim_end_matches('/').to_owned(),
    };
    plain(left) == plain(right)
}

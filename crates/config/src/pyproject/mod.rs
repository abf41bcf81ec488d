//! The dependencies in an application's `pyproject.toml`.
//!
//! Reads the dependencies, extras and `requires-python` of `[project]` (PEP 621), and
//! `[dependency-groups]` (PEP 735). Requirements are not parsed, and only the parts of the file that are needed are
//! validated. Dependencies that only the build backend (PEP 517) knows are reported as dynamic.

mod dependency_groups;

use std::path::{Path, PathBuf};

use toml::{Table, Value};
use wheelhouse_types::limits::{self, Excess};

use crate::names::normalize_name;

/// An application's `pyproject.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct PyProject {
    path: PathBuf,
    document: Table,
}

/// The dependencies of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// These PEP 508 requirements.
    Static(Vec<String>),
    /// The build backend determines the dependencies.
    Dynamic,
    /// The file does not define a project: it has neither `[project]` nor a build backend.
    Absent,
}

/// An error of reading a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The file is not valid TOML.
    #[error("`{}` is not valid TOML", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: Box<toml::de::Error>,
    },
    /// The file exceeds a limit on its size or depth.
    #[error("`{}` exceeds a limit", .path.display())]
    Excess {
        /// The file.
        path: PathBuf,
        /// The limit that is exceeded.
        #[source]
        excess: Excess,
    },
    /// A value has a type that the specification does not allow.
    #[error("`{}` has a `{key}` that is not {expected}", .path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The key, with dots, and the index of an item.
        key: String,
        /// The expected type.
        expected: &'static str,
    },
    /// A key is defined and also declared as dynamic.
    #[error("`{}` has `project.{key}` and also declares it dynamic", .path.display())]
    StaticAndDynamic {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// An extra or group does not exist.
    #[error("`{}` has no {kind} `{name}`; it has {}", .path.display(), listed(.known))]
    UnknownName {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        kind: &'static str,
        /// The requested name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// Two names are equal after normalization.
    #[error("`{}` has the {kind} `{name}` more than once", .path.display())]
    DuplicateName {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        kind: &'static str,
        /// The normalized name.
        name: String,
    },
    /// Extras or groups include each other.
    #[error("`{}` has {kind}s that include each other: {}", .path.display(), .cycle.join(" -> "))]
    Cycle {
        /// The file.
        path: PathBuf,
        /// `extra` or `dependency group`.
        kind: &'static str,
        /// The names, with the first repeated at the end.
        cycle: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

impl PyProject {
    /// Parses the text of the `pyproject.toml` at `path`, which is used in messages.
    ///
    /// # Errors
    /// Fails if the text is not valid TOML, or exceeds the [limits].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProjectError> {
        let path = path.to_owned();
        if let Err(excess) = limits::pyproject(text) {
            return Err(ProjectError::Excess { path, excess });
        }
        match text.parse() {
            Ok(document) => Ok(Self { path, document }),
            Err(cause) => Err(ProjectError::Toml {
                path,
                cause: Box::new(cause),
            }),
        }
    }

    /// Returns the name of the project as written.
    ///
    /// # Errors
    /// Fails if it is not a string.
    pub fn name(&self) -> Result<Option<&str>, ProjectError> {
        self.project_text("name")
    }

    /// Returns the version specifiers of `requires-python`; `None` if it is dynamic.
    ///
    /// # Errors
    /// Fails if it is not a string.
    pub fn requires_python(&self) -> Result<Option<&str>, ProjectError> {
        self.project_text("requires-python")
    }

    /// Returns the dependencies of the project.
    ///
    /// Without `[project]` they are dynamic if there is a build backend: `[build-system]` names it, and
    /// `[tool.poetry]` implies one.
    ///
    /// # Errors
    /// Fails if the value is not a list of strings, or is also declared as dynamic.
    pub fn dependencies(&self) -> Result<Dependencies, ProjectError> {
        const KEY: &str = "dependencies";
        let Some(project) = self.table(&self.document, "project", "project")? else {
            return Ok(self.dependencies_of_back_end());
        };
        match (project.get(KEY), self.is_dynamic(project, KEY)?) {
            (Some(_), true) => {
                let path = self.path.clone();
                Err(ProjectError::StaticAndDynamic { path, key: KEY })
            }
            (None, true) => Ok(Dependencies::Dynamic),
            (None, false) => Ok(Dependencies::Static(Vec::new())),
            (Some(value), false) => {
                let texts = self.texts(value, "project.dependencies")?;
                Ok(Dependencies::Static(texts))
            }
        }
    }

    /// Returns the requirements of an extra, including those of the project's own extras that it names.
    ///
    /// # Errors
    /// Fails if the extra does not exist, if extras include each other, and if
    /// values are not lists of strings, or are also declared as dynamic.
    pub fn extra(&self, name: &str) -> Result<Dependencies, ProjectError> {
        const KEY: &str = "optional-dependencies";
        let Some(project) = self.table(&self.document, "project", "project")? else {
            return match self.dependencies_of_back_end() {
                Dependencies::Absent => Err(self.unknown("extra", name, Vec::new())),
                dynamic => Ok(dynamic),
            };
        };
        let extras = self.table(project, KEY, "project.optional-dependencies")?;
        match (extras, self.is_dynamic(project, KEY)?) {
            (Some(_), true) => {
                let path = self.path.clone();
                Err(ProjectError::StaticAndDynamic { path, key: KEY })
            }
            (None, true) => Ok(Dependencies::Dynamic),
            (None, false) => Err(self.unknown("extra", name, Vec::new())),
            (Some(extras), false) => {
                let mut texts = Vec::new();
                self.collect_extra(extras, name, &mut Vec::new(), &mut texts)?;
                Ok(Dependencies::Static(texts))
            }
        }
    }

    fn dependencies_of_back_end(&self) -> Dependencies {
        let poetry = self
            .document
            .get("tool")
            .and_then(|tool| tool.get("poetry"));
        if self.document.contains_key("build-system") || poetry.is_some() {
            Dependencies::Dynamic
        } else {
            Dependencies::Absent
        }
    }

    fn collect_extra(
        &self,
        extras: &Table,
        name: &str,
        open: &mut Vec<String>,
        texts: &mut Vec<String>,
    ) -> Result<(), ProjectError> {
        let (written, value) = self.find_name(extras, "extra", name)?;
        self.enter("extra", open, normalize_name(name))?;
        let key = format!("project.optional-dependencies.{written}");
        for text in self.texts(value, &key)? {
            match self.own_extras(&text)? {
                None => texts.push(text),
                Some(OwnExtras { names, marker }) => {
                    let mut included = Vec::new();
                    for name in names {
                        self.collect_extra(extras, &name, open, &mut included)?;
                    }
                    let narrowed = included.iter().map(|it| with_marker(it, marker.as_deref()));
                    texts.extend(narrowed);
                }
            }
        }
        open.pop();
        Ok(())
    }

    /// Parses the extras and the marker of `name[extra]; marker`, where `name` is the project itself.
    fn own_extras(&self, text: &str) -> Result<Option<OwnExtras>, ProjectError> {
        let (requirement, marker) = split_marker(text);
        let own = self.name()?.map(normalize_name);
        let parts = requirement
            .trim()
            .strip_suffix(']')
            .and_then(|requirement| requirement.split_once('['))
            .filter(|(name, _)| Some(normalize_name(name.trim())) == own);
        Ok(parts.map(|(_, extras)| {
            let names = extras.split(',').map(|name| name.trim().to_owned());
            OwnExtras {
                names: names.collect(),
                marker: marker.map(str::to_owned),
            }
        }))
    }

    fn project_text(&self, key: &str) -> Result<Option<&str>, ProjectError> {
        let Some(project) = self.table(&self.document, "project", "project")? else {
            return Ok(None);
        };
        let fault = || self.fault(format!("project.{key}"), "a text");
        let value = project.get(key);
        value
            .map(|value| value.as_str().ok_or_else(fault))
            .transpose()
    }

    fn is_dynamic(&self, project: &Table, key: &str) -> Result<bool, ProjectError> {
        let Some(value) = project.get("dynamic") else {
            return Ok(false);
        };
        let names = self.texts(value, "project.dynamic")?;
        Ok(names.iter().any(|name| name == key))
    }

    fn table<'a>(
        &self,
        table: &'a Table,
        name: &str,
        key: &str,
    ) -> Result<Option<&'a Table>, ProjectError> {
        let fault = || self.fault(key.to_owned(), "a table");
        let value = table.get(name);
        value
            .map(|value| value.as_table().ok_or_else(fault))
            .transpose()
    }

    fn texts(&self, value: &Value, key: &str) -> Result<Vec<String>, ProjectError> {
        let list = self.list(value, key)?;
        let text = |(index, item): (usize, &Value)| {
            let text = item.as_str().map(str::to_owned);
            text.ok_or_else(|| self.fault(format!("{key}[{index}]"), "a text"))
        };
        list.iter().enumerate().map(text).collect()
    }

    fn list<'a>(&self, value: &'a Value, key: &str) -> Result<&'a [Value], ProjectError> {
        let list = value.as_array().map(Vec::as_slice);
        list.ok_or_else(|| self.fault(key.to_owned(), "a list"))
    }

    /// Finds the entry whose normalized name is that of `name`.
    fn find_name<'a>(
        &self,
        table: &'a Table,
        kind: &'static str,
        name: &str,
    ) -> Result<(&'a str, &'a Value), ProjectError> {
        let wanted = normalize_name(name);
        let mut found = table
            .iter()
            .filter(|(known, _)| normalize_name(known) == wanted);
        let Some((written, value)) = found.next() else {
            let known = table.keys().map(|name| normalize_name(name)).collect();
            return Err(self.unknown(kind, name, known));
        };
        if found.next().is_some() {
            let path = self.path.clone();
            return Err(ProjectError::DuplicateName {
                path,
                kind,
                name: wanted,
            });
        }
        Ok((written, value))
    }

    /// Marks a name as being collected, unless it already is.
    fn enter(
        &self,
        kind: &'static str,
        open: &mut Vec<String>,
        name: String,
    ) -> Result<(), ProjectError> {
        if let Some(start) = open.iter().position(|known| *known == name) {
            let mut cycle = open.split_off(start);
            cycle.push(name);
            let path = self.path.clone();
            return Err(ProjectError::Cycle { path, kind, cycle });
        }
        open.push(name);
        Ok(())
    }

    fn fault(&self, key: String, expected: &'static str) -> ProjectError {
        ProjectError::Type {
            path: self.path.clone(),
            key,
            expected,
        }
    }

    fn unknown(&self, kind: &'static str, name: &str, mut known: Vec<String>) -> ProjectError {
        known.sort();
        ProjectError::UnknownName {
            path: self.path.clone(),
            kind,
            name: name.to_owned(),
            known,
        }
    }
}

/// The extras and the marker of a project's requirement on itself.
struct OwnExtras {
    names: Vec<String>,
    marker: Option<String>,
}

/// Splits a PEP 508 requirement from its marker; a URL may contain semicolons.
fn split_marker(text: &str) -> (&str, Option<&str>) {
    let separator = if text.contains('@') { " ;" } else { ";" };
    match text.split_once(separator) {
        Some((requirement, marker)) => (requirement.trim_end(), Some(marker.trim())),
        None => (text, None),
    }
}

fn with_marker(text: &str, marker: Option<&str>) -> String {
    let Some(marker) = marker else {
        return text.to_owned();
    };
    match split_marker(text) {
        (requirement, Some(own)) => format!("{requirement} ; ({own}) and ({marker})"),
        (requirement, None) => format!("{requirement} ; {marker}"),
    }
}

#[cfg(test)]
mod tests;

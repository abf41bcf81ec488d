//! pip's configuration files and `PIP_*` variables, as pip 26.3 reads them.
//!
//! Responsible for finding the files (`locations`), parsing them (`ini`), putting every setting in
//! pip's order and finding out which of them count. From the weakest to the strongest: within a
//! section the files of the machine, of the user, of the Python installation and the one that
//! `PIP_CONFIG_FILE` names; then the section `[global]` before that of the command; then the
//! variables. What a project configures itself (`tool`) comes before the variables. A command's section in a machine's file is therefore stronger than `[global]` in a
//! user's.
//!
//! Every setting is kept, also those that do not count, so that they can be shown. Never writes a
//! file, and never fails on a file that is missing or cannot be opened: pip does not either.
//!
//! Difference from pip: files are UTF-8, whatever the locale says.

mod ini;
mod locations;
mod options;
mod values;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::file_source::{FileSource, ReadSource};
use crate::tool_table::{self, ProjectConfiguration};
use ini::{IniOption, normalize_option, parse_ini};
use options::find_option;

pub(super) use options::OptionKind;

pub use ini::IniError;
pub use locations::{ConfigurationLevel, PathConventions};

/// Holds what decides which configuration applies.
#[derive(Clone, Copy)]
pub struct ConfigurationRequest<'a> {
    /// The variables.
    pub environment: &'a Environment,
    /// The absolute directory that a relative `PIP_CONFIG_FILE` begins in.
    pub working_directory: &'a Path,
    /// The sections that apply after `[global]`, the weakest first, such as `wheel`.
    pub sections: &'a [&'a str],
    /// The `sys.prefix` of the Python installation or virtual environment.
    pub prefix: Option<&'a Path>,
    /// Whether variables and the user's files do not count (`--isolated`).
    pub isolated: bool,
    /// The conventions for where files are.
    pub platform: PathConventions,
}

/// Says where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationOrigin {
    /// In a variable, which is named.
    Environment(String),
    /// In a file.
    File {
        /// Its path.
        path: PathBuf,
        /// The section, without brackets.
        section: String,
        /// The line, from 1.
        line: usize,
    },
    /// In the `[tool.wheelhouse]` of a project.
    Project {
        /// The path of its `pyproject.toml`.
        path: PathBuf,
        /// The key of the table.
        key: String,
    },
}

impl fmt::Display for ConfigurationOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(variable) => write!(formatter, "`{variable}`"),
            Self::File {
                path,
                section,
                line,
            } => {
                write!(
                    formatter,
                    "`{}` line {line}, section `[{section}]`",
                    path.display()
                )
            }
            Self::Project { path, key } => {
                write!(formatter, "`{}`, `tool.wheelhouse.{key}`", path.display())
            }
        }
    }
}

/// Says whether a setting counts, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingStatus {
    /// It counts.
    Used,
    /// A stronger setting replaces it.
    Overridden,
    /// It is empty, which pip takes for not set.
    Empty,
    /// It is in a section that does not apply.
    OtherSection,
    /// This program has no use for the option.
    UnknownOption,
}

/// Holds one setting of a file or variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The normalised name of the option, without hyphens before it; an alias is resolved.
    pub option: String,
    /// The value as it is written.
    pub value: String,
    /// The values of a list, where they are not the words of `value`.
    pub values: Option<Vec<String>>,
    /// Where it was made.
    pub origin: ConfigurationOrigin,
    /// Whether it counts.
    pub status: SettingStatus,
}

/// Says what became of a file that could have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// It was read.
    Read,
    /// There is none.
    Missing,
    /// It is there and cannot be read; pip passes over it.
    Unreadable,
}

/// Holds a place where configuration was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationFile {
    /// The path.
    pub path: PathBuf,
    /// The level that the file belongs to.
    pub level: ConfigurationLevel,
    /// What became of it.
    pub status: FileStatus,
}

/// Says why configuration cannot be read, or a value not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file is not in the format.
    #[error("configuration file `{}` cannot be understood", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: IniError,
    },
    /// A file is no text.
    #[error("configuration file `{}` is not valid utf-8", .0.display())]
    NotText(PathBuf),
    /// A value is not of the kind that the option wants.
    #[error("{origin} sets `{option}` to `{value}`, which is not {expected}")]
    Value {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// Where it was set.
        origin: ConfigurationOrigin,
        /// What the value should be.
        expected: &'static str,
    },
    /// Two settings contradict each other.
    #[error("`pre`, set in {0}, cannot be used with `all-releases` or `only-final`")]
    PreWithReleaseControl(ConfigurationOrigin),
}

/// Holds pip's configuration: every setting, and where it was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipConfiguration {
    settings: Vec<Setting>,
    files: Vec<ConfigurationFile>,
    home: Option<PathBuf>,
}

impl PipConfiguration {
    /// Reads files and variables.
    ///
    /// # Errors
    /// Fails when a file is there and is not in the format.
    pub fn load(
        request: &ConfigurationRequest<'_>,
        reader: &dyn ReadSource,
    ) -> Result<Self, ConfigurationError> {
        Self::load_with(request, ProjectConfiguration::default(), reader)
    }

    /// Reads files and variables; what `project` configures comes between them.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        request: &ConfigurationRequest<'_>,
        project: ProjectConfiguration,
        reader: &dyn ReadSource,
    ) -> Result<Self, ConfigurationError> {
        let mut written = Vec::new();
        let mut files = Vec::new();
        for (level, path) in applicable_files(request, reader) {
            let status = read_settings(&path, request.working_directory, reader, &mut written)?;
            files.push(ConfigurationFile {
                path,
                level,
                status,
            });
        }
        files.extend(project.file);
        written.extend(
            project
                .settings
                .into_iter()
                .map(|setting| UnresolvedSetting {
                    section: None,
                    setting,
                }),
        );
        if !request.isolated {
            written.extend(variables(request.environment));
        }
        let home = request.environment.get_nonempty("HOME").map(PathBuf::from);
        let settings = settle(written, request.sections);
        Ok(Self {
            settings,
            files,
            home,
        })
    }

    /// Returns every setting, the weakest first.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns the places where configuration was looked for, the weakest first.
    #[must_use]
    pub fn files(&self) -> &[ConfigurationFile] {
        &self.files
    }

    /// Returns the settings of `option` that count: one, or all that accumulate.
    pub fn used(&self, option: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| {
            setting.status == SettingStatus::Used && setting.option == option
        })
    }
}

/// Lists the files that apply: none if `PIP_CONFIG_FILE` is the null device, and not the user's
/// if it names a file that exists.
fn applicable_files(
    request: &ConfigurationRequest<'_>,
    reader: &dyn ReadSource,
) -> Vec<(ConfigurationLevel, PathBuf)> {
    let named = request.environment.get("PIP_CONFIG_FILE");
    if named == Some("/dev/null") {
        return Vec::new();
    }
    let named_exists = named.is_some_and(|path| {
        !path.is_empty() && reader.exists(&request.working_directory.join(path))
    });
    let skips_user = request.isolated || named_exists;
    let is_directory = |path: &Path| reader.exists(path);
    let mut files = locations::candidates(
        request.environment,
        request.prefix,
        request.platform,
        is_directory,
    );
    files.retain(|(level, path)| {
        let is_skipped = skips_user && *level == ConfigurationLevel::User;
        !is_skipped && !path.as_os_str().is_empty()
    });
    // A file that is named twice counts where it is named first.
    let mut seen = std::collections::HashSet::new();
    files.retain(|(_, path)| seen.insert(path.clone()));
    files
}

/// Holds a setting before it is known whether it counts.
struct UnresolvedSetting {
    /// The section; a variable has none.
    section: Option<String>,
    setting: Setting,
}

fn written(
    section: Option<String>,
    name: &str,
    value: String,
    origin: ConfigurationOrigin,
) -> UnresolvedSetting {
    let option = normalize_option(name);
    let status = SettingStatus::OtherSection;
    UnresolvedSetting {
        section,
        setting: Setting {
            option,
            value,
            values: None,
            origin,
            status,
        },
    }
}

fn read_settings(
    path: &Path,
    working_directory: &Path,
    reader: &dyn ReadSource,
    settings: &mut Vec<UnresolvedSetting>,
) -> Result<FileStatus, ConfigurationError> {
    let source = FileSource::File(working_directory.join(path));
    let content = match reader.read(&source) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileStatus::Missing),
        Err(_) => return Ok(FileStatus::Unreadable),
    };
    let text =
        String::from_utf8(content).map_err(|_| ConfigurationError::NotText(path.to_owned()))?;
    let options = parse_ini(&text).map_err(|cause| {
        let path = path.to_owned();
        ConfigurationError::File { path, cause }
    })?;
    settings.extend(options.into_iter().map(|option| written_in(path, option)));
    Ok(FileStatus::Read)
}

fn written_in(path: &Path, option: IniOption) -> UnresolvedSetting {
    let origin = ConfigurationOrigin::File {
        path: path.to_owned(),
        section: option.section.clone(),
        line: option.line,
    };
    written(Some(option.section), &option.name, option.value, origin)
}

/// Finds the variables that pip takes for options.
fn variables(environment: &Environment) -> impl Iterator<Item = UnresolvedSetting> {
    environment.iter().filter_map(|(variable, value)| {
        let name = variable.strip_prefix("PIP_")?.to_lowercase();
        let ignored = ["version", "help", "config_file"];
        let origin = ConfigurationOrigin::Environment(variable.to_owned());
        (!ignored.contains(&name.as_str())).then(|| written(None, &name, value.to_owned(), origin))
    })
}

/// Puts settings in the order in which they apply, and finds out which of them count.
fn settle(written: Vec<UnresolvedSetting>, sections: &[&str]) -> Vec<Setting> {
    let mut others: Vec<Setting> = Vec::new();
    let mut groups: Vec<Vec<Setting>> = vec![Vec::new(); sections.len() + 3];
    for UnresolvedSetting { section, setting } in written {
        let group = match section.as_deref() {
            None if matches!(setting.origin, ConfigurationOrigin::Project { .. }) => {
                Some(sections.len() + 1)
            }
            None => Some(sections.len() + 2),
            Some("global") => Some(0),
            Some(section) => sections
                .iter()
                .position(|known| *known == section)
                .map(|it| it + 1),
        };
        match group {
            Some(group) => merge(&mut groups[group], setting, &mut others),
            None => others.push(setting),
        }
    }
    let mut settings: Vec<Setting> = Vec::new();
    for setting in groups.into_iter().flatten() {
        apply(&mut settings, setting);
    }
    others.extend(settings);
    others
}

/// Puts a setting in the place of a weaker one of the same section and name.
fn merge(group: &mut Vec<Setting>, setting: Setting, overridden: &mut Vec<Setting>) {
    match group
        .iter_mut()
        .find(|weaker| weaker.option == setting.option)
    {
        Some(weaker) => {
            let mut weaker = std::mem::replace(weaker, setting);
            weaker.status = SettingStatus::Overridden;
            overridden.push(weaker);
        }
        None => group.push(setting),
    }
}

/// Adds a setting that is stronger than all before it.
fn apply(settings: &mut Vec<Setting>, mut setting: Setting) {
    let known = match setting.origin {
        ConfigurationOrigin::Project { .. } => tool_table::kind(&setting.option),
        _ => find_option(&setting.option).map(|known| {
            known.name.clone_into(&mut setting.option);
            known.kind
        }),
    };
    setting.status = match known {
        _ if setting.value.is_empty() => SettingStatus::Empty,
        None => SettingStatus::UnknownOption,
        Some(kind) => {
            if kind != OptionKind::Accumulated {
                override_weaker(settings, &setting.option);
            }
            SettingStatus::Used
        }
    };
    settings.push(setting);
}

fn override_weaker(settings: &mut [Setting], option: &str) {
    settings
        .iter_mut()
        .filter(|weaker| weaker.option == option && weaker.status == SettingStatus::Used)
        .for_each(|weaker| weaker.status = SettingStatus::Overridden);
}

#[cfg(test)]
mod tests;

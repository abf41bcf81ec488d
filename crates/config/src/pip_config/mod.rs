//! pip's configuration files and `PIP_*` variables, as pip 26.3 reads them.
//!
//! Finds the files (`locations`), parses them (`ini`), and sorts all settings by precedence. In increasing
//! order: within a section the files of the machine, of the user, of the Python installation, and that of
//! `PIP_CONFIG_FILE`; the section `[global]` before that of the command; `[tool.wheelhouse]` of the
//! project (`tool_table`); variables. The section of a command in the machine's file therefore takes precedence over
//! `[global]` in the user's.
//!
//! All settings are kept, including those without effect, so that they can be shown. As in pip, files that are missing
//! or cannot be opened are not an error.
//!
//! Difference from pip: files are always UTF-8, regardless of the locale.

mod ini;
mod locations;
mod options;
mod values;

use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::file_source::{FileSource, ReadSource};
use crate::setting::{
    ConfigurationFile, ConfigurationLevel, ConfigurationOrigin, FileStatus, OptionKind, Setting,
    SettingStatus,
};
use crate::tool_table::{self, ProjectConfiguration};
use ini::{IniOption, normalize_option, parse_ini};
use options::find_option;

pub use ini::IniError;
pub use locations::PathConventions;

/// The inputs that determine the configuration.
#[derive(Clone, Copy)]
pub struct ConfigurationRequest<'a> {
    /// The environment variables.
    pub environment: &'a Environment,
    /// The absolute directory that a relative `PIP_CONFIG_FILE` is resolved against.
    pub working_directory: &'a Path,
    /// The sections that apply after `[global]`, such as `wheel`, in increasing precedence.
    pub sections: &'a [&'a str],
    /// The `sys.prefix` of the Python installation or virtual environment.
    pub prefix: Option<&'a Path>,
    /// True if variables and the user's files are ignored (`--isolated`).
    pub isolated: bool,
    /// The conventions for the locations of files.
    pub platform: PathConventions,
}

/// An error in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The syntax of a file is invalid.
    #[error("configuration file `{}` cannot be parsed", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: IniError,
    },
    /// A file is not valid UTF-8.
    #[error("configuration file `{}` is not valid utf-8", .0.display())]
    NotText(PathBuf),
    /// A value is not valid for its option.
    #[error("{origin} sets `{option}` to `{value}`, which is not {expected}")]
    Value {
        /// The option.
        option: String,
        /// The value.
        value: String,
        /// The origin.
        origin: ConfigurationOrigin,
        /// A description of valid values.
        expected: &'static str,
    },
    /// Two settings contradict each other.
    #[error("`pre`, set in {0}, cannot be used with `all-releases` or `only-final`")]
    PreWithReleaseControl(ConfigurationOrigin),
}

/// pip's configuration: all settings and locations.
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
    /// Fails if the syntax of a file is invalid.
    pub fn load(
        request: &ConfigurationRequest<'_>,
        reader: &dyn ReadSource,
    ) -> Result<Self, ConfigurationError> {
        Self::load_with(request, ProjectConfiguration::default(), reader)
    }

    /// Reads files and variables, and inserts the configuration of the `project` between them.
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
        let settings = resolve_precedence(written, request.sections);
        Ok(Self {
            settings,
            files,
            home,
        })
    }

    /// Returns all settings, in increasing precedence.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns the locations of configuration files, in increasing precedence.
    #[must_use]
    pub fn files(&self) -> &[ConfigurationFile] {
        &self.files
    }

    /// Returns the settings of `option` that are used: one, or all if they accumulate.
    pub fn used(&self, option: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| {
            setting.status == SettingStatus::Used && setting.option == option
        })
    }
}

/// Lists the files that apply: none if `PIP_CONFIG_FILE` is the null device, and without the user's files
/// if it names an existing file.
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
    // A repeated file counts at its first position.
    let mut seen = std::collections::HashSet::new();
    files.retain(|(_, path)| seen.insert(path.clone()));
    files
}

/// A setting whose effect is not known yet.
struct UnresolvedSetting {
    /// The section; `None` for a variable.
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

/// Finds the variables that pip treats as options.
fn variables(environment: &Environment) -> impl Iterator<Item = UnresolvedSetting> {
    environment.iter().filter_map(|(variable, value)| {
        let name = variable.strip_prefix("PIP_")?.to_lowercase();
        let ignored = ["version", "help", "config_file"];
        let origin = ConfigurationOrigin::Environment(variable.to_owned());
        (!ignored.contains(&name.as_str())).then(|| written(None, &name, value.to_owned(), origin))
    })
}

/// Sorts settings by precedence, and determines which of them are used.
fn resolve_precedence(written: Vec<UnresolvedSetting>, sections: &[&str]) -> Vec<Setting> {
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

/// Replaces a setting of the same section and name with lower precedence.
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

/// Adds a setting with higher precedence than all existing ones.
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

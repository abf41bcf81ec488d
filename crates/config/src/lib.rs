//! The input of a run: requirements files, locks, projects and configuration, and the request that is built from them.
//!
//! Reads pip's requirements files, configuration files and `PIP_*` variables, locks of other tools, and an application's
//! `pyproject.toml`. Each result is a plain value with its origin.
//!
//! 1. [`resolve_settings`] merges the command line ([`RawOptions`]) with the configuration.
//! 2. [`build_request`] reads the files and the application, and builds the request.
//!
//! This crate does not use the network, does not print, and does not read the environment of the process, which is
//! passed as an [`Environment`].

#![warn(missing_docs)]

mod encoding;
mod environment;
mod error;
mod file_source;
mod format_control;
mod lockfile;
mod names;
mod pip_config;
mod project_discovery;
mod pypi;
mod pyproject;
mod python_text;
mod request;
mod requirements_file;
mod setting;
mod settings;
mod tool_table;

pub use encoding::DecodeError;
pub use environment::Environment;
pub use file_source::{FileSource, LocalReader, ReadSource};
pub use format_control::{AllowedFormats, ControlValueError, FormatControl, ReleaseControl};
pub use lockfile::{SupportedTargets, is_pylock_name};
pub use pip_config::{
    ConfigurationError, ConfigurationRequest, IniError, PathConventions, PipConfiguration,
};
pub use project_discovery::{ApplicationSource, SourceFilesError, find_application_source};
pub use pyproject::{Dependencies, ProjectError, PyProject};
pub use request::{BuiltRequest, build_request, effective_indexes};
pub use requirements_file::{
    FileOptions, FileRole, LineLocation, OptionError, QuoteError, ReadContext, RequirementLine,
    RequirementsError, RequirementsFile, RequirementsWarning, WarningKind, read_requirements,
};
pub use setting::{
    ConfigurationFile, ConfigurationLevel, ConfigurationOrigin, FileStatus, Setting, SettingStatus,
};
pub use settings::{
    FormatOption, RawOptions, RawSharedCache, RawTargets, ResolvedSetting, Settings,
    SettingsContext, SharedCacheSettings, ValueOrigin, resolve_settings,
};
pub use tool_table::{FILE_NAME as PROJECT_FILE_NAME, ProjectConfiguration};
pub use tool_table::{key_names, reference as key_reference};

//! What the user and the application say: raw input on its way to a request.
//!
//! Responsible for reading pip's requirements files, pip's configuration files and `PIP_*`
//! variables, locks of other tools, an application's `pyproject.toml`, and for telling which of these an application's
//! tree has. Each result is a plain value that knows where it came from.
//!
//! Never does network, never prints, and never reads the process environment: that is passed in
//! as an [`Environment`].

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
mod settings;
mod tool_table;

pub use encoding::DecodeError;
pub use environment::Environment;
pub use file_source::{FileSource, LocalReader, ReadSource};
pub use format_control::{AllowedFormats, ControlValueError, FormatControl, ReleaseControl};
pub use lockfile::{SupportedTargets, is_pylock_name};
pub use pip_config::{
    ConfigurationError, ConfigurationFile, ConfigurationLevel, ConfigurationOrigin,
    ConfigurationRequest, FileStatus, IniError, PathConventions, PipConfiguration, Setting,
    SettingStatus,
};
pub use project_discovery::{ApplicationSource, SourceFilesError, find_application_source};
pub use pyproject::{Dependencies, ProjectError, PyProject};
pub use request::{BuiltRequest, build_request, effective_indexes};
pub use requirements_file::{
    FileOptions, FileRole, LineLocation, OptionError, QuoteError, ReadContext, RequirementLine,
    RequirementsError, RequirementsFile, RequirementsWarning, WarningKind, read_requirements,
};
pub use settings::{
    FormatOption, RawOptions, RawTargets, ResolvedSetting, Settings, SettingsContext, ValueOrigin,
    resolve_settings,
};
pub use tool_table::{FILE_NAME as PROJECT_FILE_NAME, ProjectConfiguration};
pub use tool_table::{key_names, reference as key_reference};

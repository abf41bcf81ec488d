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
mod format_control;
mod image;
mod lockfile;
mod names;
mod pip_configuration;
mod project;
mod pypi;
mod python_text;
mod request;
mod requirements_file;
mod source;
mod source_files;
mod tool;

pub use encoding::DecodeError;
pub use environment::Environment;
pub use format_control::{AllowedFormats, ControlValueError, FormatControl, ReleaseControl};
pub use image::ImageLocation;
pub use image::meant as meant_image;
pub use lockfile::{Scope, is_pylock_name};
pub use pip_configuration::{
    ConfigurationError, ConfigurationFile, ConfigurationLevel, ConfigurationOrigin,
    ConfigurationRequest, FileStatus, IniError, PipConfiguration, Platform, Setting, SettingStatus,
};
pub use project::{Dependencies, Project, ProjectError};
pub use request::{
    Control, Joined, RawBuild, RawTargets, Row, Settings, SettingsContext, ValueOrigin,
    effective_indexes, join, settle,
};
pub use requirements_file::{
    FileOptions, Location, Notice, NoticeKind, OptionError, QuoteError, ReadContext,
    RequirementLine, Requirements, RequirementsError, Role, read_requirements,
};
pub use source::{LocalReader, ReadSource, Source};
pub use source_files::{ApplicationSource, SourceFilesError, find_application_source};
pub use tool::{FILE_NAME as PROJECT_FILE_NAME, ProjectConfiguration};
pub use tool::{key_names, reference as key_reference};

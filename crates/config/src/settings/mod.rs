//! The settings of a run: command line, `PIP_*` variables, pip's files and defaults joined, each
//! with where it came from.
//!
//! Responsible for precedence: the command line is stronger than a variable, a variable stronger
//! than a file. What the command line gives of a list is added to the list of the configuration,
//! because pip does so. Never reads requirements files, whose options come on top.

mod command_line;
mod file_options;
mod origin;
mod resolver;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wheelhouse_types::Result;
use wheelhouse_types::request::{IndexStrategy, Network};

use crate::error::input;
use crate::requirements_file::FileOptions;
use file_options::file_options;
use resolver::{SettingsResolver, seconds, shown};

pub use command_line::{FormatOption, RawOptions, RawTargets};
pub use origin::{ResolvedSetting, SettingsContext, ValueOrigin};

/// Holds everything that command line and configuration say, before requirements files are read.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of pip or of ours, and named as such"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    pub requirement_files: Vec<String>,
    pub constraint_files: Vec<String>,
    pub override_files: Vec<String>,
    pub build_constraint_files: Vec<String>,
    pub editables: Vec<String>,
    pub groups: Vec<String>,
    pub output: PathBuf,
    pub targets: RawTargets,
    /// What the project itself has configured of `targets`.
    pub project_targets: RawTargets,
    /// What requirements files go on from.
    pub file_options: FileOptions,
    pub index_strategy: IndexStrategy,
    pub ignored_error_codes: Vec<u16>,
    pub keyring: bool,
    pub no_deps: bool,
    pub isolated: bool,
    /// `KEY=VALUE` or `PACKAGE:KEY=VALUE`.
    pub config_settings: Vec<String>,
    pub jobs: usize,
    pub build_timeout: Duration,
    pub python: Option<String>,
    pub timeout: Duration,
    pub retries: u32,
    pub certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub proxy: Option<String>,
    /// Whether the proxies that variables name do not count.
    pub no_proxy_env: bool,
    pub offline: bool,
    /// `None` stands for a temporary directory.
    pub cache: Option<PathBuf>,
    /// How often less, and how often more, was asked to be said.
    pub quiet: u32,
    pub verbose: u32,
    pub no_color: bool,
    /// Whether live progress may be shown.
    pub progress: bool,
    pub rows: Vec<ResolvedSetting>,
}

/// Joins the command line with the configuration.
///
/// # Errors
/// `Input` when a value is not of the kind that its option wants.
pub fn resolve_settings(raw: &RawOptions, context: &SettingsContext<'_>) -> Result<Settings> {
    let file_options = file_options(raw, context)?;
    let mut resolver_ = SettingsResolver {
        pip: context.pip,
        rows: Vec::new(),
    };
    resolver_.record_file_options(raw, &file_options);
    resolver_.finish(raw, context, file_options)
}

impl Settings {
    /// How the network is used when `options` are known: those of these settings, or what they and
    /// requirements files add up to.
    #[must_use]
    pub fn network(&self, options: &FileOptions) -> Network {
        Network {
            offline: self.offline,
            timeout: self.timeout,
            retries: self.retries,
            certificate: self.certificate.clone(),
            client_certificate: self.client_certificate.clone(),
            proxy: self.proxy.clone(),
            trusted_hosts: options.trusted_hosts.clone(),
            keyring: self.keyring,
            ..Network::default()
        }
    }

    /// The indexes that are known before requirements files are read, as far as they are URLs.
    #[must_use]
    pub fn index_urls(&self) -> Vec<Url> {
        let options = &self.file_options;
        let texts = options.index_url.iter().chain(&options.extra_index_urls);
        texts.filter_map(|text| Url::parse(text).ok()).collect()
    }
}

impl SettingsResolver<'_> {
    fn finish(
        mut self,
        raw: &RawOptions,
        context: &SettingsContext<'_>,
        file_options: FileOptions,
    ) -> Result<Settings> {
        let pip = context.pip;
        let absolute = |path: PathBuf| context.working_directory.join(path);
        let (option, default) = match raw.targets {
            Some(_) => ("dest", "packages"),
            None => ("wheel-dir", "wheelhouse"),
        };
        let output = raw.output.clone().or(pip.path(option));
        let output = output.unwrap_or_else(|| default.into());
        self.record(option, [shown(&output)], raw.output.is_some());
        let timeout = self.duration("timeout", raw.timeout, Duration::from_secs(30))?;
        let retries = match raw.retries {
            Some(retries) => retries,
            None => pip.number("retries").map_err(input)?.unwrap_or(5),
        };
        self.record("retries", [retries.to_string()], raw.retries.is_some());
        Ok(Settings {
            requirement_files: self.list("requirement", &raw.requirement_files),
            override_files: self.list("override", &raw.override_files),
            project_targets: self.project_targets(),
            constraint_files: self.list("constraint", &raw.constraint_files),
            build_constraint_files: self.list("build-constraint", &raw.build_constraint_files),
            editables: self.list("editable", &raw.editables),
            groups: self.list("group", &raw.groups),
            output: absolute(output),
            targets: raw
                .targets
                .as_ref()
                .map_or_else(RawTargets::default, |raw| self.targets(raw)),
            file_options,
            index_strategy: self.index_strategy(raw.index_strategy),
            ignored_error_codes: self.ignored_error_codes(&raw.ignored_error_codes),
            keyring: self.keyring(raw.keyring_provider.as_deref())?,
            no_deps: self.flag("no-deps", raw.no_deps)?,
            isolated: self.isolated(raw.no_build_isolation)?,
            config_settings: self.config_settings(raw)?,
            jobs: self.resolve_own(
                "jobs",
                raw.jobs,
                pip.number("jobs")
                    .map_err(input)?
                    .and_then(|jobs| jobs.try_into().ok()),
                context.processors,
                ToString::to_string,
            ),
            build_timeout: self.resolve_own(
                "build-timeout",
                raw.build_timeout,
                pip.seconds("build-timeout").map_err(input)?,
                Duration::from_hours(1),
                seconds,
            ),
            python: self.text("python", raw.python.as_deref()),
            timeout,
            retries,
            certificate: self.path("cert", raw.certificate.as_deref()).map(absolute),
            client_certificate: self
                .path("client-cert", raw.client_certificate.as_deref())
                .map(absolute),
            proxy: self.proxy(raw.proxy.as_deref()),
            no_proxy_env: self.flag("no-proxy-env", raw.no_proxy_env)?,
            offline: self.resolve_own(
                "offline",
                raw.offline.then_some(true),
                None,
                false,
                ToString::to_string,
            ),
            cache: self.cache(raw, context)?,
            quiet: self.count("quiet", raw.quiet)?,
            verbose: self.count("verbose", raw.verbose)?,
            no_color: self.flag("no-color", raw.no_color)?,
            progress: self.progress(raw.no_progress),
            rows: self.rows,
        })
    }
}

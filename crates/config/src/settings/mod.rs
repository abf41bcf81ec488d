//! The settings of a run: the command line, `PIP_*` variables, configuration files and defaults, merged, each
//! with its origin.
//!
//! The command line takes precedence over variables, and variables over files. As in pip, a list on the command
//! line is appended to that of the configuration. Options in requirements files, which take precedence, are not included.

mod command_line;
mod file_options;
mod origin;
mod resolver;
mod shared_cache;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wheelhouse_types::Result;
use wheelhouse_types::request::{IndexStrategy, Network, SandboxMode};

use crate::error::input;
use crate::requirements_file::FileOptions;
use file_options::file_options;
use resolver::{SettingsResolver, seconds, shown};

pub use command_line::{FormatOption, RawOptions, RawSharedCache, RawTargets};
pub use origin::{ResolvedSetting, SettingsContext, ValueOrigin};
pub use shared_cache::SharedCacheSettings;

/// All settings before requirements files are read.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of pip or of this program, and named as such"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The requirements files.
    pub requirement_files: Vec<String>,
    /// The constraints files.
    pub constraint_files: Vec<String>,
    /// The overrides files.
    pub override_files: Vec<String>,
    /// The build constraints files.
    pub build_constraint_files: Vec<String>,
    /// The editable requirements.
    pub editables: Vec<String>,
    /// The dependency groups.
    pub groups: Vec<String>,
    /// The output directory.
    pub output: PathBuf,
    /// The targets as text.
    pub targets: RawTargets,
    /// The targets in `[tool.wheelhouse]` of the project.
    pub project_targets: RawTargets,
    /// The initial options for reading requirements files.
    pub file_options: FileOptions,
    /// The treatment of several indexes.
    pub index_strategy: IndexStrategy,
    /// The HTTP statuses with which an index does not have a package.
    pub ignored_error_codes: Vec<u16>,
    /// True if a keyring provides credentials.
    pub keyring: bool,
    /// True if dependencies are left out.
    pub no_deps: bool,
    /// True if builds are isolated.
    pub isolated: bool,
    /// `KEY=VALUE` or `PACKAGE:KEY=VALUE`.
    pub config_settings: Vec<String>,
    /// The number of concurrent builds.
    pub jobs: usize,
    /// The time limit of one build hook.
    pub build_timeout: Duration,
    /// The mode of the sandbox of builds.
    pub sandbox: SandboxMode,
    /// The packages whose builds have network access.
    pub allow_network: Vec<String>,
    /// The paths that builds may write, as `PACKAGE:PATH`.
    pub allow_write: Vec<String>,
    /// The paths that builds may read.
    pub allow_read: Vec<String>,
    /// The variables that builds inherit.
    pub build_env: Vec<String>,
    /// The Python, as a path, a version or a name.
    pub python: Option<String>,
    /// The time that a server may stay silent.
    pub timeout: Duration,
    /// The number of retries of a request.
    pub retries: u32,
    /// The file of trusted certificates.
    pub certificate: Option<PathBuf>,
    /// The file of the client certificate.
    pub client_certificate: Option<PathBuf>,
    /// The URL of the proxy.
    pub proxy: Option<String>,
    /// True if proxies in variables are ignored.
    pub no_proxy_env: bool,
    /// True if the network is disabled.
    pub offline: bool,
    /// The directory of the cache; `None` for a temporary one.
    pub cache: Option<PathBuf>,
    /// The shared caches.
    pub shared_cache: SharedCacheSettings,
    /// The numbers of `-q` and `-v`.
    pub quiet: u32,
    /// The level of verbosity.
    pub verbose: u32,
    /// True if output has no colors.
    pub no_color: bool,
    /// True if live progress may be shown.
    pub progress: bool,
    /// The settings with their origins, for `wheelhouse config`.
    pub rows: Vec<ResolvedSetting>,
}

/// Merges the command line with the configuration.
///
/// # Errors
/// `Input` if a value is not valid for its option.
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
    /// Returns the network settings for `options`, which are those of these settings or combined with those of
    /// requirements files.
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

    /// Returns the indexes of the settings that are URLs.
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
            sandbox: self.sandbox(raw.sandbox, context)?,
            allow_network: self.list_or_variable(
                "allow-network",
                "WHEELHOUSE_ALLOW_NETWORK",
                &raw.allow_network,
                context,
            ),
            allow_write: self.list_or_variable(
                "allow-write",
                "WHEELHOUSE_ALLOW_WRITE",
                &raw.allow_write,
                context,
            ),
            allow_read: self.list_or_variable(
                "allow-read",
                "WHEELHOUSE_ALLOW_READ",
                &raw.allow_read,
                context,
            ),
            build_env: self.list_or_variable(
                "build-env",
                "WHEELHOUSE_BUILD_ENV",
                &raw.build_env,
                context,
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
            shared_cache: self.shared_cache(&raw.shared_cache, context)?,
            quiet: self.count("quiet", raw.quiet)?,
            verbose: self.count("verbose", raw.verbose)?,
            no_color: self.flag("no-color", raw.no_color)?,
            progress: self.progress(raw.no_progress),
            rows: self.rows,
        })
    }
}

//! The settings of a run: command line, `PIP_*` variables, pip's files and defaults joined, each
//! with where it came from.
//!
//! Responsible for precedence: the command line is stronger than a variable, a variable stronger
//! than a file. What the command line gives of a list is added to the list of the configuration,
//! because pip does so. Never reads requirements files, whose options come on top.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wheelhouse_model::redact::redacted;
use wheelhouse_model::request::IndexStrategy;
use wheelhouse_model::{Error, Kind, Result};

use super::super::environment::Environment;
use super::super::format_control::{ControlValueError, ReleaseControl};
use super::super::python_text::strip;
use super::super::pip_configuration::{ConfigurationOrigin, PipConfiguration, Setting};
use super::super::requirements_file::FileOptions;
use super::super::source::ReadSource;
use super::input;
use super::raw::{Control, RawBuild};

/// Holds everything that command line and configuration say, before requirements files are read.
#[derive(Clone, Debug)]
pub struct Settings {
    pub requirement_files: Vec<String>,
    pub constraint_files: Vec<String>,
    pub build_constraint_files: Vec<String>,
    pub editables: Vec<String>,
    pub groups: Vec<String>,
    pub output: PathBuf,
    /// What requirements files go on from.
    pub file_options: FileOptions,
    pub index_strategy: IndexStrategy,
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
    pub rows: Vec<Row>,
}

/// Says what an option is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The long name, without hyphens before it.
    pub option: &'static str,
    /// The value without credentials, one item for each of a list.
    pub values: Vec<String>,
    pub origins: Vec<ValueOrigin>,
}

/// Says where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    Default,
    CommandLine,
    /// A variable that is not pip's.
    Variable(&'static str),
    Configuration(ConfigurationOrigin),
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Variable(name) => write!(formatter, "`{name}`"),
            Self::Configuration(origin) => write!(formatter, "{origin}"),
        }
    }
}

/// Holds what settings are made of beside the command line.
#[derive(Clone, Copy)]
pub struct SettingsContext<'a> {
    pub environment: &'a Environment,
    /// Absolute.
    pub working_directory: &'a Path,
    pub pip: &'a PipConfiguration,
    pub reader: &'a dyn ReadSource,
    /// How many processors there are.
    pub processors: usize,
    /// The user's cache directory for this program, if there can be one.
    pub default_cache: Option<&'a Path>,
}

/// Joins the command line with the configuration.
///
/// # Errors
/// `Input` when a value is not of the kind that its option wants.
pub fn settle(raw: &RawBuild, context: &SettingsContext<'_>) -> Result<Settings> {
    let file_options = file_options(raw, context)?;
    let mut settling = Settling {
        pip: context.pip,
        rows: Vec::new(),
    };
    settling.note_file_options(raw, &file_options);
    settling.finish(raw, context, file_options)
}

struct Settling<'a> {
    pip: &'a PipConfiguration,
    rows: Vec<Row>,
}

impl Settling<'_> {
    fn finish(
        mut self,
        raw: &RawBuild,
        context: &SettingsContext<'_>,
        file_options: FileOptions,
    ) -> Result<Settings> {
        let pip = context.pip;
        let absolute = |path: PathBuf| context.working_directory.join(path);
        let configured_output = pip.path("wheel-dir");
        let output = raw.output.clone().or(configured_output).unwrap_or_else(|| "wheelhouse".into());
        self.note("wheel-dir", [shown(&output)], raw.output.is_some());
        let timeout = self.duration("timeout", raw.timeout, Duration::from_secs(30))?;
        let retries = match raw.retries {
            Some(retries) => retries,
            None => pip.number("retries").map_err(input)?.unwrap_or(5),
        };
        self.note("retries", [retries.to_string()], raw.retries.is_some());
        Ok(Settings {
            requirement_files: self.list("requirement", &raw.requirement_files),
            constraint_files: self.list("constraint", &raw.constraint_files),
            build_constraint_files: self.list("build-constraint", &raw.build_constraint_files),
            editables: self.list("editable", &raw.editables),
            groups: self.list("group", &raw.groups),
            output: absolute(output),
            file_options,
            index_strategy: self.index_strategy(raw.index_strategy),
            keyring: self.keyring(raw.keyring_provider.as_deref())?,
            no_deps: self.flag("no-deps", raw.no_deps)?,
            isolated: self.isolated(raw.no_build_isolation)?,
            config_settings: self.config_settings(raw)?,
            jobs: self.own("jobs", raw.jobs, context.processors, ToString::to_string),
            build_timeout: self.own(
                "build-timeout",
                raw.build_timeout,
                Duration::from_hours(1),
                seconds,
            ),
            python: self.python(raw.python.as_deref()),
            timeout,
            retries,
            certificate: self.path("cert", raw.certificate.as_deref()).map(absolute),
            client_certificate: self
                .path("client-cert", raw.client_certificate.as_deref())
                .map(absolute),
            proxy: self.text("proxy", raw.proxy.as_deref()),
            no_proxy_env: self.flag("no-proxy-env", raw.no_proxy_env)?,
            offline: self.own("offline", raw.offline.then_some(true), false, ToString::to_string),
            cache: self.cache(raw, context)?,
            quiet: self.count("quiet", raw.quiet)?,
            verbose: self.count("verbose", raw.verbose)?,
            no_color: self.flag("no-color", raw.no_color)?,
            progress: self.progress(raw.no_progress),
            rows: self.rows,
        })
    }

    /// Notes what an option is whose strongest source alone counts.
    fn note<Values>(&mut self, option: &'static str, values: Values, given: bool)
    where
        Values: IntoIterator<Item = String>,
    {
        let origin = if given {
            ValueOrigin::CommandLine
        } else {
            match self.pip.used(option).last() {
                Some(setting) => configuration(setting),
                None => ValueOrigin::Default,
            }
        };
        self.push(option, values, vec![origin]);
    }

    /// Notes what an option is to which every source adds.
    fn note_list(&mut self, option: &'static str, values: Vec<String>, given: bool) {
        let configured = self.pip.used(option).map(configuration);
        let given = given.then_some(ValueOrigin::CommandLine);
        let mut origins: Vec<_> = configured.chain(given).collect();
        if origins.is_empty() {
            origins.push(ValueOrigin::Default);
        }
        self.push(option, values, origins);
    }

    fn push<Values>(&mut self, option: &'static str, values: Values, origins: Vec<ValueOrigin>)
    where
        Values: IntoIterator<Item = String>,
    {
        let values = values.into_iter().map(|value| redacted(&value)).collect();
        self.rows.push(Row {
            option,
            values,
            origins,
        });
    }

    /// Settles an option that pip does not have.
    fn own<T>(
        &mut self,
        option: &'static str,
        given: Option<T>,
        default: T,
        show: impl Fn(&T) -> String,
    ) -> T {
        let origin = match given {
            Some(_) => ValueOrigin::CommandLine,
            None => ValueOrigin::Default,
        };
        let value = given.unwrap_or(default);
        self.push(option, [show(&value)], vec![origin]);
        value
    }

    fn list(&mut self, option: &'static str, given: &[String]) -> Vec<String> {
        let configured = self.pip.list(option).into_iter().map(str::to_owned);
        let values: Vec<_> = configured.chain(given.iter().cloned()).collect();
        self.note_list(option, values.clone(), !given.is_empty());
        values
    }

    fn text(&mut self, option: &'static str, given: Option<&str>) -> Option<String> {
        let value = given.or_else(|| self.pip.text(option)).map(str::to_owned);
        self.note(option, value.clone(), given.is_some());
        value
    }

    fn path(&mut self, option: &'static str, given: Option<&Path>) -> Option<PathBuf> {
        let value = given.map(Path::to_owned).or_else(|| self.pip.path(option));
        self.note(option, value.as_deref().map(shown), given.is_some());
        value
    }

    fn flag(&mut self, option: &'static str, given: bool) -> Result<bool> {
        let value = given || self.pip.flag(option).map_err(input)?.unwrap_or(false);
        self.note(option, [value.to_string()], given);
        Ok(value)
    }

    fn duration(
        &mut self,
        option: &'static str,
        given: Option<Duration>,
        default: Duration,
    ) -> Result<Duration> {
        let value = match given {
            Some(value) => value,
            None => self.pip.seconds(option).map_err(input)?.unwrap_or(default),
        };
        self.note(option, [seconds(&value)], given.is_some());
        Ok(value)
    }

    /// What the command line counts is added to what the configuration says.
    fn count(&mut self, option: &'static str, given: u32) -> Result<u32> {
        let configured = configured(self.pip, option);
        let number = match configured {
            None => 0,
            Some(setting) => strip(&setting.value).parse().map_err(|_| {
                let message = format!("{} sets `{option}` to no whole number", setting.origin);
                Error::new(Kind::Input, message)
            })?,
        };
        let given_here = (given > 0).then_some(ValueOrigin::CommandLine);
        let mut origins: Vec<_> = configured.map(configuration).into_iter().chain(given_here).collect();
        if origins.is_empty() {
            origins.push(ValueOrigin::Default);
        }
        let count = given.saturating_add(number);
        self.push(option, [count.to_string()], origins);
        Ok(count)
    }

    fn progress(&mut self, disabled: bool) -> bool {
        let progress = !disabled && self.pip.text("progress-bar") != Some("off");
        let shown = if progress { "on" } else { "off" };
        self.note("progress-bar", [shown.to_owned()], disabled);
        progress
    }

    /// A false variable disables isolation: so pip has it.
    fn isolated(&mut self, disabled: bool) -> Result<bool> {
        let isolated = !disabled && self.pip.build_isolation().map_err(input)?.unwrap_or(true);
        self.note("no-build-isolation", [(!isolated).to_string()], disabled);
        Ok(isolated)
    }

    fn index_strategy(&mut self, given: Option<IndexStrategy>) -> IndexStrategy {
        self.own("index-strategy", given, IndexStrategy::default(), |strategy| {
            let name = match strategy {
                IndexStrategy::BestMatch => "best-match",
                IndexStrategy::FirstIndex => "first-index",
                IndexStrategy::FirstMatch => "first-match",
            };
            name.to_owned()
        })
    }

    fn keyring(&mut self, given: Option<&str>) -> Result<bool> {
        let provider = self.text("keyring-provider", given);
        match provider.as_deref() {
            Some("subprocess") => Ok(true),
            None | Some("auto" | "disabled" | "import") => Ok(false),
            Some(other) => {
                let message = format!("`{other}` is no keyring provider");
                Err(Error::new(Kind::Input, message)
                    .with_hint("Name `subprocess` or `disabled` with --keyring-provider."))
            }
        }
    }

    fn config_settings(&mut self, raw: &RawBuild) -> Result<Vec<String>> {
        let configured = self.pip.config_settings().map_err(input)?;
        let configured = configured.iter().map(|(key, value)| format!("{key}={value}"));
        let values: Vec<_> = configured.chain(raw.config_settings.iter().cloned()).collect();
        let given = !raw.config_settings.is_empty();
        self.note_list("config-settings", values.clone(), given);
        Ok(values)
    }

    fn python(&mut self, given: Option<&str>) -> Option<String> {
        let configured = configured(self.pip, "python");
        let value = given.or(configured.map(|setting| setting.value.as_str()));
        let value = value.map(str::to_owned);
        let origin = match (given, configured) {
            (Some(_), _) => ValueOrigin::CommandLine,
            (None, Some(setting)) => configuration(setting),
            (None, None) => ValueOrigin::Default,
        };
        self.push("python", value.clone(), vec![origin]);
        value
    }

    /// Chooses the cache. pip's cache differs in kind, so ours is a directory within it.
    fn cache(&mut self, raw: &RawBuild, context: &SettingsContext<'_>) -> Result<Option<PathBuf>> {
        const VARIABLE: &str = "WHEELHOUSE_CACHE_DIR";
        let variable = context.environment.get_nonempty(VARIABLE).map(PathBuf::from);
        let disabled = self.pip.cache_is_disabled().map_err(input)?;
        let in_pips = self.pip.path("cache-dir").map(|path| path.join("wheelhouse"));
        let origin_of = |option| self.pip.used(option).last().map_or(ValueOrigin::Default, configuration);
        let default = || context.default_cache.map(Path::to_owned);
        let (cache, origin) = match (&raw.cache_dir, variable) {
            _ if raw.no_cache => (None, ValueOrigin::CommandLine),
            (Some(given), _) => (Some(given.clone()), ValueOrigin::CommandLine),
            (None, Some(path)) => (Some(path), ValueOrigin::Variable(VARIABLE)),
            (None, None) if disabled => (None, origin_of("no-cache-dir")),
            (None, None) if in_pips.is_some() => (in_pips, origin_of("cache-dir")),
            (None, None) => (default(), ValueOrigin::Default),
        };
        let cache = cache.map(|path| context.working_directory.join(path));
        self.push("cache-dir", cache.as_deref().map(shown), vec![origin]);
        Ok(cache)
    }

    /// Notes the options that requirements files may have, too.
    fn note_file_options(&mut self, raw: &RawBuild, options: &FileOptions) {
        self.note("index-url", options.index_url.clone(), raw.index_url.is_some());
        let given = !raw.extra_index_urls.is_empty();
        self.note_list("extra-index-url", options.extra_index_urls.clone(), given);
        self.note("no-index", [options.no_index.to_string()], raw.no_index);
        self.note_list("find-links", options.find_links.clone(), !raw.find_links.is_empty());
        let hosts = options.trusted_hosts.clone();
        self.note_list("trusted-host", hosts, !raw.trusted_hosts.is_empty());
        let (formats, releases) = (&options.format_control, &options.release_control);
        for (option, names) in [
            ("no-binary", formats.no_binary()),
            ("only-binary", formats.only_binary()),
            ("all-releases", releases.all_releases()),
            ("only-final", releases.only_final()),
        ] {
            let given = raw.controls.iter().any(|control| control.option() == option);
            self.note_list(option, names.iter().cloned().collect(), given);
        }
        let pre = releases.all_releases().contains(":all:");
        self.note("pre", [pre.to_string()], raw.controls.contains(&Control::Pre));
        for (option, value, given) in [
            ("prefer-binary", options.prefer_binary, raw.prefer_binary),
            ("require-hashes", options.require_hashes, raw.require_hashes),
            ("no-require-hashes", options.no_require_hashes, raw.no_require_hashes),
        ] {
            self.note(option, [value.to_string()], given);
        }
        let date = options.uploaded_prior_to.clone();
        self.note("uploaded-prior-to", date, raw.exclude_newer.is_some());
        self.note_list("use-feature", options.features.clone(), false);
    }
}

/// What requirements files go on from.
fn file_options(raw: &RawBuild, context: &SettingsContext<'_>) -> Result<FileOptions> {
    let mut options = context.pip.file_options(context.reader).map_err(input)?;
    options.no_index |= raw.no_index;
    if options.no_index {
        options.index_url = None;
        options.extra_index_urls.clear();
    } else {
        options.index_url = raw.index_url.clone().or(options.index_url);
        options.extra_index_urls.extend_from_slice(&raw.extra_index_urls);
    }
    options.find_links.extend_from_slice(&raw.find_links);
    options.trusted_hosts.extend_from_slice(&raw.trusted_hosts);
    options.prefer_binary |= raw.prefer_binary;
    options.require_hashes |= raw.require_hashes;
    options.no_require_hashes |= raw.no_require_hashes;
    if raw.exclude_newer.is_some() {
        options.uploaded_prior_to.clone_from(&raw.exclude_newer);
    }
    apply_controls(raw, &mut options)?;
    Ok(options)
}

fn apply_controls(raw: &RawBuild, options: &mut FileOptions) -> Result<()> {
    let (formats, releases) = (&mut options.format_control, &mut options.release_control);
    let mut with_pre = false;
    for control in &raw.controls {
        let applied = match control {
            Control::NoBinary(value) => formats.apply_no_binary(value),
            Control::OnlyBinary(value) => formats.apply_only_binary(value),
            Control::AllReleases(value) => releases.apply_all_releases(value),
            Control::OnlyFinal(value) => releases.apply_only_final(value),
            Control::Pre => {
                with_pre = true;
                Ok(())
            }
        };
        applied.map_err(|error: ControlValueError| {
            let message = format!("the value of --{} is wrong", control.option());
            Error::new(Kind::Input, message).caused_by(error)
        })?;
    }
    let pre_alone = {
        let mut alone = ReleaseControl::default();
        alone.apply_pre();
        alone
    };
    if with_pre && *releases != ReleaseControl::default() && *releases != pre_alone {
        let message = "--pre cannot be used with --all-releases or --only-final";
        return Err(Error::new(Kind::Input, message).with_hint("Leave one of them out."));
    }
    if with_pre {
        releases.apply_pre();
    }
    Ok(())
}

/// A setting of pip's that is none of a command, but of pip itself.
fn configured<'a>(pip: &'a PipConfiguration, option: &str) -> Option<&'a Setting> {
    use super::super::pip_configuration::SettingStatus::{UnknownOption, Used};
    let counts = |setting: &&Setting| matches!(setting.status, Used | UnknownOption);
    pip.settings().iter().filter(counts).rfind(|setting| setting.option == option)
}

fn configuration(setting: &Setting) -> ValueOrigin {
    ValueOrigin::Configuration(setting.origin.clone())
}

fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

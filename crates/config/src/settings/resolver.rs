//! Resolves the value of each option, and records its origin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::{IndexStrategy, SandboxMode};
use wheelhouse_types::{Error, Kind, Result};

use super::command_line::{RawOptions, RawTargets};
use super::origin::{ResolvedSetting, SettingsContext, ValueOrigin};
use crate::error::input;
use crate::pip_config::PipConfiguration;
use crate::setting::Setting;

/// Resolves options one after the other.
pub(super) struct SettingsResolver<'a> {
    pub(super) pip: &'a PipConfiguration,
    pub(super) rows: Vec<ResolvedSetting>,
}

impl SettingsResolver<'_> {
    /// Records an option for which only the source with the highest precedence counts.
    pub(super) fn record<Values>(&mut self, option: &'static str, values: Values, given: bool)
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

    /// Records an option for which all sources are combined.
    pub(super) fn record_list(&mut self, option: &'static str, values: Vec<String>, given: bool) {
        let configured = self.pip.used(option).map(configuration);
        let given = given.then_some(ValueOrigin::CommandLine);
        let mut origins: Vec<_> = configured.chain(given).collect();
        if origins.is_empty() {
            origins.push(ValueOrigin::Default);
        }
        self.push(option, values, origins);
    }

    pub(super) fn push<Values>(
        &mut self,
        option: &'static str,
        values: Values,
        origins: Vec<ValueOrigin>,
    ) where
        Values: IntoIterator<Item = String>,
    {
        let values = values.into_iter().map(|value| redacted(&value)).collect();
        self.rows.push(ResolvedSetting {
            option,
            values,
            origins,
        });
    }

    /// Resolves an option that pip does not have from the `given` value and the `configured` one of the project.
    pub(super) fn resolve_own<T>(
        &mut self,
        option: &'static str,
        given: Option<T>,
        configured: Option<T>,
        default: T,
        show: impl Fn(&T) -> String,
    ) -> T {
        let is_given = given.is_some();
        let value = given.or(configured).unwrap_or(default);
        self.record(option, [show(&value)], is_given);
        value
    }

    /// Returns the targets of the project, for commands to which pip's configuration does not apply.
    pub(super) fn project_targets(&self) -> RawTargets {
        let values = |option| {
            let settings = self.pip.used(option);
            let values = settings.filter_map(|setting| setting.values.clone());
            values.flatten().collect()
        };
        RawTargets {
            pythons: values("python-version"),
            platforms: values("platform"),
            ..RawTargets::default()
        }
    }

    pub(super) fn list(&mut self, option: &'static str, given: &[String]) -> Vec<String> {
        let configured = self.pip.list(option).into_iter().map(str::to_owned);
        let values: Vec<_> = configured.chain(given.iter().cloned()).collect();
        self.record_list(option, values.clone(), !given.is_empty());
        values
    }

    /// Resolves the targets. Options with one value in pip accept several, separated by commas.
    pub(super) fn targets(&mut self, raw: &RawTargets) -> RawTargets {
        let configured = self.pip.list("python-version");
        let configured = configured.iter().flat_map(|versions| versions.split(','));
        let configured = configured.filter(|version| !version.is_empty());
        let pythons = match &raw.pythons[..] {
            [] => configured.map(str::to_owned).collect(),
            given => given.to_vec(),
        };
        self.record("python-version", pythons.clone(), !raw.pythons.is_empty());
        RawTargets {
            pythons,
            platforms: self.list("platform", &raw.platforms),
            implementation: self.text("implementation", raw.implementation.as_deref()),
            abis: self.list("abi", &raw.abis),
        }
    }

    pub(super) fn text(&mut self, option: &'static str, given: Option<&str>) -> Option<String> {
        let value = given.or_else(|| self.pip.text(option)).map(str::to_owned);
        self.record(option, value.clone(), given.is_some());
        value
    }

    /// Resolves the proxy. As in pip, a proxy without a scheme uses HTTP.
    pub(super) fn proxy(&mut self, given: Option<&str>) -> Option<String> {
        let value = given.or_else(|| self.pip.text("proxy"));
        let value = value.map(|text| match text {
            "" => String::new(),
            url if url.contains("://") => url.to_owned(),
            host => format!("http://{host}"),
        });
        self.record("proxy", value.clone(), given.is_some());
        value
    }

    pub(super) fn path(&mut self, option: &'static str, given: Option<&Path>) -> Option<PathBuf> {
        let value = given.map(Path::to_owned).or_else(|| self.pip.path(option));
        self.record(option, value.as_deref().map(shown), given.is_some());
        value
    }

    pub(super) fn flag(&mut self, option: &'static str, given: bool) -> Result<bool> {
        let value = given || self.pip.flag(option).map_err(input)?.unwrap_or(false);
        self.record(option, [value.to_string()], given);
        Ok(value)
    }

    pub(super) fn duration(
        &mut self,
        option: &'static str,
        given: Option<Duration>,
        default: Duration,
    ) -> Result<Duration> {
        let value = match given {
            Some(value) => value,
            None => self.pip.seconds(option).map_err(input)?.unwrap_or(default),
        };
        self.record(option, [seconds(&value)], given.is_some());
        Ok(value)
    }

    /// Adds the count of the command line to that of the configuration.
    pub(super) fn count(&mut self, option: &'static str, given: u32) -> Result<u32> {
        let configured = self.pip.count(option).map_err(input)?;
        let count = given.saturating_add(configured.unwrap_or(0));
        self.record_list(option, vec![count.to_string()], given > 0);
        Ok(count)
    }

    pub(super) fn progress(&mut self, disabled: bool) -> bool {
        let progress = !disabled && self.pip.text("progress-bar") != Some("off");
        let shown = if progress { "on" } else { "off" };
        self.record("progress-bar", [shown.to_owned()], disabled);
        progress
    }

    /// Resolves build isolation. As in pip, a false variable disables it.
    pub(super) fn isolated(&mut self, disabled: bool) -> Result<bool> {
        let isolated = !disabled && self.pip.build_isolation().map_err(input)?.unwrap_or(true);
        self.record("no-build-isolation", [(!isolated).to_string()], disabled);
        Ok(isolated)
    }

    pub(super) fn index_strategy(&mut self, given: Option<IndexStrategy>) -> IndexStrategy {
        let name = |strategy: &IndexStrategy| match strategy {
            IndexStrategy::BestMatch => "best-match",
            IndexStrategy::FirstIndex => "first-index",
            IndexStrategy::FirstMatch => "first-match",
        };
        let all = [
            IndexStrategy::BestMatch,
            IndexStrategy::FirstIndex,
            IndexStrategy::FirstMatch,
        ];
        let configured = self.pip.text("index-strategy");
        let configured = all
            .into_iter()
            .find(|strategy| Some(name(strategy)) == configured);
        let default = IndexStrategy::default();
        self.resolve_own("index-strategy", given, configured, default, |strategy| {
            name(strategy).to_owned()
        })
    }

    /// Resolves the mode of the sandbox, which has a variable for S2I builds.
    pub(super) fn sandbox(
        &mut self,
        given: Option<SandboxMode>,
        context: &SettingsContext<'_>,
    ) -> Result<SandboxMode> {
        const VARIABLE: &str = "WHEELHOUSE_SANDBOX";
        let modes = [
            ("auto", SandboxMode::Auto),
            ("require", SandboxMode::Require),
            ("off", SandboxMode::Off),
        ];
        let parse = |text: &str| modes.into_iter().find(|(name, _)| *name == text);
        let variable = context.environment.get_nonempty(VARIABLE);
        let (mode, origin) = match (given, variable) {
            (Some(given), _) => (given, ValueOrigin::CommandLine),
            (None, Some(text)) => {
                let (_, mode) = parse(text).ok_or_else(|| {
                    let message =
                        format!("`{text}`, the value of {VARIABLE}, is not auto, require or off");
                    Error::new(Kind::Input, message)
                })?;
                (mode, ValueOrigin::Variable(VARIABLE))
            }
            (None, None) => {
                let configured = self.pip.text("sandbox").and_then(parse);
                let origin = self
                    .pip
                    .used("sandbox")
                    .last()
                    .map_or(ValueOrigin::Default, configuration);
                (
                    configured.map_or(SandboxMode::Auto, |(_, mode)| mode),
                    origin,
                )
            }
        };
        let shown = modes.into_iter().find(|(_, other)| *other == mode);
        self.push(
            "sandbox",
            shown.map(|(name, _)| name.to_owned()),
            vec![origin],
        );
        Ok(mode)
    }

    /// Resolves an option for builds with several values, which has a `variable` for S2I builds, with spaces between the values.
    pub(super) fn list_or_variable(
        &mut self,
        option: &'static str,
        variable: &'static str,
        given: &[String],
        context: &SettingsContext<'_>,
    ) -> Vec<String> {
        let in_variable = context
            .environment
            .get_nonempty(variable)
            .unwrap_or_default();
        let configured = self
            .pip
            .list(option)
            .into_iter()
            .chain(in_variable.split_whitespace());
        let values: Vec<_> = configured
            .map(str::to_owned)
            .chain(given.iter().cloned())
            .collect();
        let mut origins: Vec<_> = self.pip.used(option).map(configuration).collect();
        origins.extend((!in_variable.is_empty()).then_some(ValueOrigin::Variable(variable)));
        origins.extend((!given.is_empty()).then_some(ValueOrigin::CommandLine));
        if origins.is_empty() {
            origins.push(ValueOrigin::Default);
        }
        self.push(option, values.clone(), origins);
        values
    }

    pub(super) fn ignored_error_codes(&mut self, given: &[u16]) -> Vec<u16> {
        let texts: Vec<String> = given.iter().map(ToString::to_string).collect();
        let codes = self.list("ignore-error-codes", &texts);
        codes.iter().filter_map(|code| code.parse().ok()).collect()
    }

    pub(super) fn keyring(&mut self, given: Option<&str>) -> Result<bool> {
        let provider = self.text("keyring-provider", given);
        match provider.as_deref() {
            Some("subprocess") => Ok(true),
            None | Some("auto" | "disabled" | "import") => Ok(false),
            Some(other) => {
                let message = format!("`{other}` is not a keyring provider");
                Err(Error::new(Kind::Input, message)
                    .with_hint("Pass `subprocess` or `disabled` to --keyring-provider."))
            }
        }
    }

    pub(super) fn config_settings(&mut self, raw: &RawOptions) -> Result<Vec<String>> {
        let configured = self.pip.config_settings().map_err(input)?;
        let configured = configured
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let values: Vec<_> = configured
            .chain(raw.config_settings.iter().cloned())
            .collect();
        let given = !raw.config_settings.is_empty();
        self.record_list("config-settings", values.clone(), given);
        Ok(values)
    }

    /// Resolves the cache directory: a subdirectory of pip's, whose contents differ.
    pub(super) fn cache(
        &mut self,
        raw: &RawOptions,
        context: &SettingsContext<'_>,
    ) -> Result<Option<PathBuf>> {
        const VARIABLE: &str = "WHEELHOUSE_CACHE_DIR";
        let variable = context
            .environment
            .get_nonempty(VARIABLE)
            .map(PathBuf::from);
        let disabled = self.pip.cache_is_disabled().map_err(input)?;
        let in_pips = self
            .pip
            .path("cache-dir")
            .map(|path| path.join("wheelhouse"));
        let origin_of = |option| {
            self.pip
                .used(option)
                .last()
                .map_or(ValueOrigin::Default, configuration)
        };
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
}

pub(super) fn configuration(setting: &Setting) -> ValueOrigin {
    ValueOrigin::Configuration(setting.origin.clone())
}

pub(super) fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

pub(super) fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

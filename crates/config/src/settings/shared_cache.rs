//! Resolves the options of shared caches, each of which has a variable for S2I builds.

use std::path::PathBuf;
use std::time::Duration;

use wheelhouse_types::error::Context as _;
use wheelhouse_types::{CacheLocation, Error, Kind, Result};

use super::command_line::RawSharedCache;
use super::origin::{SettingsContext, ValueOrigin};
use super::resolver::{SettingsResolver, configuration, seconds, shown};
use crate::error::input;

/// The time-out of a shared cache. It is short: without an answer, the wheel is built.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The shared caches of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCacheSettings {
    /// The locations that are read.
    pub from: Vec<CacheLocation>,
    /// The location that is written, and read as well.
    pub to: Option<CacheLocation>,
    /// True if downloaded files are shared, too.
    pub fetched: bool,
    /// True if only builds with pinned build requirements are shared.
    pub key_closure: bool,
    /// The file of the public key that must have signed a record.
    pub verify_key: Option<PathBuf>,
    /// The time that a location may take to respond.
    pub timeout: Duration,
}

impl SettingsResolver<'_> {
    pub(super) fn shared_cache(
        &mut self,
        raw: &RawSharedCache,
        context: &SettingsContext<'_>,
    ) -> Result<SharedCacheSettings> {
        let from = self.list_or_variable("cache-from", "WHEELHOUSE_CACHE_FROM", &raw.from, context);
        let parse = |text: String| text.parse::<CacheLocation>();
        let to = self.own(
            "cache-to",
            "WHEELHOUSE_CACHE_TO",
            raw.to.clone(),
            context,
            |text| Ok(text.to_owned()),
        )?;
        self.push_own(
            "cache-to",
            to.as_ref().map(|(text, _)| text.clone()),
            to.as_ref(),
        );
        let mut flag = |option, variable, given: bool| {
            let value = self.own(option, variable, given.then_some(true), context, is_true)?;
            let shown = value.as_ref().is_some_and(|(value, _)| *value);
            self.push_own(option, Some(shown.to_string()), value.as_ref());
            Ok::<_, Error>(shown)
        };
        let fetched = flag("cache-fetched", "WHEELHOUSE_CACHE_FETCHED", raw.fetched)?;
        let key_closure = flag(
            "cache-key-closure",
            "WHEELHOUSE_CACHE_KEY_CLOSURE",
            raw.key_closure,
        )?;
        let verify_key = self.own(
            "cache-verify-key",
            "WHEELHOUSE_CACHE_VERIFY_KEY",
            raw.verify_key.clone(),
            context,
            |text| Ok(PathBuf::from(text)),
        )?;
        let verify_key =
            verify_key.map(|(path, origin)| (context.working_directory.join(path), origin));
        let path = verify_key.as_ref().map(|(path, _)| shown(path));
        self.push_own("cache-verify-key", path, verify_key.as_ref());
        let timeout = match self.own(
            "cache-timeout",
            "WHEELHOUSE_CACHE_TIMEOUT",
            raw.timeout,
            context,
            positive_seconds,
        )? {
            Some(timeout) => timeout,
            None => match self.pip.seconds("cache-timeout").map_err(input)? {
                Some(configured) => (configured, self.origin_of("cache-timeout")),
                None => (DEFAULT_TIMEOUT, ValueOrigin::Default),
            },
        };
        let timeout = Some(timeout);
        let text = timeout.as_ref().map(|(timeout, _)| seconds(timeout));
        self.push_own("cache-timeout", text, timeout.as_ref());
        Ok(SharedCacheSettings {
            from: from.into_iter().map(parse).collect::<Result<_>>()?,
            to: to.map(|(text, _)| parse(text)).transpose()?,
            fetched,
            key_closure,
            verify_key: verify_key.map(|(path, _)| path),
            timeout: timeout.map_or(DEFAULT_TIMEOUT, |(timeout, _)| timeout),
        })
    }

    /// Resolves an option with one value from the `given` one, the variable, or the configuration.
    fn own<T>(
        &self,
        option: &'static str,
        variable: &'static str,
        given: Option<T>,
        context: &SettingsContext<'_>,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<(T, ValueOrigin)>> {
        if let Some(given) = given {
            return Ok(Some((given, ValueOrigin::CommandLine)));
        }
        if let Some(text) = context.environment.get_nonempty(variable) {
            let value = parse(text).context(Kind::Input, || {
                format!("the value of {variable} is not valid")
            })?;
            return Ok(Some((value, ValueOrigin::Variable(variable))));
        }
        // The number of seconds in the configuration has its own parser.
        let configured = self.pip.text(option).filter(|_| option != "cache-timeout");
        let configured = configured.map(|text| Ok((parse(text)?, self.origin_of(option))));
        configured.transpose()
    }

    fn origin_of(&self, option: &'static str) -> ValueOrigin {
        let last = self.pip.used(option).last();
        last.map_or(ValueOrigin::Default, configuration)
    }

    fn push_own<T>(
        &mut self,
        option: &'static str,
        text: Option<String>,
        value: Option<&(T, ValueOrigin)>,
    ) {
        let origin = value.map(|(_, origin)| origin.clone());
        self.push(option, text, vec![origin.unwrap_or(ValueOrigin::Default)]);
    }
}

fn is_true(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => {
            let message = format!("`{text}` is neither true nor false");
            Err(Error::new(Kind::Input, message))
        }
    }
}

fn positive_seconds(text: &str) -> Result<Duration> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0);
    let duration = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    duration.ok_or_else(|| {
        let message = format!("`{text}` is not a positive number of seconds");
        Error::new(Kind::Input, message)
    })
}

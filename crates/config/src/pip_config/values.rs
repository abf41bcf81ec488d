//! Typed values of pip's configuration. Errors name the variable or file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConfigurationError, PipConfiguration};
use crate::file_source::ReadSource;
use crate::python_text::{split_words, strip};
use crate::requirements_file::FileOptions;
use crate::setting::{ConfigurationOrigin, Setting};

impl Setting {
    fn error(&self, expected: &'static str) -> ConfigurationError {
        ConfigurationError::Value {
            option: self.option.clone(),
            value: self.value.clone(),
            origin: self.origin.clone(),
            expected,
        }
    }

    /// Returns the items of a list.
    fn items(&self) -> Vec<&str> {
        match &self.values {
            Some(values) => values.iter().map(String::as_str).collect(),
            None => split_words(&self.value).collect(),
        }
    }

    fn flag(&self) -> Result<bool, ConfigurationError> {
        match self.value.to_lowercase().as_str() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
            "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
            _ => Err(self.error("a truth value such as yes or no, true or false, 1 or 0")),
        }
    }
}

impl PipConfiguration {
    /// Returns the string value of `option`, without surrounding white space.
    #[must_use]
    pub fn text(&self, option: &str) -> Option<&str> {
        self.used(option)
            .last()
            .map(|setting| strip(&setting.value))
    }

    /// Returns the words of a list, or each value of an option that accumulates.
    #[must_use]
    pub fn list(&self, option: &str) -> Vec<&str> {
        self.used(option).flat_map(Setting::items).collect()
    }

    /// Returns the boolean value of `option` as written; see [`Self::build_isolation`]
    /// and [`Self::cache_is_disabled`] for two options with a different meaning.
    ///
    /// # Errors
    /// Fails if the value is not a boolean.
    pub fn flag(&self, option: &str) -> Result<Option<bool>, ConfigurationError> {
        self.used(option).last().map(Setting::flag).transpose()
    }

    /// Returns whether builds are isolated, if `no-build-isolation` is set.
    ///
    /// pip interprets the value of that option as the answer itself, so that
    /// `PIP_NO_BUILD_ISOLATION=0` disables isolation and `=1` does not. The key of a project has its literal meaning.
    ///
    /// # Errors
    /// Fails if the value is not a boolean.
    pub fn build_isolation(&self) -> Result<Option<bool>, ConfigurationError> {
        let value = self.flag("no-build-isolation")?;
        let is_of_project = self
            .used("no-build-isolation")
            .any(|setting| matches!(setting.origin, ConfigurationOrigin::Project { .. }));
        Ok(value.map(|value| value != is_of_project))
    }

    /// Returns whether `no-cache-dir` disables the cache: as in pip, any boolean does.
    ///
    /// # Errors
    /// Fails if the value is not a boolean.
    pub fn cache_is_disabled(&self) -> Result<bool, ConfigurationError> {
        Ok(self.flag("no-cache-dir")?.is_some())
    }

    /// Returns an integer.
    ///
    /// # Errors
    /// Fails if the value is not an integer, or negative.
    pub fn number(&self, option: &str) -> Result<Option<u32>, ConfigurationError> {
        let number = |setting: &Setting| {
            let number = strip(&setting.value).parse();
            number.map_err(|_| setting.error("a whole number"))
        };
        self.used(option).last().map(number).transpose()
    }

    /// Returns the number of times that an option counts as given: an integer, or a boolean.
    ///
    /// # Errors
    /// Fails if the value is neither.
    pub fn count(&self, option: &str) -> Result<Option<u32>, ConfigurationError> {
        match self.flag(option) {
            Ok(truth) => Ok(truth.map(u32::from)),
            Err(_) => self.number(option),
        }
    }

    /// Returns a duration in seconds.
    ///
    /// # Errors
    /// Fails if the value is not a number, or negative.
    pub fn seconds(&self, option: &str) -> Result<Option<Duration>, ConfigurationError> {
        let seconds = |setting: &Setting| {
            let number: Option<f64> = strip(&setting.value).parse().ok();
            number
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| setting.error("a number of seconds"))
        };
        self.used(option).last().map(seconds).transpose()
    }

    /// Returns a path, with `~` expanded to the home directory.
    #[must_use]
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        let text = self.text(option)?;
        Some(
            self.expand_home(text)
                .unwrap_or_else(|| PathBuf::from(text)),
        )
    }

    /// Returns the settings of the build backend, which accumulate.
    ///
    /// # Errors
    /// Fails when one is not `KEY=VALUE`.
    pub fn config_settings(&self) -> Result<Vec<(&str, &str)>, ConfigurationError> {
        let mut pairs = Vec::new();
        for setting in self.used("config-settings") {
            let texts = match &setting.values {
                Some(values) => values.iter().map(String::as_str).collect(),
                None => vec![&*setting.value],
            };
            for text in texts {
                let pair = text.split_once('=');
                pairs.push(pair.ok_or_else(|| setting.error("`KEY=VALUE`"))?);
            }
        }
        Ok(pairs)
    }

    /// Returns what requirements files go on from; the command line comes between.
    ///
    /// Lists of the command line are to be added to these, as pip does.
    ///
    /// # Errors
    /// Fails when a truth value is none, when a control has an option for its value, or when
    /// `pre` is set together with a control of releases.
    pub fn file_options(&self, reader: &dyn ReadSource) -> Result<FileOptions, ConfigurationError> {
        let owned = |option| self.list(option).into_iter().map(str::to_owned).collect();
        let mut options = FileOptions {
            no_index: self.flag("no-index")?.unwrap_or(false),
            find_links: self.find_links(reader),
            prefer_binary: self.flag("prefer-binary")?.unwrap_or(false),
            trusted_hosts: owned("trusted-host"),
            require_hashes: self.flag("require-hashes")?.unwrap_or(false),
            no_require_hashes: self.flag("no-require-hashes")?.unwrap_or(false),
            features: owned("use-feature"),
            uploaded_prior_to: self.text("uploaded-prior-to").map(str::to_owned),
            ..FileOptions::default()
        };
        if !options.no_index {
            options.index_url = self.text("index-url").map(str::to_owned);
            options.extra_index_urls = owned("extra-index-url");
        }
        self.apply_controls(&mut options)?;
        self.apply_pre(&mut options)?;
        Ok(options)
    }

    fn apply_controls(&self, options: &mut FileOptions) -> Result<(), ConfigurationError> {
        let used = |setting: &&Setting| setting.status == super::SettingStatus::Used;
        for setting in self.settings.iter().filter(used) {
            let value = &setting.value;
            let (formats, releases) = (&mut options.format_control, &mut options.release_control);
            match setting.option.as_str() {
                "no-binary" => formats.apply_no_binary(value),
                "only-binary" => formats.apply_only_binary(value),
                "all-releases" => releases.apply_all_releases(value),
                "only-final" => releases.apply_only_final(value),
                _ => Ok(()),
            }
            .map_err(|_| setting.error("a list of packages"))?;
        }
        Ok(())
    }

    fn apply_pre(&self, options: &mut FileOptions) -> Result<(), ConfigurationError> {
        let Some(setting) = self.used("pre").last() else {
            return Ok(());
        };
        if !setting.flag()? {
            return Ok(());
        }
        if options.release_control != crate::format_control::ReleaseControl::default() {
            return Err(ConfigurationError::PreWithReleaseControl(
                setting.origin.clone(),
            ));
        }
        options.release_control.apply_pre();
        Ok(())
    }

    /// Expands `~` where that makes a path that exists, as pip does.
    fn find_links(&self, reader: &dyn ReadSource) -> Vec<String> {
        let resolved = |text: &str| {
            let path = self.expand_home(text).filter(|path| reader.exists(path))?;
            path.to_str().map(str::to_owned)
        };
        let links = self.list("find-links").into_iter();
        links
            .map(|text| resolved(text).unwrap_or_else(|| text.to_owned()))
            .collect()
    }

    fn expand_home(&self, text: &str) -> Option<PathBuf> {
        let rest = text.strip_prefix('~')?;
        let home: &Path = self.home.as_deref()?;
        if rest.is_empty() {
            return Some(home.to_owned());
        }
        Some(home.join(rest.strip_prefix('/')?.trim_start_matches('/')))
    }
}

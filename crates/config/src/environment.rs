//! Environment variables as a value.
//!
//! The order is that of the process, because pip's accumulating options depend on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wheelhouse_types::request::{CargoEnvironment, SandboxOptions, is_build_variable};

/// The program that starts hooks: this program, even if its file has been replaced.
const LAUNCHER: &str = "/proc/self/exe";

/// Variables of builds with network access.
const NETWORK_VARIABLES: [&str; 12] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Environment variables in the order of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Returns the value of `name`, which may be empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns the value of `name` unless it is unset or empty.
    #[must_use]
    pub fn get_nonempty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns the variables that builds receive or depend on.
    #[must_use]
    pub fn of_builds(&self) -> BTreeMap<String, String> {
        let of_builds = self
            .iter()
            .filter(|(name, _)| *name == "PATH" || is_build_variable(name));
        of_builds
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Returns the configuration of cargo, whose default directory is `~/.cargo`.
    #[must_use]
    pub fn of_cargo(&self) -> CargoEnvironment {
        let home = self.get_nonempty("CARGO_HOME").map(PathBuf::from);
        let default = || Some(PathBuf::from(self.get_nonempty("HOME")?).join(".cargo"));
        let variables = self.iter().filter(|(name, _)| name.starts_with("CARGO_"));
        CargoEnvironment {
            home: home.or_else(default),
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// Returns the sandbox of builds, as far as it depends on variables.
    #[must_use]
    pub fn sandbox(&self) -> SandboxOptions {
        let home = self.get_nonempty("HOME").map(PathBuf::from);
        // The home directory of a build is empty, so the programs of rustup need the path of their toolchains.
        let toolchains = self.get_nonempty("RUSTUP_HOME").map(PathBuf::from);
        let toolchains = toolchains.or_else(|| Some(home.as_ref()?.join(".rustup")));
        let toolchains = toolchains.filter(|path| path.is_dir());
        let variable = |path: &PathBuf| ("RUSTUP_HOME".to_owned(), path.display().to_string());
        let of_network =
            |name: &&str| Some(((*name).to_owned(), self.get_nonempty(name)?.to_owned()));
        SandboxOptions {
            launcher: LAUNCHER.into(),
            environment: toolchains.iter().map(variable).collect(),
            network_environment: NETWORK_VARIABLES.iter().filter_map(of_network).collect(),
            readable: toolchains.into_iter().collect(),
            hidden: home
                .into_iter()
                .filter(|home| home.parent().is_some())
                .collect(),
            ..SandboxOptions::default()
        }
    }

    /// Iterates over names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the character encoding of the locale, from `LC_ALL`, `LC_CTYPE` and `LANG`.
    ///
    /// A locale without an encoding uses UTF-8: Python does so for the `C` locale (PEP 538), and others are
    /// rare enough to require an explicit encoding.
    #[must_use]
    pub fn locale_encoding(&self) -> &str {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| self.get_nonempty(name));
        let encoding = locale
            .and_then(|locale| locale.split_once('.'))
            .map(|(_, encoding)| encoding.split('@').next().unwrap_or(encoding));
        encoding
            .filter(|encoding| !encoding.is_empty())
            .unwrap_or("utf-8")
    }
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        let variables = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self { variables }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_empty_and_unset_variables() {
        let environment = Environment::from_iter([("EMPTY", ""), ("SET", "1")]);
        assert_eq!(environment.get("EMPTY"), Some(""));
        assert_eq!(environment.get_nonempty("EMPTY"), None);
        assert_eq!(environment.get("SET"), Some("1"));
        assert_eq!(environment.get("OTHER"), None);
    }

    #[test]
    fn reads_encoding_of_locale() {
        let encoding = |pairs: &[(&str, &str)]| {
            let environment: Environment = pairs.iter().copied().collect();
            environment.locale_encoding().to_owned()
        };
        assert_eq!(encoding(&[]), "utf-8");
        assert_eq!(encoding(&[("LANG", "C")]), "utf-8");
        assert_eq!(
            encoding(&[("LANG", "de_DE.ISO-8859-15@euro")]),
            "ISO-8859-15"
        );
        assert_eq!(
            encoding(&[("LANG", "C.UTF-8"), ("LC_ALL", "ja_JP.eucJP")]),
            "eucJP"
        );
        assert_eq!(
            encoding(&[("LC_ALL", ""), ("LANG", "fr_FR.CP1252")]),
            "CP1252"
        );
    }
}

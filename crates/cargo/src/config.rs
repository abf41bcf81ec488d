//! cargo's configuration of the user: where the crates of a source come from, and the tokens of registries.
//!
//! The configuration files are those in `CARGO_HOME`. Those in the directories above a source are not read: the source is
//! untrusted, and its configuration could name any server.
//! See <https://doc.rust-lang.org/cargo/reference/source-replacement.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::locked_crate::CRATES_IO;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::CargoEnvironment;
use wheelhouse_types::{Error, Kind, Result, limits, secrets};

/// The name of the default registry in configuration files.
const CRATES_IO_NAME: &str = "crates-io";

/// The index of crates.io.
const CRATES_IO_INDEX: &str = "sparse+https://index.crates.io/";

/// The largest configuration file (bytes).
const CONFIG_SIZE: u64 = 1 << 20;

/// The sections that concern builds.
const BUILD_SECTIONS: [&str; 4] = ["build", "env", "profile", "target"];

/// The keys of `build` that name programs and directories outside of a build.
const FOREIGN_BUILD_KEYS: [&str; 4] = [
    "build-dir",
    "rustc-workspace-wrapper",
    "rustc-wrapper",
    "target-dir",
];

/// The user's configuration of sources and registries.
#[derive(Debug, Default)]
pub struct CargoConfig {
    /// The directory to which relative paths refer.
    base: PathBuf,
    sources: BTreeMap<String, SourceTable>,
    registries: BTreeMap<String, RegistryTable>,
    /// The tokens of registries by name.
    tokens: BTreeMap<String, Token>,
    /// The settings for builds.
    builds: toml::Table,
}

/// A credential, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(****)")
    }
}

#[derive(Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    source: BTreeMap<String, SourceTable>,
    #[serde(default)]
    registries: BTreeMap<String, RegistryTable>,
    registry: Option<RegistryTable>,
    #[serde(flatten)]
    others: toml::Table,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SourceTable {
    replace_with: Option<String>,
    registry: Option<String>,
    directory: Option<PathBuf>,
    local_registry: Option<PathBuf>,
    git: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct RegistryTable {
    index: Option<String>,
    token: Option<String>,
}

impl std::fmt::Debug for RegistryTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.index)
    }
}

/// The place from which the crates of a source are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrateOrigin {
    /// A registry with a sparse index.
    Sparse {
        /// The URL of the index, which ends with `/`.
        index: Url,
        /// The name of the registry in the configuration.
        name: String,
        /// The value of the `Authorization` header, if the registry requires one.
        token: Option<Token>,
    },
    /// A directory with `.crate` files, as `cargo local-registry` creates it.
    LocalRegistry(PathBuf),
    /// A directory with unpacked crates, as `cargo vendor` creates it.
    Directory(PathBuf),
    /// The Git repository of the crate.
    Git,
}

impl CargoConfig {
    /// Reads the configuration of the user.
    ///
    /// # Errors
    /// [`Kind::Input`] if a file cannot be read or is not valid.
    pub fn read(environment: &CargoEnvironment) -> Result<Self> {
        let mut config = Self::default();
        if let Some(home) = &environment.home {
            // Paths in configuration files refer to the directory above that of the file.
            home.parent().unwrap_or(home).clone_into(&mut config.base);
            let file: ConfigFile = read(home, ["config", "config.toml"])?;
            config.add(file);
            // A token in the file of credentials takes precedence over one in the configuration.
            let credentials: ConfigFile = read(home, ["credentials", "credentials.toml"])?;
            config.add(credentials);
        }
        for (name, value) in &environment.variables {
            config.add_variable(name, value);
        }
        let tokens = config.tokens.values();
        // Some registries want a scheme before the token.
        secrets::register(tokens.flat_map(|token| token.0.split_whitespace().map(str::to_owned)));
        Ok(config)
    }

    fn add(&mut self, file: ConfigFile) {
        self.sources.extend(file.source);
        let mut others = file.others;
        if let Some(toml::Value::Table(build)) = others.get_mut("build") {
            for key in FOREIGN_BUILD_KEYS {
                build.remove(key);
            }
        }
        let is_for_builds = |(key, _): &(String, _)| BUILD_SECTIONS.contains(&key.as_str());
        self.builds.extend(others.into_iter().filter(is_for_builds));
        if let Some(token) = file.registry.and_then(|registry| registry.token) {
            self.tokens.insert(CRATES_IO_NAME.to_owned(), Token(token));
        }
        for (name, registry) in file.registries {
            if let Some(token) = &registry.token {
                self.tokens.insert(name.clone(), Token(token.clone()));
            }
            if registry.index.is_some() {
                self.registries.insert(name, registry);
            }
        }
    }

    /// Adds the setting of the environment variable `variable`: `CARGO_REGISTRIES_NAME_INDEX`, `CARGO_REGISTRIES_NAME_TOKEN`
    /// or `CARGO_REGISTRY_TOKEN`. cargo has no variables for `[source]`.
    fn add_variable(&mut self, variable: &str, value: &str) {
        if variable == "CARGO_REGISTRY_TOKEN" {
            let token = Token(value.to_owned());
            self.tokens.insert(CRATES_IO_NAME.to_owned(), token);
            return;
        }
        let Some(setting) = variable.strip_prefix("CARGO_REGISTRIES_") else {
            return;
        };
        if let Some(name) = setting.strip_suffix("_INDEX") {
            let index = Some(value.to_owned());
            let name = self.registry_name(name);
            self.registries
                .insert(name, RegistryTable { index, token: None });
        } else if let Some(name) = setting.strip_suffix("_TOKEN") {
            let name = self.registry_name(name);
            self.tokens.insert(name, Token(value.to_owned()));
        }
    }

    /// Returns the registry whose name is `name` in upper case and with `_` for `-`.
    fn registry_name(&self, name: &str) -> String {
        let is_named = |known: &&String| known.to_ascii_uppercase().replace('-', "_") == name;
        let mut known = self.registries.keys().chain(self.sources.keys());
        let known = known.find(is_named).cloned();
        known.unwrap_or_else(|| match name {
            "CRATES_IO" => CRATES_IO_NAME.to_owned(),
            name => name.to_ascii_lowercase(),
        })
    }

    /// Returns the settings for a generated configuration: those for builds, and the indexes of registries, which manifests
    /// refer to by name.
    #[must_use]
    pub fn settings(&self) -> toml::Table {
        let mut settings = self.builds.clone();
        let registries = self.registries.iter().filter_map(|(name, registry)| {
            let index = toml::Value::String(registry.index.clone()?);
            let table = toml::Table::from_iter([("index".to_owned(), index)]);
            Some((name.clone(), toml::Value::Table(table)))
        });
        let registries: toml::Table = registries.collect();
        if !registries.is_empty() {
            settings.insert("registries".to_owned(), toml::Value::Table(registries));
        }
        settings
    }

    /// Returns the place from which the crates of `source` come, a source as `Cargo.lock` names it. Follows replacements.
    ///
    /// # Errors
    /// [`Kind::Input`] if the configuration replaces sources in a circle, or by an unknown or unsupported one.
    pub fn origin(&self, source: &str) -> Result<CrateOrigin> {
        let mut seen = BTreeSet::new();
        let mut name = self.name_of(source);
        if name.is_none() && source.starts_with("git+") {
            return Ok(CrateOrigin::Git);
        }
        let mut index = index_of(source);
        while let Some(current) = name.take() {
            if !seen.insert(current.clone()) {
                let message = format!("the configuration of cargo replaces `{current}` by itself");
                return Err(Error::new(Kind::Input, message));
            }
            let table = self.sources.get(&current).cloned().unwrap_or_default();
            if let Some(next) = table.replace_with {
                name = Some(next);
                continue;
            }
            if let Some(directory) = table.directory {
                return Ok(CrateOrigin::Directory(self.base.join(directory)));
            }
            if let Some(directory) = table.local_registry {
                return Ok(CrateOrigin::LocalRegistry(self.base.join(directory)));
            }
            let registry = self.registries.get(&current);
            let registry = registry.and_then(|registry| registry.index.clone());
            index = match table.registry.or(registry) {
                Some(index) => index,
                None if current == CRATES_IO_NAME => CRATES_IO_INDEX.to_owned(),
                None if source.starts_with("git+") && seen.len() == 1 => {
                    return Ok(CrateOrigin::Git);
                }
                None => {
                    let message = format!(
                        "the configuration of cargo has no index for the source `{current}`"
                    );
                    return Err(Error::new(Kind::Input, message));
                }
            };
            return self.sparse(&index, &current);
        }
        self.sparse(&index, "")
    }

    /// Returns the name of `source` in the configuration.
    fn name_of(&self, source: &str) -> Option<String> {
        if source == CRATES_IO || source == CRATES_IO_INDEX {
            return Some(CRATES_IO_NAME.to_owned());
        }
        let wanted = canonical(&index_of(source));
        let is_wanted =
            |index: &Option<String>| index.as_ref().is_some_and(|it| canonical(it) == wanted);
        let mut sources = self.sources.iter();
        if let Some(repository) = source.strip_prefix("git+") {
            let (repository, _) = repository
                .split_once(['?', '#'])
                .unwrap_or((repository, ""));
            let repository = canonical(repository);
            let is_same = |git: &str| canonical(git) == repository;
            let named = sources.find(|(_, table)| table.git.as_deref().is_some_and(is_same));
            return named.map(|(name, _)| name.clone());
        }
        let source = sources.find(|(_, table)| is_wanted(&table.registry));
        let mut registries = self.registries.iter();
        let mut registry = || registries.find(|(_, table)| is_wanted(&table.index));
        source
            .map(|(name, _)| name.clone())
            .or_else(|| registry().map(|(name, _)| name.clone()))
    }

    fn sparse(&self, index: &str, name: &str) -> Result<CrateOrigin> {
        let invalid = || format!("the registry `{}` is not a valid URL", redacted(index));
        let Some(url) = index.strip_prefix("sparse+") else {
            if canonical(index) == canonical(&index_of(CRATES_IO)) {
                return self.sparse(CRATES_IO_INDEX, name);
            }
            let message = format!("the registry `{}` has no sparse index", redacted(index));
            let hint =
                "Replace the source by one with `sparse+https://…` in the configuration of cargo.";
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        };
        let url = if url.ends_with('/') {
            url.to_owned()
        } else {
            format!("{url}/")
        };
        Ok(CrateOrigin::Sparse {
            index: Url::parse(&url).context(Kind::Input, invalid)?,
            token: self.tokens.get(name).cloned(),
            name: name.to_owned(),
        })
    }
}

/// Returns the index of a registry as configuration files name it: without `registry+`.
fn index_of(source: &str) -> String {
    let index = source.strip_prefix("registry+");
    index.unwrap_or(source).to_owned()
}

/// Returns a form of the URL of an index that is the same for all spellings.
fn canonical(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    url.to_ascii_lowercase()
}

/// Reads the first of two files in `home` that exists.
fn read<T: DeserializeOwned + Default>(home: &Path, names: [&str; 2]) -> Result<T> {
    for name in names {
        let path = home.join(name);
        let failed = || format!("failed to read {}", path.display());
        let file = match fs_err::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(Kind::Input, failed),
        };
        let bytes = limits::read(file, CONFIG_SIZE).context(Kind::Input, failed)?;
        let text = String::from_utf8(bytes).context(Kind::Input, failed)?;
        limits::toml(&text).context(Kind::Input, failed)?;
        // The error would show the line, which may have a token.
        return toml::from_str(&text).map_err(|error| {
            Error::new(Kind::Input, format!("{}: {}", failed(), error.message()))
        });
    }
    Ok(T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str, credentials: &str, variables: &[(&str, &str)]) -> CargoConfig {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.toml"), file).unwrap();
        std::fs::write(home.path().join("credentials.toml"), credentials).unwrap();
        let variables = variables.iter();
        CargoConfig::read(&CargoEnvironment {
            home: Some(home.path().to_owned()),
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
        .unwrap()
    }

    fn sparse(origin: &CrateOrigin) -> (&str, Option<&str>) {
        match origin {
            CrateOrigin::Sparse { index, token, .. } => {
                (index.as_str(), token.as_ref().map(|token| &*token.0))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn default_is_crates_io() {
        let origin = CargoConfig::default().origin(CRATES_IO).unwrap();
        assert_eq!(sparse(&origin), ("https://index.crates.io/", None));
        let origin = CargoConfig::default().origin("git+https://example.org/x#0");
        assert_eq!(origin.unwrap(), CrateOrigin::Git);
    }

    #[test]
    fn follows_replacements_to_a_mirror_with_a_token() {
        let config = config(
            "[source.crates-io]\nreplace-with = 'first'\n[source.first]\nregistry = 'https://first/'\n\
             replace-with = 'company'\n[registries.company]\nindex = 'sparse+https://company/index'\n",
            "[registries.company]\ntoken = 'from file'\n",
            &[],
        );
        let origin = config.origin(CRATES_IO).unwrap();
        assert_eq!(
            sparse(&origin),
            ("https://company/index/", Some("from file"))
        );
        assert!(!format!("{config:?} {origin:?}").contains("from file"));
    }

    #[test]
    fn variables_take_precedence() {
        let config = config(
            "[source.crates-io]\nreplace-with = 'my-mirror'\n[registries.my-mirror]\nindex = 'sparse+https://file/'\n",
            "[registries.my-mirror]\ntoken = 'from file'\n",
            &[
                (
                    "CARGO_REGISTRIES_MY_MIRROR_INDEX",
                    "sparse+https://variable/",
                ),
                ("CARGO_REGISTRIES_MY_MIRROR_TOKEN", "from variable"),
            ],
        );
        let origin = config.origin(CRATES_IO).unwrap();
        assert_eq!(
            sparse(&origin),
            ("https://variable/", Some("from variable"))
        );
    }

    #[test]
    fn finds_registries_by_index() {
        let config = config(
            "[registries.own]\nindex = 'sparse+https://own/api/'\n",
            "",
            &[("CARGO_REGISTRIES_OWN_TOKEN", "secret")],
        );
        let origin = config.origin("sparse+https://own/api/").unwrap();
        assert_eq!(sparse(&origin), ("https://own/api/", Some("secret")));
        // A token is only for the registry that it is configured for.
        let origin = config.origin("sparse+https://other/").unwrap();
        assert_eq!(sparse(&origin), ("https://other/", None));
    }

    #[test]
    fn paths_refer_to_the_directory_above_the_home() {
        let config = config(
            "[source.crates-io]\nreplace-with = 'local'\n[source.local]\nlocal-registry = 'registry'\n",
            "",
            &[],
        );
        let expected = config.base.join("registry");
        let origin = config.origin(CRATES_IO).unwrap();
        assert_eq!(origin, CrateOrigin::LocalRegistry(expected));
    }

    #[test]
    fn rejects_circles_and_indexes_without_the_sparse_protocol() {
        let config = config(
            "[source.crates-io]\nreplace-with = 'a'\n[source.a]\nreplace-with = 'crates-io'\n",
            "",
            &[],
        );
        let error = config.origin(CRATES_IO).unwrap_err();
        assert!(error.to_string().contains("by itself"), "{error}");
        let error = config.origin("registry+https://example.org/index");
        assert!(error.unwrap_err().hint().unwrap().contains("sparse+"));
    }

    #[test]
    fn keeps_settings_of_builds_without_credentials() {
        let config = config(
            "[build]\nrustflags = ['-Cx']\nrustc-wrapper = 'sccache'\n[net]\nretry = 3\n\
             [registries.own]\nindex = 'sparse+https://own/'\ntoken = 'secret'\n",
            "",
            &[],
        );
        let settings = toml::to_string(&config.settings()).unwrap();
        assert!(settings.contains("rustflags") && settings.contains("sparse+https://own/"));
        assert!(!settings.contains("sccache") && !settings.contains("retry"));
        assert!(!settings.contains("secret"));
    }

    #[test]
    fn errors_do_not_show_tokens() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("credentials.toml"), "token = 'secret\n").unwrap();
        let error = CargoConfig::read(&CargoEnvironment {
            home: Some(home.path().to_owned()),
            ..CargoEnvironment::default()
        })
        .unwrap_err();
        assert!(!error.display_chain().contains("secret"), "{error}");
    }
}

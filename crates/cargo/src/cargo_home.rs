//! A generated `CARGO_HOME` in which cargo finds all crates of a build, so that it needs no network.
//!
//! ```text
//! config.toml             replaces each source of the locks by a directory below
//! sources/N/NAME-VERSION  links to unpacked crates
//! ```
//!
//! See <https://doc.rust-lang.org/cargo/reference/source-replacement.html#directory-sources>.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fs_err as fs;
use toml::{Table, Value};
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::locked_crate::CRATES_IO;
use wheelhouse_types::{Kind, LockedCrate, Result, Sha256};

/// The prefix of the names of the generated sources. A source may have a configuration with other names.
const PREFIX: &str = "wheelhouse-";

/// The directory of crates in a download.
pub(crate) const DOWNLOAD_DIRECTORY: &str = "crates";

/// The contents of a generated `CARGO_HOME`.
#[derive(Debug, Default)]
pub struct CargoHome {
    /// The unpacked crates.
    pub crates: Vec<(LockedCrate, PathBuf)>,
    /// Further directories with crates, by the source that they replace: those that the user's configuration names.
    pub directories: BTreeMap<String, PathBuf>,
    /// The names of registries that the configuration of the source has already, by URL.
    pub registries: BTreeMap<String, String>,
    /// The user's settings that do not concern sources.
    pub settings: Table,
}

impl CargoHome {
    /// Writes the directory `home`, which must not exist, and returns the variables with which cargo uses it.
    ///
    /// # Errors
    /// [`Kind::Build`] if it cannot be written.
    pub fn write(&self, home: &Path) -> Result<Vec<(OsString, OsString)>> {
        let failed = || format!("failed to write {}", home.display());
        self.write_files(home).context(Kind::Build, failed)?;
        Ok(vec![
            ("CARGO_HOME".into(), home.into()),
            ("CARGO_NET_OFFLINE".into(), "true".into()),
        ])
    }

    fn write_files(&self, home: &Path) -> std::io::Result<()> {
        fs::create_dir_all(home)?;
        let mut by_source: BTreeMap<&str, Vec<(&LockedCrate, &Path)>> = BTreeMap::new();
        for (locked, directory) in &self.crates {
            let source = source_key(&locked.source);
            by_source
                .entry(source)
                .or_default()
                .push((locked, directory));
        }
        let mut sources = Table::new();
        for (number, (source, crates)) in by_source.iter().enumerate() {
            let directory = home.join("sources").join(number.to_string());
            fs::create_dir_all(&directory)?;
            for (locked, unpacked) in crates {
                let name = format!("{}-{}", locked.name, locked.version);
                fs_err::os::unix::fs::symlink(unpacked, directory.join(name))?;
            }
            // Relative to the parent of `home`, since a sandbox has both elsewhere.
            let name = Path::new(home.file_name().unwrap_or_default());
            let directory = name.join("sources").join(number.to_string());
            self.replace(&mut sources, source, number, &directory);
        }
        let numbers = by_source.len()..;
        for (number, (source, directory)) in numbers.zip(&self.directories) {
            self.replace(&mut sources, source, number, directory);
        }
        let mut config = self.settings.clone();
        config.insert("source".to_owned(), Value::Table(sources));
        let net = Table::from_iter([("offline".to_owned(), Value::Boolean(true))]);
        config.insert("net".to_owned(), Value::Table(net));
        let text = toml::to_string(&config).map_err(std::io::Error::other)?;
        fs::write(home.join("config.toml"), text)
    }

    /// Adds the entries that replace `source` by `directory`.
    fn replace(&self, sources: &mut Table, source: &str, number: usize, directory: &Path) {
        let target = format!("{PREFIX}{number}");
        let mut replaced = definition(source);
        replaced.insert("replace-with".to_owned(), Value::String(target.clone()));
        let registry = replaced.get("registry").and_then(Value::as_str);
        let known = registry.and_then(|url| self.registries.get(url)).cloned();
        if source == CRATES_IO {
            // The configuration of the source may replace crates.io by a mirror.
            for name in self.registries.values() {
                let only = ("replace-with".to_owned(), Value::String(target.clone()));
                sources.insert(name.clone(), Value::Table(Table::from_iter([only])));
            }
            sources.insert("crates-io".to_owned(), Value::Table(replaced));
        } else {
            let name = known.unwrap_or_else(|| source.to_owned());
            sources.insert(name, Value::Table(replaced));
        }
        let directory = Value::String(directory.to_string_lossy().into_owned());
        let table = Table::from_iter([("directory".to_owned(), directory)]);
        sources.insert(target, Value::Table(table));
    }
}

/// Returns the source of a crate without the commit that a lock adds; crates.io has two names.
#[must_use]
pub fn source_key(source: &str) -> &str {
    if source == "sparse+https://index.crates.io/" {
        return CRATES_IO;
    }
    source.split_once('#').map_or(source, |(source, _)| source)
}

/// Returns the path of the file of `locked` in a download: crates of crates.io are in one directory, those of every other source
/// in one of their own.
#[must_use]
pub fn download_path(locked: &LockedCrate) -> PathBuf {
    let mut path = PathBuf::from(DOWNLOAD_DIRECTORY);
    let source = source_key(&locked.source);
    if source != CRATES_IO {
        // Two commits of a repository may have the same version of a crate.
        let digest = Sha256::of(locked.source.as_bytes()).to_string();
        path.push(&digest[..16]);
    }
    path.join(locked.filename())
}

/// Returns the settings that define `source` in the configuration of cargo.
pub(crate) fn definition(source: &str) -> Table {
    let text = |value: &str| Value::String(value.to_owned());
    let mut table = Table::new();
    if source == CRATES_IO {
        return table;
    }
    let Some(repository) = source.strip_prefix("git+") else {
        let index = source.strip_prefix("registry+").unwrap_or(source);
        table.insert("registry".to_owned(), text(index));
        return table;
    };
    let (url, _) = repository.split_once('?').unwrap_or((repository, ""));
    table.insert("git".to_owned(), text(url));
    if let Ok(parsed) = Url::parse(repository) {
        for (key, value) in parsed.query_pairs() {
            if matches!(&*key, "branch" | "tag" | "rev") {
                table.insert(key.into_owned(), text(&value));
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, source: &str) -> LockedCrate {
        LockedCrate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: source.to_owned(),
            sha256: None,
        }
    }

    #[test]
    fn replaces_each_source_by_a_directory_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let unpacked = directory.path().join("unpacked");
        std::fs::create_dir(&unpacked).unwrap();
        let git = "git+https://example.org/x?branch=feature%2Fy";
        let commit = format!("{git}#{}", "0".repeat(40));
        let sources = [CRATES_IO, "sparse+https://own/", &commit];
        let crates = sources.map(|source| (locked("a", source), unpacked.clone()));
        let generated = CargoHome {
            crates: crates.to_vec(),
            registries: BTreeMap::from([("https://mirror/".to_owned(), "mirror".to_owned())]),
            ..CargoHome::default()
        };
        let variables = generated.write(&home).unwrap();
        assert_eq!(variables[0].1, home.as_os_str());
        let text = std::fs::read_to_string(home.join("config.toml")).unwrap();
        let config: Table = text.parse().unwrap();
        let sources = config["source"].as_table().unwrap();
        let mut directories = Vec::new();
        for name in ["crates-io", "sparse+https://own/", git] {
            let target = sources[name]["replace-with"].as_str().unwrap();
            let source = sources[target]["directory"].as_str().unwrap();
            assert!(directory.path().join(source).join("a-1.0.0").is_dir());
            directories.push(source);
        }
        directories.dedup();
        assert_eq!(directories.len(), 3);
        assert_eq!(sources[git]["branch"].as_str(), Some("feature/y"));
        assert_eq!(sources[git]["git"].as_str(), Some("https://example.org/x"));
        assert_eq!(
            sources["mirror"]["replace-with"],
            sources["crates-io"]["replace-with"]
        );
        assert!(text.contains("offline = true"));
    }
}

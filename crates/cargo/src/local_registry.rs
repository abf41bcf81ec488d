//! The index and the configuration that make the crates of a download a local registry, from which cargo builds by itself.
//!
//! ```text
//! crates/config.toml          replaces each registry by a local one, if `CARGO_HOME` is the directory `crates`
//! crates/NAME-VERSION.crate   the crates of crates.io
//! crates/index/…              their index
//! crates/<source>/…           the same for each other registry
//! ```
//!
//! A local registry cannot replace a Git repository. See
//! <https://doc.rust-lang.org/cargo/reference/source-replacement.html#local-registry-sources> and
//! <https://doc.rust-lang.org/cargo/reference/registry-index.html#json-schema>.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use toml::{Table, Value};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::locked_crate::CRATES_IO;
use wheelhouse_types::{Kind, LockedCrate, Result, limits};

use crate::cargo_home::{definition, download_path, source_key};
use crate::registry::prefix;

/// The sections of a manifest with dependencies, and their kinds in the index. cargo does not use those for development, but
/// features may name them.
const SECTIONS: [(&str, &str); 5] = [
    ("dependencies", "normal"),
    ("dev-dependencies", "dev"),
    ("dev_dependencies", "dev"),
    ("build-dependencies", "build"),
    ("build_dependencies", "build"),
];

/// Returns the files of the local registries of `crates`, whose unpacked contents are at the paths, by their names in the
/// download.
///
/// # Errors
/// [`Kind::Fetch`] if the manifest of a crate is not valid.
pub fn local_registry(crates: &[(LockedCrate, &Path)]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut sources = Table::new();
    let mut registries: Vec<&str> = Vec::new();
    for (locked, unpacked) in crates.iter().filter(|(locked, _)| !locked.is_git()) {
        let source = source_key(&locked.source);
        let path = download_path(locked);
        let directory = path.parent().unwrap_or(&path);
        if !registries.contains(&source) {
            registries.push(source);
            replace(&mut sources, source, registries.len(), directory);
        }
        let name = locked.name.to_ascii_lowercase();
        let index = directory.join("index").join(prefix(&name)).join(&name);
        let line = entry(locked, unpacked).context(Kind::Fetch, || {
            format!("failed to read the manifest of {locked}")
        })?;
        let text = files
            .entry(index.to_string_lossy().into_owned())
            .or_default();
        text.extend(format!("{line}\n").as_bytes());
    }
    if !registries.is_empty() {
        let config = Table::from_iter([("source".to_owned(), Value::Table(sources))]);
        let text = toml::to_string(&config).context(Kind::Fetch, || {
            "the configuration of cargo cannot be written".to_owned()
        })?;
        files.insert("crates/config.toml".to_owned(), text.into_bytes());
    }
    Ok(files)
}

fn replace(sources: &mut Table, source: &str, number: usize, directory: &Path) {
    let target = format!("wheelhouse-{number}");
    let mut replaced = definition(source);
    replaced.insert("replace-with".to_owned(), Value::String(target.clone()));
    let name = if source == CRATES_IO {
        "crates-io"
    } else {
        source
    };
    sources.insert(name.to_owned(), Value::Table(replaced));
    let directory = Value::String(directory.to_string_lossy().into_owned());
    let local = Table::from_iter([("local-registry".to_owned(), directory)]);
    sources.insert(target, Value::Table(local));
}

/// Returns the line of the index for `locked`.
fn entry(locked: &LockedCrate, unpacked: &Path) -> Result<serde_json::Value> {
    let path = unpacked.join("Cargo.toml");
    let failed = || format!("failed to read {}", path.display());
    let file = fs_err::File::open(&path).context(Kind::Fetch, failed)?;
    let bytes = limits::read(file, limits::PYPROJECT).context(Kind::Fetch, failed)?;
    let text = String::from_utf8(bytes).context(Kind::Fetch, failed)?;
    limits::toml(&text).context(Kind::Fetch, failed)?;
    let manifest: Table = text.parse().context(Kind::Fetch, failed)?;
    let mut dependencies = sections(&manifest, None, &locked.source);
    if let Some(Value::Table(targets)) = manifest.get("target") {
        for (target, table) in targets {
            if let Value::Table(table) = table {
                dependencies.extend(sections(table, Some(target), &locked.source));
            }
        }
    }
    let (features, features2) = features(&manifest);
    let package = manifest.get("package").or_else(|| manifest.get("project"));
    let links = package.and_then(|package| package.get("links")?.as_str());
    let version = if features2.is_empty() { 1 } else { 2 };
    Ok(json!({
        "name": locked.name,
        "vers": locked.version,
        "deps": dependencies,
        "cksum": locked.sha256,
        "features": features,
        "features2": features2,
        "yanked": false,
        "links": links,
        "v": version,
    }))
}

fn sections(table: &Table, target: Option<&str>, source: &str) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for (section, kind) in SECTIONS {
        let Some(Value::Table(dependencies)) = table.get(section) else {
            continue;
        };
        for (name, dependency) in dependencies {
            let text = |key: &str| dependency.get(key).and_then(Value::as_str);
            let flag = |key: &str| dependency.get(key).and_then(Value::as_bool);
            let features = dependency.get("features").and_then(Value::as_array);
            let features: Vec<&str> = features
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let defaults = flag("default-features").or_else(|| flag("default_features"));
            all.push(json!({
                "name": name,
                "req": dependency.as_str().or_else(|| text("version")).unwrap_or("*"),
                "features": features,
                "optional": flag("optional").unwrap_or(false),
                "default_features": defaults.unwrap_or(true),
                "target": target,
                "kind": kind,
                "registry": registry(text("registry-index"), source),
                "package": text("package"),
            }));
        }
    }
    all
}

/// Returns the registry of a dependency, unless it is `source`, that of the crate.
fn registry<'a>(index: Option<&'a str>, source: &str) -> Option<&'a str> {
    let crates_io = CRATES_IO.strip_prefix("registry+").unwrap_or(CRATES_IO);
    let own = source.strip_prefix("registry+").unwrap_or(source);
    let index = index.unwrap_or(crates_io);
    (index != own).then_some(index)
}

/// Returns the features of a crate, and separately those in the syntax that cargo understands since version 1.60.
fn features(manifest: &Table) -> (Table, Table) {
    let is_new = |feature: &Value| {
        let values = feature.as_array().into_iter().flatten();
        let mut values = values.filter_map(Value::as_str);
        values.any(|value| value.starts_with("dep:") || value.contains("?/"))
    };
    let features = manifest.get("features").and_then(Value::as_table);
    let features = features.cloned().unwrap_or_default();
    let (new, old): (Vec<_>, Vec<_>) = features.into_iter().partition(|(_, value)| is_new(value));
    (old.into_iter().collect(), new.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::Sha256;

    #[test]
    fn describes_crates_for_cargo() {
        let unpacked = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = 'Leaf'\nversion = '1.0.0'\nlinks = 'z'\n\
            [features]\ndefault = ['std']\nstd = []\nserde = ['dep:serde']\n\
            [dependencies]\nplain = '1'\n[dependencies.other]\nversion = '^2'\npackage = 'real'\noptional = true\n\
            default-features = false\nfeatures = ['f']\n\
            [target.'cfg(unix)'.build-dependencies]\ncc = '1'\n[dev-dependencies]\nleft = '1'\n";
        std::fs::write(unpacked.path().join("Cargo.toml"), manifest).unwrap();
        let locked = |source: &str| LockedCrate {
            name: "Leaf".to_owned(),
            version: "1.0.0".to_owned(),
            source: source.to_owned(),
            sha256: Some(Sha256::of(b"")),
        };
        let git = format!("git+https://example.org/x#{}", "0".repeat(40));
        let crates =
            [CRATES_IO, "sparse+https://own/", &git].map(|it| (locked(it), unpacked.path()));
        let files = local_registry(&crates).unwrap();
        assert_eq!(files.len(), 3);
        let line = &files["crates/index/le/af/leaf"];
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["links"], "z");
        assert_eq!(line["v"], 2);
        assert_eq!(line["features2"]["serde"][0], "dep:serde");
        let dependencies = line["deps"].as_array().unwrap();
        assert_eq!(dependencies.len(), 4);
        let other = dependencies
            .iter()
            .find(|it| it["name"] == "other")
            .unwrap();
        assert_eq!(other["package"], "real");
        assert_eq!(other["default_features"], false);
        assert_eq!(other["registry"], serde_json::Value::Null);
        let cc = dependencies.iter().find(|it| it["name"] == "cc").unwrap();
        assert_eq!(
            (cc["kind"].as_str(), cc["target"].as_str()),
            (Some("build"), Some("cfg(unix)"))
        );
        // crates.io is another registry for a crate of a registry of one's own.
        let own = files
            .iter()
            .find(|(name, _)| name.matches('/').count() == 5)
            .unwrap();
        let line: serde_json::Value = serde_json::from_slice(own.1).unwrap();
        assert!(
            line["deps"][0]["registry"]
                .as_str()
                .unwrap()
                .contains("crates.io-index")
        );
        let config: Table = String::from_utf8(files["crates/config.toml"].clone())
            .unwrap()
            .parse()
            .unwrap();
        let sources = config["source"].as_table().unwrap();
        assert_eq!(
            sources["wheelhouse-1"]["local-registry"].as_str(),
            Some("crates")
        );
        assert_eq!(
            sources["sparse+https://own/"]["replace-with"].as_str(),
            Some("wheelhouse-2")
        );
    }
}

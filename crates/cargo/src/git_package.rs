//! Packs a crate of a Git repository as a `.crate` file, as `cargo package` would.
//!
//! Cargo reads a crate of a Git repository inside of the repository, where its manifest may inherit settings from a workspace.
//! A packed crate stands alone, so that these settings are written into its manifest. The file is the same whenever the same
//! commit is packed: sorted entries without times and owners.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use toml::{Table, Value};
use walkdir::{DirEntry, WalkDir};
use wheelhouse_fs::interruption;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, LockedCrate, Result, limits};

const MANIFEST: &str = "Cargo.toml";

/// The largest total size of the files of a crate (bytes).
const SIZE: u64 = 512 << 20;

/// The sections with dependencies, in both spellings that cargo accepts.
const DEPENDENCIES: [&str; 3] = ["dependencies", "build-dependencies", "build_dependencies"];

/// The sections with dependencies for development. cargo does not use them, but features may name them.
const DEVELOPMENT: [&str; 2] = ["dev-dependencies", "dev_dependencies"];

/// The sections that do not matter for a dependency.
const DROPPED: [&str; 3] = ["workspace", "lints", "badges"];

/// Writes `locked`, a crate of the repository at `checkout`, as a `.crate` file to `output`.
///
/// # Errors
/// [`Kind::Fetch`] if the repository does not have the crate, or it cannot be read or is too large.
pub fn pack(checkout: &Path, locked: &LockedCrate, output: impl Write) -> Result<()> {
    let failed = || format!("failed to pack {locked} of a Git repository");
    let (directory, manifest) = find(checkout, locked).context(Kind::Fetch, failed)?;
    write(checkout, &directory, &manifest, locked, output).context(Kind::Fetch, failed)
}

/// Returns the directory of the crate and its complete manifest.
fn find(checkout: &Path, locked: &LockedCrate) -> Result<(PathBuf, Table)> {
    let entries = WalkDir::new(checkout).sort_by_file_name();
    for entry in entries.into_iter().filter_entry(is_source) {
        let entry = entry.context(Kind::Fetch, || "the repository cannot be read".to_owned())?;
        if entry.file_name() != MANIFEST || !entry.file_type().is_file() {
            continue;
        }
        // A repository may have manifests that are not valid, as inputs of tests.
        let Ok(manifest) = read(entry.path()) else {
            continue;
        };
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name"));
        if name.and_then(Value::as_str) != Some(&*locked.name) {
            continue;
        }
        let directory = entry.path().parent().unwrap_or(checkout).to_owned();
        let manifest = complete(checkout, &directory, manifest)?;
        let version = manifest["package"].get("version");
        let version = version.and_then(Value::as_str).unwrap_or("0.0.0");
        if version == locked.version {
            return Ok((directory, manifest));
        }
    }
    Err(Error::new(Kind::Fetch, "the repository does not have it"))
}

fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    entry.depth() == 0 || (name != ".git" && name != "target")
}

fn read(path: &Path) -> Result<Table> {
    let failed = || format!("failed to read {}", path.display());
    let file = fs::File::open(path).context(Kind::Fetch, failed)?;
    let bytes = limits::read(file, limits::PYPROJECT).context(Kind::Fetch, failed)?;
    let text = String::from_utf8(bytes).context(Kind::Fetch, failed)?;
    limits::toml(&text).context(Kind::Fetch, failed)?;
    text.parse().context(Kind::Fetch, failed)
}

/// Replaces what `manifest`, that of a crate in `directory`, inherits from its workspace.
fn complete(checkout: &Path, directory: &Path, mut manifest: Table) -> Result<Table> {
    let workspace = if manifest.contains_key("workspace") {
        Some(manifest.clone())
    } else {
        workspace(checkout, directory, &manifest)?
    };
    let workspace = workspace
        .as_ref()
        .and_then(|root| root.get("workspace")?.as_table());
    for section in DROPPED {
        manifest.remove(section);
    }
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        let shared = workspace.and_then(|workspace| workspace.get("package")?.as_table());
        inherit_package(package, shared);
    }
    inherit_dependencies(&mut manifest, workspace)?;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for (_, target) in targets.iter_mut() {
            if let Value::Table(target) = target {
                inherit_dependencies(target, workspace)?;
            }
        }
    }
    Ok(manifest)
}

/// Finds the manifest with the workspace of a crate in `directory`.
fn workspace(checkout: &Path, directory: &Path, manifest: &Table) -> Result<Option<Table>> {
    let named = manifest
        .get("package")
        .and_then(|package| package.get("workspace")?.as_str());
    if let Some(named) = named {
        let root = directory.join(named).join(MANIFEST);
        let is_inside = fs::canonicalize(&root)
            .is_ok_and(|root| fs::canonicalize(checkout).is_ok_and(|top| root.starts_with(top)));
        return if is_inside {
            read(&root).map(Some)
        } else {
            Ok(None)
        };
    }
    let above = directory.ancestors().skip(1);
    for ancestor in above.take_while(|ancestor| ancestor.starts_with(checkout)) {
        if let Ok(manifest) = read(&ancestor.join(MANIFEST))
            && manifest.contains_key("workspace")
        {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn inherit_package(package: &mut Table, shared: Option<&Table>) {
    // The files that they name may be outside of the crate, and are not needed.
    for key in ["workspace", "readme", "license-file"] {
        package.remove(key);
    }
    let inherited = package.iter().filter(|(_, value)| is_inherited(value));
    let inherited: Vec<String> = inherited.map(|(key, _)| key.clone()).collect();
    for key in inherited {
        match shared.and_then(|shared| shared.get(&key)) {
            Some(value) => package.insert(key, value.clone()),
            None => package.remove(&key),
        };
    }
}

fn inherit_dependencies(table: &mut Table, workspace: Option<&Table>) -> Result<()> {
    let shared = workspace.and_then(|workspace| workspace.get("dependencies")?.as_table());
    for section in DEVELOPMENT {
        if let Some(Value::Table(dependencies)) = table.get_mut(section) {
            let is_known = |name: &str| shared.is_some_and(|shared| shared.contains_key(name));
            dependencies.retain(|name, dependency| !is_inherited(dependency) || is_known(name));
        }
    }
    for section in DEPENDENCIES.iter().chain(&DEVELOPMENT) {
        let Some(Value::Table(dependencies)) = table.get_mut(*section) else {
            continue;
        };
        for (name, dependency) in dependencies.iter_mut() {
            if !is_inherited(dependency) {
                continue;
            }
            let base = shared.and_then(|shared| shared.get(name)).ok_or_else(|| {
                let message = format!("its dependency `{name}` is not in its workspace");
                Error::new(Kind::Fetch, message)
            })?;
            *dependency = Value::Table(merged(base, dependency));
        }
    }
    Ok(())
}

/// Returns the dependency `base` of a workspace with what a crate adds to it.
fn merged(base: &Value, own: &Value) -> Table {
    let mut merged = match base {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    let own = own.as_table().cloned().unwrap_or_default();
    for (key, value) in own {
        match key.as_str() {
            "workspace" => {}
            "features" => {
                let all = merged.entry("features").or_insert(Value::Array(Vec::new()));
                if let (Value::Array(all), Value::Array(more)) = (all, value) {
                    all.extend(more);
                }
            }
            // A crate can enable the default features that its workspace disables, but not disable them.
            "default-features" | "default_features" if value.as_bool() == Some(false) => {}
            "default-features" | "default_features" => {
                merged.remove("default_features");
                merged.insert("default-features".to_owned(), value);
            }
            _ => {
                merged.insert(key, value);
            }
        }
    }
    merged
}

fn write(
    checkout: &Path,
    directory: &Path,
    manifest: &Table,
    locked: &LockedCrate,
    output: impl Write,
) -> Result<()> {
    let failed = || "its files cannot be read".to_owned();
    let top = PathBuf::from(format!("{}-{}", locked.name, locked.version));
    let mut archive = tar::Builder::new(GzEncoder::new(output, Compression::default()));
    let checkout = fs::canonicalize(checkout).context(Kind::Fetch, failed)?;
    let mut total = 0_u64;
    let entries = WalkDir::new(directory).min_depth(1).sort_by_file_name();
    for entry in entries.into_iter().filter_entry(is_source) {
        interruption::check()?;
        let entry = entry.context(Kind::Fetch, failed)?;
        let name = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let bytes = if name == Path::new(MANIFEST) {
            let text = toml::to_string(manifest).context(Kind::Fetch, failed)?;
            text.into_bytes()
        } else {
            // A link may lead to another directory of the repository, but not out of it.
            let resolved = fs::canonicalize(entry.path()).ok();
            let resolved = resolved.filter(|path| path.starts_with(&checkout) && path.is_file());
            let Some(path) = resolved else { continue };
            let file = fs::File::open(&path).context(Kind::Fetch, failed)?;
            limits::read(file, SIZE - total).context(Kind::Fetch, failed)?
        };
        total += bytes.len() as u64;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if is_executable(entry.path()) {
            0o755
        } else {
            0o644
        });
        header.set_mtime(0);
        archive
            .append_data(&mut header, top.join(name), &bytes[..])
            .context(Kind::Fetch, failed)?;
    }
    let encoder = archive.into_inner().context(Kind::Fetch, failed)?;
    encoder.finish().map(drop).context(Kind::Fetch, failed)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            (
                "Cargo.toml",
                "[workspace]\nmembers = ['a']\n[workspace.package]\nversion = '1.2.3'\nedition = '2021'\n\
                 [workspace.dependencies]\nserde = { version = '1', default-features = false, features = ['std'] }\nlog = '0.4'\n",
            ),
            (
                "a/Cargo.toml",
                "[package]\nname = 'a'\nversion.workspace = true\nedition = { workspace = true }\nreadme = '../README.md'\n\
                 [dependencies]\nserde = { workspace = true, features = ['derive'], optional = true }\n\
                 [target.'cfg(unix)'.dependencies]\nlog.workspace = true\n\
                 [dev-dependencies]\nmissing.workspace = true\nlog.workspace = true\n[lints]\nworkspace = true\n",
            ),
            ("a/src/lib.rs", "pub fn a() {}\n"),
            ("a/target/x", "built\n"),
            ("b/Cargo.toml", "not valid"),
            (".git/config", "[core]\n"),
        ];
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", directory.path().join("a/outside")).unwrap();
        directory
    }

    fn locked(version: &str) -> LockedCrate {
        LockedCrate {
            name: "a".to_owned(),
            version: version.to_owned(),
            source: String::new(),
            sha256: None,
        }
    }

    #[test]
    fn packs_crate_without_its_workspace() {
        let repository = repository();
        let mut packed = Vec::new();
        pack(repository.path(), &locked("1.2.3"), &mut packed).unwrap();
        let mut again = Vec::new();
        pack(repository.path(), &locked("1.2.3"), &mut again).unwrap();
        assert_eq!(packed, again);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
        let mut names = Vec::new();
        let mut manifest = String::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            if name.ends_with(MANIFEST) {
                std::io::Read::read_to_string(&mut entry, &mut manifest).unwrap();
            }
            names.push(name);
        }
        assert_eq!(names, ["a-1.2.3/Cargo.toml", "a-1.2.3/src/lib.rs"]);
        let manifest: Table = manifest.parse().unwrap();
        assert_eq!(manifest["package"]["version"].as_str(), Some("1.2.3"));
        assert_eq!(manifest["package"]["edition"].as_str(), Some("2021"));
        let serde = &manifest["dependencies"]["serde"];
        assert_eq!(serde["features"].as_array().unwrap().len(), 2);
        assert_eq!(serde["default-features"].as_bool(), Some(false));
        assert_eq!(serde["optional"].as_bool(), Some(true));
        let log = &manifest["target"]["cfg(unix)"]["dependencies"]["log"];
        assert_eq!(log["version"].as_str(), Some("0.4"));
        let development = manifest["dev-dependencies"].as_table().unwrap();
        assert_eq!(development.keys().collect::<Vec<_>>(), ["log"]);
    }

    #[test]
    fn rejects_missing_crate() {
        let repository = repository();
        let error = pack(repository.path(), &locked("9.0.0"), Vec::new()).unwrap_err();
        assert!(error.display_chain().contains("does not have it"));
    }
}

//! The packages that a directory must have, by name.
//!
//! A requirement that names a file or a tree is satisfied by the wheel that was made from it. The name of its
//! package is found without building it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::manifest::{MANIFEST_NAME, Set};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::requirement::{Named, named};
use wheelhouse_types::toml_reader;
use wheelhouse_types::{Lock, Manifest, PackageName, Target};

use super::inventory::{DirectoryInventory, sdist};
use super::wheel_contents::{WheelContents, is_candidate};
use wheelhouse_fs::input;

/// The packages that a directory must have.
#[derive(Clone, Debug, Default)]
pub(super) struct RequiredPackages {
    pub(super) roots: Vec<Requirement>,
    /// The version of each package in a lock.
    pub(super) pins: Vec<Requirement>,
    pub(super) constraints: Vec<Requirement>,
    /// Requirements whose packages are unknown, with their origins.
    pub(super) nameless: Vec<String>,
    /// The name of an additional set of the manifest; `None` for the main one.
    pub(super) set: Option<String>,
}

impl RequiredPackages {
    /// Returns the packages of requirements and constraints.
    pub(super) fn lines(
        requirements: &[Requirement],
        constraints: &[Requirement],
        manifest: Option<&Manifest>,
    ) -> Self {
        let mut required = Self::default();
        for line in requirements {
            if let Some(text) = by_name(line, manifest) {
                required.roots.push(with_text(line, text));
            } else {
                let text = redacted(&line.text);
                let nameless = format!("`{text}` of {}", line.origin);
                required.nameless.push(nameless);
            }
        }
        let by_version = |line: &&Requirement| matches!(named(&line.text), Named::Package(..));
        let constraints = constraints.iter().filter(by_version);
        required.constraints = constraints
            .map(|line| with_text(line, line.text.clone()))
            .collect();
        required
    }

    /// Returns the packages of the lock at `path`.
    pub(super) fn lock(lock: &Lock, path: &Path) -> Self {
        Self {
            roots: pins(lock, &path.display().to_string()),
            ..Self::default()
        }
    }

    /// Returns the packages that the manifest and its lock require.
    pub(super) fn manifest(manifest: &Manifest, lock: Option<&Lock>, target: &Target) -> Self {
        let mut required = Self::recorded(&manifest.requirements, manifest);
        required.pins = match lock {
            Some(lock) => pins(lock, "the lock"),
            None => manifest_pins(manifest, target),
        };
        required
    }

    /// Returns the packages of an additional set of the manifest and its lock.
    pub(super) fn set(set: &Set, manifest: &Manifest, lock: Option<&Lock>) -> Self {
        Self {
            pins: lock
                .map(|lock| pins(lock, &set.lock_name()))
                .unwrap_or_default(),
            set: Some(set.name.clone()),
            ..Self::recorded(&set.requirements, manifest)
        }
    }

    fn recorded(requirements: &[String], manifest: &Manifest) -> Self {
        let lines = requirements.iter();
        let roots: Vec<Requirement> = lines
            .map(|text| line(text.clone(), MANIFEST_NAME))
            .collect();
        let mut required = Self::lines(&roots, &[], Some(manifest));
        // The pins include these packages.
        required.nameless.clear();
        required
    }

    /// Returns the label of the packages on `target` in checks.
    pub(super) fn label(&self, target: &Target) -> String {
        match &self.set {
            Some(set) => format!("{}, set `{set}`", target.label()),
            None => target.label(),
        }
    }

    /// Returns all packages of a directory without a manifest that may be for `target`.
    pub(super) fn everything(
        inventory: &DirectoryInventory,
        wheels: &BTreeMap<String, WheelContents>,
        target: &Target,
    ) -> Self {
        let fit = WheelCompatibility::new(target);
        let of_wheels = wheels.values().filter_map(|wheel| {
            let filename = wheel.filename.as_ref()?;
            is_candidate(filename, &fit).then(|| filename.name.clone())
        });
        let of_sdists = inventory.sdists.iter().filter_map(|name| sdist_name(name));
        let names: BTreeSet<PackageName> = of_wheels.chain(of_sdists).collect();
        let directory = inventory.directory.display().to_string();
        Self {
            roots: names
                .iter()
                .map(|name| line(name.to_string(), &directory))
                .collect(),
            ..Self::default()
        }
    }

    /// Returns the texts of a requirements file and of a constraints file for pip. Old versions of pip reject
    /// files that name a package twice.
    pub(super) fn files(&self) -> (String, String) {
        let names: BTreeSet<PackageName> = self.roots.iter().filter_map(name).collect();
        let pins = self
            .pins
            .iter()
            .filter(|pin| name(pin).is_none_or(|name| !names.contains(&name)));
        let requirements = self.roots.iter().chain(pins);
        let constraints = self.pins.iter().chain(&self.constraints);
        (text(requirements), text(constraints))
    }
}

fn text<'a>(lines: impl Iterator<Item = &'a Requirement>) -> String {
    lines.flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

fn name(line: &Requirement) -> Option<PackageName> {
    match named(&line.text) {
        Named::Package(name, _) | Named::Direct(name, _) => Some(name),
        Named::Nameless => None,
    }
}

fn line(text: String, origin: &str) -> Requirement {
    Requirement {
        text,
        origin: origin.to_owned(),
        ..Requirement::default()
    }
}

/// Returns `line` with another text, and without hashes: these are compared with the files later, because a wheel
/// that was built from an sdist has another hash.
fn with_text(line: &Requirement, text: String) -> Requirement {
    Requirement {
        text,
        hashes: Vec::new(),
        config_settings: Vec::new(),
        ..line.clone()
    }
}

fn pins(lock: &Lock, origin: &str) -> Vec<Requirement> {
    let packages = lock.packages.iter();
    packages
        .map(|package| line(format!("{}=={}", package.name, package.version), origin))
        .collect()
}

/// Returns a pin for each package of which the manifest has only one version for `target`.
fn manifest_pins(manifest: &Manifest, target: &Target) -> Vec<Requirement> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let fit = WheelCompatibility::new(target);
    for wheel in manifest.wheels.iter().filter(|wheel| !wheel.added) {
        let filename = wheel.filename.parse();
        if filename.is_ok_and(|filename| is_candidate(&filename, &fit)) {
            let known = versions.entry(&wheel.name).or_default();
            known.insert(&wheel.version);
        }
    }
    let single = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() == 1);
    single
        .flat_map(|(name, versions)| versions.into_iter().map(move |version| (name, version)))
        .map(|(name, version)| line(format!("{name}=={version}"), MANIFEST_NAME))
        .collect()
}

/// Returns the text of `line` with the name of its package instead of a file or tree.
fn by_name(line: &Requirement, manifest: Option<&Manifest>) -> Option<String> {
    match named(&line.text) {
        Named::Package(_, text) | Named::Direct(_, text) => Some(text),
        Named::Nameless => {
            let (location, extras) = split_extras(&line.text);
            let name = name_in_url(location)
                .or_else(|| name_in_project(&line.base.join(location)))
                .or_else(|| name_in_manifest(location, &line.base, manifest?))?;
            Some(format!("{name}{extras}"))
        }
    }
}

/// Splits a requirement into its file or tree, and its extras in brackets.
fn split_extras(text: &str) -> (&str, &str) {
    let text = text.split(" ;").next().unwrap_or(text).trim();
    match text.rfind('[') {
        Some(start) if text.ends_with(']') => text.split_at(start),
        _ => (text, ""),
    }
}

/// Returns the name of the package in a URL or a path: `#egg=NAME`, or the name of the file.
fn name_in_url(location: &str) -> Option<PackageName> {
    let (location, fragment) = location.split_once('#').unwrap_or((location, ""));
    let egg = fragment
        .split('&')
        .find_map(|part| part.strip_prefix("egg="))
        .and_then(|egg| egg.split('[').next());
    if let Some(egg) = egg {
        return egg.parse().ok();
    }
    let file = location.split('?').next()?.rsplit('/').next()?;
    let file = percent_encoding::percent_decode_str(file).decode_utf8_lossy();
    match file.parse::<wheelhouse_types::WheelFilename>() {
        Ok(wheel) => Some(wheel.name),
        Err(_) => sdist_name(&file),
    }
}

/// Returns the name of the package in the name of the source distribution `file`.
pub(super) fn sdist_name(file: &str) -> Option<PackageName> {
    sdist(file)?.0.parse().ok()
}

/// Returns the name in the `pyproject.toml` of a tree.
fn name_in_project(tree: &Path) -> Option<PackageName> {
    let text = input::read_to_string(&tree.join("pyproject.toml")).ok()?;
    let project = toml_reader::parse(&text).ok()?;
    project.get("project")?.get("name")?.as_str()?.parse().ok()
}

/// Returns the name of the package that was built from `location`, according to the manifest.
fn name_in_manifest(location: &str, base: &Path, manifest: &Manifest) -> Option<PackageName> {
    let location = redacted(location);
    let path: std::path::PathBuf = base.join(&location).components().collect();
    // The manifest records a commit instead of the branch or tag of the requirement.
    let repository = |text: &str| {
        let slash = text.rfind('/').unwrap_or(0);
        let end = text[slash..].find('@').map_or(text.len(), |at| slash + at);
        text[..end].to_owned()
    };
    let mut wheels = manifest.wheels.iter();
    let wheel = wheels.find(|wheel| {
        Path::new(&wheel.source) == path
            || wheel.source == location
            || (location.starts_with("git+") && repository(&wheel.source) == repository(&location))
    })?;
    wheel.name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Requirement]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn resolves_names_of_files_and_trees() {
        let tree = tempfile::tempdir().unwrap();
        let project = "[project]\nname = \"Of.Tree\"\n";
        std::fs::write(tree.path().join("pyproject.toml"), project).unwrap();
        let lines = [
            "alpha>=1",
            "beta[x] @ https://host/beta.zip",
            "https://host/gamma-1.0-py3-none-any.whl?a=b",
            "git+https://host/delta.git@main#egg=delta",
            ".[fast]",
            "./absent",
        ]
        .map(|text| Requirement {
            base: tree.path().to_owned(),
            ..line(text.to_owned(), "r.txt:1")
        });
        let required = RequiredPackages::lines(&lines, &lines[..2], None);
        assert_eq!(
            texts(&required.roots),
            ["alpha>=1", "beta[x]", "gamma", "delta", "of-tree[fast]"]
        );
        assert_eq!(required.nameless, ["`./absent` of r.txt:1"]);
        assert_eq!(texts(&required.constraints), ["alpha>=1"]);
    }

    #[test]
    fn names_packages_once_for_pip() {
        let required = RequiredPackages {
            roots: vec![line("alpha[x]>=1".to_owned(), "")],
            pins: vec![
                line("alpha==1.2".to_owned(), ""),
                line("beta==2".to_owned(), ""),
            ],
            ..RequiredPackages::default()
        };
        let (requirements, constraints) = required.files();
        assert_eq!(requirements, "alpha[x]>=1\nbeta==2\n");
        assert_eq!(constraints, "alpha==1.2\nbeta==2\n");
    }

    #[test]
    fn parses_package_names_of_sdists() {
        assert_eq!(sdist_name("My_pkg-1.0.tar.gz").unwrap().as_ref(), "my-pkg");
        assert_eq!(sdist_name("notes.zip"), None);
    }
}

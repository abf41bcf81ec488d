//! What should be there: the requirements that a directory has to satisfy, by the names of
//! packages.
//!
//! A requirement that names a file or a tree is satisfied by the wheel that was made of it, which
//! is all that a directory has of it. Never asks anybody for the name of a package.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wheelhouse_engine::WheelCompatibility;
use wheelhouse_types::manifest::{MANIFEST_NAME, Set};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::toml_reader;
use wheelhouse_types::unsatisfied::{Named, named};
use wheelhouse_types::{Lock, Manifest, PackageName, Target};

use super::checks::wheels::is_candidate;
use super::inventory::{Survey, sdist};
use super::wheel_contents::Examined;
use wheelhouse_fs::input;

/// The requirements of a proof.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) roots: Vec<Requirement>,
    /// One version for each package that a lock has.
    pub(super) pins: Vec<Requirement>,
    pub(super) constraints: Vec<Requirement>,
    /// What names no package that could be looked for, with who has it.
    pub(super) nameless: Vec<String>,
    /// The set of the manifest that is wanted; `None` for the only or first one.
    pub(super) set: Option<String>,
}

impl Wanted {
    /// What these lines of requirements and constraints want.
    pub(super) fn lines(
        requirements: &[Requirement],
        constraints: &[Requirement],
        manifest: Option<&Manifest>,
    ) -> Self {
        let mut wanted = Self::default();
        for line in requirements {
            if let Some(text) = by_name(line, manifest) {
                wanted.roots.push(with_text(line, text));
            } else {
                let text = redacted(&line.text);
                let nameless = format!("`{text}` of {}", line.origin);
                wanted.nameless.push(nameless);
            }
        }
        let by_version = |line: &&Requirement| matches!(named(&line.text), Named::Package(..));
        let constraints = constraints.iter().filter(by_version);
        wanted.constraints = constraints
            .map(|line| with_text(line, line.text.clone()))
            .collect();
        wanted
    }

    /// Exactly the packages of `lock`, which is at `path`.
    pub(super) fn lock(lock: &Lock, path: &Path) -> Self {
        Self {
            roots: pins(lock, &path.display().to_string()),
            ..Self::default()
        }
    }

    /// What the manifest says that was asked for, and what its locks made of that.
    pub(super) fn manifest(manifest: &Manifest, lock: Option<&Lock>, target: &Target) -> Self {
        let mut wanted = Self::asked(&manifest.requirements, manifest);
        wanted.pins = match lock {
            Some(lock) => pins(lock, "the lock"),
            None => manifest_pins(manifest, target),
        };
        wanted
    }

    /// What a further set of the manifest asked for, and what its lock made of that.
    pub(super) fn set(set: &Set, manifest: &Manifest, lock: Option<&Lock>) -> Self {
        Self {
            pins: lock
                .map(|lock| pins(lock, &set.lock_name()))
                .unwrap_or_default(),
            set: Some(set.name.clone()),
            ..Self::asked(&set.requirements, manifest)
        }
    }

    fn asked(requirements: &[String], manifest: &Manifest) -> Self {
        let lines = requirements.iter();
        let roots: Vec<Requirement> = lines
            .map(|text| line(text.clone(), MANIFEST_NAME))
            .collect();
        let mut wanted = Self::lines(&roots, &[], Some(manifest));
        // The pins cover these.
        wanted.nameless.clear();
        wanted
    }

    /// Returns how checks name what is wanted on `target`.
    pub(super) fn label(&self, target: &Target) -> String {
        match &self.set {
            Some(set) => format!("{}, set `{set}`", target.label()),
            None => target.label(),
        }
    }

    /// Every distribution of a directory that has no manifest and could be for `target`.
    pub(super) fn everything(
        survey: &Survey,
        wheels: &BTreeMap<String, Examined>,
        target: &Target,
    ) -> Self {
        let fit = WheelCompatibility::new(target);
        let of_wheels = wheels.values().filter_map(|wheel| {
            let filename = wheel.filename.as_ref()?;
            is_candidate(filename, &fit).then(|| filename.name.clone())
        });
        let of_sdists = survey.sdists.iter().filter_map(|name| sdist_name(name));
        let names: BTreeSet<PackageName> = of_wheels.chain(of_sdists).collect();
        let directory = survey.directory.display().to_string();
        Self {
            roots: names
                .iter()
                .map(|name| line(name.to_string(), &directory))
                .collect(),
            ..Self::default()
        }
    }

    /// The lines of a requirements file for pip, and of one of constraints: no package is named
    /// twice, which old versions of pip do not take.
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

/// `line` with another text. Its hashes are compared with the files, not by the resolver: what was
/// built from a source that they are of has others.
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

/// One version for each package of which the manifest has one for `target`.
fn manifest_pins(manifest: &Manifest, target: &Target) -> Vec<Requirement> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let fit = WheelCompatibility::new(target);
    for wheel in &manifest.wheels {
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

/// The text of `line` with the name of a package instead of a file or tree.
fn by_name(line: &Requirement, manifest: Option<&Manifest>) -> Option<String> {
    match named(&line.text) {
        Named::Package(_, text) | Named::Direct(_, text) => Some(text),
        Named::Nameless => {
            let (place, extras) = parted(&line.text);
            let name = named_by_url(place)
                .or_else(|| named_by_project(&line.base.join(place)))
                .or_else(|| named_by_manifest(place, &line.base, manifest?))?;
            Some(format!("{name}{extras}"))
        }
    }
}

/// The file or tree of a requirement, and its extras in brackets.
fn parted(text: &str) -> (&str, &str) {
    let text = text.split(" ;").next().unwrap_or(text).trim();
    match text.rfind('[') {
        Some(start) if text.ends_with(']') => text.split_at(start),
        _ => (text, ""),
    }
}

/// The name that a URL or a path has in it: `#egg=NAME`, or a file that is called after it.
fn named_by_url(place: &str) -> Option<PackageName> {
    let (location, fragment) = place.split_once('#').unwrap_or((place, ""));
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

/// The name that the source distribution `file` is called after.
pub(super) fn sdist_name(file: &str) -> Option<PackageName> {
    sdist(file)?.0.parse().ok()
}

/// The name that the `pyproject.toml` of a tree states.
fn named_by_project(tree: &Path) -> Option<PackageName> {
    let text = input::read_to_string(&tree.join("pyproject.toml")).ok()?;
    let project = toml_reader::parse(&text).ok()?;
    project.get("project")?.get("name")?.as_str()?.parse().ok()
}

/// The name of the wheel that was made of `place`.
fn named_by_manifest(place: &str, base: &Path, manifest: &Manifest) -> Option<PackageName> {
    let place = redacted(place);
    let path: std::path::PathBuf = base.join(&place).components().collect();
    // The commit of a repository is not the reference that was asked for.
    let repository = |text: &str| {
        let slash = text.rfind('/').unwrap_or(0);
        let end = text[slash..].find('@').map_or(text.len(), |at| slash + at);
        text[..end].to_owned()
    };
    let mut wheels = manifest.wheels.iter();
    let wheel = wheels.find(|wheel| {
        Path::new(&wheel.source) == path
            || wheel.source == place
            || (place.starts_with("git+") && repository(&wheel.source) == repository(&place))
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
    fn files_and_trees_become_names() {
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
        let wanted = Wanted::lines(&lines, &lines[..2], None);
        assert_eq!(
            texts(&wanted.roots),
            ["alpha>=1", "beta[x]", "gamma", "delta", "of-tree[fast]"]
        );
        assert_eq!(wanted.nameless, ["`./absent` of r.txt:1"]);
        assert_eq!(texts(&wanted.constraints), ["alpha>=1"]);
    }

    #[test]
    fn pip_is_told_no_name_twice() {
        let wanted = Wanted {
            roots: vec![line("alpha[x]>=1".to_owned(), "")],
            pins: vec![
                line("alpha==1.2".to_owned(), ""),
                line("beta==2".to_owned(), ""),
            ],
            ..Wanted::default()
        };
        let (requirements, constraints) = wanted.files();
        assert_eq!(requirements, "alpha[x]>=1\nbeta==2\n");
        assert_eq!(constraints, "alpha==1.2\nbeta==2\n");
    }

    #[test]
    fn sdists_are_called_after_their_packages() {
        assert_eq!(sdist_name("My_pkg-1.0.tar.gz").unwrap().as_ref(), "my-pkg");
        assert_eq!(sdist_name("notes.zip"), None);
    }
}

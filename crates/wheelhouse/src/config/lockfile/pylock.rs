//! `pylock.toml` (PEP 751): markers alone say what is wanted, over extras and groups as well.
//!
//! Never judges whether the lock is outdated: it does not say what it was made from.

use std::path::Path;

use toml::Value;
use url::Url;
use wheelhouse_model::entry::{Entry, parse};
use wheelhouse_model::pylock::read_builds;
use wheelhouse_model::{ExtraName, GroupName, MarkerTree, Result, Version, marker};

use super::contents::{Contents, add};
use super::pin::{Pin, What};
use super::{LockFile, Selection, unknown};

pub(super) fn read(file: &LockFile<'_>, selection: &Selection) -> Result<Contents> {
    let table = parse(file.text)?;
    let root = Entry::root(&table);
    check_version(&root)?;
    let wanted = wanted(&root, selection)?;
    root.required("packages", root.value("packages"))?;
    let mut contents = Contents {
        builds: read_builds(&root)?,
        ..Contents::default()
    };
    if let Some(python) = root.string("requires-python")? {
        contents.scope.require_python(python)?;
    }
    let environments = root.strings("environments")?;
    contents.scope.require_any("environments", &environments)?;
    for (index, entry) in root.entries("packages")?.into_iter().enumerate() {
        let package = entry.of_package("packages", index);
        let marker = match package.parsed::<MarkerTree>("marker")? {
            Some(marker) => wanted.decide(marker),
            None => MarkerTree::TRUE,
        };
        contents.pins.push(Pin {
            name: package.required("name", package.parsed("name")?)?,
            what: read_what(&package, file.base)?,
            marker,
            hashes: read_hashes(&package)?,
        });
        take_places(&package, file.base, &mut contents)?;
    }
    Ok(contents)
}

fn check_version(root: &Entry<'_>) -> Result<()> {
    let version: Version = root.required("lock-version", root.parsed("lock-version")?)?;
    // A minor version only adds keys, and unknown keys are ignored.
    if version.release().first() == Some(&1) {
        return Ok(());
    }
    let error = root.error("lock-version", &format!("\"{version}\" is not supported"));
    Err(error.with_hint("Only version 1 of pylock.toml is known."))
}

/// The extras and groups whose packages are wanted.
struct Wanted {
    extras: Vec<ExtraName>,
    groups: Vec<GroupName>,
}

impl Wanted {
    fn decide(&self, marker: MarkerTree) -> MarkerTree {
        let is_extra = |name: &ExtraName| self.extras.contains(name);
        let is_group = |name: &GroupName| self.groups.contains(name);
        marker::decide(marker, &is_extra, &is_group)
    }
}

/// The lock's default groups are what it is made of, so that they always count.
fn wanted(root: &Entry<'_>, selection: &Selection) -> Result<Wanted> {
    let extras: Vec<ExtraName> = names(root, "extras")?;
    let groups: Vec<GroupName> = names(root, "dependency-groups")?;
    if let Some(extra) = selection.extras.iter().find(|name| !extras.contains(name)) {
        return Err(unknown("extra", extra.as_ref(), extras));
    }
    let mut wanted: Vec<GroupName> = names(root, "default-groups")?;
    for group in &selection.groups {
        if !groups.contains(group) && !wanted.contains(group) {
            return Err(unknown("group", group.as_ref(), groups));
        }
        wanted.push(group.clone());
    }
    Ok(Wanted {
        extras: selection.extras.clone(),
        groups: wanted,
    })
}

fn names<Name>(root: &Entry<'_>, key: &str) -> Result<Vec<Name>>
where
    Name: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let names = root.strings(key)?.into_iter().map(str::parse);
    names
        .collect::<Result<_, _>>()
        .map_err(|error| root.error(key, "is invalid").caused_by(error))
}

fn read_what(package: &Entry<'_>, base: &Path) -> Result<What> {
    if let Some(vcs) = package.entry("vcs")? {
        return read_git(&vcs, base);
    }
    if let Some(directory) = package.entry("directory")? {
        let path = base.join(directory.required_string("path")?);
        let subdirectory = directory.string("subdirectory")?.unwrap_or_default();
        return Ok(What::Path {
            path: path.join(subdirectory),
            subdirectory: None,
        });
    }
    if let Some(archive) = package.entry("archive")? {
        return read_archive(&archive, base);
    }
    if !package.has("wheels") && !package.has("sdist") {
        let error = package.wrong("it has no source");
        return Err(
            error.with_hint("A package needs wheels, or one of sdist, archive, directory and vcs.")
        );
    }
    let version = package.parsed("version")?;
    let version = version.or(version_of_wheel(package)?);
    Ok(What::Version(package.required("version", version)?))
}

fn read_git(vcs: &Entry<'_>, base: &Path) -> Result<What> {
    let kind = vcs.required_string("type")?;
    if kind != "git" {
        let said = format!("\"{kind}\" is not supported, only \"git\"");
        return Err(vcs.error("type", &said));
    }
    Ok(What::commit(
        &place(vcs, base)?,
        vcs.required_string("commit-id")?,
        vcs.string("subdirectory")?,
    ))
}

fn read_archive(archive: &Entry<'_>, base: &Path) -> Result<What> {
    let subdirectory = archive.string("subdirectory")?.map(str::to_owned);
    Ok(match archive.string("path")? {
        Some(path) => What::Path {
            path: base.join(path),
            subdirectory,
        },
        None => What::Archive {
            url: place(archive, base)?,
            subdirectory,
        },
    })
}

/// The URL of a file or repository, or that of its path.
fn place(entry: &Entry<'_>, base: &Path) -> Result<String> {
    match (entry.string("path")?, entry.string("url")?) {
        (None, url) => Ok(entry.required("url", url)?.to_owned()),
        (Some(path), _) => Url::from_file_path(base.join(path))
            .map(String::from)
            .map_err(|()| entry.error("path", "is no usable path")),
    }
}

fn version_of_wheel(package: &Entry<'_>) -> Result<Option<Version>> {
    let Some(wheel) = package.entries("wheels")?.into_iter().next() else {
        return Ok(None);
    };
    let location = wheel.string("path")?.or(wheel.string("url")?);
    let name = wheel.string("name")?.or(location).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or(name);
    Ok(name
        .split('-')
        .nth(1)
        .and_then(|version| version.parse().ok()))
}

fn read_hashes(package: &Entry<'_>) -> Result<Vec<String>> {
    let archive = package.entry("archive")?;
    let mut files = package.entries("wheels")?;
    files.extend(package.entry("sdist")?);
    files.extend(archive);
    let mut hashes = Vec::new();
    for file in files {
        let entry = file.required("hashes", file.entry("hashes")?)?;
        let known = entry.all_strings()?;
        if known.is_empty() {
            return Err(file.error("hashes", "has no digest"));
        }
        // What no installer here can check says nothing against a file that has another digest.
        let usable = ["sha256", "sha384", "sha512", "blake2b"];
        let strong: Vec<_> = known
            .iter()
            .filter(|(name, _)| usable.contains(name))
            .collect();
        let taken = if strong.is_empty() {
            known.iter().collect()
        } else {
            strong
        };
        hashes.extend(
            taken
                .iter()
                .map(|(name, digest)| format!("{name}:{digest}")),
        );
    }
    Ok(hashes)
}

/// Takes the index of a package, and the directories of its local files.
fn take_places(package: &Entry<'_>, base: &Path, contents: &mut Contents) -> Result<()> {
    if package.has("archive") {
        return Ok(());
    }
    if let Some(index) = package.string("index")? {
        add(&mut contents.indexes, index);
    }
    let tool = package
        .value("tool")
        .and_then(|tool| tool.get("wheelhouse"));
    if let Some(place) = tool
        .and_then(|tool| tool.get("find-links"))
        .and_then(Value::as_str)
    {
        add(&mut contents.find_links, &location(place, base));
    }
    let mut files = package.entries("wheels")?;
    files.extend(package.entry("sdist")?);
    for file in files {
        if let Some(path) = file.string("path")?
            && let Some(directory) = base.join(path).parent()
        {
            add(&mut contents.find_links, &directory.to_string_lossy());
        }
    }
    Ok(())
}

/// A URL as it is, a path made absolute.
fn location(text: &str, base: &Path) -> String {
    if Url::parse(text).is_ok() {
        text.to_owned()
    } else {
        base.join(text).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::samples::{error_of, lines_of, read_as};

    const LOCK: &str = r#"
lock-version = "1.0"
requires-python = ">=3.9"
extras = ["fast"]
dependency-groups = ["dev"]
default-groups = ["main"]
created-by = "hand"

[[packages]]
name = "Alpha"
version = "1.0"
index = "https://index.example/simple"
wheels = [
  { url = "https://files.example/alpha-1.0-py3-none-any.whl", hashes = { sha256 = "SHA_A", md5 = "x" } },
  { path = "wheels/alpha-1.0-cp39-cp39-win32.whl", hashes = { sha256 = "SHA_B" } },
]

[[packages]]
name = "beta"
version = "2.0"
marker = "'fast' in extras and sys_platform == 'linux'"
sdist = { url = "https://files.example/beta-2.0.tar.gz", hashes = { sha256 = "SHA_C" } }

[[packages]]
name = "gamma"
marker = "'dev' in dependency_groups or 'main' in dependency_groups and python_version < '3.10'"
wheels = [{ url = "https://files.example/gamma-3.1-py3-none-any.whl", hashes = { sha256 = "SHA_A" } }]

[[packages]]
name = "delta"
directory = { path = "../delta", subdirectory = "sub" }

[[packages]]
name = "epsilon"
vcs = { type = "git", url = "https://git.example/e.git", commit-id = "abc", subdirectory = "lib" }

[[packages]]
name = "zeta"
archive = { path = "zeta-1.0.tar.gz", hashes = { sha256 = "SHA_B" } }
"#;

    #[test]
    fn markers_over_extras_and_groups_are_decided() {
        let base = [
            "alpha==1.0",
            "delta @ file:///delta/sub",
            "epsilon @ git+https://git.example/e.git@abc#subdirectory=lib",
            "gamma==3.1 ; python_full_version < '3.10'",
            "zeta @ file:///app/zeta-1.0.tar.gz",
        ];
        assert_eq!(lines_of(Format::Pylock, LOCK, None, "", ""), base);
        let lines = lines_of(Format::Pylock, LOCK, None, "fast", "dev");
        assert_eq!(lines[1], "beta==2.0 ; sys_platform == 'linux'");
        assert_eq!(lines[4], "gamma==3.1");
    }

    #[test]
    fn indexes_and_directories_are_named() {
        let locked = read_as(Format::Pylock, LOCK, None, "", "").unwrap();
        assert_eq!(locked.indexes, ["https://index.example/simple"]);
        assert_eq!(locked.find_links, ["/app/wheels"]);
        assert_eq!(locked.constraints.len(), 3);
        assert_eq!(locked.constraints[0].hashes.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error =
            |from: &str, to: &str| error_of(Format::Pylock, &LOCK.replace(from, to), None, "");
        assert_eq!(
            error("lock-version = \"1.0\"", "lock-version = \"2.0\""),
            "the lock `pylock.toml` cannot be used: lock-version \"2.0\" is not supported"
        );
        assert_eq!(
            error("commit-id = \"abc\"", "commit = \"abc\""),
            "the lock `pylock.toml` cannot be used: packages[4] \"epsilon\": vcs.commit-id is missing"
        );
        assert_eq!(
            error_of(Format::Pylock, LOCK, None, "slow"),
            "the lock `pylock.toml` cannot be used: it has no extra `slow`; it has fast"
        );
    }
}

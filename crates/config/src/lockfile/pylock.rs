//! Reads `pylock.toml` (PEP 751): markers, including those over extras and groups, select packages.
//!
//! The format does not record its inputs, so it cannot be checked whether the lock is outdated.

use std::path::Path;

use toml::Value;
use url::Url;
use wheelhouse_types::pylock::{check_exclusive, read_builds, read_files, version_of};
use wheelhouse_types::request::LockedFile;
use wheelhouse_types::toml_reader::{TomlReader, parse};
use wheelhouse_types::{ExtraName, GroupName, MarkerTree, PackageName, Result, Version, marker};

use super::pin::{PinKind, PinnedPackage};
use super::requirements::{LockRequirements, add};
use super::{LockFile, Selection, filename_of, unknown};

pub(super) fn read(file: &LockFile<'_>, selection: &Selection) -> Result<LockRequirements> {
    let table = parse(file.text)?;
    let root = TomlReader::root(&table);
    check_version(&root)?;
    root.required_string("created-by")?;
    let wanted = wanted(&root, selection)?;
    root.required("packages", root.value("packages"))?;
    let mut contents = LockRequirements {
        builds: read_builds(&root)?,
        files: read_files(&root, file.base)?,
        ..LockRequirements::default()
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
        let python = package.string("requires-python")?;
        if let Some(python) = python.filter(|_| !marker.is_false()) {
            let name = package.required_string("name")?;
            contents.scope.require_python_of(name, python, marker);
        }
        let what = read_what(&package, file.base)?;
        let files = files(&package)?;
        let files = files.iter().map(|file| read_locked_file(&package, file));
        let files: Vec<LockedFile> = files.collect::<Result<_>>()?;
        contents.pins.push(PinnedPackage {
            name: package.required("name", package.parsed("name")?)?,
            what,
            marker,
            hashes: files.iter().flat_map(|file| file.hashes.clone()).collect(),
        });
        if !marker.is_false() {
            contents.named_files.extend(files);
        }
        take_places(&package, file.base, &mut contents)?;
    }
    Ok(contents)
}

fn check_version(root: &TomlReader<'_>) -> Result<()> {
    let version: Version = root.required("lock-version", root.parsed("lock-version")?)?;
    // A minor version only adds keys, and unknown keys are ignored.
    if version.release().first() == Some(&1) {
        return Ok(());
    }
    let error = root.error("lock-version", &format!("\"{version}\" is not supported"));
    Err(error.with_hint("Only version 1 of pylock.toml is supported."))
}

/// The selected extras and groups.
struct WantedExtras {
    extras: Vec<ExtraName>,
    groups: Vec<GroupName>,
}

impl WantedExtras {
    fn decide(&self, marker: MarkerTree) -> MarkerTree {
        let is_extra = |name: &ExtraName| self.extras.contains(name);
        let is_group = |name: &GroupName| self.groups.contains(name);
        marker::decide(marker, &is_extra, &is_group)
    }
}

/// Returns the selected extras and groups. The default groups of the lock are always included.
fn wanted(root: &TomlReader<'_>, selection: &Selection) -> Result<WantedExtras> {
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
    Ok(WantedExtras {
        extras: selection.extras.clone(),
        groups: wanted,
    })
}

fn names<Name>(root: &TomlReader<'_>, key: &str) -> Result<Vec<Name>>
where
    Name: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let names = root.strings(key)?.into_iter().map(str::parse);
    names
        .collect::<Result<_, _>>()
        .map_err(|error| root.error(key, "is invalid").caused_by(error))
}

fn read_what(package: &TomlReader<'_>, base: &Path) -> Result<PinKind> {
    check_exclusive(package)?;
    if let Some(vcs) = package.entry("vcs")? {
        return read_git(&vcs, base);
    }
    if let Some(directory) = package.entry("directory")? {
        let path = base.join(directory.required_string("path")?);
        let subdirectory = directory.string("subdirectory")?.unwrap_or_default();
        return Ok(PinKind::Path {
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
    Ok(PinKind::Version(read_version(package)?))
}

fn read_git(vcs: &TomlReader<'_>, base: &Path) -> Result<PinKind> {
    let kind = vcs.required_string("type")?;
    if kind != "git" {
        let said = format!("\"{kind}\" is not supported, only \"git\"");
        return Err(vcs.error("type", &said));
    }
    Ok(PinKind::commit(
        &place(vcs, base)?,
        vcs.required_string("commit-id")?,
        vcs.string("subdirectory")?,
    ))
}

fn read_archive(archive: &TomlReader<'_>, base: &Path) -> Result<PinKind> {
    let subdirectory = archive.string("subdirectory")?.map(str::to_owned);
    Ok(match archive.string("path")? {
        Some(path) => PinKind::Path {
            path: base.join(path),
            subdirectory,
        },
        None => PinKind::Archive {
            url: place(archive, base)?,
            subdirectory,
        },
    })
}

/// Returns the URL of a file or repository, or that of its path.
fn place(entry: &TomlReader<'_>, base: &Path) -> Result<String> {
    match (entry.string("path")?, entry.string("url")?) {
        (None, url) => Ok(entry.required("url", url)?.to_owned()),
        (Some(path), _) => Url::from_file_path(base.join(path))
            .map(String::from)
            .map_err(|()| entry.error("path", "is not a usable path")),
    }
}

/// Returns the version of the package, after checking that all of its files have it.
fn read_version(package: &TomlReader<'_>) -> Result<Version> {
    let name: PackageName = package.required("name", package.parsed("name")?)?;
    let mut version: Option<Version> = package.parsed("version")?;
    let mut files = package.entries("wheels")?;
    files.extend(package.entry("sdist")?);
    for file in files {
        file.required("url", file.string("path")?.or(file.string("url")?))?;
        let of_file = version_of(&name_of(&file)?, &name);
        let is_other = |version: &Version| Some(version) != of_file.as_ref();
        if of_file.is_none() || version.as_ref().is_some_and(is_other) {
            return Err(file.error("name", "is not that of a file of this package and version"));
        }
        version = of_file;
    }
    package.required("version", version)
}

/// Returns the wheels, the sdist and the archive of a package.
fn files<'a>(package: &TomlReader<'a>) -> Result<Vec<TomlReader<'a>>> {
    let mut files = package.entries("wheels")?;
    files.extend(package.entry("sdist")?);
    files.extend(package.entry("archive")?);
    Ok(files)
}

fn name_of(file: &TomlReader<'_>) -> Result<String> {
    let (name, path) = (file.string("name")?, file.string("path")?);
    let place = name.or(path).or(file.string("url")?);
    Ok(filename_of(place.unwrap_or_default()))
}

fn read_hashes(file: &TomlReader<'_>) -> Result<Vec<String>> {
    let entry = file.required("hashes", file.entry("hashes")?)?;
    let known = entry.all_strings()?;
    if known.is_empty() {
        return Err(file.error("hashes", "has no digest"));
    }
    // Hashes that no installer can check do not matter if the file has another one.
    let usable = ["sha256", "sha384", "sha512", "blake2b"];
    let is_strong = known.iter().any(|(name, _)| usable.contains(name));
    let taken = known
        .iter()
        .filter(|(name, _)| !is_strong || usable.contains(name));
    Ok(taken
        .map(|(name, digest)| format!("{name}:{digest}"))
        .collect())
}

fn read_locked_file(package: &TomlReader<'_>, file: &TomlReader<'_>) -> Result<LockedFile> {
    let size = file.integer("size")?.map(u64::try_from).transpose();
    Ok(LockedFile {
        package: package.required("name", package.parsed("name")?)?,
        filename: name_of(file)?,
        url: file.string("url")?.and_then(|url| url.parse().ok()),
        index: package
            .string("index")?
            .and_then(|index| index.parse().ok()),
        hashes: read_hashes(file)?,
        size: size.map_err(|_| file.error("size", "is negative"))?,
    })
}

/// Adds the index of a package, and the directories of its local files.
fn take_places(
    package: &TomlReader<'_>,
    base: &Path,
    contents: &mut LockRequirements,
) -> Result<()> {
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

/// Returns a URL unchanged; makes a path absolute.
fn location(text: &str, base: &Path) -> String {
    if Url::parse(text).is_ok() {
        text.to_owned()
    } else {
        base.join(text).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::LockFormat;
    use super::super::testing::{error_of, lines_of, read_as};

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
    fn evaluates_markers_of_extras_and_groups() {
        let base = [
            "alpha==1.0",
            "delta @ file:///delta/sub",
            "epsilon @ git+https://git.example/e.git@abc#subdirectory=lib",
            "gamma==3.1 ; python_full_version < '3.10'",
            "zeta @ file:///app/zeta-1.0.tar.gz",
        ];
        assert_eq!(lines_of(LockFormat::Pylock, LOCK, None, "", ""), base);
        let lines = lines_of(LockFormat::Pylock, LOCK, None, "fast", "dev");
        assert_eq!(lines[1], "beta==2.0 ; sys_platform == 'linux'");
        assert_eq!(lines[4], "gamma==3.1");
    }

    #[test]
    fn collects_indexes_and_directories() {
        let locked = read_as(LockFormat::Pylock, LOCK, None, "", "").unwrap();
        assert_eq!(locked.indexes, ["https://index.example/simple"]);
        assert_eq!(locked.find_links, ["/app/wheels"]);
        assert_eq!(locked.constraints.len(), 3);
        assert_eq!(locked.constraints[0].hashes.len(), 2);
    }

    /// The example of PEP 751 from the tests of `packaging`.
    const EXAMPLE: &str = include_str!("../../../types/src/pylock/tests/pylock.spec-example.toml");

    #[test]
    fn reads_example_of_specification() {
        let locked = read_as(LockFormat::Pylock, EXAMPLE, None, "", "").unwrap();
        let lines: Vec<_> = locked.requirements.iter().map(|it| &*it.text).collect();
        assert_eq!(lines, ["attrs==25.1.0", "cattrs==24.1.2", "numpy==2.2.3"]);
        assert_eq!(locked.indexes, ["https://pypi.org/simple"]);
        let check = |target: &str| locked.scope.check(&target.parse().unwrap());
        assert!(check("3.12.1-linux").is_ok());
        assert!(check("3.12.1-macos").is_err());
        assert!(check("3.13.1-linux").is_err());
    }

    const HEAD: &str = "lock-version = '1.0'\ncreated-by = 'pip'\n";
    const HASHES: &str = "hashes = { sha256 = 'SHA_A' }";

    fn is_valid(text: &str) -> bool {
        let text = text.replace("HASHES", HASHES);
        read_as(LockFormat::Pylock, &text, None, "", "").is_ok()
    }

    #[test]
    fn accepts_what_packaging_accepts() {
        for text in [
            "packages = []",
            "environments = []\npackages = []",
            "extras = ['feat1']\ndependency-groups = ['dev']\ndefault-groups = ['dev']\npackages = []",
            "[[packages]]\nname = 'a'\nversion = '1.0'\nmarker = 'os_name == \"posix\"'\nrequires-python = '!=3.10.1,>=3.10'\ndirectory = { path = '.', editable = false }",
            "[[packages]]\nname = 'a'\nvcs = { type = 'git', url = 'https://host/a', commit-id = 'abc' }",
            "[[packages]]\nname = 'a'\nsdist = { path = './a-1.0.tar.gz', HASHES }\n[packages.tool.pip]\nfoo = 'bar'",
            "[[packages]]\nname = 'a'\nsdist = { path = '.\\a-1.0.tar.gz', HASHES }",
            "[[packages]]\nname = 'a'\nsdist = { url = 'https://host/a-2.0.tar.gz', path = 'a-1.0.tar.gz', HASHES }",
            "[[packages]]\nname = 'a'\nwheels = [{ name = 'a-1.0-py3-none-any.whl', url = 'https://host/x', HASHES }]",
        ] {
            assert!(is_valid(&format!("{HEAD}{text}\n")), "{text}");
        }
        let minor = HEAD.replace("1.0", "1.1");
        assert!(is_valid(&format!("{minor}packages = []\n")));
    }

    #[test]
    fn rejects_what_packaging_rejects() {
        for version in [
            "'0.9'",
            "'2'",
            "'2.1'",
            "'2.0.dev0'",
            "'2.0rc1'",
            "'2.x'",
            "1.0",
        ] {
            let head = HEAD.replace("'1.0'", version);
            assert!(!is_valid(&format!("{head}packages = []\n")), "{version}");
        }
        for text in [
            "created-by = 'pip'\npackages = []",
            "lock-version = '1.0'\npackages = []",
            HEAD,
        ] {
            assert!(!is_valid(text), "{text}");
        }
        for text in [
            "packages = ['a']",
            "environments = ['os_name == \"posix\"', 'invalid == \"x\"']\npackages = []",
            "environments = [1]\npackages = []",
        ] {
            assert!(!is_valid(&format!("{HEAD}{text}\n")), "{text}");
        }
        for keys in [
            "version = '1.0'",
            "archive = { path = 'a.tar.gz', HASHES }\nsdist = { path = 'a-1.0.tar.gz', HASHES }",
            "archive = { path = 'a.tar.gz', HASHES }\ndirectory = { path = '.' }",
            "archive = { HASHES }",
            "vcs = { type = 'git', commit-id = 'abc' }",
            "wheels = [{ url = 'https://host/a-1.0.whl', HASHES }]",
            "wheels = [{ url = 'https://host/b-1.0-py3-none-any.whl', HASHES }]",
            "version = '2.0'\nwheels = [{ url = 'https://host/a-1.0-py3-none-any.whl', HASHES }]",
            "wheels = [{ name = 'a-1.0-py3-none-any.whl', HASHES }]",
            "wheels = [{ path = 'a-1.0-py3-none-any.whl' }]",
            "wheels = [{ path = 'a-1.0-py3-none-any.whl', hashes = {} }]",
            "wheels = [{ path = 'a-1.0-py3-none-any.whl', hashes = { sha256 = 'SHA_A', md5 = 1 } }]",
            "wheels = [{ path = 'a-1.0-py3-none-any.whl', hashes = 'sha256:0' }]",
            "wheels = [{ path = 'a-1.0-py3-none-any.whl', size = true, HASHES }]",
            "sdist = { path = './a.tar.gz', HASHES }",
            "sdist = { path = './b-1.0.tar.gz', HASHES }",
            "version = '2.0'\nsdist = { path = './a-1.0.tar.gz', HASHES }",
        ] {
            let text = format!("{HEAD}[[packages]]\nname = 'a'\n{keys}\n");
            assert!(!is_valid(&text), "{keys}");
        }
    }

    #[test]
    fn rejects_python_excluded_by_package() {
        let python = |marker: &str| {
            format!(
                "{HEAD}[[packages]]\nname = 'a'\n{marker}requires-python = '>=3.99'\nsdist = {{ path = 'a-1.0.tar.gz', {HASHES} }}\n"
            )
        };
        let check = |text: &str| {
            let locked = read_as(LockFormat::Pylock, text, None, "", "").unwrap();
            locked.scope.check(&"3.12.1-linux".parse().unwrap())
        };
        let message = check(&python("")).unwrap_err().to_string();
        assert!(
            message.contains("package `a` has the requires-python `>=3.99`"),
            "{message}"
        );
        assert!(check(&python("marker = \"os_name == 'nt'\"\n")).is_ok());
    }

    #[test]
    fn errors_name_file_and_entry() {
        let error =
            |from: &str, to: &str| error_of(LockFormat::Pylock, &LOCK.replace(from, to), None, "");
        assert_eq!(
            error("lock-version = \"1.0\"", "lock-version = \"2.0\""),
            "the lock `pylock.toml` cannot be used: lock-version \"2.0\" is not supported"
        );
        assert_eq!(
            error("commit-id = \"abc\"", "commit = \"abc\""),
            "the lock `pylock.toml` cannot be used: packages[4] \"epsilon\": vcs.commit-id is missing"
        );
        assert_eq!(
            error_of(LockFormat::Pylock, LOCK, None, "slow"),
            "the lock `pylock.toml` cannot be used: it has no extra `slow`; it has fast"
        );
    }
}

//! Reads `Cargo.lock`, in all versions of its format (1 to 4).
//!
//! The file is part of a source and may be malicious: names and versions become parts of paths and URLs, so that only the
//! characters that cargo permits in them are accepted.

use std::collections::BTreeMap;

use serde::Deserialize;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, LockedCrate, Result, limits};

/// The largest `Cargo.lock` (bytes). Large ones have 500 KiB.
pub const LOCK_SIZE: u64 = 8 << 20;

/// The largest number of crates of one source. Large ones have about 1,000.
const CRATES: usize = 20_000;

/// The largest length of a name or a version. crates.io permits 64 for names.
const LENGTH: usize = 128;

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default)]
    package: Vec<Package>,
    /// The checksums in version 1: `checksum NAME VERSION (SOURCE)`.
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Absent for the packages of the source itself.
    source: Option<String>,
    checksum: Option<String>,
}

/// Returns the crates that the `Cargo.lock` with this `text` pins, sorted. Packages of the source itself are not among them.
///
/// # Errors
/// [`Kind::Build`] if the text is not a `Cargo.lock`, or a crate has an invalid name, version, source or checksum.
pub fn parse(text: &str) -> Result<Vec<LockedCrate>> {
    let invalid = || "`Cargo.lock` is not valid".to_owned();
    limits::toml(text).context(Kind::Build, invalid)?;
    let lock: CargoLock = toml::from_str(text).context(Kind::Build, invalid)?;
    if lock.package.len() > CRATES {
        let count = lock.package.len();
        return Err(Error::new(
            Kind::Build,
            format!("`Cargo.lock` has {count} packages, more than {CRATES}"),
        ));
    }
    let mut crates = Vec::new();
    for package in lock.package {
        let Some(source) = package.source.as_deref() else {
            continue;
        };
        let key = format!("checksum {} {} ({source})", package.name, package.version);
        let old = lock.metadata.get(&key).and_then(toml::Value::as_str);
        let checksum = package.checksum.as_deref().or(old);
        let checksum = checksum.filter(|checksum| *checksum != "<none>");
        crates.push(locked_crate(
            &package.name,
            &package.version,
            source,
            checksum,
        )?);
    }
    crates.sort();
    crates.dedup();
    Ok(crates)
}

/// Creates an entry after checking its parts.
///
/// # Errors
/// [`Kind::Build`] if a part is not valid.
fn locked_crate(
    name: &str,
    version: &str,
    source: &str,
    checksum: Option<&str>,
) -> Result<LockedCrate> {
    let invalid = |what: &str, text: &str| {
        let text = limits::excerpt(text);
        Error::new(
            Kind::Build,
            format!("`Cargo.lock` has the {what} `{text}`, which is not valid"),
        )
    };
    if !is_name(name) {
        return Err(invalid("name", name));
    }
    if !is_version(version) {
        return Err(invalid("version", version));
    }
    let is_source = match source.split_once('+') {
        Some(("registry" | "sparse", url)) => url::Url::parse(url).is_ok(),
        Some(("git", url)) => commit(url).is_some() && url::Url::parse(url).is_ok(),
        _ => false,
    };
    if !is_source {
        return Err(invalid("source", source));
    }
    let sha256 = checksum.map(str::parse);
    let sha256 = sha256
        .transpose()
        .map_err(|_| invalid("checksum", checksum.unwrap_or_default()))?;
    Ok(LockedCrate {
        name: name.to_owned(),
        version: version.to_owned(),
        source: source.to_owned(),
        sha256,
    })
}

/// Checks a crate from a lock or a manifest of wheelhouse.
///
/// # Errors
/// [`Kind::Build`] if its name, version or source is not valid.
pub fn check(locked: &LockedCrate) -> Result<()> {
    locked_crate(&locked.name, &locked.version, &locked.source, None).map(drop)
}

/// Returns whether a crate of a registry can have this name.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    name.len() <= LENGTH
        && name.bytes().all(is_plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
}

/// Returns whether `version` has the characters of a semantic version.
fn is_version(version: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
    version.len() <= LENGTH
        && version.bytes().all(is_plain)
        && version.starts_with(|first: char| first.is_ascii_digit())
        && version.split('.').count() >= 3
}

/// Returns the commit at the end of the URL of a Git source.
pub(crate) fn commit(url: &str) -> Option<&str> {
    let (_, commit) = url.rsplit_once('#')?;
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|it| it.is_ascii_hexdigit());
    is_id.then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::locked_crate::CRATES_IO;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn lock(version: &str, name: &str, source: &str, checksum: &str) -> String {
        format!(
            "version = {version}\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\
             [[package]]\nname = \"{name}\"\nversion = \"1.2.3\"\nsource = \"{source}\"\nchecksum = \"{checksum}\"\n"
        )
    }

    #[test]
    fn reads_versions_2_to_4() {
        for version in ["2", "3", "4"] {
            let crates = parse(&lock(version, "itoa", CRATES_IO, DIGEST)).unwrap();
            assert_eq!(crates.len(), 1, "{version}");
            assert_eq!(crates[0].filename(), "itoa-1.2.3.crate");
            assert_eq!(crates[0].sha256.unwrap().to_string(), DIGEST);
        }
    }

    #[test]
    fn reads_checksums_of_version_1() {
        let text = format!(
            "[[package]]\nname = \"itoa\"\nversion = \"0.4.4\"\nsource = \"{CRATES_IO}\"\n\
             [metadata]\n\"checksum itoa 0.4.4 ({CRATES_IO})\" = \"{DIGEST}\"\n\
             \"checksum other 1.0.0 (git+https://x/y)\" = \"<none>\"\n"
        );
        let crates = parse(&text).unwrap();
        assert_eq!(crates[0].sha256.unwrap().to_string(), DIGEST);
    }

    #[test]
    fn reads_git_sources() {
        let source = format!("git+https://example.org/a/b?branch=main#{}", &DIGEST[..40]);
        let text = lock("3", "b", &source, DIGEST).replace("checksum", "#");
        let crates = parse(&text).unwrap();
        assert!(crates[0].is_git());
        assert_eq!(crates[0].sha256, None);
    }

    #[test]
    fn rejects_malicious_entries() {
        let rejected = [
            ("../../etc", CRATES_IO, DIGEST),
            ("a/b", CRATES_IO, DIGEST),
            (".hidden", CRATES_IO, DIGEST),
            ("", CRATES_IO, DIGEST),
            ("itoa", "file:///etc", DIGEST),
            ("itoa", "git+https://example.org/x", DIGEST),
            ("itoa", "git+https://example.org/x#../..", DIGEST),
            ("itoa", CRATES_IO, "abc"),
            (
                "itoa",
                CRATES_IO,
                "äääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää",
            ),
        ];
        for (name, source, checksum) in rejected {
            let text = lock("3", name, source, checksum);
            assert!(parse(&text).is_err(), "{name} {source} {checksum}");
        }
        let text = lock("3", "itoa", CRATES_IO, DIGEST).replace("1.2.3", "1.2.3/../..");
        assert!(parse(&text).is_err());
        assert!(parse("package = 1").is_err());
        assert!(parse(&format!("x = {}1{}", "[".repeat(500), "]".repeat(500))).is_err());
    }

    #[test]
    fn rejects_too_many_crates() {
        let package = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        let error = parse(&package.repeat(CRATES + 1)).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }
}

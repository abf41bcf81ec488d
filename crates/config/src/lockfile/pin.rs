//! A pinned package of a lock, and its conversion to a requirement: `name==version ; marker` or `name @ URL ; marker`.

use std::path::{Path, PathBuf};

use url::Url;
use wheelhouse_types::{Error, Kind, MarkerTree, PackageName, Result, Version};

use crate::file_source::absolute_path;

/// A package that is pinned by a lock.
#[derive(Clone, Debug)]
pub(super) struct PinnedPackage {
    pub(super) name: PackageName,
    pub(super) what: PinKind,
    /// The marker that selects the package, after extras and groups are evaluated.
    pub(super) marker: MarkerTree,
    /// `algorithm:hex` of all files that are allowed.
    pub(super) hashes: Vec<String>,
}

/// The pinned version or source of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PinKind {
    /// A version in an index.
    Version(Version),
    /// Any version in an index.
    Any,
    /// A wheel or an sdist.
    Archive {
        url: String,
        subdirectory: Option<String>,
    },
    /// A commit; the URL has no `git+`.
    Git {
        url: String,
        commit: String,
        subdirectory: Option<String>,
    },
    /// The absolute path of a source tree or an archive.
    Path {
        path: PathBuf,
        subdirectory: Option<String>,
    },
}

impl PinKind {
    /// Creates a commit of the repository at `url`: a URL with or without `git+`, or `USER@HOST:PATH`
    /// as accepted by SSH and Git.
    pub(super) fn commit(url: &str, commit: &str, subdirectory: Option<&str>) -> Self {
        let url = url.strip_prefix("git+").unwrap_or(url);
        let remote = url.split_once(':').filter(|(host, path)| {
            let is_host = !host.contains('/') && !path.starts_with("//");
            is_host && host.contains('@')
        });
        Self::Git {
            url: match remote {
                Some((host, path)) => format!("ssh://{host}/{}", path.trim_start_matches('/')),
                None => url.to_owned(),
            },
            commit: commit.to_owned(),
            subdirectory: subdirectory.map(ToOwned::to_owned),
        }
    }
}

/// Algorithms with the number of hexadecimal digits of their hashes.
const ALGORITHMS: [(&str, usize); 5] = [
    ("md5", 32),
    ("sha256", 64),
    ("sha384", 96),
    ("sha512", 128),
    ("blake2b", 128),
];

impl PinnedPackage {
    /// Formats the requirement as a line.
    pub(super) fn text(&self) -> Result<String> {
        let requirement = match &self.what {
            PinKind::Version(version) => format!("{}=={version}", self.name),
            PinKind::Any => self.name.to_string(),
            PinKind::Archive { url, subdirectory } => {
                let (url, _) = url.split_once('#').unwrap_or((url, ""));
                format!("{} @ {url}{}", self.name, fragment(subdirectory.as_deref()))
            }
            PinKind::Git {
                url,
                commit,
                subdirectory,
            } => {
                let fragment = fragment(subdirectory.as_deref());
                format!("{} @ git+{url}@{commit}{fragment}", self.name)
            }
            PinKind::Path { path, subdirectory } => {
                let path = absolute_path(Path::new("/"), path);
                let url = Url::from_file_path(&path).map_err(|()| {
                    let message = format!("{} is not an absolute path", path.display());
                    Error::new(Kind::Input, message)
                })?;
                format!("{} @ {url}{}", self.name, fragment(subdirectory.as_deref()))
            }
        };
        Ok(match self.marker.try_to_string() {
            Some(marker) => format!("{requirement} ; {marker}"),
            None => requirement,
        })
    }

    /// Returns whether one of the hashes uses a secure algorithm.
    pub(super) fn is_hashed(&self) -> bool {
        self.hashes.iter().any(|hash| !hash.starts_with("md5:"))
    }

    /// Checks the syntax of the hashes.
    ///
    /// # Errors
    /// A hash has an unknown algorithm or an invalid length.
    pub(super) fn check_hashes(&self) -> Result<()> {
        for hash in &self.hashes {
            let digits = hash.split_once(':').and_then(|(algorithm, digest)| {
                let known = ALGORITHMS.iter().find(|(name, _)| *name == algorithm);
                known.map(|(_, length)| (*length, digest))
            });
            let is_digest = digits.is_some_and(|(length, digest)| {
                digest.len() == length && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            if !is_digest {
                let message = format!(
                    "package `{}` has a hash of unknown form, `{hash}`",
                    self.name
                );
                return Err(Error::new(Kind::Input, message)
                    .with_hint("Use ALGORITHM:HEX with sha256, sha384, sha512, blake2b or md5."));
            }
        }
        Ok(())
    }
}

fn fragment(subdirectory: Option<&str>) -> String {
    match subdirectory {
        Some(subdirectory) if !subdirectory.is_empty() => format!("#subdirectory={subdirectory}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(what: PinKind) -> PinnedPackage {
        PinnedPackage {
            name: "acme".parse().unwrap(),
            what,
            marker: MarkerTree::TRUE,
            hashes: Vec::new(),
        }
    }

    fn text(what: PinKind) -> String {
        pin(what).text().unwrap()
    }

    #[test]
    fn converts_pins_to_requirement_lines() {
        assert_eq!(
            text(PinKind::Version("1.0+cpu".parse().unwrap())),
            "acme==1.0+cpu"
        );
        assert_eq!(text(PinKind::Any), "acme");
        for (url, becomes) in [
            ("https://host/acme.git", "https://host/acme.git"),
            ("git+https://host/acme.git", "https://host/acme.git"),
            ("git://host:9/acme", "git://host:9/acme"),
            ("git+git://host/acme", "git://host/acme"),
            ("git@host:team/acme.git", "ssh://git@host/team/acme.git"),
            ("git@host:/srv/acme.git", "ssh://git@host/srv/acme.git"),
            ("git+git@host:acme.git", "ssh://git@host/acme.git"),
            ("ssh://git@host:22/acme", "ssh://git@host:22/acme"),
            ("https://me@host:1/acme", "https://me@host:1/acme"),
            ("file:///srv/acme", "file:///srv/acme"),
        ] {
            assert_eq!(
                text(PinKind::commit(url, "abc", Some("lib"))),
                format!("acme @ git+{becomes}@abc#subdirectory=lib")
            );
        }
        let archive = PinKind::Archive {
            url: "https://host/acme-1.0.tar.gz#sha256=00".into(),
            subdirectory: None,
        };
        assert_eq!(text(archive), "acme @ https://host/acme-1.0.tar.gz");
        let path = PinKind::Path {
            path: "/srv/a b/./lib/".into(),
            subdirectory: None,
        };
        assert_eq!(text(path), "acme @ file:///srv/a%20b/lib");
        let marker = wheelhouse_types::marker::parse("python_version < '3.9'").unwrap();
        let marked = PinnedPackage {
            marker,
            ..pin(PinKind::Any)
        };
        assert_eq!(marked.text().unwrap(), "acme ; python_full_version < '3.9'");
    }

    #[test]
    fn invalid_hash_is_an_error() {
        let check = |hash: &str| {
            let hashed = PinnedPackage {
                hashes: vec![hash.to_owned()],
                ..pin(PinKind::Any)
            };
            hashed.check_hashes().map_err(|error| error.to_string())
        };
        assert_eq!(check(&format!("sha256:{}", "0a".repeat(32))), Ok(()));
        for wrong in ["sha256:00", "crc:00", &"0a".repeat(32)] {
            let message = format!("package `acme` has a hash of unknown form, `{wrong}`");
            assert_eq!(check(wrong), Err(message));
        }
    }
}

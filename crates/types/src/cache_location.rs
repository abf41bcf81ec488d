//! The locations of shared caches, as `--cache-from` and `--cache-to` name them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::distribution::Reference;
use url::Url;

use crate::redact::redacted;
use crate::{Error, Kind, Result, image_location};

/// The forms of a location, for messages.
const FORMS: &str = "docker://HOST/NAME, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
    https://HOST/PATH or file:///DIRECTORY";

/// The location of a shared cache. Displays without credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum CacheLocation {
    /// `file:///DIRECTORY`
    Directory(PathBuf),
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    Bucket(Url),
    /// `https://HOST/PATH`: `WebDAV`, or a server that takes GET and PUT. The path has no slash at its end.
    Http(Url),
    /// `docker://HOST/NAME`: a repository of an OCI registry. The tag means nothing.
    Registry(Reference),
}

impl CacheLocation {
    /// Returns whether other machines can be reached through this location only with a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }
}

impl CacheLocation {
    /// Adds a user name and a password that `find` returns for the host of an HTTP server, unless the URL has some.
    #[must_use]
    pub fn with_credentials(mut self, find: impl FnOnce(&str) -> Option<(String, String)>) -> Self {
        if let Self::Http(url) = &mut self
            && url.username().is_empty()
            && url.password().is_none()
            && let Some((user, password)) = url.host_str().and_then(find)
        {
            // Both fail only for URLs without a host.
            let _ = url.set_username(&user);
            let _ = url.set_password(Some(&password));
        }
        self
    }
}

impl FromStr for CacheLocation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("docker://") {
            return registry(text, name);
        }
        let url = Url::parse(text).map_err(|_| invalid(text, "is not a location of a cache"))?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(text, "has a query or a fragment"));
        }
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                path.map(Self::Directory)
                    .map_err(|()| invalid(text, "does not name a directory of this machine"))
            }
            "s3" | "gs" | "az" if has_host => Ok(Self::Bucket(url)),
            "http" | "https" if has_host => {
                let mut url = url;
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                Ok(Self::Http(url))
            }
            "s3" | "gs" | "az" | "http" | "https" => Err(invalid(text, "names no bucket or host")),
            _ => Err(invalid(text, "is not a location of a cache")),
        }
    }
}

fn registry(text: &str, name: &str) -> Result<CacheLocation> {
    let has_tag = || {
        let last = name.rsplit('/').next().unwrap_or(name);
        name.contains('@') || (name.contains('/') && last.contains(':'))
    };
    if has_tag() {
        return Err(invalid(text, "has a tag or a digest"));
    }
    match image_location::reference(name) {
        Ok(reference) => Ok(CacheLocation::Registry(reference)),
        Err(_) => Err(invalid(text, "is not the name of a repository")),
    }
}

fn invalid(text: &str, reason: &str) -> Error {
    // Not a hint: those do not reach usage errors.
    let message = format!("`{}` {reason}: use {FORMS}", redacted(text));
    Error::new(Kind::Input, message)
}

impl fmt::Display for CacheLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "file://{}", path.display()),
            Self::Bucket(url) | Self::Http(url) => formatter.write_str(&redacted(url.as_str())),
            Self::Registry(reference) => write!(
                formatter,
                "docker://{}/{}",
                reference.registry(),
                reference.repository()
            ),
        }
    }
}

impl fmt::Debug for CacheLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<CacheLocation>().unwrap().to_string()
    }

    #[test]
    fn locations_round_trip() {
        for text in [
            "docker://localhost:5000/acme/cache",
            "docker://registry.example/acme/cache",
            "s3://bucket/prefix",
            "gs://bucket/a/b",
            "az://container/prefix",
            "https://host.example/dav/cache",
            "http://127.0.0.1:8080/cache",
            "file:///srv/cache",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("https://host/dav/"), "https://host/dav");
    }

    #[test]
    fn hides_credentials() {
        let location: CacheLocation = "https://me:secret@host/dav".parse().unwrap();
        assert_eq!(location.to_string(), "https://****@host/dav");
        assert_eq!(format!("{location:?}"), "https://****@host/dav");
    }

    #[test]
    fn adds_credentials_to_servers_without_any() {
        let find = |host: &str| Some(("me".to_owned(), format!("{host}@1")));
        let added = |text: &str| match text
            .parse::<CacheLocation>()
            .unwrap()
            .with_credentials(find)
        {
            CacheLocation::Http(url) => url.to_string(),
            other => other.to_string(),
        };
        assert_eq!(added("https://host/dav"), "https://me:host%401@host/dav");
        assert_eq!(added("https://a:b@host/dav"), "https://a:b@host/dav");
        assert_eq!(added("s3://bucket/a"), "s3://bucket/a");
    }

    #[test]
    fn rejects_what_is_not_a_location() {
        for text in [
            "",
            "/srv/cache",
            "ftp://host/cache",
            "s3:///prefix",
            "file://other.example/srv/cache",
            "https://host/cache?token=1",
            "docker://",
            "docker://host.example/Name",
            "docker://host.example/name:tag",
            "docker://host:5000/name@sha256:0123",
        ] {
            let error = text.parse::<CacheLocation>().unwrap_err();
            assert!(error.to_string().contains("s3://BUCKET"), "{text}: {error}");
        }
    }
}

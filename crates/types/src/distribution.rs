//! A distribution: one version of one package, and where its bytes or its source come from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::Hashes;
use crate::redact::redacted;

/// One version of one package, as a resolution settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub name: PackageName,
    /// Unknown only for a direct reference whose metadata was not read yet.
    pub version: Option<Version>,
    pub origin: Origin,
    pub source: Source,
    /// Digests that the request demands (`--hash`), `algorithm:hex`; the file must match one of
    /// them. Empty when the request demands none.
    pub required_hashes: Vec<String>,
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{}=={version}", self.name),
            None => write!(formatter, "{}", self.name),
        }
    }
}

/// Who offered a distribution. URLs carry no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// An index with the simple repository API.
    Index { url: String },
    /// A `--find-links` directory or page.
    FindLinks { location: String },
    /// A requirement that names the file, tree or repository itself.
    Direct,
}

/// What a wheel is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A wheel, used as it is.
    Wheel(Artifact),
    /// A source distribution to build.
    Sdist(Artifact),
    /// A local source tree to build.
    Tree { path: PathBuf },
    /// A commit of a Git repository to build.
    Git {
        /// The repository, without `git+` and without credentials.
        repository: Url,
        /// The branch, tag or commit that was asked for.
        requested: Option<String>,
        /// The commit it stands for, in full.
        commit: String,
        subdirectory: Option<PathBuf>,
    },
}

impl Source {
    /// The file behind the source, if it is one.
    #[must_use]
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Wheel(artifact) | Self::Sdist(artifact) => Some(artifact),
            Self::Tree { .. } | Self::Git { .. } => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel(artifact) | Self::Sdist(artifact) => artifact.location.fmt(formatter),
            Self::Tree { path } => path.display().fmt(formatter),
            Self::Git {
                repository, commit, ..
            } => write!(formatter, "git+{repository}@{commit}"),
        }
    }
}

/// A published file: a wheel or an sdist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The file's own name, `example-1.0-py3-none-any.whl`.
    pub filename: String,
    pub location: Location,
    /// In bytes, as published.
    pub size: Option<u64>,
    /// As published by the index, the URL's fragment or the lock.
    pub hashes: Hashes,
    /// When the index took the file in, in milliseconds since 1970-01-01 UTC.
    pub uploaded: Option<i64>,
    /// Why the index has yanked it, if it has (PEP 592); empty where it does not say.
    pub yanked: Option<String>,
    /// The directory inside a direct sdist that holds the project.
    pub subdirectory: Option<PathBuf>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `http` or `https`, without credentials.
    Url(Url),
    /// A local file.
    Path(PathBuf),
    /// A file of the wheelhouse in an image, which is named as skopeo does.
    Image { image: String, filename: String },
}

/// How the names of images begin (skopeo's transports).
pub const IMAGE_TRANSPORTS: [&str; 5] = [
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "docker://",
    "docker-daemon:",
];

/// Whether `text` begins as the name of an image does, and not as a path or another URL.
#[must_use]
pub fn names_image(text: &str) -> bool {
    let mut transports = IMAGE_TRANSPORTS.iter();
    transports.any(|transport| text.starts_with(transport))
}

impl Location {
    /// Reads the name of an image and of a file in it, as [`Location`] is displayed.
    #[must_use]
    pub fn in_image(text: &str) -> Option<Self> {
        let (image, filename) = text.rsplit_once('#')?;
        names_image(image).then(|| Self::Image {
            image: image.to_owned(),
            filename: filename.to_owned(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(&redacted(url.as_str())),
            Self::Path(path) => path.display().fmt(formatter),
            Self::Image { image, filename } => write!(formatter, "{image}#{filename}"),
        }
    }
}

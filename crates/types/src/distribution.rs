//! A distribution: one version of one package, and where its bytes or its source come from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::redact::redacted;
use crate::{Hashes, Listing, ProjectStatus};

/// One version of one package, as a resolution settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The normalized name.
    pub name: PackageName,
    /// Unknown only for a direct reference whose metadata was not read yet.
    pub version: Option<Version>,
    /// The index or place that offered it.
    pub origin: Origin,
    /// The source of its wheel.
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

/// The origin of a distribution. URLs carry no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Origin {
    /// An index with the simple repository API.
    Index {
        /// The URL, without credentials.
        url: String,
    },
    /// A `--find-links` directory or page.
    FindLinks {
        /// The directory or page.
        location: String,
    },
    /// A requirement that names the file, tree or repository itself.
    Direct,
    /// An upload to `wheelhouse serve`.
    Upload,
}

/// The source of a wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A wheel, used as it is.
    Wheel(Artifact),
    /// A source distribution to build.
    Sdist(Artifact),
    /// A local source tree to build.
    Tree {
        /// The absolute path.
        path: PathBuf,
    },
    /// A commit of a Git repository to build.
    Git {
        /// The repository, without `git+` and without credentials.
        repository: Url,
        /// The branch, tag or commit that was asked for.
        requested: Option<String>,
        /// The commit it stands for, in full.
        commit: String,
        /// The directory inside that holds the project.
        subdirectory: Option<PathBuf>,
    },
}

impl Source {
    /// Returns the file behind the source, if the source is one.
    #[must_use]
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Wheel(artifact) | Self::Sdist(artifact) => Some(artifact),
            Self::Tree { .. } | Self::Git { .. } => None,
        }
    }

    /// Returns the statements of the index about the file behind the source.
    #[must_use]
    pub fn listing(&self) -> Listing {
        self.artifact()
            .map(|artifact| artifact.listing.clone())
            .unwrap_or_default()
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
    /// The directory or page.
    pub location: ArtifactLocation,
    /// In bytes, as published.
    pub size: Option<u64>,
    /// The digests published by the index, the URL's fragment or the lock.
    pub hashes: Hashes,
    /// The statements of the index.
    pub listing: Listing,
    /// The status of the project at the index (PEP 792), unless it is active.
    pub project_status: Option<ProjectStatus>,
    /// The directory inside a direct sdist that holds the project.
    pub subdirectory: Option<PathBuf>,
}

/// The location of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactLocation {
    /// `http` or `https`, without credentials.
    Url(Url),
    /// A local file.
    Path(PathBuf),
    /// A file of the wheelhouse in an image, which is named as skopeo does.
    Image {
        /// The image, as skopeo names it.
        image: String,
        /// The file name.
        filename: String,
    },
}

/// The prefixes of image names (skopeo's transports).
pub const IMAGE_TRANSPORTS: [&str; 5] = [
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "docker://",
    "docker-daemon:",
];

/// Returns whether `text` begins as the name of an image does, and not as a path or another URL.
#[must_use]
pub fn names_image(text: &str) -> bool {
    let mut transports = IMAGE_TRANSPORTS.iter();
    transports.any(|transport| text.starts_with(transport))
}

impl ArtifactLocation {
    /// Reads the name of an image and of a file in it, as [`ArtifactLocation`] is displayed.
    #[must_use]
    pub fn in_image(text: &str) -> Option<Self> {
        let (image, filename) = text.rsplit_once('#')?;
        names_image(image).then(|| Self::Image {
            image: image.to_owned(),
            filename: filename.to_owned(),
        })
    }
}

impl fmt::Display for ArtifactLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(&redacted(url.as_str())),
            Self::Path(path) => path.display().fmt(formatter),
            Self::Image { image, filename } => write!(formatter, "{image}#{filename}"),
        }
    }
}

//! uv's distributions as values of a lock.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use uv_distribution_filename::DistExtension;
use uv_distribution_types::{
    BuiltDist, Dist, File, HashPolicy, IndexLocations, IndexUrl, Name as _, Resolution,
    ResolvedDist, SourceDist,
};
use uv_git::GitResolver;
use uv_pep440::VersionSpecifiers;
use uv_pypi_types::Yanked;
use uv_redacted::DisplaySafeUrl;
use uv_types::HashStrategy;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::linked_image::{self, LinkedImage};
use wheelhouse_types::redact::without_credentials;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Hashes, Kind, Listing, Origin, PackageName,
    Result, Source, Version,
};

use crate::index::locked_files::LockedFiles;
use crate::index::page_records::PageRecords;
use crate::network::url_credentials::UrlCredentials;
use crate::requirements::archives::FILE_SUFFIX;
use crate::requirements::local_trees::LocalTrees;

fn yanked(yanked: &Yanked) -> Option<String> {
    match yanked {
        Yanked::Bool(is_yanked) => is_yanked.then(String::new),
        Yanked::Reason(reason) => Some(reason.to_string()),
    }
}

/// Returns the digests of `file`: those that uv knows, and others in the `fragment` of its URL.
fn hashes(file: &File, fragment: Option<&str>) -> Hashes {
    let known = file.hashes.iter();
    let known = known.map(|hash| {
        let digest = hash.digest.to_ascii_lowercase();
        (hash.algorithm().to_string(), digest)
    });
    Hashes(fragment_digests(fragment).chain(known).collect())
}

/// Returns the digests in the `fragment` of a URL, by their algorithms.
fn fragment_digests(fragment: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let parts = fragment.unwrap_or_default().split('&');
    parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| matches!(*name, "md5" | "sha1" | "sha256" | "sha384" | "sha512"))
        .map(|(name, digest)| (name.to_owned(), digest.to_ascii_lowercase()))
}

/// Returns the artifact that a requirement names by its location.
fn direct(
    location: ArtifactLocation,
    subdirectory: Option<&Path>,
    fragment: Option<&str>,
) -> Artifact {
    let filename = match &location {
        ArtifactLocation::Path(path) => path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        ArtifactLocation::Image { filename, .. } => Some(filename.clone()),
        ArtifactLocation::Url(url) => url
            .path_segments()
            .and_then(|mut segments| segments.next_back())
            .map(percent_decoded)
            .map(with_suffix),
    };
    Artifact {
        filename: filename.unwrap_or_default(),
        location,
        size: None,
        hashes: Hashes(fragment_digests(fragment).collect()),
        listing: Listing::default(),
        project_status: None,
        subdirectory: subdirectory.map(Path::to_owned),
    }
}

/// Adds a suffix to the name of an archive without one.
fn with_suffix(filename: String) -> String {
    match DistExtension::from_path(&filename) {
        Ok(_) => filename,
        Err(_) => filename + FILE_SUFFIX,
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Converts uv's distributions into those of a lock, by what is known of their files.
pub(crate) struct Distributions {
    locations: IndexLocations,
    images: Arc<[LinkedImage]>,
    locked_files: Arc<LockedFiles>,
    records: Arc<PageRecords>,
    credentials: UrlCredentials,
    trees: LocalTrees,
    git: GitResolver,
    /// The URLs of archives, by the paths of their files.
    archives: Mutex<HashMap<PathBuf, String>>,
    /// The URLs of wheels that uv knows under [another name](crate::resolve::python2_wheels), by the paths of their links.
    renamed_wheels: Mutex<HashMap<PathBuf, DisplaySafeUrl>>,
}

impl Distributions {
    pub(crate) fn new(
        locations: IndexLocations,
        images: Arc<[LinkedImage]>,
        locked_files: Arc<LockedFiles>,
        records: Arc<PageRecords>,
        credentials: UrlCredentials,
        trees: LocalTrees,
        git: GitResolver,
    ) -> Self {
        Self {
            locations,
            images,
            locked_files,
            records,
            credentials,
            trees,
            git,
            archives: Mutex::default(),
            renamed_wheels: Mutex::default(),
        }
    }

    /// Records that the file at `path` is the archive at `url`.
    pub(crate) fn add_archive(&self, path: PathBuf, url: String) {
        let mut archives = self.archives.lock().expect("no panic while locked");
        archives.insert(path, url);
    }

    /// Records that the link at `path` stands for the wheel at `url`.
    pub(crate) fn add_renamed_wheel(&self, path: PathBuf, url: DisplaySafeUrl) {
        let mut renamed = self.renamed_wheels.lock().expect("no panic while locked");
        renamed.insert(path, url);
    }

    /// Converts the distributions of `resolution`, with the digests that `hasher` requires.
    pub(crate) fn of_resolution(
        &self,
        resolution: &Resolution,
        hasher: &HashStrategy,
    ) -> Result<Vec<Distribution>> {
        let installable = resolution.distributions();
        installable
            .filter_map(|resolved| match resolved {
                ResolvedDist::Installable { dist, version } => Some((dist, version)),
                ResolvedDist::Installed { .. } => None,
            })
            .map(|(dist, version)| {
                self.distribution(dist, version.as_ref(), required_hashes(hasher, dist))
            })
            .collect()
    }

    /// Converts `url` into a location: a path for `file:`, else a URL without credentials.
    fn location(&self, url: &DisplaySafeUrl) -> ArtifactLocation {
        match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => ArtifactLocation::Path(path),
            _ => ArtifactLocation::Url(self.credentials.withheld(url)),
        }
    }

    /// Converts a file of an index or a `--find-links` location.
    pub(crate) fn artifact(&self, file: &File) -> Result<Artifact> {
        let url = file.url.to_url().context(Kind::Fetch, || {
            format!("the index gives no valid URL for {}", file.filename)
        })?;
        let (location, filename) = (self.location(&url), file.filename.to_string());
        if let ArtifactLocation::Path(path) = &location
            && let Some((image, known)) = linked_image::at(&self.images, path)
        {
            return Ok(Artifact {
                location: ArtifactLocation::Image {
                    image: image.name.clone(),
                    filename: filename.clone(),
                },
                filename,
                size: Some(known.size),
                hashes: Hashes::sha256_only(known.sha256),
                listing: Listing::default(),
                project_status: None,
                subdirectory: None,
            });
        }
        Ok(Artifact {
            filename,
            location,
            size: file.size,
            hashes: hashes(file, url.fragment()),
            listing: Listing {
                uploaded: file.upload_time_utc_ms,
                yanked: file.yanked.as_deref().and_then(yanked),
                provenance: None,
            },
            project_status: None,
            subdirectory: None,
        })
    }

    /// Converts a file of the package `name` on `index`, with what the page says of it.
    pub(crate) fn indexed_artifact(
        &self,
        index: &IndexUrl,
        name: &PackageName,
        file: &File,
    ) -> Result<Artifact> {
        let mut artifact = self.artifact(file)?;
        artifact.listing.provenance = self.records.provenance(index.url(), name, &file.filename);
        artifact.project_status = self.records.status(index.url(), name);
        Ok(artifact)
    }

    /// Converts `dist`, which has the `version` if its own is not known.
    pub(crate) fn distribution(
        &self,
        dist: &Dist,
        version: Option<&Version>,
        required_hashes: Vec<String>,
    ) -> Result<Distribution> {
        let (origin, mut source) = match dist {
            Dist::Built(dist) => self.built(dist)?,
            Dist::Source(dist) => self.source(dist)?,
        };
        if let Source::Wheel(artifact) | Source::Sdist(artifact) = &mut source {
            let size = self.locked_files.size(dist.name(), artifact);
            artifact.size = size.or(artifact.size);
        }
        Ok(Distribution {
            name: dist.name().clone(),
            version: version.or(dist.version()).cloned(),
            origin,
            source,
            required_hashes,
        })
    }

    fn built(&self, dist: &BuiltDist) -> Result<(Origin, Source)> {
        let (origin, artifact) = match dist {
            BuiltDist::Registry(dist) => {
                let wheel = dist.best_wheel();
                let name = &wheel.filename.name;
                let artifact = self.indexed_artifact(&wheel.index, name, &wheel.file)?;
                (self.origin(&wheel.index), artifact)
            }
            BuiltDist::DirectUrl(dist) => {
                let url = dist.url.to_url();
                (
                    Origin::Direct,
                    direct(self.location(&url), None, url.fragment()),
                )
            }
            BuiltDist::Path(dist) if let Some(url) = self.renamed_wheel(&dist.install_path) => (
                Origin::Direct,
                direct(self.location(&url), None, url.fragment()),
            ),
            BuiltDist::Path(dist) => {
                let path = ArtifactLocation::Path(dist.install_path.to_path_buf());
                (
                    Origin::Direct,
                    direct(path, None, dist.url.to_url().fragment()),
                )
            }
            BuiltDist::GitPath(dist) => return Err(file_in_git(&dist.url.to_url())),
        };
        Ok((origin, Source::Wheel(artifact)))
    }

    fn source(&self, dist: &SourceDist) -> Result<(Origin, Source)> {
        Ok(match dist {
            SourceDist::Registry(dist) => (
                self.origin(&dist.index),
                Source::Sdist(self.indexed_artifact(&dist.index, &dist.name, &dist.file)?),
            ),
            SourceDist::DirectUrl(dist) => {
                let url = dist.url.to_url();
                let artifact = direct(
                    self.location(&url),
                    dist.subdirectory.as_deref(),
                    url.fragment(),
                );
                (Origin::Direct, Source::Sdist(artifact))
            }
            SourceDist::Path(dist) => {
                let path = ArtifactLocation::Path(dist.install_path.to_path_buf());
                let artifact = direct(path, None, dist.url.to_url().fragment());
                (Origin::Direct, Source::Sdist(artifact))
            }
            SourceDist::Directory(dist) => {
                let path = self.trees.original(&dist.install_path);
                (Origin::Direct, Source::Tree { path })
            }
            SourceDist::GitDirectory(dist) => (
                Origin::Direct,
                self.git_source(&dist.git, dist.subdirectory.as_deref())?,
            ),
            SourceDist::GitPath(dist) => return Err(file_in_git(&dist.url.to_url())),
        })
    }

    fn git_source(
        &self,
        git: &uv_git_types::GitUrl,
        subdirectory: Option<&Path>,
    ) -> Result<Source> {
        let precise = git.precise().or_else(|| self.git.get_precise(git));
        let commit = precise.ok_or_else(|| {
            Error::new(
                Kind::Fetch,
                format!("the commit of {} is not known", git.url()),
            )
        })?;
        Ok(Source::Git {
            repository: without_credentials(git.url()),
            requested: git.reference().as_str().map(ToOwned::to_owned),
            commit: commit.to_string(),
            subdirectory: subdirectory.map(Path::to_owned),
        })
    }

    fn origin(&self, index: &IndexUrl) -> Origin {
        let path = index.url().to_file_path();
        let is_there = |image: &&LinkedImage| {
            let mut wheelhouses = image.wheelhouses.iter();
            wheelhouses.any(|wheelhouse| path.as_ref() == Ok(&wheelhouse.directory))
        };
        if let Some(image) = self.images.iter().find(is_there) {
            let location = image.name.clone();
            return Origin::FindLinks { location };
        }
        let url = without_credentials(index.url()).to_string();
        if self
            .locations
            .flat_indexes()
            .any(|flat| flat.url() == index)
        {
            Origin::FindLinks { location: url }
        } else {
            Origin::Index { url }
        }
    }

    /// Returns the URL of the wheel that uv knows by the `path` of a link.
    fn renamed_wheel(&self, path: &Path) -> Option<DisplaySafeUrl> {
        let renamed = self.renamed_wheels.lock().expect("no panic while locked");
        renamed.get(path).cloned()
    }

    /// Returns the URL of the archive whose file is at `path`.
    pub(crate) fn archive_at(&self, path: &Path) -> Option<String> {
        let archives = self.archives.lock().expect("no panic while locked");
        archives.get(path).cloned()
    }
}

fn file_in_git(url: &DisplaySafeUrl) -> Error {
    Error::new(
        Kind::Input,
        format!("{url} names a file inside a Git repository"),
    )
    .with_hint("Name the repository, or its directory with #subdirectory=.")
}

/// Returns the digests that the request requires of `dist`.
pub(crate) fn required_hashes(hasher: &HashStrategy, dist: &Dist) -> Vec<String> {
    match hasher.get(dist) {
        HashPolicy::Any(hashes) | HashPolicy::All(hashes) => {
            hashes.iter().map(ToString::to_string).collect()
        }
        HashPolicy::None | HashPolicy::Generate(_) => Vec::new(),
    }
}

/// Returns the `Requires-Python` that an index states for the file of `dist`.
pub(crate) fn published_python(dist: &Dist) -> Option<&VersionSpecifiers> {
    let file = match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => &wheel.best_wheel().file,
        Dist::Source(SourceDist::Registry(sdist)) => &sdist.file,
        _ => return None,
    };
    file.requires_python.as_deref()
}

//! The files that a lockfile of another tool names. An index page may lack them, or their digests and sizes.
//!
//! [`LegacyCandidates`](super::legacy_candidates::LegacyCandidates) offers them to the resolver.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use uv_client::{MetadataFormat, VersionFiles};
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{File, FileLocation, IndexUrl, UrlString};
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::VerbatimUrl;
use uv_pypi_types::{HashDigest, HashDigests};
use uv_redacted::DisplaySafeUrl;
use wheelhouse_types::redact::without_credentials;
use wheelhouse_types::request::LockedFile;
use wheelhouse_types::{Artifact, ArtifactLocation};

/// The files of one lock, by their packages.
#[derive(Default)]
pub(crate) struct LockedFiles(HashMap<PackageName, Vec<Locked>>);

/// A file with what it is.
struct Locked {
    file: LockedFile,
    /// Unknown where the lock does not name the file.
    filename: Option<DistFilename>,
    hashes: Vec<HashDigest>,
}

impl LockedFiles {
    pub(crate) fn new(files: &[LockedFile]) -> Self {
        let mut by_package: HashMap<PackageName, Vec<Locked>> = HashMap::new();
        for file in files {
            let hashes = file.hashes.iter();
            by_package
                .entry(file.package.clone())
                .or_default()
                .push(Locked {
                    filename: DistFilename::try_from_filename(&file.filename, &file.package),
                    hashes: hashes
                        .filter_map(|hash| HashDigest::from_str(hash).ok())
                        .collect(),
                    file: file.clone(),
                });
        }
        Self(by_package)
    }

    fn of(&self, name: &PackageName) -> &[Locked] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the lock says where files of `name` are.
    pub(crate) fn has_locations(&self, name: &PackageName) -> bool {
        self.of(name).iter().any(|locked| locked.file.url.is_some())
    }

    /// Returns whether the lock names a file of `name` that is not among those `listed` with their digests.
    pub(crate) fn has_others(&self, name: &PackageName, listed: &HashSet<String>) -> bool {
        let mut files = self.of(name).iter();
        files.any(|locked| locked.filename.is_some() && !listed.contains(&locked.file.filename))
    }

    /// The files that `page` of `name` lists with the digests of the lock.
    pub(crate) fn listed(&self, name: &PackageName, page: &MetadataFormat) -> HashSet<String> {
        let MetadataFormat::Simple(page) = page else {
            return HashSet::new();
        };
        let files = self.of(name);
        let is_locked = |version: &Version| {
            let mut filenames = files.iter().filter_map(|locked| locked.filename.as_ref());
            filenames.any(|filename| filename.version() == version)
        };
        let mut listed = HashSet::new();
        for datum in page.iter().filter(|_| !files.is_empty()) {
            let version = rkyv::deserialize::<Version, rkyv::rancor::Error>(&datum.version);
            if !is_locked(&version.expect("uv wrote it")) {
                continue;
            }
            let of_version = rkyv::deserialize::<VersionFiles, rkyv::rancor::Error>(&datum.files);
            for (_, file) in of_version.expect("uv wrote it").all(name) {
                if files.iter().any(|locked| locked.has_digest_of(&file)) {
                    listed.insert(file.filename.to_string());
                }
            }
        }
        listed
    }

    /// The digests of the lock for `file`, unless it has some of the same kind.
    pub(crate) fn missing_hashes(&self, name: &PackageName, file: &File) -> Vec<HashDigest> {
        let mut files = self.of(name).iter();
        let locked = files.find(|locked| *locked.file.filename == *file.filename);
        let hashes = locked.map_or(&[][..], |locked| &locked.hashes);
        let is_known = |hash: &HashDigest| {
            let mut known = file.hashes.iter();
            known.any(|known| known.algorithm() == hash.algorithm())
        };
        if hashes.iter().any(is_known) {
            return Vec::new();
        }
        hashes.to_vec()
    }

    /// The files of `name` at the places that the lock gives, without those `listed`.
    pub(crate) fn with_locations(
        &self,
        name: &PackageName,
        listed: &HashSet<String>,
    ) -> Vec<(DistFilename, File, Option<IndexUrl>)> {
        let files = self.of(name).iter();
        let others = files.filter(|locked| !listed.contains(&locked.file.filename));
        others.filter_map(Locked::with_location).collect()
    }

    /// The size of `artifact`, a file of `name`, that the lock states.
    pub(crate) fn size(&self, name: &PackageName, artifact: &Artifact) -> Option<u64> {
        let is_there = |locked: &Locked| match (&artifact.location, &locked.file.url) {
            (ArtifactLocation::Url(place), Some(url)) => {
                let mut url = without_credentials(url);
                url.set_fragment(None);
                *place == url
            }
            _ => false,
        };
        let has_its_name = |locked: &Locked| {
            let of_lock = locked
                .file
                .hashes
                .iter()
                .filter_map(|it| it.split_once(':'));
            let mut known = of_lock.filter_map(|(algorithm, digest)| {
                Some(
                    artifact
                        .hashes
                        .0
                        .get(algorithm)?
                        .eq_ignore_ascii_case(digest),
                )
            });
            locked.file.filename == artifact.filename && known.all(|is_same| is_same)
        };
        let mut files = self.of(name).iter();
        files
            .find(|locked| is_there(locked) || has_its_name(locked))?
            .file
            .size
    }
}

impl Locked {
    fn has_digest_of(&self, file: &File) -> bool {
        let mut hashes = self.hashes.iter();
        *self.file.filename == *file.filename
            && hashes.any(|hash| file.hashes.as_slice().contains(hash))
    }

    fn with_location(&self) -> Option<(DistFilename, File, Option<IndexUrl>)> {
        let url = DisplaySafeUrl::from_url(self.file.url.clone()?);
        let index =
            self.file.index.clone().map(|index| {
                IndexUrl::from(VerbatimUrl::from_url(DisplaySafeUrl::from_url(index)))
            });
        let file = File {
            dist_info_metadata: false,
            filename: self.file.filename.as_str().into(),
            hashes: HashDigests::from(self.hashes.clone()),
            requires_python: None,
            size: self.file.size,
            upload_time_utc_ms: None,
            url: FileLocation::AbsoluteUrl(UrlString::from(url)),
            yanked: None,
            zstd: None,
        };
        Some((self.filename.clone()?, file, index))
    }
}

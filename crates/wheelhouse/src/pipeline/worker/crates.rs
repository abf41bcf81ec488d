//! The Rust crates that builds need: finds them in sources, fetches their files, and offers them to cargo.
//!
//! 1. The `Cargo.lock` files of a source pin its crates. Without one, the lock of the run does, or cargo resolves them.
//! 2. A file comes from the store, a `--find-links` directory with the crates of a download, or the origin that the user's
//!    configuration of cargo names. The digest in the lock decides whether it is the right one.
//! 3. Files are unpacked, each once, and a generated `CARGO_HOME` in the directory of the build refers to them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::future::try_join_all;
use tracing::{debug, instrument};
use url::Url;
use wheelhouse_cargo::{
    CONFIG_NAME, CONFIG_SIZE, CargoConfig, CargoHome, CrateCache, CrateFile, CrateNetwork,
    CrateOrigin, RegistryConfig, RustSource, TOOLCHAIN_VARIABLE, Token, git_package, lockfile,
    source_key,
};
use wheelhouse_engine::{BuildResources, BuildSource};
use wheelhouse_fs::interruption::blocking;
use wheelhouse_store::{ExpectedFile, Lookup, StoredFile};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::Build;
use wheelhouse_types::redact::without_credentials;
use wheelhouse_types::request::HashPolicy;
use wheelhouse_types::{
    Artifact, ArtifactLocation, Distribution, Error, Hashes, Kind, Listing, LockedCrate,
    PackageName, Result, Source, Version, limits,
};

use super::crate_provider::StoredCrate;
use super::declared_compilers;
use super::local::LocalWorker;
use super::tasks::identity;

const DOWNLOAD_HINT: &str =
    "Fetch it before with `wheelhouse download`, which brings the crates of source distributions.";

impl LocalWorker {
    /// Provides the crates for the build of `source`.
    ///
    /// # Errors
    /// When a lock is not valid, a crate cannot be fetched, or cargo cannot resolve a source without a lock.
    pub(super) async fn build_resources(
        self: &Rc<Self>,
        source: BuildSource<'_>,
    ) -> Result<BuildResources> {
        let found = self
            .find_crates(source.tree, source.name, source.version)
            .await?;
        let rust = found.as_ref().map(|(rust, _)| rust.clone());
        let (package, tree) = (source.label.to_owned(), source.tree.to_owned());
        let mut environment = self.context.request.building.environment.clone();
        let path = environment.get("PATH").cloned().unwrap_or_default();
        let path = OsString::from(path);
        let search_path = path.clone();
        let (obstacle, toolchain) = blocking(move || {
            let mut toolchain = None;
            if let Some(rust) = &rust
                && !environment.contains_key(TOOLCHAIN_VARIABLE)
            {
                toolchain = rust.toolchain(&search_path);
                let variable = toolchain
                    .clone()
                    .map(|name| (TOOLCHAIN_VARIABLE.to_owned(), name));
                environment.extend(variable);
            }
            let checked = declared_compilers::check(&package, &tree, rust.as_ref(), &environment);
            Ok((checked.err(), toolchain))
        })
        .await?;
        let Some((rust, locked)) = found else {
            return Ok(BuildResources {
                obstacle,
                ..BuildResources::default()
            });
        };
        debug!(
            package = source.label,
            crates = locked.len(),
            "providing crates"
        );
        let config = self.cargo_config()?;
        let (mut directories, mut wanted, mut used) = (BTreeMap::new(), Vec::new(), Vec::new());
        for one in locked {
            if let CrateOrigin::Directory(directory) = config.origin(&one.source)? {
                directories.insert(source_key(&one.source).to_owned(), directory);
                used.push(one);
            } else {
                wanted.push(one);
            }
        }
        let files = self.crate_files(&wanted).await?;
        used.extend(files.iter().map(|file| file.locked.clone()));
        used.sort();
        let files: Vec<CrateFile> = files.iter().map(StoredCrate::file).collect();
        let by_tree = &self.crates.by_tree;
        by_tree.borrow_mut().insert(source.tree.to_owned(), used);
        let cache = CrateCache::new(self.context.store.root());
        let home = source.directory.join("cargo");
        let settings = config.settings();
        blocking(move || {
            let unpacked = cache.unpacked(&files)?;
            let mut readable = unpacked.clone();
            readable.extend(directories.values().cloned());
            readable.extend(wheelhouse_cargo::rust_sysroot(&path));
            let crates = files.into_iter().map(|file| file.locked).zip(unpacked);
            let generated = CargoHome {
                crates: crates.collect(),
                directories,
                registries: rust.registries,
                settings,
            };
            let mut variables = generated.write(&home)?;
            variables.extend(toolchain.map(|name| (TOOLCHAIN_VARIABLE.into(), name.into())));
            Ok(BuildResources {
                variables,
                readable,
                obstacle,
            })
        })
        .await
    }

    /// Returns the crates that the build of `distribution` needs, sorted. Those of a Git repository may have no digest.
    ///
    /// # Errors
    /// When the source cannot be unpacked, a lock is not valid, or cargo cannot resolve a source without a lock.
    pub(in crate::pipeline) async fn crates(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<Vec<LockedCrate>> {
        let known = || {
            let by_source = self.crates.by_source.borrow();
            by_source.get(&identity(distribution)).cloned()
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let (build_dir, _claim) = self.unpack(distribution).await?;
        self.note_crates(distribution, &build_dir.root).await?;
        Ok(known().unwrap_or_default())
    }

    /// Records the crates of `distribution`, whose source is at `tree`.
    ///
    /// # Errors
    /// As [`LocalWorker::crates`].
    pub(super) async fn note_crates(&self, distribution: &Distribution, tree: &Path) -> Result<()> {
        let mut crates = self.crates.of_tree(tree);
        if crates.is_empty() {
            let (name, version) = (&distribution.name, distribution.version.as_ref());
            let found = self.find_crates(tree, Some(name), version).await?;
            crates = found.map(|(_, crates)| crates).unwrap_or_default();
        }
        let mut by_source = self.crates.by_source.borrow_mut();
        by_source.insert(identity(distribution), crates);
        Ok(())
    }

    /// Finds the Rust projects at `tree` and the crates that they need. Returns `None` if there are none.
    async fn find_crates(
        &self,
        tree: &Path,
        name: Option<&PackageName>,
        version: Option<&Version>,
    ) -> Result<Option<(RustSource, Vec<LockedCrate>)>> {
        let request = &self.context.request;
        let recorded = name.and_then(|name| Build::find(&request.builds, name, version));
        let recorded = recorded
            .map(|build| build.crates.clone())
            .unwrap_or_default();
        let must_be_pinned = request.resolution.hashes == HashPolicy::All;
        let offline = request.network.offline || request.indexes.no_index;
        let network = match self.linked_directories().find(|place| has_crates(place)) {
            Some(place) if offline => CrateNetwork::Download(place.join("crates")),
            _ if offline => CrateNetwork::Offline,
            _ => CrateNetwork::Online,
        };
        let tree = tree.to_owned();
        blocking(move || {
            let mut rust = RustSource::find(&tree)?;
            if rust.is_empty() {
                return Ok(None);
            }
            let uses_record = !rust.unlocked.is_empty() && !recorded.is_empty();
            if !uses_record && !rust.unlocked.is_empty() {
                for manifest in &rust.unlocked {
                    if must_be_pinned {
                        return Err(unpinned(manifest.strip_prefix(&tree).unwrap_or(manifest)));
                    }
                    wheelhouse_cargo::generate_lock(manifest, &network)?;
                }
                rust = RustSource::find(&tree)?;
            }
            let mut crates = rust.crates()?;
            if uses_record {
                crates.extend(recorded);
                crates.sort();
                crates.dedup();
            }
            Ok(Some((rust, crates)))
        })
        .await
    }

    /// Returns the files of `locked`, in the same order and each with its digest.
    ///
    /// # Errors
    /// When a file cannot be fetched, or does not have the digest of the lock.
    #[instrument(name = "fetch crates", skip_all, fields(count = locked.len()))]
    pub(in crate::pipeline) async fn crate_files(
        self: &Rc<Self>,
        locked: &[LockedCrate],
    ) -> Result<Vec<StoredCrate>> {
        let files = locked.iter().map(|locked| {
            let key = format!("{locked} {} {:?}", locked.source, locked.sha256);
            self.crates.files.run_once(key, || {
                let (worker, locked) = (Rc::clone(self), locked.clone());
                async move {
                    let file = worker.crate_file(&locked).await;
                    file.map_err(|error| {
                        let message = format!("failed to fetch the crate {locked}");
                        Error::new(error.kind(), message).caused_by(error)
                    })
                }
            })
        });
        let files = try_join_all(files.collect::<Vec<_>>()).await;
        files.map_err(Error::from)
    }

    async fn crate_file(self: &Rc<Self>, locked: &LockedCrate) -> Result<StoredCrate> {
        // A lock of a run may have been written by another program.
        lockfile::check(locked)?;
        if locked.sha256.is_none() && !locked.is_git() {
            return Err(Error::new(
                Kind::Build,
                "`Cargo.lock` has no checksum for it",
            ));
        }
        let stored = match self.stored_crate(locked).await? {
            Some(stored) => stored,
            None => self.fetch_crate(locked).await?,
        };
        Ok(StoredCrate {
            locked: LockedCrate {
                sha256: Some(stored.sha256),
                ..locked.clone()
            },
            stored,
        })
    }

    /// Returns the file of `locked` if it is in the store or a `--find-links` directory.
    async fn stored_crate(&self, locked: &LockedCrate) -> Result<Option<StoredFile>> {
        if let Some(sha256) = locked.sha256 {
            let store = self.context.store.clone();
            let lookup = self.digest(move || store.find(&sha256)).await?;
            if let Lookup::Hit(stored) = lookup {
                return Ok(Some(stored));
            }
        }
        let name = wheelhouse_cargo::download_path(locked);
        let mut files = self.linked_directories().map(|place| place.join(&name));
        match files.find(|path| path.is_file()) {
            Some(path) => self.add_crate(locked, path).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the `--find-links` directories.
    fn linked_directories(&self) -> impl Iterator<Item = PathBuf> {
        let indexes = &self.context.request.indexes;
        let directories = indexes
            .find_links
            .iter()
            .filter_map(|place| directory(place));
        let images = indexes.images.iter().flat_map(|image| &image.wheelhouses);
        directories.chain(images.map(|wheelhouse| wheelhouse.directory.clone()))
    }

    async fn add_crate(&self, locked: &LockedCrate, path: PathBuf) -> Result<StoredFile> {
        let store = self.context.store.clone();
        let expected = match locked.sha256 {
            Some(sha256) => ExpectedFile::with_sha256(locked.filename(), sha256),
            None => ExpectedFile::any(locked.filename()),
        };
        blocking(move || store.add_file(&path, expected)).await
    }

    async fn fetch_crate(self: &Rc<Self>, locked: &LockedCrate) -> Result<StoredFile> {
        let origin = self.cargo_config()?.origin(&locked.source)?;
        if let CrateOrigin::LocalRegistry(directory) = origin {
            return self
                .add_crate(locked, directory.join(locked.filename()))
                .await;
        }
        let request = &self.context.request;
        if request.indexes.no_index {
            let message = "it is in none of the --find-links directories";
            return Err(Error::new(Kind::Fetch, message).with_hint(DOWNLOAD_HINT));
        }
        match origin {
            CrateOrigin::Git => self.pack_git_crate(locked).await,
            _ if request.network.offline => {
                let message = "it is not in the store, and the network may not be used";
                Err(Error::new(Kind::Fetch, message).with_hint(DOWNLOAD_HINT))
            }
            CrateOrigin::Sparse { index, name, token } => {
                self.download_crate(locked, &index, &name, token.as_ref())
                    .await
            }
            CrateOrigin::LocalRegistry(_) | CrateOrigin::Directory(_) => {
                let message = "it is in a directory of unpacked crates, which have no file";
                let hint = "Replace the source by a registry in the configuration of cargo.";
                Err(Error::new(Kind::Fetch, message).with_hint(hint))
            }
        }
    }

    async fn download_crate(
        self: &Rc<Self>,
        locked: &LockedCrate,
        index: &Url,
        name: &str,
        token: Option<&Token>,
    ) -> Result<StoredFile> {
        let config = self.crates.registries.run_once(index.to_string(), || {
            let (worker, index, token) = (Rc::clone(self), index.clone(), token.cloned());
            async move { worker.registry_config(&index, token.as_ref()).await }
        });
        let config = config.await.map_err(Error::from)?;
        if config.auth_required && token.is_none() {
            return Err(without_token(index, name));
        }
        let artifact = Artifact {
            hashes: locked.sha256.map(Hashes::sha256_only).unwrap_or_default(),
            ..remote_file(locked.filename(), config.url(locked)?)
        };
        let mut download = self.file_download(locked.to_string(), artifact);
        if let Some(token) = token.filter(|_| config.auth_required) {
            download.fetcher = download.fetcher.with_authorization(&token.0)?;
        }
        Rc::clone(self).run_download(download).await
    }

    /// Reads the configuration of the registry with this index. A registry that requires a token may require it here, too.
    async fn registry_config(
        self: &Rc<Self>,
        index: &Url,
        token: Option<&Token>,
    ) -> Result<RegistryConfig> {
        let failed = || format!("failed to read the registry {}", without_credentials(index));
        let url = index.join(CONFIG_NAME).context(Kind::Fetch, failed)?;
        let artifact = remote_file(CONFIG_NAME.to_owned(), url);
        let mut download = self.file_download(failed(), artifact);
        if let Some(token) = token {
            download.fetcher = download.fetcher.with_authorization(&token.0)?;
        }
        let stored = Rc::clone(self).run_download(download).await;
        let stored = stored.context(Kind::Fetch, failed)?;
        let bytes = fs_err::File::open(stored.path)
            .and_then(|file| limits::read(file, CONFIG_SIZE))
            .context(Kind::Fetch, failed)?;
        RegistryConfig::parse(&bytes).context(Kind::Fetch, failed)
    }

    /// Packs a crate of a Git repository at the commit of its lock.
    async fn pack_git_crate(&self, locked: &LockedCrate) -> Result<StoredFile> {
        let invalid = || {
            let message = format!("`{}` is not a supported Git repository", locked.source);
            Error::new(Kind::Fetch, message)
        };
        let url = locked.source.strip_prefix("git+").ok_or_else(invalid)?;
        let mut repository = Url::parse(url).map_err(|_| invalid())?;
        // A source could otherwise read the repositories of the user.
        if !matches!(repository.scheme(), "http" | "https" | "ssh" | "git") {
            return Err(invalid());
        }
        let commit = repository.fragment().ok_or_else(invalid)?.to_owned();
        repository.set_fragment(None);
        repository.set_query(None);
        let source = Source::Git {
            repository,
            requested: None,
            commit,
            subdirectory: None,
        };
        let checkout = self.engine.checkout(&source).await?;
        let packed = locked.clone();
        let file = blocking(move || {
            let failed = || format!("failed to pack {packed}");
            let file = tempfile::NamedTempFile::new().context(Kind::Fetch, failed)?;
            git_package::pack(&checkout, &packed, &file)?;
            Ok(file)
        })
        .await?;
        self.add_crate(locked, file.path().to_owned()).await
    }

    fn cargo_config(&self) -> Result<Rc<CargoConfig>> {
        let mut config = self.crates.config.borrow_mut();
        if let Some(config) = &*config {
            return Ok(Rc::clone(config));
        }
        let read = CargoConfig::read(&self.context.request.building.cargo)?;
        Ok(Rc::clone(config.insert(Rc::new(read))))
    }
}

/// Returns whether the directory `place` is a download with crates.
fn has_crates(place: &Path) -> bool {
    place.join("crates/config.toml").is_file()
}

/// Returns the error of a source without a lock where everything must be pinned.
fn unpinned(manifest: &Path) -> Error {
    let manifest = manifest.display();
    let message = format!("the crates of {manifest} are not pinned: there is no `Cargo.lock`");
    Error::new(Kind::Resolution, message)
        .with_hint("Pin them with `wheelhouse lock`, and build with --lock.")
}

fn without_token(index: &Url, name: &str) -> Error {
    let registry = without_credentials(index);
    let message = format!("the registry {registry} requires a token");
    let hint = if name.is_empty() {
        "Name the registry in the configuration of cargo, and set its token there.".to_owned()
    } else {
        let name = name.to_ascii_uppercase().replace('-', "_");
        format!("Run `cargo login`, or set CARGO_REGISTRIES_{name}_TOKEN.")
    };
    Error::new(Kind::Fetch, message).with_hint(hint)
}

fn remote_file(filename: String, url: Url) -> Artifact {
    Artifact {
        filename,
        location: ArtifactLocation::Url(url),
        size: None,
        hashes: Hashes::default(),
        listing: Listing::default(),
        project_status: None,
        subdirectory: None,
    }
}

/// Returns the directory that a `--find-links` value names, if it is one.
fn directory(place: &str) -> Option<PathBuf> {
    let path = match Url::parse(place) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok()?,
        Ok(_) => return None,
        Err(_) => PathBuf::from(place),
    };
    path.is_dir().then_some(path)
}

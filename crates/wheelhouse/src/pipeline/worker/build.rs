//! Building the wheel of a source, unless it was built before.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::Shared;
use wheelhouse_engine::{BuildRequest, BuildRequirements, Engine, build_cycle_error};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::event::seconds;
use wheelhouse_types::{Distribution, Error, Event, Kind, Outcome, Result, Sha256, Source};

use super::build_key;
use super::download::blocking;
use super::provider::{Ahead, Waiting};
use super::source_tree::{self, Filling, Workplace};
use super::{LocalWorker, Made, built_wheel, identity, in_background};
use wheelhouse_archive::Limits;
use wheelhouse_archive::source_tree::LargeFiles;
use wheelhouse_store::{BuildKey, BuiltWheel, Expected, Store, Stored};

impl LocalWorker {
    /// Finds the wheel of a source that was built earlier, or builds it.
    pub(super) async fn build(self: &Rc<Self>, distribution: &Distribution) -> Result<Made> {
        let sdist = self.sdist_digest(distribution).await?;
        if let Source::Tree { path } = &distribution.source {
            self.tree_digest(path).await?;
        }
        let key = self.build_key(distribution, sdist);
        let made = |(built, stored): (BuiltWheel, Stored), outcome| Made {
            stored,
            filename: built.filename.clone(),
            outcome,
            built: Some(built),
            sdist,
        };
        if let Some(built) = self.built_before(&key, distribution)? {
            return Ok(made(built, Outcome::Reused));
        }
        let (mut workplace, _claim) = self.prepare(distribution, &key).await?;
        // Another process, or the build of the same source under another name, may have built it while this one waited for the workplace.
        if let Some(built) = self.built_before(&key, distribution)? {
            return Ok(made(built, Outcome::Reused));
        }
        let package = distribution.to_string();
        self.observer.observe(&Event::BuildStarted {
            package: package.clone(),
        });
        let mut built = self.build_in(&workplace, distribution).await;
        if let Source::Tree { path } = &distribution.source {
            if built.is_err() && workplace.has_links {
                // Some backends take no file that is elsewhere.
                drop(workplace);
                let tree = self.tree(path, LargeFiles::Copied).await?;
                workplace = self.fill(&key, Filling::Tree(tree), None).await?;
                built = self.build_in(&workplace, distribution).await;
            }
            self.note_seen(path, &workplace).await?;
        }
        let built = built?;
        if self.request.building.isolated {
            // The build may have shown what else decides the wheel.
            let key = self.build_key(distribution, sdist);
            self.store.record_built(&key, &built.0)?;
        }
        let seconds = built.0.seconds;
        self.observer
            .observe(&Event::BuildFinished { package, seconds });
        let removed = blocking(move || {
            drop(workplace);
            Ok(())
        });
        removed.await?;
        Ok(made(built, Outcome::Built))
    }

    /// Returns whether building the wheel of an sdist would compile something, as far as its files tell. It does not if it is
    /// built already.
    pub(in crate::pipeline) async fn would_compile(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<bool> {
        if self.has_begun(distribution) {
            return Ok(false);
        }
        let sdist = self.sdist_digest(distribution).await?;
        let source = build_key::source(distribution, sdist, &self.state.borrow().trees);
        let key = build_key::build_key(&self.request, &self.target, distribution, &source);
        if self.built_before(&key, distribution)?.is_some() {
            return Ok(false);
        }
        let (workplace, _claim) = self.prepare(distribution, &key).await?;
        blocking(move || Ok(wheelhouse_archive::compiled::compiles(&workplace.root))).await
    }

    /// What the build of a source requires, as it declares and as its back end reports.
    pub(in crate::pipeline) async fn build_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let key = identity(distribution);
        let known = self.state.borrow().requirements.get(&key).cloned();
        let pending = known.unwrap_or_else(|| {
            let (worker, distribution) = (Rc::clone(self), distribution.clone());
            let asking = async move { Ok(worker.ask_requirements(&distribution).await?) };
            let pending = in_background(asking);
            let mut state = self.state.borrow_mut();
            state.requirements.insert(key, pending.clone());
            pending
        });
        pending.await.map_err(Error::from)
    }

    /// What the build of a source requires as far as it declares that.
    pub(in crate::pipeline) async fn declared_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let (workplace, _claim) = self.unpacked(distribution).await?;
        Engine::declared_requirements(&workplace.root)
    }

    async fn unpacked(self: &Rc<Self>, distribution: &Distribution) -> Result<(Workplace, Claim)> {
        let sdist = self.sdist_digest(distribution).await?;
        let key = self.build_key(distribution, sdist);
        self.prepare(distribution, &key).await
    }

    fn build_key(&self, distribution: &Distribution, sdist: Option<Sha256>) -> BuildKey {
        let source = build_key::source(distribution, sdist, &self.state.borrow().trees);
        build_key::build_key(&self.request, &self.target, distribution, &source)
    }

    async fn ask_requirements(
        self: &Rc<Self>,
        distribution: &Distribution,
    ) -> Result<BuildRequirements> {
        let (workplace, _claim) = self.unpacked(distribution).await?;
        let request = BuildRequest {
            label: distribution.to_string(),
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            tree: &workplace.root,
            wheel_directory: &workplace.root,
        };
        let companion = Ahead::of_build(self, distribution);
        self.engine.build_requirements(request, &companion).await
    }

    /// The digest of the sdist, if it is one; fetched when what is published of it does not do.
    async fn sdist_digest(self: &Rc<Self>, distribution: &Distribution) -> Result<Option<Sha256>> {
        let Source::Sdist(artifact) = &distribution.source else {
            return Ok(None);
        };
        match artifact.hashes.sha256() {
            Some(sha256) if distribution.required_hashes.is_empty() => Ok(Some(sha256)),
            _ => Ok(Some(self.file(distribution, artifact).await?.sha256)),
        }
    }

    /// The wheel that was built under `key` earlier. What an environment of the user's holds is not
    /// known, so nothing built in one is used again.
    fn built_before(
        &self,
        key: &BuildKey,
        distribution: &Distribution,
    ) -> Result<Option<(BuiltWheel, Stored)>> {
        if !self.request.building.isolated {
            return Ok(None);
        }
        built_wheel(&self.store, &*self.observer, key, distribution)
    }

    async fn build_in(
        self: &Rc<Self>,
        workplace: &Workplace,
        distribution: &Distribution,
    ) -> Result<(BuiltWheel, Stored)> {
        let wheels = tempfile::tempdir_in(&workplace.directory)
            .context(Kind::Build, || format!("failed to build {distribution}"))?;
        let request = BuildRequest {
            label: distribution.to_string(),
            name: distribution.name.clone(),
            version: distribution.version.clone(),
            tree: &workplace.root,
            wheel_directory: wheels.path(),
        };
        let companion = Ahead::of_build(self, distribution);
        let wheel = self.engine.build_wheel(request, &companion).await;
        let wheel = wheel.map_err(|error| match &distribution.source {
            // The user knows the tree, not its copy.
            Source::Tree { .. } => error.rewritten(|text| workplace.with_originals(text)),
            _ => error,
        })?;
        let (store, distribution, path) = (self.store.clone(), distribution.clone(), wheel.path);
        let taken = blocking(move || take(&store, &distribution, &path)).await?;
        if let [flaw, others @ ..] = &taken.flaws[..] {
            let more = match others.len() {
                0 => String::new(),
                count => format!(" (and {count} more of this kind)"),
            };
            let message = format!("{}, built here: {flaw}{more}", taken.filename);
            self.observer.observe(&Event::warning(message));
        }
        let built = BuiltWheel {
            filename: taken.filename,
            sha256: taken.stored.sha256,
            size: taken.stored.size,
            requirements: wheel.requirements.iter().map(ToString::to_string).collect(),
            python: format!(
                "{} {}",
                self.target.implementation, self.target.python_version
            ),
            seconds: seconds(wheel.worked),
            glibc: taken.glibc,
        };
        Ok((built, taken.stored))
    }

    /// Unpacks or copies a source to where it is built.
    async fn prepare(
        self: &Rc<Self>,
        distribution: &Distribution,
        key: &BuildKey,
    ) -> Result<(Workplace, Claim)> {
        let claim = self.claim(distribution, key.to_string()).await?;
        let (filling, subdirectory) = match &distribution.source {
            Source::Sdist(artifact) => {
                let stored = self.file(distribution, artifact).await?;
                let filename = artifact.filename.clone();
                self.examine(&stored, &filename).await?;
                let filling = Filling::Sdist { stored, filename };
                (filling, artifact.subdirectory.clone())
            }
            Source::Tree { path } => {
                let tree = self.tree(path, LargeFiles::Linked).await?;
                (Filling::Tree(tree), None)
            }
            Source::Git { subdirectory, .. } => {
                let checkout = self.engine.checkout(&distribution.source).await?;
                (Filling::Checkout(checkout), subdirectory.clone())
            }
            Source::Wheel(_) => unreachable!("a wheel is not built"),
        };
        let workplace = self.fill(key, filling, subdirectory).await;
        let workplace = workplace.map_err(|error| {
            let message = format!("failed to unpack the source of {distribution}");
            Error::new(error.kind(), message).caused_by(error)
        })?;
        Ok((workplace, claim))
    }

    async fn fill(
        &self,
        key: &BuildKey,
        filling: Filling,
        subdirectory: Option<PathBuf>,
    ) -> Result<Workplace> {
        source_tree::workplace(&self.builds(), key.to_string(), filling, subdirectory).await
    }

    /// Waits until no other task of this process uses the workplace of `key`. The lock of its file excludes
    /// other processes; a task that waited for it would not be seen by the detection of build cycles.
    ///
    /// # Errors
    /// When the task that uses it waits for `distribution`: the same source, known there by another name.
    async fn claim(self: &Rc<Self>, distribution: &Distribution, key: String) -> Result<Claim> {
        let holder = identity(distribution);
        loop {
            let Some(place) = self.state.borrow().places.get(&key).cloned() else {
                break;
            };
            let waiting = Waiting::begin(&self.state, &holder, &place.holder);
            if waiting.is_none() && place.holder != holder {
                return Err(build_cycle_error(&distribution.to_string()));
            }
            // The sender is dropped with the claim.
            let _ = place.free.await;
        }
        let (sender, receiver) = oneshot::channel();
        let place = Place {
            holder,
            free: receiver.shared(),
        };
        self.state.borrow_mut().places.insert(key.clone(), place);
        Ok(Claim {
            worker: Rc::clone(self),
            key,
            _sender: sender,
        })
    }

    fn builds(&self) -> PathBuf {
        self.store.root().join("builds")
    }
}

/// A workplace that a task of this process uses.
#[derive(Clone)]
pub(super) struct Place {
    /// The identity of the source that is there.
    holder: String,
    /// Completes when the workplace is free again.
    free: Shared<oneshot::Receiver<()>>,
}

/// The right to use a workplace, until it is dropped.
struct Claim {
    worker: Rc<LocalWorker>,
    key: String,
    _sender: oneshot::Sender<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.worker.state.borrow_mut().places.remove(&self.key);
    }
}

/// A wheel that was taken from its back end into the store.
struct Taken {
    filename: String,
    stored: Stored,
    /// Where it disagrees with its own RECORD.
    flaws: Vec<String>,
    /// The newest version of glibc that its binaries need.
    glibc: Option<(u16, u16)>,
}

/// Checks the wheel at `path`, which `distribution` was built into, and takes it into `store`.
fn take(store: &Store, distribution: &Distribution, path: &Path) -> Result<Taken> {
    let filename = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let invalid = || format!("the back end of {distribution} built a wrong wheel, {filename}");
    let inspection = wheelhouse_archive::inspect(path, &filename).context(Kind::Build, invalid)?;
    let flaws = wheelhouse_archive::verify_contents(path, &filename, &Limits::default())
        .context(Kind::Build, invalid)?;
    let other_version = distribution
        .version
        .as_ref()
        .is_some_and(|version| *version != inspection.version);
    if inspection.name != distribution.name || other_version {
        return Err(Error::new(Kind::Build, invalid()));
    }
    let stored = store.add_file(path, Expected::anything(&filename))?;
    store.keep_metadata(&stored.sha256, &inspection.metadata);
    let glibc = wheelhouse_archive::needed_glibc(&stored.path, &Limits::default())?;
    Ok(Taken {
        filename,
        stored,
        flaws,
        glibc,
    })
}

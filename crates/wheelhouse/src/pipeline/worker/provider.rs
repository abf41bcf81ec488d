//! The local worker in its role beside the engine: the companion of a resolution, or of a build.
//!
//! It fetches the first candidate of each package ahead of the lock, and builds the first candidate of
//! each source at once: a wheel has its metadata in it, so asking the back end for metadata first
//! would be work done twice. Build requirements are made like everything else, once each.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};
use wheelhouse_engine::{ArtifactProvider, WheelFile, build_cycle_error, build_depth_error};
use wheelhouse_types::{Distribution, Error, Event, Kind, Result, Source, Target, limits};

use super::download::blocking;
use super::{LocalWorker, Made, State, identity};
use wheelhouse_archive::Limits;

/// A worker that goes along with the engine.
pub(in crate::pipeline) struct Ahead {
    worker: Rc<LocalWorker>,
    /// The identity of the source whose build asks; `None` when the lock is resolved.
    builder: Option<String>,
    /// Whether the resolution is for a target on which nothing can be asked here.
    is_foreign: bool,
}

impl Ahead {
    pub(in crate::pipeline) fn of_resolution(worker: &Rc<LocalWorker>) -> Self {
        Self {
            worker: Rc::clone(worker),
            builder: None,
            is_foreign: false,
        }
    }

    /// A source whose back end fails here may do better on a host of `target`, so that ends nothing.
    pub(in crate::pipeline) fn of_target(worker: &Rc<LocalWorker>, target: &Target) -> Self {
        Self {
            is_foreign: target.interpreter.is_none(),
            ..Self::of_resolution(worker)
        }
    }

    pub(in crate::pipeline) fn of_build(
        worker: &Rc<LocalWorker>,
        distribution: &Distribution,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            builder: Some(identity(distribution)),
            is_foreign: false,
        }
    }

    /// Makes the wheel of `distribution`, unless whoever asks would wait for itself.
    async fn make(&self, distribution: &Distribution) -> Result<Made> {
        let _waiting = self.wait_for(distribution)?;
        self.worker.begin(distribution).await.map_err(Error::from)
    }

    fn wait_for(&self, distribution: &Distribution) -> Result<Option<Waiting<'_>>> {
        let Some(builder) = &self.builder else {
            return Ok(None);
        };
        if is_deep(&self.worker.state.borrow().waits, builder) {
            return Err(build_depth_error(&distribution.to_string()));
        }
        let waiting = Waiting::begin(&self.worker.state, builder, &identity(distribution));
        waiting
            .map(Some)
            .ok_or_else(|| build_cycle_error(&distribution.to_string()))
    }

    /// The metadata of a wheel that is at hand, or of a source that is built now.
    async fn known_metadata(&self, distribution: &Distribution) -> Result<Option<Vec<u8>>> {
        let worker = &self.worker;
        if self.is_foreign && worker.unknown(distribution).is_some() {
            return Ok(bare_metadata(distribution));
        }
        let (stored, filename) = match &distribution.source {
            Source::Wheel(artifact) => {
                let Some(stored) = worker.stored(artifact, &distribution.required_hashes)? else {
                    return Ok(None);
                };
                (stored, artifact.filename.clone())
            }
            Source::Sdist(_) if worker.build_ahead && self.is_first_candidate(distribution) => {
                let made = self.make(distribution).await?;
                (made.stored, made.filename)
            }
            _ => return Ok(None),
        };
        if let Some(metadata) = worker.store.metadata(&stored.sha256) {
            return Ok(Some(metadata));
        }
        let inspection =
            blocking(move || wheelhouse_archive::inspect(&stored.path, &filename)).await?;
        Ok(Some(inspection.metadata))
    }

    /// A file that cannot be had, or is not what it should be, is so for everybody. Without network the
    /// engine looks for another version.
    fn for_everybody<T>(&self, outcome: Result<Option<T>>) -> Result<Option<T>> {
        let is_offline = self.worker.request.network.offline;
        outcome.or_else(|error| match error.kind() {
            Kind::Fetch if is_offline => Ok(None),
            _ => Err(error),
        })
    }

    fn is_first_candidate(&self, distribution: &Distribution) -> bool {
        let mut state = self.worker.state.borrow_mut();
        state.candidates.insert(distribution.name.clone())
            || state.has_begun(&identity(distribution))
    }
}

impl ArtifactProvider for Ahead {
    fn prefetch(&self, distribution: &Distribution) {
        let worker = &self.worker;
        worker.observer.observe(&Event::Considering {
            package: distribution.to_string(),
        });
        let begins = match distribution.source {
            Source::Wheel(_) => worker.fetch_ahead,
            // What a build requires is built when that is settled: it may be required to build itself.
            Source::Sdist(_) => {
                worker.build_ahead
                    && self.builder.is_none()
                    && self.is_first_candidate(distribution)
            }
            Source::Tree { .. } | Source::Git { .. } => false,
        };
        if begins {
            drop(worker.begin(distribution));
        }
    }

    fn metadata<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>>> {
        async move {
            // A circle stays one, whoever goes round it.
            drop(self.wait_for(distribution)?);
            match self.known_metadata(distribution).await {
                // A back end that fails is asked once more by the engine, for metadata alone.
                Err(error) if error.kind() != Kind::Fetch => Ok(None),
                known => self.for_everybody(known),
            }
        }
        .boxed_local()
    }

    fn archive<'a>(
        &'a self,
        distribution: &'a Distribution,
    ) -> LocalBoxFuture<'a, Result<Option<PathBuf>>> {
        async move {
            let Some(artifact) = distribution.source.artifact() else {
                return Ok(None);
            };
            let file = async {
                let stored = self.worker.file(distribution, artifact).await?;
                if let Source::Wheel(_) = distribution.source {
                    examine_wheel(stored.path.clone(), artifact.filename.clone()).await?;
                } else {
                    self.worker.examine(&stored, &artifact.filename).await?;
                }
                Ok(Some(stored.path))
            };
            self.for_everybody(file.await)
        }
        .boxed_local()
    }

    fn check_archive<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<()>> {
        examine(path.to_owned()).boxed_local()
    }

    fn wheels<'a>(
        &'a self,
        wanted: &'a [Distribution],
    ) -> LocalBoxFuture<'a, Result<Vec<WheelFile>>> {
        let made = wanted.iter().map(async |distribution| {
            let made = self.make(distribution).await?;
            self.worker.examine(&made.stored, &made.filename).await?;
            Ok(WheelFile {
                filename: made.filename,
                path: made.stored.path,
            })
        });
        try_join_all(made.collect::<Vec<_>>()).boxed_local()
    }

    fn fallback_metadata(&self, distribution: &Distribution, reason: &Error) -> Option<Vec<u8>> {
        if self.is_foreign && reason.kind() == Kind::Build {
            self.worker.note_unknown(distribution, reason);
            return bare_metadata(distribution);
        }
        // What failed to be made stays so for this run, and is told with all that fails beside it.
        let goes_on = self.worker.keep_going && self.worker.has_begun(distribution);
        goes_on.then(|| bare_metadata(distribution)).flatten()
    }

    fn skips_metadata_build(&self, tree: &Path) -> bool {
        self.is_foreign && wheelhouse_archive::compiled::compiles(tree)
    }

    fn copy_source_tree<'a>(&'a self, path: &'a Path) -> LocalBoxFuture<'a, Result<PathBuf>> {
        async move { Ok(self.worker.tree_copy(path).await?.root.clone()) }.boxed_local()
    }
}

/// Examines the archive at `path`, which is not in the store.
pub(crate) async fn examine(path: PathBuf) -> Result<()> {
    let filename = path.file_name().unwrap_or_default();
    let filename = filename.to_string_lossy().into_owned();
    if path.extension().is_some_and(|extension| extension == "whl") {
        return examine_wheel(path, filename).await;
    }
    blocking(move || wheelhouse_archive::examine(&path, &filename, &Limits::default())).await
}

/// Examines a wheel of which the metadata alone is wanted.
async fn examine_wheel(path: PathBuf, filename: String) -> Result<()> {
    blocking(move || wheelhouse_archive::inspect(&path, &filename).map(drop)).await
}

/// Metadata that says nothing but who it is of.
fn bare_metadata(distribution: &Distribution) -> Option<Vec<u8>> {
    let (name, version) = (&distribution.name, distribution.version.as_ref()?);
    Some(format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").into_bytes())
}

/// A build that waits for something; it no longer does when this is dropped.
pub(super) struct Waiting<'a> {
    state: &'a RefCell<State>,
    edge: (String, String),
}

impl<'a> Waiting<'a> {
    /// `None` when `wanted` waits for `builder`, directly or not.
    pub(super) fn begin(state: &'a RefCell<State>, builder: &str, wanted: &str) -> Option<Self> {
        if leads_to(&state.borrow().waits, wanted, builder) {
            return None;
        }
        let edge = (builder.to_owned(), wanted.to_owned());
        state.borrow_mut().waits.push(edge.clone());
        Some(Self { state, edge })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waits = &mut self.state.borrow_mut().waits;
        if let Some(position) = waits.iter().position(|edge| *edge == self.edge) {
            waits.swap_remove(position);
        }
    }
}

/// Whether `from` waits for `to`, directly or through others.
fn leads_to(waits: &[(String, String)], from: &str, to: &str) -> bool {
    let (mut reached, mut next) = (vec![from], 0);
    while let Some(one) = reached.get(next).copied() {
        if one == to {
            return true;
        }
        for (waiting, wanted) in waits {
            if waiting == one && !reached.contains(&wanted.as_str()) {
                reached.push(wanted);
            }
        }
        next += 1;
    }
    false
}

/// Returns whether so many builds wait for `builder`, each for the next, that there is no end to them.
fn is_deep(waits: &[(String, String)], builder: &str) -> bool {
    let mut level = vec![builder];
    for _ in 0..limits::BUILD_DEPTH {
        let waiting = waits
            .iter()
            .filter(|(_, wanted)| level.contains(&wanted.as_str()));
        level = waiting.map(|(waiting, _)| waiting.as_str()).collect();
        level.sort_unstable();
        level.dedup();
        if level.is_empty() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_builds_has_an_end() {
        let edge = |builder: usize| (builder.to_string(), (builder + 1).to_string());
        let waits: Vec<_> = (0..limits::BUILD_DEPTH).map(edge).collect();
        assert!(is_deep(&waits, &limits::BUILD_DEPTH.to_string()));
        assert!(!is_deep(&waits, &(limits::BUILD_DEPTH - 1).to_string()));
    }

    #[test]
    fn a_build_never_waits_for_itself() {
        let state = RefCell::new(State::default());
        assert!(Waiting::begin(&state, "a", "a").is_none());
        let first = Waiting::begin(&state, "a", "b").unwrap();
        let second = Waiting::begin(&state, "b", "c").unwrap();
        assert!(Waiting::begin(&state, "c", "a").is_none());
        assert!(Waiting::begin(&state, "d", "a").is_some());
        drop(second);
        let third = Waiting::begin(&state, "c", "a");
        assert!(third.is_some());
        drop((first, third));
        assert!(state.borrow().waits.is_empty());
    }
}

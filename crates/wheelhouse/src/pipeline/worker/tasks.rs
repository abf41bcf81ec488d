//! Tasks that run once for each key, however many futures await them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, Shared};
use tokio::task::JoinError;
use wheelhouse_types::{Artifact, Distribution, Error, Kind, Result};

/// The result of a task, which any number of futures can await.
pub(super) type Pending<T> = Shared<LocalBoxFuture<'static, Result<T, SharedError>>>;

/// An error that several futures receive; kind, message, hint and detail are kept.
#[derive(Clone)]
pub(super) struct SharedError(Rc<Error>);

impl From<Error> for SharedError {
    fn from(error: Error) -> Self {
        Self(Rc::new(error))
    }
}

impl From<SharedError> for Error {
    fn from(shared: SharedError) -> Self {
        Rc::try_unwrap(shared.0).unwrap_or_else(|shared| shared.to_shared())
    }
}

/// The tasks of one kind, by key.
pub(super) struct Tasks<T>(RefCell<HashMap<String, Pending<T>>>);

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone + 'static> Tasks<T> {
    /// Returns the task of `key`; the first call starts it with `work`.
    pub(super) fn run_once<F>(&self, key: String, work: impl FnOnce() -> F) -> Pending<T>
    where
        F: Future<Output = Result<T>> + 'static,
    {
        if let Some(pending) = self.0.borrow().get(&key) {
            return pending.clone();
        }
        let pending = spawn(work());
        self.0.borrow_mut().insert(key, pending.clone());
        pending
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.borrow().contains_key(key)
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// Runs `work` to its end, even if no future awaits it.
pub(super) fn spawn<T: Clone + 'static>(
    work: impl Future<Output = Result<T>> + 'static,
) -> Pending<T> {
    let task = tokio::task::spawn_local(work.map(|outcome| outcome.map_err(SharedError::from)));
    async move {
        task.await
            .unwrap_or_else(|error| Err(ended_early(error).into()))
    }
    .boxed_local()
    .shared()
}

/// Returns the error of a task that panicked, as libraries do if the system refuses to start a thread.
fn ended_early(error: JoinError) -> Error {
    let panic = error.try_into_panic().ok();
    let text = panic.as_ref().and_then(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
    });
    let text = text.unwrap_or("it was canceled");
    Error::new(Kind::Build, format!("a task ended early: {text}"))
}

/// Returns a key for the work of making the wheel of `distribution`. A file with a known digest has the
/// same key whether a lock or an index names it.
pub(in crate::pipeline) fn identity(distribution: &Distribution) -> String {
    let required = &distribution.required_hashes;
    if let Some(artifact) = distribution.source.artifact()
        && let Some(sha256) = artifact.hashes.sha256()
        && (required.is_empty() || required.contains(&format!("sha256:{sha256}")))
    {
        let Artifact {
            filename,
            subdirectory,
            ..
        } = artifact;
        return format!("{distribution} {filename} {sha256} {subdirectory:?}");
    }
    format!(
        "{distribution} {} {:?}",
        distribution.source, distribution.required_hashes
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn runs_work_once_for_each_key() {
        let tasks = Tasks::default();
        let runs = Rc::new(Cell::new(0));
        let run = |key: &str| {
            let runs = Rc::clone(&runs);
            tasks.run_once(key.to_owned(), || async move {
                runs.set(runs.get() + 1);
                Ok(runs.get())
            })
        };
        let local = LocalSet::new();
        let outcomes = local.run_until(async {
            let (first, again) = (run("one"), run("one"));
            let outcomes = [again.await.ok(), first.await.ok(), run("other").await.ok()];
            tasks.remove("one");
            assert!(!tasks.contains("one") && tasks.contains("other"));
            (outcomes, run("one").await.ok())
        });
        let expected = ([Some(1), Some(1), Some(2)], Some(3));
        assert_eq!(outcomes.await, expected);
    }

    #[tokio::test]
    async fn reports_panic_as_error() {
        let tasks: Tasks<()> = Tasks::default();
        let local = LocalSet::new();
        let outcome = local.run_until(async {
            let pending = tasks.run_once("key".to_owned(), || async { panic!("no thread") });
            pending.await.map_err(Error::from)
        });
        let error = outcome.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Build);
        assert!(error.to_string().contains("no thread"), "{error}");
    }
}

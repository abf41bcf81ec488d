//! The Python of a run, which describes itself once per cache.

use std::path::{Path, PathBuf};

use uv_cache::Cache;
use uv_python::Interpreter;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Target};

use crate::error::hints::with_io_hint;

/// A Python interpreter, with the cache of uv for it.
#[derive(Clone)]
pub struct Host {
    cache: Cache,
    interpreter: Interpreter,
    target: Target,
}

impl Host {
    /// Queries the Python that `request` names, or the cache.
    ///
    /// `located` is the result of [`locate`](super::locate); `cache` is the directory for uv's own cache.
    ///
    /// # Errors
    /// `Input` if there is no such Python, `Fetch` if the cache cannot be written.
    pub async fn discover(
        request: Option<&str>,
        located: Option<&Path>,
        cache: &Path,
    ) -> Result<Self> {
        let cache = Cache::from_path(cache)
            .init()
            .await
            .context(Kind::Fetch, || {
                format!("failed to open the cache {}", cache.display())
            })
            .map_err(with_io_hint)?;
        let (interpreter, target) = super::query(request, located, &cache).map_err(with_io_hint)?;
        tracing::debug!(
            python = %interpreter.sys_executable().display(),
            target = target.label(),
            "found the Python"
        );
        Ok(Self {
            cache,
            interpreter,
            target,
        })
    }

    /// Returns the target for which this Python resolves and builds.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Returns the paths that programs need to run this Python: its prefixes and the directories of its modules.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        super::interpreter_paths(&self.interpreter)
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    pub(crate) fn into_parts(self) -> (Cache, Interpreter, Target) {
        (self.cache, self.interpreter, self.target)
    }
}

//! Finds the interpreters of this machine that can check a target.

use std::path::PathBuf;

use tracing::debug;
use wheelhouse_engine::python::{self, DiscoveryEnvironment};
use wheelhouse_engine::{Host, can_substitute};
use wheelhouse_types::{Result, Target};

/// Finds interpreters.
pub(super) struct Interpreters<'a> {
    /// The Python that the user names.
    pub(super) python: Option<&'a str>,
    pub(super) discovery: &'a DiscoveryEnvironment,
    /// The directory in which the engine caches the properties of interpreters.
    pub(super) cache: PathBuf,
}

impl Interpreters<'_> {
    /// Returns the Python that the user names, or the default one.
    ///
    /// # Errors
    /// When it is missing or cannot be used.
    pub(super) async fn default_interpreter(&self) -> Result<Host> {
        self.discover(self.python).await
    }

    /// Returns an interpreter for `target`: the default one, or one of the target's Python version. Returns
    /// `None` if none is suitable, or if the user names another one.
    ///
    /// # Errors
    /// When the Python that the user names cannot be used.
    pub(super) async fn interpreter_for(&self, target: &Target) -> Result<Option<Host>> {
        match self.default_interpreter().await {
            Ok(host) if can_substitute(&host.target(), target) => return Ok(Some(host)),
            Err(error) if self.python.is_some() => return Err(error),
            _ if self.python.is_some() || target.implementation != "cpython" => return Ok(None),
            _ => {}
        }
        let mut parts = target.python_version.splitn(3, '.');
        let version = [parts.next(), parts.next()].map(Option::unwrap_or_default);
        let version = version.join(".");
        if python::locate(Some(&version), self.discovery).is_none() {
            debug!(version, "no interpreter of this version");
            return Ok(None);
        }
        let host = self.discover(Some(&version)).await.ok();
        Ok(host.filter(|host| can_substitute(&host.target(), target)))
    }

    async fn discover(&self, request: Option<&str>) -> Result<Host> {
        let located = python::locate(request, self.discovery);
        Host::discover(request, located.as_deref(), &self.cache).await
    }
}

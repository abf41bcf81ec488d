//! The Pythons of this machine that stand for the targets of a wheelhouse.

use std::path::PathBuf;

use wheelhouse_engine::python::{self, DiscoveryEnvironment};
use wheelhouse_engine::{Host, can_substitute};
use wheelhouse_types::{Result, Target};

/// Looks for Pythons.
pub(super) struct Hosts<'a> {
    /// The Python that the user names.
    pub(super) python: Option<&'a str>,
    pub(super) surroundings: &'a DiscoveryEnvironment,
    /// Where what Pythons say of themselves is kept.
    pub(super) cache: PathBuf,
}

impl Hosts<'_> {
    /// The Python that the user names, or the ordinary one.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub(super) async fn ordinary(&self) -> Result<Host> {
        self.discover(self.python).await
    }

    /// A Python for `target`: the ordinary one, or else one of its version. `None` if there is none,
    /// or if the user names another.
    ///
    /// # Errors
    /// When the Python that the user names cannot be used.
    pub(super) async fn standing_for(&self, target: &Target) -> Result<Option<Host>> {
        match self.ordinary().await {
            Ok(host) if can_substitute(&host.target(), target) => return Ok(Some(host)),
            Err(error) if self.python.is_some() => return Err(error),
            _ if self.python.is_some() || target.implementation != "cpython" => return Ok(None),
            _ => {}
        }
        let parts: Vec<&str> = target.python_version.splitn(3, '.').take(2).collect();
        let version = parts.join(".");
        if python::locate(Some(&version), self.surroundings).is_none() {
            return Ok(None);
        }
        let host = self.discover(Some(&version)).await.ok();
        Ok(host.filter(|host| can_substitute(&host.target(), target)))
    }

    async fn discover(&self, request: Option<&str>) -> Result<Host> {
        let located = python::locate(request, self.surroundings);
        Host::discover(request, located.as_deref(), &self.cache).await
    }
}

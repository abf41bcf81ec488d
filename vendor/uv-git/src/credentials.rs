use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};
use tracing::trace;
use uv_auth::{Credentials, CredentialsFromUrlError};
use uv_cache_key::RepositoryUrl;
use uv_redacted::DisplaySafeUrl;

/// Global authentication cache for a uv invocation.
///
/// This is used to share Git credentials within a single process.
pub(crate) static GIT_STORE: LazyLock<GitStore> = LazyLock::new(GitStore::default);

/// A store for Git credentials.
#[derive(Debug, Default)]
pub(crate) struct GitStore(RwLock<HashMap<RepositoryUrl, Arc<Credentials>>>);

impl GitStore {
    /// Insert [`Credentials`] for the given URL into the store.
    fn insert(&self, url: RepositoryUrl, credentials: Credentials) {
        self.0.write().unwrap().insert(url, Arc::new(credentials));
    }

    /// Get the [`Credentials`] for the given URL, if they exist.
    pub(crate) fn get(&self, url: &RepositoryUrl) -> Option<Arc<Credentials>> {
        self.0.read().unwrap().get(url).cloned()
    }
}

/// Store [`Credentials`] for the given Git repository URL.
pub fn store_credentials(url: RepositoryUrl, credentials: Credentials) {
    GIT_STORE.insert(url, credentials);
}

/// Populate the global authentication store with credentials on a Git URL, if there are any.
///
/// Returns `true` if the store was updated.
pub fn store_credentials_from_url(url: &DisplaySafeUrl) -> Result<bool, CredentialsFromUrlError> {
    if let Some(credentials) = Credentials::from_url(url)? {
        trace!("Caching credentials for {url}");
        store_credentials(RepositoryUrl::new(url.clone()), credentials);
        Ok(true)
    } else {
        Ok(false)
    }
}

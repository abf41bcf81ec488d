//! Credentials in the URLs of files: user names and passwords, and queries such as `?token=` and those of presigned URLs.
//!
//! Locks and manifests have URLs without credentials. Only the client that sends a request restores them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use url::Url;
use wheelhouse_types::Request;
use wheelhouse_types::redact::without_credentials;

/// The URLs of a run that have credentials, by the same URLs without.
#[derive(Clone, Default)]
pub(crate) struct UrlCredentials(Arc<Mutex<HashMap<Url, Url>>>);

impl UrlCredentials {
    /// Records the credentials in the URLs of `request`.
    pub(crate) fn of(request: &Request) -> Self {
        let credentials = Self::default();
        let words = request
            .requirements
            .iter()
            .flat_map(|requirement| requirement.text.split_whitespace());
        let urls = words.filter_map(|word| {
            let start = word.find("http://").or_else(|| word.find("https://"))?;
            Url::parse(&word[start..]).ok()
        });
        let of_locks = request.locked_files.iter();
        let of_locks = of_locks.filter_map(|file| file.url.clone());
        for url in urls.chain(of_locks) {
            credentials.withheld(&url);
        }
        credentials
    }

    /// Returns `url` without credentials and fragment, and records its credentials.
    pub(crate) fn withheld(&self, url: &Url) -> Url {
        let mut bare = without_credentials(url);
        let mut full = url.clone();
        bare.set_fragment(None);
        full.set_fragment(None);
        if full != bare {
            let mut known = self.0.lock().expect("no panic while locked");
            known.insert(bare.clone(), full);
        }
        bare
    }

    /// Returns `url` with its recorded credentials.
    pub(crate) fn restored(&self, url: &Url) -> Url {
        let known = self.0.lock().expect("no panic while locked");
        known.get(url).unwrap_or(url).clone()
    }
}

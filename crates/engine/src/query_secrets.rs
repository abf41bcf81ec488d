//! Credentials in the queries of URLs, such as `?token=` and the signatures of presigned URLs.
//!
//! Locks and manifests have URLs without them, so the files behind such a URL are known without them everywhere, and only
//! the client that asks for one gets them back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use url::Url;
use wheelhouse_model::Request;
use wheelhouse_model::redact::{has_query_secrets, without_credentials};

/// The URLs of a run that have credentials in their queries, by the same URLs without credentials.
#[derive(Clone, Default)]
pub(crate) struct QuerySecrets(Arc<Mutex<HashMap<Url, Url>>>);

impl QuerySecrets {
    /// Knows the URLs that the requirements of `request` name: a lock may have them without credentials.
    pub(crate) fn of(request: &Request) -> Self {
        let secrets = Self::default();
        for requirement in &request.requirements {
            let words = requirement
                .text
                .split(|one: char| one.is_whitespace() || one == '@');
            for url in words.filter_map(|word| Url::parse(word).ok()) {
                secrets.withheld(&url);
            }
        }
        secrets
    }

    /// Returns `url` without credentials and fragment, and remembers those in its query.
    pub(crate) fn withheld(&self, url: &Url) -> Url {
        let mut bare = without_credentials(url);
        bare.set_fragment(None);
        if has_query_secrets(url) {
            let mut known = self.0.lock().expect("no panic while locked");
            known.insert(bare.clone(), url.clone());
        }
        bare
    }

    /// Returns `url` with the credentials of its query, if it had any.
    pub(crate) fn restored(&self, url: &Url) -> Url {
        let known = self.0.lock().expect("no panic while locked");
        known.get(url).unwrap_or(url).clone()
    }
}

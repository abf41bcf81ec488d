//! Whether an index sends parts of files: the end of a wheel has its metadata.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::Method;
use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, HeaderValue};
use tokio::sync::OnceCell;
use url::Url;
use uv_cache::{CacheBucket, WheelCache};
use uv_distribution_types::{BuiltDist, Dist, IndexUrl};

use crate::workshop::Workshop;

/// Which indexes send parts of files, as far as that is known.
#[derive(Default)]
pub(crate) struct Ranges(Mutex<HashMap<IndexUrl, Arc<OnceCell<bool>>>>);

impl Workshop {
    /// Whether all of the wheel `dist` has to be fetched for its metadata. Asks the first time that it is about a
    /// wheel of an index.
    pub(crate) async fn comes_whole(&self, dist: &Dist) -> bool {
        let Dist::Built(BuiltDist::Registry(wheel)) = dist else {
            return false;
        };
        let wheel = wheel.best_wheel();
        if wheel.file.dist_info_metadata || self.request.network.offline {
            return false;
        }
        let Some(url) = wheel.file.url.to_url().ok() else {
            return false;
        };
        let filename = &wheel.filename;
        let entry = self.cache.entry(
            CacheBucket::Wheels,
            WheelCache::Index(&wheel.index).wheel_dir(filename.name.as_ref()),
            format!("{}.msgpack", filename.cache_key()),
        );
        // uv had the metadata before.
        if entry.path().exists() || !url.scheme().starts_with("http") {
            return false;
        }
        let known = {
            let mut indexes = self.ranges.0.lock().expect("no panic while locked");
            Arc::clone(indexes.entry(wheel.index.clone()).or_default())
        };
        let sends_parts = known.get_or_init(async || self.sends_parts(Url::from(url)).await);
        !*sends_parts.await
    }

    /// Returns whether the server of `url` says that it sends parts; one that cannot be reached is left to uv.
    async fn sends_parts(&self, url: Url) -> bool {
        let mut request = reqwest::Request::new(Method::HEAD, url);
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let client = self.brief_client.cached_client().uncached();
        match client.execute(request).await {
            Ok(answer) => answer
                .headers()
                .get(ACCEPT_RANGES)
                .is_some_and(|unit| unit == "bytes"),
            Err(_) => true,
        }
    }
}

//! Telling that servers are asked again.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::event::seconds;
use crate::{Event, Observer};

/// Tells an observer of the first retry at each host. What follows there would be a line for each file.
#[derive(Clone, Default)]
pub struct RetryNotices(Option<Arc<Told>>);

struct Told {
    observer: Arc<dyn Observer>,
    hosts: Mutex<HashSet<String>>,
}

impl RetryNotices {
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        let hosts = Mutex::default();
        Self(Some(Arc::new(Told { observer, hosts })))
    }

    /// Tells that a request for `url` failed for this `reason` and is sent again after `delay`.
    ///
    /// # Panics
    /// When `url` has no host.
    pub fn observe(&self, url: &Url, reason: &str, delay: Duration) {
        let Some(told) = &self.0 else { return };
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut hosts = told.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.insert(host.clone()) {
            told.observer.observe(&Event::HostRetried {
                host,
                reason: reason.to_owned(),
                delay_seconds: seconds(delay),
            });
        }
    }
}

impl fmt::Debug for RetryNotices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RetryNotices")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn observe(&self, event: &Event) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }
    }

    #[test]
    fn each_host_is_told_once() {
        let heard = Arc::new(Heard::default());
        let notices = RetryNotices::new(heard.clone());
        for url in ["https://a/1", "https://a/2", "https://a:8/1", "https://b/1"] {
            let url = Url::parse(url).unwrap();
            notices.observe(&url, "busy", Duration::from_millis(500));
        }
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard[1].contains("\"a:8\"") && heard[1].contains("0.5"));
    }
}

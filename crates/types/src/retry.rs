//! Retries of requests: which failures are transient, how long to wait, and the notice of the first retry at a host.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::event::seconds;
use crate::{Event, Observer};

/// The first delay, which doubles up to [`LONGEST`]. That is also the limit for delays that a server asks for.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_mins(1);

/// The progress (bytes) with which an attempt does not count as failed: a server that sends a part each time
/// gets on, while one that sends a few bytes each time might go on for days.
pub const MIN_PROGRESS: u64 = 64 << 10;

/// Returns whether a retry may get another HTTP status than this one.
#[must_use]
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// Parses the value of `Retry-After` at the time `now`: seconds, or a date (RFC 9110, section
/// 10.2.3).
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?;
    // A date in the past asks for no wait.
    let wait = date.timestamp().duration_since(now);
    Some(wait.try_into().unwrap_or_default())
}

/// Returns the delay before the next attempt after so many `failures`; `asked` is the server's own wish.
#[must_use]
pub fn delay(failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = || SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    asked.unwrap_or_else(doubled).min(LONGEST)
}

/// Notifies an observer of the first retry at each host; a notice for each file would be noise.
#[derive(Clone, Default)]
pub struct RetryNotices(Option<Arc<Notified>>);

struct Notified {
    observer: Arc<dyn Observer>,
    hosts: Mutex<HashSet<String>>,
}

impl RetryNotices {
    /// Creates notices for `observer`.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        let hosts = Mutex::default();
        Self(Some(Arc::new(Notified { observer, hosts })))
    }

    /// Records that a request for `url` failed for this `reason` and is sent again after `delay`.
    ///
    /// # Panics
    /// When `url` has no host.
    pub fn observe(&self, url: &Url, reason: &str, delay: Duration) {
        let Some(notified) = &self.0 else { return };
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let mut hosts = notified
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if hosts.insert(host.clone()) {
            notified.observer.observe(&Event::HostRetried {
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
    struct Recorder(Mutex<Vec<String>>);

    impl Observer for Recorder {
        fn observe(&self, event: &Event) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }
    }

    #[test]
    fn reports_each_host_once() {
        let heard = Arc::new(Recorder::default());
        let notices = RetryNotices::new(heard.clone());
        for url in ["https://a/1", "https://a/2", "https://a:8/1", "https://b/1"] {
            let url = Url::parse(url).unwrap();
            notices.observe(&url, "busy", Duration::from_millis(500));
        }
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard[1].contains("\"a:8\"") && heard[1].contains("0.5"));
    }

    #[test]
    fn parses_retry_after_as_seconds_or_date() {
        let now = "1994-11-06T08:49:27Z".parse().unwrap();
        assert_eq!(retry_after("100", now), Some(Duration::from_secs(100)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(10)));
        let past = "Sat, 05 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(past, now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn delays_double_up_to_limit() {
        let delays = [1, 2, 3, 40].map(|failures| delay(failures, None).as_millis());
        assert_eq!(delays, [250, 500, 1000, 60_000]);
        let asked = |seconds| delay(1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(0), Duration::ZERO);
        assert_eq!(asked(86_400), LONGEST);
    }
}

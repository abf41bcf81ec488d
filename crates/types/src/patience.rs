//! Patience with servers: which failures may pass, and how long to wait before the next try.

use std::time::Duration;

use jiff::Timestamp;

/// Delays double from here up to the longest; no server is waited for longer, either.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_mins(1);

/// A try that brought so much does not count as failed (bytes): a server that sends a part each time
/// gets on; one that sends a few bytes each time might go on for days.
pub const WORTH_A_TRY: u64 = 64 << 10;

/// Whether another try may meet another status than this one of HTTP.
#[must_use]
pub fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// What the value of `Retry-After` asks for at the time `now`: seconds, or a date (RFC 9110, section
/// 10.2.3).
#[must_use]
pub fn asked(retry_after: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(retry_after.trim()).ok()?;
    // A date in the past asks for no wait.
    let wait = date.timestamp().duration_since(now);
    Some(wait.try_into().unwrap_or_default())
}

/// The wait before the next try after so many `failures`, where the server may have `asked` for one.
#[must_use]
pub fn delay(failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = || SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    asked.unwrap_or_else(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_to_come_again_in_seconds_or_by_a_date() {
        let now = "1994-11-06T08:49:27Z".parse().unwrap();
        assert_eq!(asked("100", now), Some(Duration::from_secs(100)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(asked(date, now), Some(Duration::from_secs(10)));
        let past = "Sat, 05 Nov 1994 08:49:37 GMT";
        assert_eq!(asked(past, now), Some(Duration::ZERO));
        assert_eq!(asked("soon", now), None);
    }

    #[test]
    fn delays_double_and_have_an_end() {
        let told = [1, 2, 3, 40].map(|failures| delay(failures, None).as_millis());
        assert_eq!(told, [250, 500, 1000, 60_000]);
        let asked = |seconds| delay(1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(0), Duration::ZERO);
        assert_eq!(asked(86_400), LONGEST);
    }
}

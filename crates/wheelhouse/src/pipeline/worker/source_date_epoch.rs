//! The time of the files in a built wheel.

use std::time::SystemTime;

use wheelhouse_types::request::DEFAULT_EPOCH;

/// 1980-01-01 in seconds since 1970-01-01 UTC, the first time that a zip file can have.
const ZIP_BEGIN: i64 = 315_532_800;

/// The time of the files in a wheel, in seconds since 1970-01-01 UTC (`SOURCE_DATE_EPOCH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceDateEpoch {
    pub(super) seconds: i64,
    /// Set if the user has set the variable.
    is_given: bool,
}

impl SourceDateEpoch {
    /// Chooses the number that the user has `given`, else the time of the newest file of the source, else a fixed time. The time
    /// of a file counts from the year in which zip files begin, since 0 stands for none, and up to `now`.
    pub(super) fn new(given: Option<&str>, modified: Option<SystemTime>, now: SystemTime) -> Self {
        let of_file = || {
            let modified = modified.filter(|modified| *modified <= now)?;
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let seconds = i64::try_from(since.as_secs()).ok()?;
            (seconds >= ZIP_BEGIN).then_some(seconds)
        };
        let number = given.and_then(|text| text.trim().parse().ok());
        Self {
            seconds: number.or_else(of_file).unwrap_or(DEFAULT_EPOCH),
            is_given: given.is_some(),
        }
    }

    /// Returns the number for the variable of hooks, unless the user has set it.
    pub(super) fn for_hooks(self) -> Option<i64> {
        (!self.is_given).then_some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn takes_time_of_newest_file_unless_user_gives_one() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(1_700_000_000);
        let epoch = |given, modified: Option<u64>| {
            let epoch = SourceDateEpoch::new(given, modified.map(at), now);
            (epoch.seconds, epoch.for_hooks())
        };
        let number = 1_600_000_000;
        assert_eq!(epoch(None, Some(1_600_000_000)), (number, Some(number)));
        assert_eq!(epoch(Some("1"), Some(1_600_000_000)), (1, None));
        assert_eq!(epoch(Some("soon"), Some(1_600_000_000)), (number, None));
        let fallback = (DEFAULT_EPOCH, Some(DEFAULT_EPOCH));
        for unusable in [None, Some(0), Some(1_700_000_001)] {
            assert_eq!(epoch(None, unusable), fallback);
        }
    }
}

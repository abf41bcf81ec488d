//! Upload times: milliseconds since 1970-01-01 UTC, and the date and time of TOML.
//!
//! Converts only; never asks what time it is.

use toml::value::{Date, Datetime, Offset, Time};

const DAY: i64 = 24 * 60 * 60 * 1000;
const MINUTE: i64 = 60 * 1000;
/// The days from 0000-03-01 to 1970-01-01, and those of 400 years.
const EPOCH: i64 = 719_468;
const ERA: i64 = 146_097;

/// The date and time in UTC; `None` for what lies outside the years 1 to 9999.
pub(super) fn to_datetime(milliseconds: i64) -> Option<Datetime> {
    let date = date(milliseconds.div_euclid(DAY))?;
    let rest = milliseconds.rem_euclid(DAY);
    let thousandths = rest % 1000;
    Some(Datetime {
        date: Some(date),
        time: Some(Time {
            hour: u8::try_from(rest / (60 * MINUTE)).ok()?,
            minute: u8::try_from(rest / MINUTE % 60).ok()?,
            second: Some(u8::try_from(rest / 1000 % 60).ok()?),
            nanosecond: (thousandths != 0)
                .then(|| u32::try_from(thousandths * 1_000_000).ok())
                .flatten(),
        }),
        offset: Some(Offset::Z),
    })
}

/// The milliseconds of `datetime`, finer parts cut off; `None` for a time without a date.
///
/// What has no offset counts as UTC, which the specification demands; a date stands for its start.
pub(super) fn to_milliseconds(datetime: &Datetime) -> Option<i64> {
    let days = days(datetime.date?);
    let time = datetime.time.as_ref().map_or(0, |time| {
        (i64::from(time.hour) * 60 + i64::from(time.minute)) * MINUTE
            + i64::from(time.second.unwrap_or(0)) * 1000
            + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000)
    });
    let offset = match datetime.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        Some(Offset::Z) | None => 0,
    };
    Some(days * DAY + time - offset * MINUTE)
}

/// The date of the day that is `days` after 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn date(days: i64) -> Option<Date> {
    // Years start on the first of March, so that the leap day is their last.
    let days = days.checked_add(EPOCH)?;
    let day_of_era = days.rem_euclid(ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + days.div_euclid(ERA) * 400 + i64::from(month <= 2);
    let year = u16::try_from(year)
        .ok()
        .filter(|year| (1..=9999).contains(year))?;
    Some(Date {
        year,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day_of_year - (153 * shifted_month + 2) / 5 + 1).ok()?,
    })
}

/// The days from 1970-01-01 to `date` (`days_from_civil`).
fn days(date: Date) -> i64 {
    let month = i64::from(date.month);
    let year = i64::from(date.year) - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * ERA + day_of_era - EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(milliseconds: i64) -> String {
        to_datetime(milliseconds).unwrap().to_string()
    }

    fn read(text: &str) -> Option<i64> {
        to_milliseconds(&text.parse().unwrap())
    }

    #[test]
    fn known_times() {
        assert_eq!(written(0), "1970-01-01T00:00:00Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(written(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(written(1_737_804_610_164), "2025-01-25T11:30:10.164Z");
        assert_eq!(to_datetime(i64::MAX), None);
        assert_eq!(to_datetime(i64::MIN), None);
    }

    #[test]
    fn other_ways_to_write_a_time() {
        let time = Some(1_737_804_610_164);
        assert_eq!(read("2025-01-25T11:30:10.164985+00:00"), time);
        assert_eq!(read("2025-01-25T13:00:10.164985+01:30"), time);
        assert_eq!(read("2025-01-25 11:30:10.164"), time);
        assert_eq!(read("1970-01-02"), Some(DAY));
        assert_eq!(read("11:30:10"), None);
    }

    proptest! {
        #[test]
        fn a_time_reads_back(milliseconds in -62_135_596_800_000_i64..253_402_300_800_000) {
            let datetime = to_datetime(milliseconds).unwrap();
            prop_assert_eq!(to_milliseconds(&datetime), Some(milliseconds));
        }
    }
}

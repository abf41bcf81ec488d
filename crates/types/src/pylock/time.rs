//! Conversion of upload times between milliseconds since 1970-01-01 UTC and TOML's date and time.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz;
use toml::value::{Date, Datetime, Offset, Time};

/// Returns the date and time in UTC, or `None` outside the years 1 to 9999.
pub(super) fn to_datetime(milliseconds: i64) -> Option<Datetime> {
    let timestamp = Timestamp::from_millisecond(milliseconds).ok()?;
    let utc = tz::Offset::UTC.to_datetime(timestamp);
    let nanosecond = u32::try_from(utc.subsec_nanosecond()).ok()?;
    Some(Datetime {
        date: Some(Date {
            year: u16::try_from(utc.year()).ok().filter(|year| *year > 0)?,
            month: u8::try_from(utc.month()).ok()?,
            day: u8::try_from(utc.day()).ok()?,
        }),
        time: Some(Time {
            hour: u8::try_from(utc.hour()).ok()?,
            minute: u8::try_from(utc.minute()).ok()?,
            second: Some(u8::try_from(utc.second()).ok()?),
            nanosecond: Some(nanosecond).filter(|nanosecond| *nanosecond != 0),
        }),
        offset: Some(Offset::Z),
    })
}

/// Returns the milliseconds of `datetime` without finer parts, or `None` for a time without a date.
///
/// A value without an offset is in UTC, as the specification demands; a date without a time means its start.
pub(super) fn to_milliseconds(datetime: &Datetime) -> Option<i64> {
    let date = datetime.date?;
    let date = civil::Date::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    );
    let time = datetime.time.map_or(Ok(civil::Time::midnight()), |time| {
        civil::Time::new(
            i8::try_from(time.hour).unwrap_or(i8::MAX),
            i8::try_from(time.minute).unwrap_or(i8::MAX),
            // A leap second counts as the one before it.
            i8::try_from(time.second.unwrap_or(0).min(59)).unwrap_or(i8::MAX),
            i32::try_from(time.nanosecond.unwrap_or(0)).unwrap_or(i32::MAX),
        )
    });
    let offset = match datetime.offset {
        Some(Offset::Custom { minutes }) => {
            tz::Offset::from_seconds(i32::from(minutes) * 60).ok()?
        }
        Some(Offset::Z) | None => tz::Offset::UTC,
    };
    let local = date.ok()?.to_datetime(time.ok()?);
    let timestamp = offset.to_timestamp(local).ok()?;
    // Rounded towards the past, so that times before 1970 lose finer parts, too.
    i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).ok()
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
        assert_eq!(read("1970-01-02"), Some(24 * 60 * 60 * 1000));
        assert_eq!(read("11:30:10"), None);
    }

    proptest! {
        #[test]
        fn time_round_trips(milliseconds in -62_135_596_800_000_i64..253_402_207_200_000) {
            let datetime = to_datetime(milliseconds).unwrap();
            prop_assert_eq!(to_milliseconds(&datetime), Some(milliseconds));
        }
    }
}

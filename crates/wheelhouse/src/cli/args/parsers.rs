//! Parsers of option values.

use std::time::Duration;

use clap::builder::TypedValueParser as _;

/// Parses a number of jobs, at least one.
pub(super) fn jobs() -> impl clap::builder::TypedValueParser<Value = usize> {
    clap::value_parser!(u16).range(1..).map(usize::from)
}

/// Parses a duration in seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok().filter(|number| *number > 0.0);
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a positive number of seconds".to_owned())
}

/// Parses a size in bytes, with an optional suffix K, M, G or T (powers of 1000).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim().trim_end_matches(['B', 'b']);
    let suffixes = [
        ('k', 1_000),
        ('m', 1_000_000),
        ('g', 1_000_000_000),
        ('t', 1_000_000_000_000),
    ];
    let found = suffixes.iter().find_map(|(suffix, factor)| {
        Some((
            text.to_lowercase().strip_suffix(*suffix)?.to_owned(),
            *factor,
        ))
    });
    let (number, factor): (String, u64) = found.unwrap_or((text.to_owned(), 1));
    let whole = number.trim().parse::<u64>().ok();
    whole
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "not a size such as 500M or 2G".to_owned())
}

/// Parses an age: a number of days, or a number with the suffix h, d or w.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let hours = [('h', 1), ('d', 24), ('w', 7 * 24)];
    let found = hours
        .iter()
        .find_map(|(suffix, hours)| Some((text.strip_suffix(*suffix)?, *hours)));
    let (number, hours) = found.unwrap_or((text, 24));
    let number: Option<u32> = number.trim().parse().ok();
    number
        .map(|number| Duration::from_hours(hours) * number)
        .ok_or_else(|| "not an age such as 30d or 12h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_suffixes() {
        assert_eq!(age("12h"), Ok(Duration::from_hours(12)));
        assert_eq!(age("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(age("2w"), Ok(Duration::from_hours(336)));
        assert_eq!(age("1"), Ok(Duration::from_hours(24)));
        assert!(age("old").is_err());
        assert!(age("-1d").is_err());
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(size("500M"), Ok(500_000_000));
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("17"), Ok(17));
        assert!(size("much").is_err());
        assert!(size("99999999T").is_err());
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("0").is_err());
        assert!(seconds("-1").is_err());
        assert!(seconds("1e40").is_err());
    }
}

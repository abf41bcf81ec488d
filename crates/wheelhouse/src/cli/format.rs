//! Sizes, durations and counts for people.

use std::time::Duration;

/// Formats a size as `8.1 MB`, in decimal units like package indexes.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is shown"
)]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next();
    // A size that rounds to 1000 is shown in the next unit.
    while size >= 999.95
        && let Some(next) = units.next()
    {
        size /= 1000.0;
        unit = Some(next);
    }
    format!("{size:.1} {}", unit.unwrap_or_default())
}

/// Formats a duration as `0.08 s`, `3.2 s`, `2 min 5 s` or `1 h 2 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.round())
        .unwrap_or_default()
        .as_secs();
    match whole {
        _ if seconds < 1.0 => format!("{seconds:.2} s"),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Formats a count as `1 wheel` or `2 wheels`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_fitting_units() {
        assert_eq!(seconds(0.081), "0.08 s");
        assert_eq!(seconds(3.24), "3.2 s");
        assert_eq!(seconds(125.4), "2 min 5 s");
        assert_eq!(seconds(59.97), "1 min 0 s");
        assert_eq!(seconds(3725.0), "1 h 2 min");
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(bytes(8_123_456), "8.1 MB");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(2_500_000_000_000_000), "2500.0 TB");
        assert_eq!(bytes(999), "999 B");
    }
}

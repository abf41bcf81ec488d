//! Sizes, durations and counts for people.

use std::time::Duration;

pub(crate) use wheelhouse_types::display::bytes;

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
}

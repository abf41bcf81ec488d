//! Values as people read them, in all outputs alike.

/// Formats a size as `8.1 MB`, in decimal units like package indexes.
#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is shown"
)]
#[must_use]
pub fn bytes(bytes: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(bytes(8_123_456), "8.1 MB");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(2_500_000_000_000_000), "2500.0 TB");
        assert_eq!(bytes(999), "999 B");
    }
}

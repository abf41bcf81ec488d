//! Upload times as text (PEP 700), and their serialization in the manifest.
//!
//! In memory they are milliseconds since 1970-01-01 UTC.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Formats a time as PEP 700 requires, `2024-05-01T12:00:00.000000Z`. Returns `None` for a time far from all uploads.
#[must_use]
pub fn to_text(milliseconds: i64) -> Option<String> {
    let timestamp = Timestamp::from_millisecond(milliseconds).ok()?;
    Some(format!("{timestamp:.6}"))
}

/// Reads a time in RFC 3339, without its parts below a millisecond.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let timestamp: Timestamp = text.parse().ok()?;
    Some(timestamp.as_millisecond())
}

/// Returns whether there is no time to serialize.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(crate) fn is_absent(milliseconds: &Option<i64>) -> bool {
    milliseconds.and_then(to_text).is_none()
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(crate) fn serialize<S: Serializer>(
    milliseconds: &Option<i64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match milliseconds.and_then(to_text) {
        Some(text) => serializer.serialize_some(&text),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| {
        parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a valid time")))
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_after_the_point() {
        let text = "2024-05-01T12:00:00.123000Z";
        assert_eq!(to_text(1_714_564_800_123).as_deref(), Some(text));
        assert_eq!(parse(text), Some(1_714_564_800_123));
        assert_eq!(parse("2024-05-01T14:00:00.123999+02:00"), parse(text));
        assert_eq!(to_text(i64::MAX), None);
        assert_eq!(parse("yesterday"), None);
    }
}

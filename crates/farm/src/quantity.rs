//! Amounts of memory as Kubernetes writes them: `512Mi`, `2Gi`, `1500M`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The suffixes, and what they multiply with.
const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
];

/// An amount of memory or disk space.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Memory {
    /// In bytes.
    bytes: u64,
}

impl Memory {
    /// Creates an amount in units of 1,073,741,824 bytes.
    #[must_use]
    pub const fn gibibytes(count: u64) -> Self {
        Self { bytes: count << 30 }
    }

    /// Returns twice the amount, but not more than `limit`; `None` if it has the limit already.
    #[must_use]
    pub fn doubled(self, limit: Self) -> Option<Self> {
        let bytes = self.bytes.saturating_mul(2).min(limit.bytes);
        (bytes > self.bytes).then_some(Self { bytes })
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not a quantity such as 512Mi or 4Gi");
        let unit = UNITS.iter().find_map(|(suffix, bytes)| {
            let number = text.strip_suffix(suffix)?;
            Some((number, *bytes))
        });
        let (number, unit) = unit.unwrap_or((text, 1));
        let is_decimal = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number
            .parse()
            .ok()
            .filter(|_| is_decimal)
            .ok_or_else(invalid)?;
        let bytes = number.checked_mul(unit).filter(|bytes| *bytes > 0);
        Ok(Self {
            bytes: bytes.ok_or_else(invalid)?,
        })
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..4]
            .iter()
            .find(|(_, unit)| self.bytes.is_multiple_of(*unit));
        match unit {
            Some((suffix, unit)) => write!(formatter, "{}{suffix}", self.bytes / unit),
            None => write!(formatter, "{}", self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_quantities() {
        for (text, written) in [
            ("512Mi", "512Mi"),
            ("2048Mi", "2Gi"),
            ("1536Mi", "1536Mi"),
            ("1500M", "1500000000"),
            ("4096", "4Ki"),
            ("7", "7"),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap().to_string(), written);
        }
        for text in ["", "Gi", "-1Gi", "+1", "1.5Gi", "0", "20000000Ti", "1gi"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }

    #[test]
    fn doubles_up_to_the_limit() {
        let limit = Memory::gibibytes(5);
        let next = Memory::gibibytes(2).doubled(limit).unwrap();
        assert_eq!(next.to_string(), "4Gi");
        let last = next.doubled(limit).unwrap();
        assert_eq!(last.to_string(), "5Gi");
        assert_eq!(last.doubled(limit), None);
    }
}

//! How much an archive may hold, so that a small file cannot fill a disk.
//!
//! Never measures anything itself: the readers of archives count.

use wheelhouse_types::Result;

use super::safe_path::invalid_entry;

/// What unpacking one archive may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// How many times larger than the archive its files may be, once they exceed `ratio_floor`.
    pub ratio: u64,
    /// Bytes below which no ratio is suspicious.
    pub ratio_floor: u64,
}

impl Default for Limits {
    /// Far above what is published: the largest source distributions unpack to about 2 GiB, the largest wheels to 5 GiB,
    /// and no archive has 100,000 files. Source code compresses to a tenth, and sparse data to a fiftieth.
    fn default() -> Self {
        Self {
            entries: 200_000,
            bytes: 16 << 30,
            ratio: 100,
            ratio_floor: 256 << 20,
        }
    }
}

impl Limits {
    /// The bytes that an archive of `size` bytes may unpack to.
    #[must_use]
    pub fn byte_limit(&self, size: u64) -> u64 {
        self.bytes
            .min(self.ratio_floor.max(size.saturating_mul(self.ratio)))
    }

    /// Returns what an archive of `size` bytes may hold.
    pub(super) fn remaining(&self, size: u64) -> RemainingLimits {
        RemainingLimits {
            entries: self.entries,
            bytes: self.byte_limit(size),
        }
    }
}

/// The amount that the rest of an archive may hold.
#[derive(Clone, Debug)]
pub(super) struct RemainingLimits {
    entries: u64,
    bytes: u64,
}

impl RemainingLimits {
    /// Counts the entry `name` of `size` bytes.
    pub(super) fn count(&mut self, name: &str, size: u64) -> Result<()> {
        let entries = self.entries.checked_sub(1);
        let bytes = self.bytes.checked_sub(size);
        let (Some(entries), Some(bytes)) = (entries, bytes) else {
            let hint = "It looks like a decompression bomb.";
            let fault = "takes the archive beyond what may be unpacked";
            return Err(invalid_entry(name, fault).with_hint(hint));
        };
        (self.entries, self.bytes) = (entries, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_grows_with_archive_within_bounds() {
        let limits = Limits {
            entries: 1,
            bytes: 1000,
            ratio: 10,
            ratio_floor: 50,
        };
        assert_eq!(limits.byte_limit(1), 50);
        assert_eq!(limits.byte_limit(20), 200);
        assert_eq!(limits.byte_limit(u64::MAX), 1000);
    }
}

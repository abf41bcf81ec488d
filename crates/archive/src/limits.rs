//! How much an archive may hold, so that a small file cannot fill a disk.
//!
//! Never measures anything itself: the readers of archives count.

use wheelhouse_types::Result;

use super::safe_path::refusal;

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
    pub fn ceiling(&self, size: u64) -> u64 {
        self.bytes
            .min(self.ratio_floor.max(size.saturating_mul(self.ratio)))
    }

    /// Returns what an archive of `size` bytes may hold.
    pub(super) fn allowance(&self, size: u64) -> Allowance {
        Allowance {
            entries: self.entries,
            bytes: self.ceiling(size),
        }
    }
}

/// The amount that the rest of an archive may hold.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    entries: u64,
    bytes: u64,
}

impl Allowance {
    /// Counts the entry `name` of `size` bytes.
    pub(super) fn count(&mut self, name: &str, size: u64) -> Result<()> {
        let entries = self.entries.checked_sub(1);
        let bytes = self.bytes.checked_sub(size);
        let (Some(entries), Some(bytes)) = (entries, bytes) else {
            let hint = "It looks like a decompression bomb.";
            let fault = "takes the archive beyond what may be unpacked";
            return Err(refusal(name, fault).with_hint(hint));
        };
        (self.entries, self.bytes) = (entries, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_grows_with_the_archive_within_bounds() {
        let limits = Limits {
            entries: 1,
            bytes: 1000,
            ratio: 10,
            ratio_floor: 50,
        };
        assert_eq!(limits.ceiling(1), 50);
        assert_eq!(limits.ceiling(20), 200);
        assert_eq!(limits.ceiling(u64::MAX), 1000);
    }
}

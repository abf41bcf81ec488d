//! How much an archive may hold, so that a small file cannot fill a disk.
//!
//! Never measures anything itself: who unpacks, counts.

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
    /// Far above what is published: the largest source distributions unpack to about 2 GiB.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 8 << 30,
            ratio: 200,
            ratio_floor: 1 << 30,
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

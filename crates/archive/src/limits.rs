//! Limits of unpacked archives, so that a small archive cannot fill a disk. The readers of archives count.

use wheelhouse_types::Result;

use crate::safe_path::invalid_entry;

/// The limits of one unpacked archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of files, directories and links.
    pub entries: u64,
    /// The total size of all files in bytes.
    pub bytes: u64,
    /// The ratio of the total size to the size of the archive, for total sizes above `ratio_floor`.
    pub ratio: u64,
    /// The total size in bytes below which any ratio is allowed.
    pub ratio_floor: u64,
}

impl Default for Limits {
    /// Returns limits far above published archives: the largest source distributions unpack to about 2 GiB, the largest
    /// wheels to 5 GiB, and no archive has 100,000 files. Source code compresses to a tenth, and sparse data to a fiftieth.
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
    /// Returns the number of bytes that an archive of `size` bytes may unpack to.
    #[must_use]
    pub fn byte_limit(&self, size: u64) -> u64 {
        self.bytes
            .min(self.ratio_floor.max(size.saturating_mul(self.ratio)))
    }

    /// Returns the limits at the start of an archive of `size` bytes.
    pub(super) fn remaining(&self, size: u64) -> RemainingLimits {
        RemainingLimits {
            entries: self.entries,
            bytes: self.byte_limit(size),
        }
    }
}

/// The limits of the remaining entries of an archive.
#[derive(Clone, Debug)]
pub(super) struct RemainingLimits {
    entries: u64,
    bytes: u64,
}

impl RemainingLimits {
    /// Subtracts the entry `name` of `size` bytes.
    ///
    /// # Errors
    /// [`wheelhouse_types::Kind::Fetch`] if the entry exceeds a limit.
    pub(super) fn count(&mut self, name: &str, size: u64) -> Result<()> {
        let entries = self.entries.checked_sub(1);
        let bytes = self.bytes.checked_sub(size);
        let (Some(entries), Some(bytes)) = (entries, bytes) else {
            let hint = "Check whether the archive is a decompression bomb.";
            let fault = "exceeds the limits of unpacked archives";
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

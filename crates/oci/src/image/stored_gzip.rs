//! gzip without compression, because wheels are compressed already.
//!
//! Tools that copy images (skopeo, docker, podman) compress a layer that is a plain tar archive, which takes time and changes
//! its digest; a gzip layer stays unchanged. Blocks have a fixed length, so that the bytes do not depend on the sizes of
//! writes.

use std::io::{self, Write};

/// The maximum size of a stored block (RFC 1951), in bytes.
const BLOCK: usize = 65_535;

/// A header without name, time and operating system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

const TRAILER: u64 = 8;
const BLOCK_HEADER: u64 = 5;

/// Returns the size of the gzip file of `plain` bytes.
pub(crate) fn size(plain: u64) -> u64 {
    let blocks = plain / BLOCK as u64 + 1;
    HEADER.len() as u64 + plain + blocks * BLOCK_HEADER + TRAILER
}

/// Writes a gzip file of stored blocks.
pub(crate) struct StoredGzip<W> {
    inner: W,
    block: Vec<u8>,
    check: flate2::Crc,
}

impl<W: Write> StoredGzip<W> {
    pub(crate) fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&HEADER)?;
        Ok(Self {
            inner,
            block: Vec::with_capacity(BLOCK),
            check: flate2::Crc::new(),
        })
    }

    /// Writes the last block and the trailer, and returns the inner writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_block(true)?;
        self.inner.write_all(&self.check.sum().to_le_bytes())?;
        self.inner.write_all(&self.check.amount().to_le_bytes())?;
        Ok(self.inner)
    }

    fn write_block(&mut self, is_last: bool) -> io::Result<()> {
        let length = u16::try_from(self.block.len()).expect("a block is at most 65535 bytes long");
        let [low, high] = length.to_le_bytes();
        self.inner
            .write_all(&[u8::from(is_last), low, high, !low, !high])?;
        self.inner.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for StoredGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let accepted = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..accepted]);
        self.check.update(&bytes[..accepted]);
        if self.block.len() == BLOCK {
            self.write_block(false)?;
        }
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn stored_data_round_trips_in_any_chunks() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * BLOCK + 9).collect();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 9] {
            let plain = &bytes[..length];
            let store = |chunk: usize| {
                let mut writer = StoredGzip::new(Vec::new()).unwrap();
                plain
                    .chunks(chunk)
                    .for_each(|part| writer.write_all(part).unwrap());
                writer.finish().unwrap()
            };
            let stored = store(usize::MAX);
            assert_eq!(stored.len() as u64, size(length as u64));
            assert!(store(1000) == stored);
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&stored[..])
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == plain);
        }
    }
}

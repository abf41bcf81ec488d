//! gzip without compression: what wheels are worth, in the form that the world wants.
//!
//! Tools that copy images (skopeo, docker, podman) compress a layer that is a plain tar archive,
//! which costs time and changes its digest; one that says it is gzip they leave alone. Blocks
//! are cut by length alone, so that the bytes do not depend on how they are written.

use std::io::{self, Write};

/// The most that a stored block can have (RFC 1951), in bytes.
const BLOCK: usize = 65_535;

/// No name, no time, no system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

const TRAILER: u64 = 8;
const BLOCK_HEADER: u64 = 5;

/// The size of `plain` bytes once they are stored.
pub(crate) fn size(plain: u64) -> u64 {
    let blocks = plain / BLOCK as u64 + 1;
    HEADER.len() as u64 + plain + blocks * BLOCK_HEADER + TRAILER
}

/// Stores what is written to it.
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

    /// Ends the last block, and returns what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_block(true)?;
        self.inner.write_all(&self.check.sum().to_le_bytes())?;
        self.inner.write_all(&self.check.amount().to_le_bytes())?;
        Ok(self.inner)
    }

    fn write_block(&mut self, is_last: bool) -> io::Result<()> {
        let length = u16::try_from(self.block.len()).expect("a block is no longer than that");
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
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        self.check.update(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.write_block(false)?;
        }
        Ok(taken)
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

//! Adapters between blocking readers and writers and asynchronous streams, with a bounded number of chunks in between.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

/// The size of a chunk, in bytes.
const CHUNK_SIZE: usize = 256 * 1024;

/// The number of chunks in the channel.
const CAPACITY: usize = 2;

type Chunk = io::Result<Vec<u8>>;

/// Creates a channel of chunks.
pub(super) fn channel() -> (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
    mpsc::channel(CAPACITY)
}

/// Sends the written bytes except for the first ones. The last chunk is sent only by `flush`, so that an incomplete stream
/// is not mistaken for a complete one.
pub(super) struct StreamWriter {
    sender: mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
    skip: u64,
}

impl StreamWriter {
    /// Creates a writer that drops the first `skip` bytes.
    pub(super) fn new(sender: mpsc::Sender<Chunk>, skip: u64) -> Self {
        Self {
            sender,
            buffer: Vec::with_capacity(CHUNK_SIZE),
            skip,
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        if self.buffer.len() == CHUNK_SIZE {
            self.flush()?;
        }
        let free = CHUNK_SIZE - self.buffer.len();
        let accepted = free.min(bytes.len() - skipped);
        self.buffer
            .extend_from_slice(&bytes[skipped..skipped + accepted]);
        Ok(skipped + accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_SIZE));
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads chunks from a channel. It blocks, so it must not be read on a thread of the asynchronous runtime.
pub(super) struct StreamReader {
    receiver: mpsc::Receiver<Chunk>,
    chunk: io::Cursor<Vec<u8>>,
}

impl StreamReader {
    pub(super) fn new(receiver: mpsc::Receiver<Chunk>) -> Self {
        Self {
            receiver,
            chunk: io::Cursor::default(),
        }
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = io::Cursor::new(chunk?),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_written_data_from_offset() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHUNK_SIZE + 17).collect();
        for skip in [0, 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 5, 3 * CHUNK_SIZE + 17] {
            let (sender, receiver) = channel();
            let sent = bytes.clone();
            let thread = std::thread::spawn(move || {
                let mut writer = StreamWriter::new(sender, skip as u64);
                writer.write_all(&sent).unwrap();
                writer.flush().unwrap();
            });
            let mut read = Vec::new();
            StreamReader::new(receiver).read_to_end(&mut read).unwrap();
            thread.join().unwrap();
            assert!(read == bytes[skip..], "{skip}");
        }
    }
}

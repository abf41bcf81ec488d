//! From writing to streams and from streams to reading: what is made on one thread is sent on
//! another, a few chunks at a time.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

/// How much goes at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// How many chunks wait for whoever takes them.
const WAITING: usize = 2;

type Chunk = io::Result<Vec<u8>>;

/// Makes the two ends of a stream.
pub(super) fn channel() -> (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
    mpsc::channel(WAITING)
}

/// Sends what is written to it, but for the first bytes. The last are held back until it is flushed:
/// nobody takes what is not whole for the whole.
pub(super) struct StreamWriter {
    sender: mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
    skip: u64,
}

impl StreamWriter {
    /// Leaves out the first `skip` bytes.
    pub(super) fn new(sender: mpsc::Sender<Chunk>, skip: u64) -> Self {
        Self {
            sender,
            buffer: Vec::with_capacity(CHUNK),
            skip,
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left_out = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= left_out as u64;
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        let room = CHUNK - self.buffer.len();
        let taken = room.min(bytes.len() - left_out);
        self.buffer
            .extend_from_slice(&bytes[left_out..left_out + taken]);
        Ok(left_out + taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads what is sent to it. Must not be read on a thread that runs tasks.
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
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHUNK + 17).collect();
        for skip in [0, 1, CHUNK, 2 * CHUNK + 5, 3 * CHUNK + 17] {
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

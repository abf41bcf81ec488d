//! Sends files over TCP by `sendfile(2)`: from the page cache to the socket, without a copy in this process.
//!
//! hyper writes the data of a body as slices of memory. [`FileChunk`] offers it a slice of [`PLACEHOLDER`], which
//! [`SendfileStream`], below hyper, recognizes by its address and replaces with the bytes of the file. This is for HTTP/1 without
//! TLS: encryption needs the bytes in memory, and so does the framing of HTTP/2.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::Response;
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use hyper::body::{Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The size of the largest chunk of a file, in bytes.
const LARGEST_CHUNK: usize = 1 << 20;

/// Stands for the bytes of a file. Never read, so that it takes no memory.
static PLACEHOLDER: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; LARGEST_CHUNK].into());

/// A part of a file.
#[derive(Clone, Debug)]
pub(crate) struct FileRange {
    pub(crate) file: Arc<File>,
    pub(crate) bytes: Range<u64>,
}

/// Passes the range that hyper writes next from a [`FileChunk`] to its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextRange(Arc<Mutex<Option<FileRange>>>);

impl NextRange {
    fn take(&self) -> Option<FileRange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sets the range, unless an earlier one is to be written first.
    fn offer(&self, range: &FileRange) {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        next.get_or_insert_with(|| range.clone());
    }
}

/// A piece of a body.
pub(crate) enum BodyData {
    Bytes(Bytes),
    File(FileChunk),
}

/// A piece of a file, which only a [`SendfileStream`] can write.
pub(crate) struct FileChunk {
    range: FileRange,
    next: NextRange,
}

impl FileChunk {
    fn length(&self) -> usize {
        usize::try_from(self.range.bytes.end - self.range.bytes.start).expect("a chunk is small")
    }
}

impl Buf for BodyData {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::File(chunk) => chunk.length(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            // hyper copies bodies to memory for connections without vectored writes only.
            Self::File(_) => unreachable!("a file is sent by its connection"),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match (self, slices.first_mut()) {
            (Self::Bytes(bytes), _) => bytes.chunks_vectored(slices),
            (Self::File(chunk), Some(slice)) if chunk.length() > 0 => {
                chunk.next.offer(&chunk.range);
                *slice = IoSlice::new(&PLACEHOLDER[..chunk.length()]);
                1
            }
            (Self::File(_), _) => 0,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::File(chunk) => {
                assert!(
                    count <= chunk.length(),
                    "no more than the chunk was written"
                );
                chunk.range.bytes.start += count as u64;
            }
        }
    }
}

/// The body of a response.
pub(crate) enum SentBody {
    Memory(Body),
    File(BoxStream<'static, io::Result<BodyData>>),
}

impl SentBody {
    /// Lets the [`FileRange`] among the extensions of `response` take the place of its body, if the connection has a `next`.
    pub(crate) fn replace(mut response: Response<Body>, next: Option<NextRange>) -> Response<Self> {
        let range = response.extensions_mut().remove::<FileRange>();
        response.map(|body| match (range, next) {
            (Some(range), Some(next)) => Self::File(chunks(range, next).boxed()),
            _ => Self::Memory(body),
        })
    }
}

impl HttpBody for SentBody {
    type Data = BodyData;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<BodyData>, axum::Error>>> {
        Poll::Ready(match self.get_mut() {
            Self::Memory(body) => ready!(Pin::new(body).poll_frame(context))
                .map(|frame| Ok(frame?.map_data(BodyData::Bytes))),
            Self::File(chunks) => ready!(chunks.as_mut().poll_next(context))
                .map(|chunk| chunk.map(Frame::data).map_err(axum::Error::new)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Memory(body) => body.is_end_stream(),
            Self::File(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Memory(body) => body.size_hint(),
            Self::File(_) => SizeHint::default(),
        }
    }
}

/// Returns the chunks of `range`, each in the page cache so that sending it does not wait for a disk.
fn chunks(
    range: FileRange,
    next: NextRange,
) -> impl Stream<Item = io::Result<BodyData>> + Send + 'static {
    stream::try_unfold(range, move |mut rest| {
        let next = next.clone();
        async move {
            if rest.bytes.is_empty() {
                return Ok(None);
            }
            let mut range = rest.clone();
            range.bytes.end = rest.bytes.end.min(rest.bytes.start + LARGEST_CHUNK as u64);
            rest.bytes.start = range.bytes.end;
            load(&range).await?;
            Ok(Some((BodyData::File(FileChunk { range, next }), rest)))
        }
    })
}

/// Reads `range` into the page cache, unless its ends are there.
async fn load(range: &FileRange) -> io::Result<()> {
    let is_loaded = |position| {
        let mut byte = [0];
        let slices = &mut [IoSliceMut::new(&mut byte)];
        let read = rustix::io::preadv2(&range.file, slices, position, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|read| read > 0)
    };
    if is_loaded(range.bytes.start) && is_loaded(range.bytes.end - 1) {
        return Ok(());
    }
    let FileRange { file, bytes } = range.clone();
    tokio::task::spawn_blocking(move || {
        let length = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
        std::os::unix::fs::FileExt::read_exact_at(&*file, &mut vec![0; length], bytes.start)
    })
    .await?
}

/// A TCP connection that sends the files of [`BodyData`].
#[derive(Debug)]
pub(crate) struct SendfileStream {
    stream: TcpStream,
    next: NextRange,
}

impl SendfileStream {
    /// Returns the connection, and what the bodies of its responses need.
    pub(crate) fn new(stream: TcpStream) -> (Self, NextRange) {
        let next = NextRange::default();
        let passed = next.clone();
        (Self { stream, next }, passed)
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        FileRange { file, bytes }: &FileRange,
    ) -> Poll<io::Result<usize>> {
        let length = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                let mut position = bytes.start;
                Ok(rustix::fs::sendfile(
                    &self.stream,
                    file,
                    Some(&mut position),
                    length,
                )?)
            });
            return match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // The file was truncated.
                Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                sent => Poll::Ready(sent),
            };
        }
    }
}

impl AsyncWrite for SendfileStream {
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(range) = self.next.take() else {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        };
        let is_placeholder =
            |slice: &IoSlice<'_>| std::ptr::eq(slice.as_ptr(), PLACEHOLDER.as_ptr());
        match slices.iter().position(is_placeholder) {
            Some(0) => self.poll_send(context, &range),
            Some(first) => {
                Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..first])
            }
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for SendfileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

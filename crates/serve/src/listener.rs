//! Listening and connections: TCP and Unix sockets, with and without TLS, HTTP/1.1 and HTTP/2, and the graceful end.
//!
//! All transports share [`Connections::serve`]. The number of connections is bounded, so that descriptors for files are left.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::{Request, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use wheelhouse_types::{Error, Kind, Result};

use crate::observe::{self, Observers};
use crate::sendfile::{NextRange, SendfileStream};

/// The time for a client to send the head of a request, and between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// An address and a port; port 0 is any free port. `[::]` includes IPv4 where the system permits.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Bind {
    type Err = String;

    /// Parses `ADDRESS:PORT`, `PORT`, or `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("the path of the socket is missing".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp(SocketAddr::from(([0, 0, 0, 0], port))));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| "expected ADDRESS:PORT, a port, or unix:PATH".to_owned())
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    bind: Bind,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Removes the file together with the listener.
        _file: RemovedSocket,
    },
}

#[derive(Debug)]
struct RemovedSocket(PathBuf);

impl Drop for RemovedSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn not_bound(bind: &Bind, error: io::Error) -> Error {
    let hint = match (error.kind(), bind) {
        (io::ErrorKind::AddrInUse, Bind::Tcp(_)) => Some(
            "Stop the program that listens there, or pass another address with --bind; port 0 takes a free one.",
        ),
        (io::ErrorKind::AddrInUse, Bind::Unix(_)) => {
            Some("Stop the program that listens there, or pass another path with --bind.")
        }
        (io::ErrorKind::PermissionDenied, Bind::Tcp(_)) => {
            Some("Pass a port from 1024 on with --bind: lower ones need a privilege.")
        }
        _ => None,
    };
    let failed = Error::new(Kind::Publish, format!("failed to listen on {bind}")).caused_by(error);
    match hint {
        Some(hint) => failed.with_hint(hint),
        None => failed,
    }
}

impl Listener {
    /// Binds a socket. A Unix socket that no process listens on any more is replaced.
    ///
    /// # Errors
    /// [`Kind::Publish`] if the address is in use or not permitted.
    pub async fn bind(bind: &Bind) -> Result<Self> {
        match bind {
            Bind::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|error| not_bound(bind, error))?;
                let bound = listener.local_addr().unwrap_or(*address);
                Ok(Self {
                    socket: Socket::Tcp(listener),
                    bind: Bind::Tcp(bound),
                })
            }
            Bind::Unix(path) => {
                remove_stale_socket(path).await;
                let listener = UnixListener::bind(path).map_err(|error| not_bound(bind, error))?;
                Ok(Self {
                    socket: Socket::Unix {
                        listener,
                        _file: RemovedSocket(path.clone()),
                    },
                    bind: bind.clone(),
                })
            }
        }
    }

    /// Returns the address, with the port that the system has chosen.
    #[must_use]
    pub fn address(&self) -> &Bind {
        &self.bind
    }
}

/// Removes the socket at `path` if connections to it are refused.
async fn remove_stale_socket(path: &Path) {
    use std::os::unix::fs::FileTypeExt as _;

    // Connections to other kinds of files are refused, too.
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && let Err(error) = UnixStream::connect(path).await
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        let _ = std::fs::remove_file(path);
    }
}

/// Serves the connections of all listeners.
pub(crate) struct Connections {
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) observers: Observers,
    /// The number of simultaneous connections.
    pub(crate) limit: usize,
    /// The time after which a client that does not read is dropped.
    pub(crate) stalled: Duration,
    /// The time for requests to finish after the server is stopped.
    pub(crate) stopping: Duration,
}

impl Connections {
    /// Serves until `stop` completes, then finishes the requests in progress.
    pub(crate) async fn run(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
        let stopping = self.stopping;
        let served = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(served.limit));
        let accepting = listeners
            .into_iter()
            .map(|listener| accept(listener, &served, &graceful, &permits));
        tokio::select! {
            () = stop => {}
            // Dropping the listeners closes the sockets, so that new clients go elsewhere.
            _ = futures::future::join_all(accepting) => {}
        }
        let open = graceful.count();
        if tokio::time::timeout(stopping, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(open, "closing connections whose requests have not ended");
        }
    }

    /// Serves one connection of any transport. `next` is that of a connection that sends files.
    fn serve<Io>(
        self: &Arc<Self>,
        io: Io,
        next: Option<NextRange>,
        client: Option<IpAddr>,
        watcher: Watcher,
        permit: OwnedSemaphorePermit,
    ) where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let served = Arc::clone(self);
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, observers) = (served.router.clone(), served.observers.clone());
            observe::answer(router, observers, client, next.clone(), request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LARGEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_header_list_size(16 << 10);
        let connection = builder
            .serve_connection(TokioIo::new(io), service)
            .into_owned();
        let connection = watcher.watch(connection);
        let metrics = Arc::clone(&self.observers.metrics);
        metrics.connections.inc();
        tokio::spawn(async move {
            // Errors of a client that disconnects, or does not use HTTP, cannot be reported to it.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection has failed");
            }
            metrics.connections.dec();
            drop(permit);
        });
    }
}

async fn accept(
    listener: Listener,
    served: &Arc<Connections>,
    graceful: &GracefulShutdown,
    permits: &Arc<Semaphore>,
) {
    // Handshakes end with the listener.
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            return;
        };
        match &listener.socket {
            Socket::Tcp(socket) => match socket.accept().await {
                Ok((stream, address)) => {
                    prepare(&stream, served.stalled);
                    let client = Some(address.ip().to_canonical());
                    let Some(tls) = &served.tls else {
                        let (stream, next) = SendfileStream::new(stream);
                        served.serve(stream, Some(next), client, graceful.watcher(), permit);
                        continue;
                    };
                    let acceptor = TlsAcceptor::from(Arc::clone(tls));
                    let (served, watcher) = (Arc::clone(served), graceful.watcher());
                    handshakes.spawn(async move {
                        let handshake = acceptor.accept(stream);
                        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                            Ok(Ok(stream)) => served.serve(stream, None, client, watcher, permit),
                            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake has failed"),
                            Err(_) => tracing::debug!("a TLS handshake takes too long"),
                        }
                    });
                }
                Err(error) => wait_for_descriptors(&error).await,
            },
            Socket::Unix { listener, .. } => match listener.accept().await {
                Ok((stream, _)) => {
                    served.serve(stream, None, None, graceful.watcher(), permit);
                }
                Err(error) => wait_for_descriptors(&error).await,
            },
        }
    }
}

/// Waits a moment after accepting has failed: descriptors are probably exhausted, and may be available again soon.
async fn wait_for_descriptors(error: &io::Error) {
    tracing::debug!(%error, "failed to accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Sets the options of a connection, without which responses are delayed, and clients that do not read are not detected.
fn prepare(stream: &TcpStream, stalled: Duration) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let limit = u32::try_from(stalled.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, limit);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stalled;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn suggests_another_address_for_one_in_use() {
        let any: Bind = "127.0.0.1:0".parse().unwrap();
        let taken = Listener::bind(&any).await.unwrap();
        let error = Listener::bind(taken.address()).await.unwrap_err();
        assert!(
            error
                .display_chain()
                .contains("failed to listen on 127.0.0.1:")
        );
        assert!(error.hint().unwrap().contains("--bind"));
        let directory = tempfile::tempdir().unwrap();
        let path = Bind::Unix(directory.path().join("socket"));
        let _taken = Listener::bind(&path).await.unwrap();
        let error = Listener::bind(&path).await.unwrap_err();
        assert!(error.hint().unwrap().contains("--bind"));
    }

    #[test]
    fn parses_addresses() {
        for (text, expected) in [
            ("8080", "0.0.0.0:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:8080", "[::]:8080"),
            ("unix:/run/w.sock", "unix:/run/w.sock"),
        ] {
            assert_eq!(text.parse::<Bind>().unwrap().to_string(), expected);
        }
        for text in ["", "unix:", "localhost", "1.2.3.4", "99999"] {
            assert!(text.parse::<Bind>().is_err(), "{text}");
        }
    }
}

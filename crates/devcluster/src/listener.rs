//! Connections with and without TLS on one port: the first byte of a client tells which.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

/// First byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Longest wait for the first byte, and for the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that have not said yet what they are.
const UNDECIDED_LIMIT: usize = 256;
/// After an error of the system (too many open files), accepting goes on after this.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, open for HTTP.
pub type Connection = Either<TcpStream, TlsStream<TcpStream>>;

/// Gives `axum::serve` connections that are ready for HTTP. The port is free again when this is dropped.
pub struct Listener {
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Listener {
    /// Listens with a certificate.
    ///
    /// # Errors
    /// If the address of the socket cannot be told.
    pub fn new(socket: TcpListener, server: Arc<ServerConfig>) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        let accepting = tokio::spawn(accept_all(socket, TlsAcceptor::from(server), sender));
        Ok(Self {
            ready,
            address,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }
}

async fn accept_all(socket: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(Connection, SocketAddr)>) {
    let undecided = Arc::new(Semaphore::new(UNDECIDED_LIMIT));
    while let Ok(permit) = undecided.clone().acquire_owned().await {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let opened = tokio::time::timeout(PATIENCE, open(stream, acceptor)).await;
            drop(permit);
            if let Ok(Ok(connection)) = opened {
                // Nobody takes it any more while shutting down.
                let _ = ready.send((connection, peer)).await;
            }
        });
    }
}

async fn open(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<Connection> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        1 if first[0] == HANDSHAKE => Ok(Either::Right(acceptor.accept(stream).await?)),
        1 => Ok(Either::Left(stream)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The task that accepts ends only with this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

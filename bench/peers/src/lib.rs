//! Shared code of the peers in Rust: arguments, a single-threaded tokio runtime, and TLS.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Poll, ready};

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{spawn, unconstrained};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Maximum size of a message that the peers accept.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Maximum number of messages pending for the slowest client of a broadcast.
const MAX_WAITING: usize = 1 << 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Echo,
    Deflate,
    Tls,
    Broadcast,
}

/// A connection, encrypted or not.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

pub trait Peer: Clone + Send + 'static {
    /// Serves one client until it disconnects.
    fn client(self, socket: impl Socket) -> impl Future<Output = ()> + Send;
}

/// Listens on the port in the arguments and serves with the peer that `peer` returns for the mode.
pub fn run<P: Peer>(peer: impl FnOnce(Mode) -> Option<P>) -> io::Result<()> {
    let usage = || io::Error::other("usage: PORT [MODE], echo or what else this peer knows");
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or_else(usage)?;
    let port = port.parse().map_err(io::Error::other)?;
    let mode = match arguments.next().as_deref().unwrap_or("echo") {
        "echo" => Mode::Echo,
        "deflate" => Mode::Deflate,
        "tls" => Mode::Tls,
        "broadcast" => Mode::Broadcast,
        _ => return Err(usage()),
    };
    let peer = peer(mode).ok_or_else(usage)?;
    let acceptor = (mode == Mode::Tls).then(acceptor).transpose()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(listen(port, acceptor, peer))
}

async fn listen(port: u16, acceptor: Option<TlsAcceptor>, peer: impl Peer) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!(
        "listening on ws://localhost:{}/",
        listener.local_addr()?.port()
    );
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (acceptor, peer) = (acceptor.clone(), peer.clone());
        // Without tokio's cooperative budget, an echo is faster.
        spawn(unconstrained(async move {
            match acceptor {
                None => peer.client(socket).await,
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(socket) => peer.client(socket).await,
                    Err(error) => eprintln!("{error}"),
                },
            }
        }));
    }
}

fn acceptor() -> io::Result<TlsAcceptor> {
    let file = |name| std::env::var(name).map_err(io::Error::other);
    let certificates = CertificateDer::pem_file_iter(file("BENCH_CERTIFICATE")?)
        .and_then(Iterator::collect)
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(file("BENCH_KEY")?).map_err(io::Error::other)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(std::sync::Arc::new(config)))
}

/// Sends back the result of `message` for each received item; items received together are flushed together.
pub async fn echo<W, R, M>(websocket: W, message: impl Fn(R) -> Option<M>) -> Result<(), W::Error>
where
    W: Stream<Item = R> + Sink<M>,
{
    let mut websocket = pin!(websocket);
    poll_fn(|context| {
        loop {
            ready!(websocket.as_mut().poll_ready(context))?;
            match websocket.as_mut().poll_next(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(received)) => {
                    if let Some(message) = message(received) {
                        websocket.as_mut().start_send(message)?;
                    }
                }
                Poll::Pending => {
                    ready!(websocket.as_mut().poll_flush(context))?;
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// The sender of a broadcast of this message type.
pub fn everyone<M: Clone>() -> broadcast::Sender<M> {
    broadcast::Sender::new(MAX_WAITING)
}

/// Sends the result of `message` for each received item to all clients.
pub async fn broadcast<W, R, M>(
    websocket: W,
    message: impl Fn(R) -> Option<M>,
    everyone: broadcast::Sender<M>,
) -> Result<(), W::Error>
where
    W: Stream<Item = R> + Sink<M>,
    M: Clone,
{
    let mut websocket = pin!(websocket);
    let mut said = everyone.subscribe();
    loop {
        tokio::select! {
            received = websocket.next() => match received.map(&message) {
                None => return Ok(()),
                Some(None) => {}
                // Never fails: this client is a receiver, too.
                Some(Some(message)) => _ = everyone.send(message),
            },
            first = said.recv() => {
                let mut next = first;
                loop {
                    match next {
                        Ok(message) => websocket.feed(message).await?,
                        Err(RecvError::Lagged(_)) => return websocket.close().await,
                        Err(RecvError::Closed) => break,
                    }
                    match said.recv().now_or_never() {
                        Some(following) => next = following,
                        None => break,
                    }
                }
                websocket.flush().await?;
            }
        }
    }
}

//! A server with yawc and hyper.

use std::io;

use bench_peers::{MAX_MESSAGE, Mode, Peer, Socket, broadcast, echo, everyone, run};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::Sender;
use tokio::task::{spawn, unconstrained};
use yawc::{DeflatePool, Frame, OpCode, Options, UpgradeFut, WebSocket, WebSocketError};

fn main() -> io::Result<()> {
    run(|mode| {
        Some(Yawc {
            options: options(mode),
            everyone: (mode == Mode::Broadcast).then(everyone),
        })
    })
}

fn options(mode: Mode) -> Options {
    // The library's limits are the smallest sizes that it refuses. UTF-8 is validated, as in other libraries.
    let options = Options::default()
        .with_limits(MAX_MESSAGE + 1, MAX_MESSAGE + 1)
        .with_utf8();
    match mode {
        Mode::Deflate => options
            .with_balanced_compression()
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(1)),
        _ => options,
    }
}

#[derive(Clone)]
struct Yawc {
    options: Options,
    /// The broadcast, if messages go to all clients.
    everyone: Option<Sender<Frame>>,
}

impl Peer for Yawc {
    async fn client(self, socket: impl Socket) {
        let accept = service_fn(|request| self.accept(request));
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(socket), accept)
            .with_upgrades();
        if let Err(error) = connection.await {
            eprintln!("{error}");
        }
    }
}

impl Yawc {
    async fn accept(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, WebSocketError> {
        let (response, upgraded) = WebSocket::upgrade_with_options(request, self.options.clone())?;
        spawn(unconstrained(serve(upgraded, self.everyone.clone())));
        Ok(response)
    }
}

/// Serves one client until it disconnects, which is not an error here.
async fn serve(
    upgraded: UpgradeFut,
    everyone: Option<Sender<Frame>>,
) -> Result<(), WebSocketError> {
    let websocket = upgraded.await?;
    match everyone {
        None => echo(websocket, message).await,
        Some(everyone) => broadcast(websocket, message, everyone).await,
    }
}

/// Pings and closes are answered by the library.
fn message(received: Frame) -> Option<Frame> {
    matches!(received.opcode(), OpCode::Text | OpCode::Binary).then_some(received)
}

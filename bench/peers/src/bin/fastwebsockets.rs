//! A server with fastwebsockets and hyper. The library neither compresses nor queues, so it only echoes.

use std::io;

use bench_peers::{MAX_MESSAGE, Mode, Peer, Socket, run};
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::{spawn, unconstrained};

fn main() -> io::Result<()> {
    run(|mode| matches!(mode, Mode::Echo | Mode::Tls).then_some(Fastwebsockets))
}

#[derive(Clone)]
struct Fastwebsockets;

impl Peer for Fastwebsockets {
    async fn client(self, socket: impl Socket) {
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service_fn(accept))
            .with_upgrades();
        if let Err(error) = connection.await {
            eprintln!("{error}");
        }
    }
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    spawn(unconstrained(echo(upgraded)));
    Ok(response)
}

/// Sends back each message until the client disconnects, which is not an error here.
async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = upgraded.await?;
    websocket.set_max_message_size(MAX_MESSAGE);
    let mut websocket = FragmentCollector::new(websocket);
    loop {
        let message = websocket.read_frame().await?;
        match message.opcode {
            OpCode::Text | OpCode::Binary => websocket.write_frame(message).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

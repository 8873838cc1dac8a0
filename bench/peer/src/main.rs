//! An echo server on fastwebsockets, hyper and one thread of tokio: what Portal is compared with.

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{spawn, unconstrained};

fn main() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(serve())
}

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!(
        "listening on ws://localhost:{}/",
        listener.local_addr()?.port()
    );
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(accept))
            .with_upgrades();
        spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("bench-peer: {error}");
            }
        });
    }
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    // Left to itself tokio would make each task yield now and then; an echo is quicker without.
    spawn(unconstrained(echo(upgraded)));
    Ok(response)
}

/// Sends back each message until the client leaves, which is no error here.
async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = FragmentCollector::new(upgraded.await?);
    loop {
        let message = websocket.read_frame().await?;
        match message.opcode {
            OpCode::Text | OpCode::Binary => websocket.write_frame(message).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

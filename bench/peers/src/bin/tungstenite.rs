//! A server with tokio-tungstenite, which does not compress.

use std::io;

use bench_peers::{Mode, Peer, Socket, broadcast, echo, everyone, run};
use tokio::sync::broadcast::Sender;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::{Error, Message};

fn main() -> io::Result<()> {
    run(|mode| match mode {
        Mode::Echo | Mode::Tls => Some(Tungstenite { everyone: None }),
        Mode::Broadcast => Some(Tungstenite {
            everyone: Some(everyone()),
        }),
        Mode::Deflate => None,
    })
}

#[derive(Clone)]
struct Tungstenite {
    /// The broadcast, if messages go to all clients.
    everyone: Option<Sender<Message>>,
}

impl Peer for Tungstenite {
    async fn client(self, socket: impl Socket) {
        // A client that disconnects is not an error here.
        let _left = self.serve(socket).await;
    }
}

impl Tungstenite {
    async fn serve(self, socket: impl Socket) -> Result<(), Error> {
        let websocket = accept_async(socket).await?;
        match self.everyone {
            None => echo(websocket, message).await,
            Some(everyone) => broadcast(websocket, message, everyone).await,
        }
    }
}

/// Pings and closes are answered by the library.
fn message(received: Result<Message, Error>) -> Option<Message> {
    received
        .ok()
        .filter(|message| message.is_text() || message.is_binary())
}

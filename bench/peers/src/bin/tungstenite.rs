//! A server on tokio-tungstenite, which does not compress.

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
    /// Who hears a message, where that is not its sender alone.
    everyone: Option<Sender<Message>>,
}

impl Peer for Tungstenite {
    async fn client(self, socket: impl Socket) {
        // A client that leaves is no error here.
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

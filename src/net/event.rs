//! What a loop is notified of: events of its connections.

use std::io;

/// Names a connection: its index, and which of the connections that had the index one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub index: u32,
    pub generation: u32,
}

/// What has happened to a connection.
#[derive(Debug)]
pub(crate) enum IoEvent {
    /// So many bytes are at the front of the buffer; 0, if all that came was TLS's own.
    Received(Token, usize),
    /// The peer sends nothing more; with an error, unless it has ended its stream in order.
    Ended(Token, Option<io::Error>),
    /// The peer does not speak TLS, though it should. What is sent from now on is not encrypted.
    PlainOnTls(Token),
}

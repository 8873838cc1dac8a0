//! What a loop is told of its connections.

use std::io;

/// Which connection: its place, and which of those that stood there one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub index: u32,
    pub generation: u32,
}

/// What has happened to a connection.
#[derive(Debug)]
pub enum Happening {
    /// The bytes at the front of the buffer given to [`Poller::next`]; none, if they were TLS's own.
    Received(Token, usize),
    /// The stream has ended; with an error, if not orderly.
    Ended(Token, Option<io::Error>),
    /// The client does not speak TLS, though it should. What is sent from now on is not encrypted.
    Mistaken(Token),
}

//! The events of connections that a poller reports to its loop.

use std::io;

use super::proxy_header::NoHeader;

/// Identifies a connection: an index, which is reused, and a generation, which is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub index: u32,
    pub generation: u32,
}

/// An event of a connection.
#[derive(Debug)]
pub(crate) enum IoEvent {
    /// So many bytes are at the front of the buffer; 0 if only data of TLS itself was received.
    Received(Token, usize),
    /// The connection's PROXY header was received; [`Poller::take_client`](super::Poller::take_client) returns what
    /// it says.
    Proxied(Token),
    /// The connection does not begin with a PROXY header, as it must. It is not reported any more.
    NotProxied(Token, NoHeader),
    /// The peer sends nothing more: end of stream, or an error.
    Ended(Token, Option<io::Error>),
    /// The peer sent plain HTTP where TLS is required. What is sent from now on is not encrypted.
    PlainOnTls(Token),
}

//! What is wrong with a server's answer to an opening handshake.

use std::fmt;

/// Why the answer of a server is not one to our handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// It is not HTTP/1.1: of another version, or no HTTP at all.
    NotHttp,
    /// It violates RFC 9112.
    Malformed,
    /// Its head is over the limit.
    TooLarge,
    /// It has more headers than [`MAX_HEADERS`](super::MAX_HEADERS).
    TooManyHeaders,
    /// `Upgrade` is missing, or not `websocket` (RFC 6455 section 4.1, rule 2).
    Upgrade,
    /// `Connection` has no `Upgrade` (rule 3).
    Connection,
    /// `Sec-WebSocket-Accept` is missing (rule 4).
    AcceptMissing,
    /// It is not the one for our key (rule 4).
    AcceptWrong,
    /// There are several.
    AcceptTwice,
    /// An extension that was not offered, or one twice (rule 5).
    Extension,
    /// A parameter of permessage-deflate that was not offered, or is out of range (RFC 7692 section 7.1).
    DeflateParameter,
    /// A subprotocol that was not offered, or several (rule 6).
    Subprotocol,
    /// Memory was refused.
    OutOfMemory,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "the server's response is not HTTP/1.1",
            Self::Malformed => "the server's response is not valid HTTP",
            Self::TooLarge => "the head of the server's response is too large",
            Self::TooManyHeaders => "the server's response has too many headers",
            Self::Upgrade => "the server's response has no `Upgrade: websocket`",
            Self::Connection => "the server's response has no `Connection: Upgrade`",
            Self::AcceptMissing => "the server's response has no Sec-WebSocket-Accept header",
            Self::AcceptWrong => "the server's Sec-WebSocket-Accept does not fit our key",
            Self::AcceptTwice => "the server's response has several Sec-WebSocket-Accept headers",
            Self::Extension => "the server chose an extension that was not offered",
            Self::DeflateParameter => {
                "the server's permessage-deflate has a parameter that was not offered or is invalid"
            }
            Self::Subprotocol => "the server chose a subprotocol that was not offered",
            Self::OutOfMemory => "out of memory for the server's response",
        })
    }
}

impl std::error::Error for AnswerError {}

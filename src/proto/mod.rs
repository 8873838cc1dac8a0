//! The WebSocket protocol (RFC 6455, server side) without I/O, clock or thread.
//!
//! Bytes go in, events and bytes come out. The caller owns the bytes and the time:
//!
//! - [`HeadScanner`] finds the end of a request, [`parse_head`] parses it, [`check`] decides whether it is a
//!   valid opening handshake; [`write_accept`] and [`Refusal`] write the two responses.
//! - [`Session`] turns what the peer sends from then on into [`Event`]s.
//! - [`data_head`], [`write_ping`], [`write_pong`] and [`write_close`] write the frames to send.
//! - [`agree`] negotiates compression, [`Deflaters`] compress messages (RFC 7692).

#![forbid(unsafe_code)]

mod close_code;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod head;
mod mask;
mod memory;
mod message;
mod names;
mod origin;
mod partial;
mod path;
mod pool;
mod refusal;
mod request;
mod scratch;
mod session;
mod token;
mod utf8;

pub use close_code::{may_application_send, may_receive};
pub use deflate::{Agreement, Deflater, Deflaters, agree};
pub use error::ProtoError;
pub use extension::Extension;
pub use frame::{
    FrameHead, Header, MAX_CONTROL_FRAME, MAX_CONTROL_PAYLOAD, Opcode, WholeMessage,
    compressed_head, data_head, frame_len, parse_header, write_close, write_ping, write_pong,
};
pub use handshake::{Offer, check, max_accept_len, may_set_header, write_accept};
pub use head::HeadScanner;
pub use memory::Promise;
pub use names::Names;
pub use origin::allows_origin;
pub use refusal::{Body, Refusal, TLS_HANDSHAKE, TLS_REFUSAL};
pub use request::{MAX_HEADERS, RequestHead, parse_head};
pub use scratch::Scratch;
pub use session::{Event, Payload, Session, Step};
pub use utf8::is_utf8;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Limits on what the peer may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum size of a message in bytes.
    pub max_message_size: usize,
    /// Maximum number of frames in a message, empty ones included; a single frame is always permitted.
    pub max_fragments: u32,
}

/// The result of a stateless parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A complete `T`, and its length in bytes.
    Done(T, usize),
    /// At least so many bytes are missing.
    NeedMore(usize),
}

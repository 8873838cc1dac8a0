//! The WebSocket protocol (RFC 6455, server side) without I/O, clock or thread.
//!
//! Bytes go in, events and bytes come out; whoever calls owns the bytes and the time:
//!
//! - [`HeadScanner`] finds the end of a request, [`parse_head`] reads it, [`check`] decides whether
//!   it is a good opening handshake; [`write_accept`] and [`Refusal`] are the two answers.
//! - [`Session`] turns what a client sends from then on into [`Event`]s.
//! - [`data_head`], [`write_ping`], [`write_pong`] and [`write_close`] make what is sent to it.
//! - [`agree`] and [`Deflaters`] compress it (RFC 7692).

#![forbid(unsafe_code)]

mod close;
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

pub use close::{may_application_send, may_receive};
pub use deflate::{Agreement, Deflater, Deflaters, agree};
pub use error::ProtoError;
pub use extension::Extension;
pub use frame::{
    FrameHead, Header, MAX_CONTROL_FRAME, MAX_CONTROL_PAYLOAD, Opcode, WholeMessage,
    compressed_head, data_head, frame_len, parse_header, split_message, write_close, write_ping,
    write_pong,
};
pub use handshake::{Offer, check, max_accept_len, may_set_header, write_accept};
pub use head::HeadScanner;
pub use mask::{unmask, unmask_down};
pub use memory::Promise;
pub use names::Names;
pub use origin::is_same_origin;
pub use refusal::{Refusal, TLS_HANDSHAKE, TLS_REFUSAL};
pub use request::{MAX_HEADERS, RequestHead, parse_head};
pub use scratch::Scratch;
pub use session::{Event, Payload, Session, Step};
pub use utf8::{Checker, is_utf8};

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// How much a client may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes in one message.
    pub max_message_size: usize,
    /// Frames in one message, empty ones too; a message of one frame is always allowed.
    pub max_fragments: u32,
}

/// What a parser without memory found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A whole `T`, and how many bytes it took.
    Done(T, usize),
    /// At least so many bytes are missing.
    NeedMore(usize),
}

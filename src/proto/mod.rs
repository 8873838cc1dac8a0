//! The WebSocket protocol (RFC 6455, both sides) without I/O, clock or thread.
//!
//! Bytes go in, events and bytes come out. The caller owns the bytes and the time:
//!
//! - [`HeadScanner`] finds the end of a request, [`parse_head`] parses it, [`check`] decides whether it is a
//!   valid opening handshake; [`write_accept`] and [`Refusal`] write the two responses.
//! - [`Url`], [`write_request`], [`parse_response`] and [`check_answer`] are the client's side of the handshake.
//! - [`Session`] turns what the peer sends from then on into [`Event`]s.
//! - [`data_head`], [`write_ping`], [`write_pong`] and [`write_close`] write the frames to send;
//!   [`append_masked`], [`mask_frame`] and [`mask_prepared`] mask those of a client.
//! - [`agree`] negotiates compression, [`Deflaters`] compress messages (RFC 7692).

#![forbid(unsafe_code)]

mod answer_error;
mod client_handshake;
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
mod response;
mod scratch;
mod session;
mod token;
mod url;
mod utf8;

pub use answer_error::AnswerError;
pub use client_handshake::{
    Answer, ClientRequest, check_answer, max_request_len, may_set_request_header, write_request,
};
pub use close_code::{may_application_send, may_receive};
pub use deflate::{Agreement, DeflateOffer, Deflater, Deflaters, agree};
pub use error::ProtoError;
pub use extension::Extension;
pub use frame::{
    FrameHead, Header, MAX_CONTROL_FRAME, MAX_CONTROL_PAYLOAD, Opcode, WholeMessage, append_masked,
    compressed_head, data_head, frame_len, mask_frame, mask_prepared, parse_header, write_close,
    write_ping, write_pong,
};
pub use handshake::{Offer, check, max_accept_len, may_set_header, write_accept};
pub use head::HeadScanner;
pub use memory::Promise;
pub use names::Names;
pub use origin::allows_origin;
pub use refusal::{Body, Refusal, TLS_HANDSHAKE, TLS_REFUSAL};
pub use request::{MAX_HEADERS, RequestHead, parse_head};
pub use response::{ResponseHead, parse_response};
pub use scratch::Scratch;
pub use session::{Event, Payload, Session, Step};
pub use url::{Place, Url};
pub use utf8::is_utf8;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Which end of the connection we are (RFC 6455 section 5.1): a client masks its frames, a server does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// We send unmasked frames, and receive masked ones.
    #[default]
    Server,
    /// We send masked frames, and receive unmasked ones.
    Client,
}

impl Role {
    /// Returns how many bytes the header of a frame that we send has for its masking key.
    #[inline]
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::Server => 0,
            Self::Client => mask::KEY_BYTES,
        }
    }
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

//! The interface to the application: its handlers, and the records that it pulls.

use std::any::Any;
use std::ffi::{CStr, CString, c_void};

use super::Request;
use crate::proto::Kind;

/// An event of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Upgrade,
    Connect,
    Message,
    Disconnect,
    Drain,
    Pong,
    Error,
}

impl EventKind {
    /// Its name, as in the application's handlers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
            Self::Message => "message",
            Self::Disconnect => "disconnect",
            Self::Drain => "drain",
            Self::Pong => "pong",
            Self::Error => "error",
        }
    }
}

/// What kind of thing went wrong, for [`Application::error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// A handler returned non-zero.
    Handler,
    /// The peer violated the protocol.
    Protocol,
    /// The peer's message is over a limit.
    TooBig,
    /// The peer's text is not UTF-8.
    Utf8,
    /// The connection failed, and not because the peer disconnected.
    Io,
    /// Memory for the peer's message was refused.
    Memory,
    /// The server was not found, or cannot be reached.
    Address,
    /// TLS with the server failed.
    Tls,
    /// The server answered with another status than 101.
    Rejected,
}

/// What went wrong with one websocket.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    /// In which event it happened.
    pub event: EventKind,
    /// What the handler returned, or the HTTP status; else 0.
    pub code: i32,
    /// The close code; 0 when the websocket stays open.
    pub close_code: u16,
    /// Human-readable.
    pub message: CString,
    /// With the answer of a server that has rejected ours.
    pub request: Option<Box<Request>>,
}

impl Failure {
    /// A handler returned `code`.
    pub(crate) fn of_handler(event: EventKind, code: i32) -> Self {
        let message = format!("the `{}` handler returned {code}", event.name());
        Self {
            kind: FailureKind::Handler,
            event,
            code,
            close_code: 0,
            message: CString::new(message).unwrap_or_default(),
            request: None,
        }
    }
}

/// One definition of a path: foreign code that handles the events of its websockets.
///
/// Nothing of the server is locked or borrowed while a method runs, so every method may call
/// everything in [`crate::server`]. Methods of one websocket never overlap. An `i32` other than 0
/// means that the handler failed.
///
/// The value is dropped when the definition has been replaced or undefined and nothing uses it any more.
pub(crate) trait Application: Send + Sync {
    /// 0 accepts, 300 to 599 rejects with that status, else 500. Without a handler: 0.
    fn upgrade(&self, websocket: u64, request: &Request) -> i32;
    fn connect(&self, websocket: u64, request: &Request) -> i32;
    /// `terminated` is the payload and one NUL behind it.
    fn message(&self, websocket: u64, kind: Kind, terminated: &[u8]) -> i32;
    fn disconnect(&self, websocket: u64, code: u16, reason: &CStr) -> i32;
    /// Returns false when there is no handler.
    fn error(&self, websocket: u64, failure: &Failure) -> bool;
    fn drain(&self, websocket: u64);
    /// `terminated` as in [`Application::message`].
    fn pong(&self, websocket: u64, terminated: &[u8]);
    /// Returns the path as the application has defined it.
    fn path(&self) -> &str;
    /// Returns the pointer that the application passed with the definition; never dereferenced.
    fn user_data(&self) -> *mut c_void;
}

/// One event of a pulled batch.
pub(crate) struct Record<'a> {
    pub websocket: u64,
    /// [`Application::user_data`] of the path as now defined.
    pub user_data: *mut c_void,
    pub event: RecordEvent<'a>,
}

/// The event of a record. Its pointers are valid until the batch is returned.
pub(crate) enum RecordEvent<'a> {
    Connect(*const Request),
    Message(Kind, RecordBytes),
    Pong(RecordBytes),
    Drain,
    /// With the request that it names, which the batch retains.
    Error(&'a Failure, *const Request),
    Disconnect(u16, RecordBytes),
}

/// Bytes that a pulled batch retains, and one NUL behind them that `len` does not count.
#[derive(Clone, Copy)]
pub(crate) struct RecordBytes {
    pub start: *const u8,
    pub len: usize,
}

/// Where the events of a pulled batch are written.
///
/// The batch is returned at the same thread's next pull, poll or run of that server, or when the thread ends.
pub(crate) trait Records {
    /// Returns how many more events fit.
    fn room(&self) -> usize;
    /// Writes one event. What this returns is retained as long as the batch.
    fn push(&mut self, record: Record<'_>) -> Option<Box<dyn Any + Send>>;
}

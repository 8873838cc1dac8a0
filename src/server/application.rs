//! What a server tells the application, and what the application answers.

use std::any::Any;
use std::ffi::{CStr, CString, c_void};

use super::Request;
use crate::proto::Kind;

/// The number of an event, as C sees it (`enum portal_event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum EventKind {
    Upgrade = 1,
    Connect = 2,
    Message = 3,
    Disconnect = 4,
    Drain = 5,
    Pong = 6,
    Error = 7,
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
    /// The client broke the protocol.
    Protocol,
    /// The client's message is over a limit.
    TooBig,
    /// The client's text is not UTF-8.
    Utf8,
    /// The connection failed in another way than by the client's leaving.
    Io,
    /// Memory for the client's message was refused.
    Memory,
}

/// What went wrong with one websocket.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    /// In which event it happened.
    pub event: EventKind,
    /// What the handler returned; else 0.
    pub code: i32,
    /// What the client is closed with; 0 when it stays open.
    pub close_code: u16,
    /// For people.
    pub message: CString,
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
        }
    }
}

/// One definition of a path: foreign code that is told of its websockets.
///
/// Nothing of the server is locked or borrowed while a method runs, so every method may call
/// everything in [`crate::server`]. Methods of one websocket never overlap. An `i32` other than 0
/// means that the handler failed.
///
/// The value is dropped when the definition was replaced or undefined and nothing uses it any more.
pub(crate) trait Application: Send + Sync {
    /// 0 accepts, 400 to 599 rejects with that status, else 500. Without a handler: 0.
    fn upgrade(&self, websocket: u64, request: &Request) -> i32;
    fn connect(&self, websocket: u64, request: &Request) -> i32;
    /// `terminated` is the payload and one NUL behind it that does not count.
    fn message(&self, websocket: u64, kind: Kind, terminated: &[u8]) -> i32;
    fn disconnect(&self, websocket: u64, code: u16, reason: &CStr) -> i32;
    /// False when there is no handler for it, so that nobody was told.
    fn error(&self, websocket: u64, failure: &Failure) -> bool;
    fn drain(&self, websocket: u64);
    /// `terminated` as in [`Application::message`].
    fn pong(&self, websocket: u64, terminated: &[u8]);
    /// The path as the application has defined it.
    fn path(&self) -> &str;
    /// The pointer that the application gave with the definition; never followed.
    fn user_data(&self) -> *mut c_void;
}

/// One event of a pulled batch.
pub(crate) struct Pulled<'a> {
    pub websocket: u64,
    /// [`Application::user_data`] of the path as now defined.
    pub user_data: *mut c_void,
    pub happened: Happened<'a>,
}

/// What happened, in a pulled batch. Its pointers are valid until the batch is given back.
pub(crate) enum Happened<'a> {
    Connect(*const Request),
    Message(Kind, Kept),
    Pong(Kept),
    Drain,
    Error(&'a Failure),
    Disconnect(u16, Kept),
}

/// Bytes that a pulled batch keeps, and one NUL behind them that `len` does not count.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    pub start: *const u8,
    pub len: usize,
}

/// Where the events of a pulled batch are written to.
///
/// The batch is given back at the same thread's next pull, poll or run of that server, or at its
/// end.
pub(crate) trait Records {
    /// How many more events fit.
    fn room(&self) -> usize;
    /// Writes one event; what is returned is kept as long as the batch.
    fn push(&mut self, event: Pulled<'_>) -> Option<Box<dyn Any + Send>>;
}

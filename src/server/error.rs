//! Why a call on a server or a websocket failed.

use std::fmt;

use crate::net::memory::Refused;

/// The result of most calls.
pub(crate) type ServerResult<T = ()> = Result<T, ServerError>;

/// Why a call failed. Nothing was changed by a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerError {
    /// A value out of range, an unknown option, a bad or conflicting path.
    Argument,
    /// The server or websocket has closed, or is closing.
    Gone,
    /// The client's send queue is at its limit.
    Full,
    /// A message, ping or close reason longer than allowed.
    TooBig,
    /// Text that is not UTF-8.
    Utf8,
    /// Cannot listen: address in use, not permitted, malformed.
    Address,
    /// Certificate or key missing, unreadable, or not a pair.
    Tls,
    /// The operating system refused; the log has the detail.
    Io,
    /// Would deadlock or recurse if done from here.
    Busy,
    /// This build leaves the feature out.
    Unsupported,
    /// An allocation was refused.
    Memory,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argument => "argument missing, out of range or malformed",
            Self::Gone => "the server or websocket has closed",
            Self::Full => "the send queue is full",
            Self::TooBig => "the message is too big",
            Self::Utf8 => "the text is not UTF-8",
            Self::Address => "cannot listen on the address",
            Self::Tls => "certificate or key missing or unreadable, or they do not match",
            Self::Io => "a system call failed",
            Self::Busy => "not allowed here",
            Self::Unsupported => "the feature is not supported",
            Self::Memory => "out of memory",
        })
    }
}

impl std::error::Error for ServerError {}

impl From<Refused> for ServerError {
    fn from(_: Refused) -> Self {
        Self::Memory
    }
}

impl From<std::collections::TryReserveError> for ServerError {
    fn from(_: std::collections::TryReserveError) -> Self {
        Self::Memory
    }
}

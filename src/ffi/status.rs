//! A status is 0 or negative. Later versions may add statuses: treat every negative number as a
//! failure.

use std::ffi::{CStr, c_char};

use super::guard::guard_or;
use crate::server::{FailureKind, ServerError};

/// The result of a call: a number of enum portal_status_value. Every negative number is a failure,
/// also an unknown one.
pub type portal_status = i32;

/// The values of portal_status.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_status_value {
    /// Success.
    PORTAL_STATUS_OK = 0,
    /// NULL, out of range, an unknown option, an invalid path or one that conflicts with another.
    PORTAL_STATUS_ARGUMENT = -1,
    /// The server or websocket has closed, or is closing.
    PORTAL_STATUS_GONE = -2,
    /// The websocket's send queue has reached its limit; nothing was queued.
    PORTAL_STATUS_FULL = -3,
    /// A length over PTRDIFF_MAX, a ping over 125 bytes, a close reason over 123.
    PORTAL_STATUS_TOO_BIG = -4,
    /// Text that is not UTF-8; nothing was queued.
    PORTAL_STATUS_UTF8 = -5,
    /// Cannot listen: address in use, not permitted, malformed. In `error`: cannot connect: not found,
    /// refused, unreachable, timed out.
    PORTAL_STATUS_ADDRESS = -6,
    /// Certificate or key missing or unreadable, or they do not match. In `error`: TLS with a server
    /// failed.
    PORTAL_STATUS_TLS = -7,
    /// A system call failed; the log has the details.
    PORTAL_STATUS_IO = -8,
    /// The call would deadlock or recurse here.
    PORTAL_STATUS_BUSY = -9,
    /// The feature is not in this build, or not available in this process.
    PORTAL_STATUS_UNSUPPORTED = -10,
    /// A bug in Portal was caught; the log has the details.
    PORTAL_STATUS_INTERNAL = -11,
    /// In `error`: a handler failed.
    PORTAL_STATUS_HANDLER = -12,
    /// In `error`: the peer violated the protocol.
    PORTAL_STATUS_PROTOCOL = -13,
    /// An allocation failed; nothing changed.
    PORTAL_STATUS_MEMORY = -14,
    /// In `error`: a server answered a request of portal_connect with another status than 101.
    PORTAL_STATUS_REJECTED = -15,
}

use portal_status_value::*;

/// The result of an entry point's body.
pub(super) type Outcome<T = ()> = Result<T, portal_status_value>;

impl From<ServerError> for portal_status_value {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Argument => PORTAL_STATUS_ARGUMENT,
            ServerError::Gone => PORTAL_STATUS_GONE,
            ServerError::Full => PORTAL_STATUS_FULL,
            ServerError::TooBig => PORTAL_STATUS_TOO_BIG,
            ServerError::Utf8 => PORTAL_STATUS_UTF8,
            ServerError::Address => PORTAL_STATUS_ADDRESS,
            ServerError::Tls => PORTAL_STATUS_TLS,
            ServerError::Io => PORTAL_STATUS_IO,
            ServerError::Busy => PORTAL_STATUS_BUSY,
            ServerError::Unsupported => PORTAL_STATUS_UNSUPPORTED,
            ServerError::Memory => PORTAL_STATUS_MEMORY,
        }
    }
}

impl From<FailureKind> for portal_status_value {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Handler => PORTAL_STATUS_HANDLER,
            FailureKind::Protocol => PORTAL_STATUS_PROTOCOL,
            FailureKind::TooBig => PORTAL_STATUS_TOO_BIG,
            FailureKind::Utf8 => PORTAL_STATUS_UTF8,
            FailureKind::Io => PORTAL_STATUS_IO,
            FailureKind::Address => PORTAL_STATUS_ADDRESS,
            FailureKind::Tls => PORTAL_STATUS_TLS,
            FailureKind::Rejected => PORTAL_STATUS_REJECTED,
            FailureKind::Memory => PORTAL_STATUS_MEMORY,
        }
    }
}

/// Name and description of each status; the index is the negated number.
const STATUSES: [(&CStr, &CStr); 16] = [
    (c"PORTAL_STATUS_OK", c"Success."),
    (
        c"PORTAL_STATUS_ARGUMENT",
        c"An argument is missing, out of range or malformed.",
    ),
    (
        c"PORTAL_STATUS_GONE",
        c"The server or websocket has closed or is closing.",
    ),
    (
        c"PORTAL_STATUS_FULL",
        c"The websocket's send queue has reached its limit.",
    ),
    (
        c"PORTAL_STATUS_TOO_BIG",
        c"The data is longer than allowed.",
    ),
    (c"PORTAL_STATUS_UTF8", c"The text is not UTF-8."),
    (
        c"PORTAL_STATUS_ADDRESS",
        c"Cannot use the address: it is in use, not permitted, malformed or not reachable.",
    ),
    (
        c"PORTAL_STATUS_TLS",
        c"The certificate or key is missing or unreadable, or they do not match.",
    ),
    (c"PORTAL_STATUS_IO", c"A system call failed."),
    (c"PORTAL_STATUS_BUSY", c"The call is not allowed here."),
    (
        c"PORTAL_STATUS_UNSUPPORTED",
        c"The feature is not supported.",
    ),
    (c"PORTAL_STATUS_INTERNAL", c"A bug in Portal was caught."),
    (c"PORTAL_STATUS_HANDLER", c"A handler failed."),
    (
        c"PORTAL_STATUS_PROTOCOL",
        c"The peer violated the protocol.",
    ),
    (c"PORTAL_STATUS_MEMORY", c"An allocation failed."),
    (
        c"PORTAL_STATUS_REJECTED",
        c"The server answered with another status than 101.",
    ),
];

const UNKNOWN: (&CStr, &CStr) = (c"PORTAL_STATUS_UNKNOWN", c"Unknown status.");

fn describe(status: portal_status) -> (&'static CStr, &'static CStr) {
    status
        .checked_neg()
        .and_then(|number| usize::try_from(number).ok())
        .and_then(|number| STATUSES.get(number).copied())
        .unwrap_or(UNKNOWN)
}

/// Returns the name of a status as this header spells it, such as "PORTAL_STATUS_GONE".
///
/// @param status  Any number.
///
/// @return The name; "PORTAL_STATUS_UNKNOWN" for an unknown number. Never NULL; valid until the
///         process ends.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_status_name(status: i32) -> *const c_char {
    guard_or(UNKNOWN.0, || describe(status).0).as_ptr()
}

/// Returns a human-readable description of a status, in one sentence.
///
/// @param status  Any number.
///
/// @return The description. Never NULL; valid until the process ends.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_status_text(status: i32) -> *const c_char {
    guard_or(UNKNOWN.1, || describe(status).1).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_named_as_the_header_spells_it() {
        let source = include_str!("status.rs");
        for (number, (name, _)) in (0..).zip(STATUSES) {
            let name = name.to_str().expect("a name is UTF-8");
            assert!(
                source.contains(&format!("    {name} = {},\n", -number)),
                "{name} is not {}",
                -number
            );
        }
        assert!(
            !source.contains(&format!(" = -{},", STATUSES.len())),
            "a status has no name"
        );
    }

    #[test]
    fn a_status_that_is_none_has_a_name_and_a_text_too() {
        // SAFETY: names and texts are valid until the process ends.
        let seen = |text: *const c_char| unsafe { CStr::from_ptr(text) };
        for status in [1, -16, i32::MAX, i32::MIN] {
            assert_eq!(seen(portal_status_name(status)), c"PORTAL_STATUS_UNKNOWN");
            assert!(!seen(portal_status_text(status)).is_empty());
        }
        assert_eq!(seen(portal_status_name(-2)), c"PORTAL_STATUS_GONE");
    }
}

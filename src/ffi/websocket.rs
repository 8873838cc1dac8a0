//! # Websockets
//!
//! Sending queues a message and returns. What the callbacks of one turn of the loop send is written
//! with one system call per websocket at the end of the turn. Messages are sent in the order in
//! which the calls took effect, and those of one thread in the order of its calls. Pings and pongs
//! are sent ahead of messages.
//!
//! When a websocket's send queue has reached half of MAX_QUEUED, Portal stops reading from its
//! socket. So a handler that sends one reply for each message never gets PORTAL_STATUS_FULL. After
//! PORTAL_STATUS_FULL, continue in `drain`; never wait for `drain` inside a callback of the same
//! websocket.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::entry::{guard, quick_guard};
use super::guard::quick_guard_or;
use super::numbers::portal_message::{
    PORTAL_MESSAGE_BINARY, PORTAL_MESSAGE_TEXT, PORTAL_MESSAGE_UNCOMPRESSED,
};
use super::numbers::portal_state::*;
use super::pointer::{bytes, string};
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use super::status::{Outcome, portal_status};
use super::types::portal_websocket;
use crate::proto::Kind;
use crate::server::{self, State};

/// Queues one message (RFC 6455 section 5.6) and returns at once.
///
/// The bytes are copied, or written to the socket. A handler that continues to run for long after a
/// send should call portal_flush.
///
/// @param websocket  Any id.
/// @param type       PORTAL_MESSAGE_TEXT or PORTAL_MESSAGE_BINARY; with PORTAL_MESSAGE_UNCOMPRESSED
///                   added, the message is not compressed.
/// @param data       `len` bytes, UTF-8 for text; need not end in NUL. Borrowed until the call
///                   returns. May be NULL when `len` is 0.
/// @param len        Bytes in `data`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
/// @return PORTAL_STATUS_FULL      The peer reads too slowly; continue in `drain`.
/// @return PORTAL_STATUS_UTF8      The text is not UTF-8.
/// @return PORTAL_STATUS_TOO_BIG   `len` is over PTRDIFF_MAX.
/// @return PORTAL_STATUS_ARGUMENT  `data` is NULL and `len` is not 0, or an unknown type.
/// @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///         On failure, nothing was queued.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_send(
    websocket: portal_websocket,
    r#type: u32,
    data: *const c_void,
    len: usize,
) -> portal_status {
    quick_guard(|| {
        let (kind, may_deflate) = message_kind(r#type)?;
        // SAFETY: the comment requires of `data` and `len` what `bytes` requires.
        let data = unsafe { bytes(data, len) }?;
        Ok(server::send(websocket, kind, data, may_deflate)?)
    })
}

/// Returns what a number says of a message, and whether it may be compressed.
fn message_kind(number: u32) -> Outcome<(Kind, bool)> {
    const TEXT: u32 = PORTAL_MESSAGE_TEXT as u32;
    const BINARY: u32 = PORTAL_MESSAGE_BINARY as u32;
    const UNCOMPRESSED: u32 = PORTAL_MESSAGE_UNCOMPRESSED as u32;
    let may_deflate = number & UNCOMPRESSED == 0;
    match number & !UNCOMPRESSED {
        TEXT => Ok((Kind::Text, may_deflate)),
        BINARY => Ok((Kind::Binary, may_deflate)),
        _ => Err(PORTAL_STATUS_ARGUMENT),
    }
}

/// Queues a ping (RFC 6455 section 5.5.2). `pong` is called when the reply arrives.
///
/// The ping is sent at the next frame boundary, ahead of queued messages (RFC 6455 section 5.5.3),
/// so its reply does not prove that earlier messages have arrived. The pings of PING_INTERVAL are
/// sent by Portal itself; `pong` is not called for their replies.
///
/// @param websocket  Any id.
/// @param data       `len` bytes, which the reply repeats. Borrowed until the call returns. May be
///                   NULL when `len` is 0.
/// @param len        Bytes in `data`; at most 125.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
/// @return PORTAL_STATUS_FULL      64 pings are pending already.
/// @return PORTAL_STATUS_TOO_BIG   `len` is over 125.
/// @return PORTAL_STATUS_ARGUMENT  `data` is NULL and `len` is not 0.
/// @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_ping(
    websocket: portal_websocket,
    data: *const c_void,
    len: usize,
) -> portal_status {
    guard(|| {
        // SAFETY: the comment requires of `data` and `len` what `bytes` requires.
        let data = unsafe { bytes(data, len) }?;
        Ok(server::ping(websocket, data)?)
    })
}

/// Begins the closing handshake (RFC 6455 section 7) and returns at once.
///
/// What was queued before is sent first. After the call, no `message`, `pong` or `drain` begins;
/// received data is discarded. `disconnect` follows, never inside the call. When the peer neither
/// accepts bytes nor replies within CLOSE_TIMEOUT, the connection is dropped.
///
/// @param websocket  Any id.
/// @param code       1000, 1001, 1003, 1007 to 1014 or 3000 to 4999; 0 means 1000.
/// @param reason     UTF-8, NUL-terminated, at most 123 bytes. Borrowed until the call returns. May
///                   be NULL.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
/// @return PORTAL_STATUS_ARGUMENT  The code may not be sent.
/// @return PORTAL_STATUS_TOO_BIG   The reason is over 123 bytes.
/// @return PORTAL_STATUS_UTF8      The reason is not UTF-8.
/// @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_close(
    websocket: portal_websocket,
    code: u32,
    reason: *const c_char,
) -> portal_status {
    guard(|| {
        let reason = if reason.is_null() {
            c""
        } else {
            // SAFETY: a string that ends in NUL, as the comment requires.
            unsafe { string(reason) }?
        };
        Ok(server::close_websocket(websocket, code, reason.to_bytes())?)
    })
}

/// Writes queued data to the socket now, not at the end of the turn.
///
/// Never blocks. Inside a callback of the same websocket it writes what the socket accepts;
/// elsewhere it wakes the loop. OK does not mean that the data was sent.
///
/// @param websocket  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The websocket has closed.
/// @return PORTAL_STATUS_BUSY  Inside this websocket's `upgrade`.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_flush(websocket: portal_websocket) -> portal_status {
    guard(|| Ok(server::flush(websocket)?))
}

/// Drops the connection at once, without a closing handshake. Queued data is lost.
///
/// After the call, no `message`, `pong` or `drain` begins. `disconnect` follows with 1006, never
/// inside the call. Inside `upgrade`, it refuses the client.
///
/// @param websocket  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The websocket has closed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_abort(websocket: portal_websocket) -> portal_status {
    guard(|| Ok(server::abort(websocket)?))
}

/// Returns the state of a websocket.
///
/// @param websocket  Any id.
///
/// @return A number of enum portal_state; PORTAL_STATE_CLOSED for an id that is not valid.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_state_of(websocket: portal_websocket) -> u32 {
    let state = quick_guard_or(State::Closed, || server::state_of(websocket));
    let state = match state {
        State::Connecting => PORTAL_STATE_CONNECTING,
        State::Open => PORTAL_STATE_OPEN,
        State::Closing | State::ClosingLocally => PORTAL_STATE_CLOSING,
        State::Closed | State::Free => PORTAL_STATE_CLOSED,
    };
    state as u32
}

/// Returns the size of a websocket's send queue: the bytes not yet written to the socket.
///
/// @param websocket  Any id.
///
/// @return The number of framed bytes; 0 when the websocket is gone.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_queued(websocket: portal_websocket) -> usize {
    quick_guard_or(0, || server::queued(websocket))
}

/// Associates a pointer with a websocket.
///
/// Portal never dereferences or frees it. Free what it points to in `disconnect`.
///
/// @param websocket  Any id.
/// @param data       Any pointer, or NULL.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The websocket has closed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_set_data(websocket: portal_websocket, data: *mut c_void) -> portal_status {
    quick_guard(|| Ok(server::set_data(websocket, data)?))
}

/// Returns the pointer set by portal_set_data.
///
/// @param websocket  Any id.
///
/// @return The pointer; NULL when none was set or the websocket is gone.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_data(websocket: portal_websocket) -> *mut c_void {
    quick_guard_or(ptr::null_mut(), || server::data(websocket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_data_is_refused_before_the_websocket_is_looked_up() {
        let byte: *const c_void = c"x".as_ptr().cast();
        // SAFETY: one byte, or arguments that are refused before they are read.
        unsafe {
            for kind in [0, 3, u32::MAX] {
                assert_eq!(portal_send(0, kind, byte, 1), -1, "{kind}");
            }
            assert_eq!(portal_send(0, 1, ptr::null(), 1), -1);
            assert_eq!(portal_ping(0, ptr::null(), 1), -1);
            for len in [isize::MAX as usize + 1, usize::MAX] {
                assert_eq!(portal_send(0, 2, byte, len), -4);
                assert_eq!(portal_ping(0, byte, len), -4);
            }
        }
    }
}

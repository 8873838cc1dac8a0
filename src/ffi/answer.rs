//! # Answering a handshake
//!
//! Inside `upgrade` these set what the response to the handshake contains beside what `upgrade`
//! returns.

use std::ffi::{c_char, c_void};

use super::entry::guard;
use super::pointer::{bytes, string, text};
use super::status::portal_status;
use super::types::portal_websocket;
use crate::server;

/// Sets a header of the response, which is the 101 or the rejection.
///
/// It replaces a header of the same name that was set before; "Set-Cookie" is added instead.
///
/// @param websocket  The websocket whose handshake waits for `upgrade`.
/// @param name       A token, NUL-terminated. Copied. Not Connection, Upgrade, Sec-WebSocket-*,
///                   Content-Length or Transfer-Encoding.
/// @param value      UTF-8, NUL-terminated, without CR and LF. Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
/// @return PORTAL_STATUS_BUSY      Outside `upgrade`.
/// @return PORTAL_STATUS_ARGUMENT  NULL, or a name or value that may not be set.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///
/// @threads  Inside `upgrade`.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_set_answer_header(
    websocket: portal_websocket,
    name: *const c_char,
    value: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let name = unsafe { string(name) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let value = unsafe { string(value) }?;
        Ok(server::set_answer_header(
            websocket,
            name.to_bytes(),
            value.to_bytes(),
        )?)
    })
}

/// Sets the body of a rejection, in place of a sentence about its status.
///
/// It replaces a body that was set before, and is dropped if the websocket is accepted. A response
/// with status 304 has no body.
///
/// @param websocket     The websocket whose handshake waits for `upgrade`.
/// @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
/// @param body          `len` bytes. Copied. May be NULL when `len` is 0.
/// @param len           Bytes in `body`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
/// @return PORTAL_STATUS_BUSY      Outside `upgrade`.
/// @return PORTAL_STATUS_ARGUMENT  NULL, or an invalid content type.
/// @return PORTAL_STATUS_TOO_BIG   `len` is over PTRDIFF_MAX.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///
/// @threads  Inside `upgrade`.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_set_answer_body(
    websocket: portal_websocket,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let content_type = unsafe { text(content_type) }?;
        // SAFETY: what the comment asks of `body` and `len` is what `bytes` asks.
        let body = unsafe { bytes(body, len) }?;
        Ok(server::set_answer_body(websocket, content_type, body)?)
    })
}

/// Restricts permessage-deflate for one websocket (RFC 7692).
///
/// @param websocket  The websocket whose handshake waits for `upgrade`.
/// @param mode       0 off, 1 on without context takeover, 2 on with context takeover where the
///                   client agrees; at most DEFLATE.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
/// @return PORTAL_STATUS_BUSY      Outside `upgrade`.
/// @return PORTAL_STATUS_ARGUMENT  Another mode, or one above DEFLATE.
///
/// @threads  Inside `upgrade`.
/// @since    0.2
#[unsafe(no_mangle)]
pub extern "C" fn portal_set_deflate(websocket: portal_websocket, mode: u32) -> portal_status {
    guard(|| Ok(server::set_answer_deflate(websocket, mode)?))
}

//! # Handlers
//!
//! A handler fails when it returns a number other than 0 and PORTAL_STATUS_GONE, so `return
//! portal_send(...)` is a correct handler. `upgrade` fails with PORTAL_STATUS_GONE, too, so that no
//! client is accepted by mistake.
//!
//! When a handler fails, `error` is called with PORTAL_STATUS_HANDLER, the event and the returned
//! number; the websocket stays open unless the program closes it. `error` is also called when the
//! peer violates the protocol, when a limit is exceeded, and when the connection fails for any
//! reason other than the peer's disconnecting; `disconnect` follows. End of stream, a reset and
//! timeouts are not errors: they cause only `disconnect`. When `disconnect` fails, `error` is
//! called after it, as the last callback. What fails before the path is known is reported to the
//! log and the metrics.

use std::ffi::{c_char, c_void};

use super::status::portal_status;
use super::types::{portal_request, portal_websocket};

/// Describes an error; passed to `error`. Valid, with its message, until the callback returns (when
/// pulled: as long as the records are valid).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_error {
    /// The number of bytes that the library has filled in. Check it before reading a field added
    /// after 0.1.
    pub size: usize,
    /// PORTAL_STATUS_HANDLER, _PROTOCOL, _IO, _TOO_BIG, _UTF8, _MEMORY; for a connection of
    /// portal_connect also _ADDRESS, _TLS, _REJECTED; or one added later.
    pub status: portal_status,
    /// The enum portal_event during which it occurred.
    pub event: u32,
    /// What the handler returned; the HTTP status with which a server, or a proxy, has refused; else 0.
    pub code: i32,
    /// The close code with which the websocket is closed (RFC 6455 section 7.4); 0 when it stays
    /// open.
    pub close_code: u32,
    /// Human-readable. Never NULL.
    pub message: *const c_char,
    /// With PORTAL_STATUS_REJECTED, the request with the headers of the server's answer; else NULL. Since
    /// 0.2.
    pub request: *const portal_request,
}

/// The callbacks of a path. Any function may be NULL: the event is then ignored.
///
/// Fill it with zeros and set `size` first. portal_define_path copies it.
///
/// Callbacks run on the threads that DISPATCH selects. Callbacks of one websocket never overlap;
/// those of different websockets may. A callback may call every function of this header. It must
/// return normally, and other websockets of its thread wait for it. The pointers that it receives
/// are valid until it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_handlers {
    /// sizeof(portal_handlers), as your program was compiled.
    pub size: usize,
    /// The websocket is open; its state is OPEN. Return 0.
    pub connect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *const portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// A complete message was received: PORTAL_MESSAGE_TEXT, validated as UTF-8, or
    /// PORTAL_MESSAGE_BINARY. Return 0.
    pub message: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            r#type: u32,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// The websocket has ended. Called exactly once for every websocket whose `connect` ran, and
    /// never inside portal_close or portal_abort. The state is CLOSED and sends return GONE.
    /// portal_data still works: free your data here. Return 0.
    ///
    /// `code` is the code of the peer's close frame, 1005 when the frame had none (RFC 6455 section
    /// 7.1.5). Without such a frame it is the code that Portal sent when it failed the connection
    /// (1002, 1007 to 1011, 1013), else 1006, as when the peer did not reply to a close frame that
    /// was sent for another reason. `reason` is never NULL.
    pub disconnect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            code: u32,
            reason: *const c_char,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// An error occurred on this websocket. When the error closes it, its state is CLOSING and
    /// `disconnect` follows. Without this function, the failure of a handler is logged at level 2.
    pub error: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            error: *const portal_error,
            user_data: *mut c_void,
        ),
    >,
    /// A client requests a websocket (RFC 6455 section 4.2). Its state is CONNECTING:
    /// portal_set_data, portal_data, portal_state_of and portal_abort work; send, ping, close and
    /// flush return BUSY. Return 0 to accept; `connect` is then always called, even if the client
    /// has disconnected in the meantime. Return 300 to 599 to reject the request with that HTTP
    /// status. 1 is reserved. Any other value, also PORTAL_STATUS_GONE, is a failure and rejects
    /// the request with 500.
    pub upgrade: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *mut portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// The send queue has fallen to half of MAX_QUEUED after one or more PORTAL_STATUS_FULL. The
    /// callback may begin before the call that returns FULL has returned on another thread.
    pub drain: Option<unsafe extern "C" fn(websocket: portal_websocket, user_data: *mut c_void)>,
    /// A pong was received: the reply to a portal_ping, or an unsolicited one (RFC 6455 section
    /// 5.5.3).
    pub pong: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ),
    >,
    /// `user_data` is no longer in use. Called once for each successful definition, on any thread,
    /// after the definition was replaced or undefined.
    pub release: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

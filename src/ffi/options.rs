//! # Options

use std::ffi::c_char;

use super::guard::{guard, guard_or};
use super::pointer::{borrow_mut, text};
use super::status::portal_status;
use super::types::portal_options;
use crate::server::Options;

/// The settings of a server. Each set validates at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum portal_option {
    /// Text: where to listen. A numeric address (brackets allowed), or a name, looked up once at start.
    /// "unix:/path" is a Unix socket: the port must be 0, a stale socket file is replaced, and the file is
    /// removed on close. "fd:" is reserved.
    /// Default "::", with IPv4 too ("0.0.0.0" where there is no IPv6).
    PORTAL_OPTION_HOST = 1,
    /// Number: loops, each with its thread; 0 = one per processor.
    /// Default 1. Range 0 to 1,024.
    PORTAL_OPTION_THREADS = 2,
    /// Number: enum portal_dispatch.
    /// Default 0 (IO). Range 0 to 2.
    PORTAL_OPTION_DISPATCH = 3,
    /// Number: clients that the system keeps waiting to be accepted.
    /// Default 4,096. Range 1 to 2,147,483,647.
    PORTAL_OPTION_BACKLOG = 4,
    /// Number: connections at once; 0 = no limit. One over it is answered 503.
    /// Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS = 5,
    /// Number: connections at once from one address; 0 = no limit. One over it is answered 429.
    /// Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS_PER_IP = 6,
    /// Number, bytes: an incoming message, after inflation. Over it the client is closed with 1009.
    /// Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_MESSAGE_SIZE = 7,
    /// Number: frames in one message. Over it the client is closed with 1008.
    /// Default 131,072. Range 1 to 2,147,483,647.
    PORTAL_OPTION_MAX_FRAGMENTS = 8,
    /// Number, bytes: request line and headers. Over it the client is answered 431.
    /// Default 16,384. Range 128 to 16,777,216.
    PORTAL_OPTION_MAX_HEADER_SIZE = 9,
    /// Number, bytes: a client's send queue, framed, compressed, and with what keeping it costs. Sends
    /// answer PORTAL_STATUS_FULL once it has reached this, so at most one message more is held.
    /// Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_QUEUED = 10,
    /// Number, ms: from accept to the end of the request, TLS included.
    /// Default 10,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_HANDSHAKE_TIMEOUT = 11,
    /// Number, ms: without any frame from the client, which is then closed with 1001; 0 = never.
    /// Default 0. Range 0 to 2,147,483,647.
    PORTAL_OPTION_IDLE_TIMEOUT = 12,
    /// Number, ms: between two pings; 0 = never. A client from which nothing came by the next one is gone
    /// (1006).
    /// Default 30,000. Range 0 to 2,147,483,647.
    PORTAL_OPTION_PING_INTERVAL = 13,
    /// Number, ms: from our close frame (or portal_close) to ending the connection.
    /// Default 5,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_CLOSE_TIMEOUT = 14,
    /// Text: the origins that may connect, separated by commas, each exactly scheme://host[:port] (RFC
    /// 6455 section 10.2). Another Origin is answered 403; a request without one passes.
    /// Default empty: any.
    PORTAL_OPTION_ORIGINS = 15,
    /// Text: subprotocols, separated by commas, in order of preference (RFC 6455 section 1.9). The first
    /// that the client offers is chosen; with none in common the client is accepted with none.
    /// Default empty.
    PORTAL_OPTION_SUBPROTOCOLS = 16,
    /// Number: permessage-deflate (RFC 7692). 0 off, 1 on without context takeover, 2 on with it.
    /// Default 1; 0 in builds without it, in which nothing but 0 is supported. Range 0 to 2.
    PORTAL_OPTION_DEFLATE = 17,
    /// Number: 1 is fastest, 9 is smallest.
    /// Default 1. Range 1 to 9.
    PORTAL_OPTION_DEFLATE_LEVEL = 18,
    /// Number, bytes: messages under it go out as they are.
    /// Default 256. Range 0 to 2,147,483,647.
    PORTAL_OPTION_DEFLATE_MIN_SIZE = 19,
    /// Text: a PEM file with the certificate and its chain, read at start. With TLS_KEY: wss://.
    /// Default none.
    PORTAL_OPTION_TLS_CERTIFICATE = 20,
    /// Text: a PEM file with the key.
    /// Default none.
    PORTAL_OPTION_TLS_KEY = 21,
    /// Text: a PEM file; clients must show a certificate that it signed.
    /// Default none.
    PORTAL_OPTION_TLS_CLIENT_CA = 22,
    /// Text: the value of the "Server" header; empty = no such header.
    /// Default empty.
    PORTAL_OPTION_SERVER_HEADER = 23,
}

/// Makes a set of options, all at their defaults.
///
/// @return The options; portal_options_destroy ends them. NULL when there is no memory.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_options_create() -> *mut portal_options {
    guard_or(std::ptr::null_mut(), || Box::into_raw(Box::new(portal_options { options: Options::default() })))
}

/// Sets a number.
///
/// @param options  Borrowed until the call returns.
/// @param option   A number of enum portal_option.
/// @param value    In the range that stands beside the option.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes text, or out of range.
/// @return PORTAL_STATUS_UNSUPPORTED  This build leaves the feature out.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_set_number(
    options: *mut portal_options,
    option: u32,
    value: i64,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        Ok(options.options.set_number(option, value)?)
    })
}

/// Sets a text.
///
/// @param options  Borrowed until the call returns.
/// @param option   A number of enum portal_option.
/// @param value    UTF-8, ends in NUL. Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes a number, or malformed.
/// @return PORTAL_STATUS_UNSUPPORTED  This build leaves the feature out.
/// @return PORTAL_STATUS_MEMORY       An allocation was refused.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_set_text(
    options: *mut portal_options,
    option: u32,
    value: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let value = unsafe { text(value) }?;
        Ok(options.options.set_text(option, value)?)
    })
}

/// Ends a set of options. Servers started with it go on.
///
/// @param options  Never used again. NULL is fine.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_destroy(options: *mut portal_options) {
    guard_or((), || {
        if !options.is_null() && options.is_aligned() {
            // SAFETY: made by `portal_options_create`, and the caller gives it back.
            drop(unsafe { Box::from_raw(options) });
        }
    });
}

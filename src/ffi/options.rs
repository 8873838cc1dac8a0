//! # Options
//!
//! A server is started with a copy of them, so one set may start several servers, and may be changed
//! or destroyed in between.

use std::ffi::c_char;
use std::ptr;

use super::guard::{guard, guard_or};
use super::pointer::{borrow_mut, text};
use super::status::portal_status;
use super::types::portal_options;
use crate::server::Options;

/// The settings of a server. Each set validates at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_option {
    /// Where to listen: a numeric address (brackets allowed), or a name, looked up once at start:
    /// then at all its addresses. "unix:/path" is a Unix socket: the port must be 0, a stale socket
    /// file is replaced, and the file is removed on close. "::" is all addresses, IPv4 too
    /// ("0.0.0.0" where there is no IPv6). "fd:" is reserved.
    ///
    /// Text. Default "::".
    PORTAL_OPTION_HOST = 1,
    /// Loops, each with its thread; 0 = one per processor.
    ///
    /// Number. Default 1. Range 0 to 1,024.
    PORTAL_OPTION_THREADS = 2,
    /// Where callbacks run: enum portal_dispatch.
    ///
    /// Number. Default 0. Range 0 to 2.
    PORTAL_OPTION_DISPATCH = 3,
    /// Clients that the system keeps waiting to be accepted.
    ///
    /// Number. Default 4,096. Range 1 to 2,147,483,647.
    PORTAL_OPTION_BACKLOG = 4,
    /// Connections at once; 0 = no limit. One over it is answered 503.
    ///
    /// Number. Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS = 5,
    /// Connections at once from one address, as which an IPv6 /64 counts; 0 = no limit. One over it
    /// is answered 429.
    ///
    /// Number. Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS_PER_IP = 6,
    /// An incoming message, after inflation. Over it the client is closed with 1009.
    ///
    /// Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_MESSAGE_SIZE = 7,
    /// Frames in one incoming message. Over it the client is closed with 1008.
    ///
    /// Number. Default 131,072. Range 1 to 2,147,483,647.
    PORTAL_OPTION_MAX_FRAGMENTS = 8,
    /// Request line and headers. Over it the client is answered 431, and so it is for more than 100
    /// headers, however small.
    ///
    /// Number, bytes. Default 16,384. Range 128 to 16,777,216.
    PORTAL_OPTION_MAX_HEADER_SIZE = 9,
    /// A client's send queue: framed, compressed, and with what keeping it costs. Sends answer
    /// PORTAL_STATUS_FULL once it has reached this, so at most one message more is held.
    ///
    /// Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_QUEUED = 10,
    /// From accept to the end of the request, TLS included.
    ///
    /// Number, ms. Default 10,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_HANDSHAKE_TIMEOUT = 11,
    /// How long a client may send no frame; then it is closed with 1001. 0 = for ever.
    ///
    /// Number, ms. Default 0. Range 0 to 2,147,483,647.
    PORTAL_OPTION_IDLE_TIMEOUT = 12,
    /// Between two pings; 0 = none. A client from which nothing came by the next one is gone (1006);
    /// one that is behind with receiving is not, as long as its system acknowledges bytes.
    ///
    /// Number, ms. Default 30,000. Range 0 to 2,147,483,647.
    PORTAL_OPTION_PING_INTERVAL = 13,
    /// From portal_close, or our close frame, to ending the connection. It begins again when the
    /// client's system acknowledges bytes and when the close frame leaves, 12 times at most.
    ///
    /// Number, ms. Default 5,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_CLOSE_TIMEOUT = 14,
    /// The origins that may connect (RFC 6455 section 10.2), separated by commas, none twice, each
    /// exactly scheme://host[:port]; empty = any. A scheme's own port is the same as none. Another
    /// Origin is answered 403; a request without one passes.
    ///
    /// Text. Default "".
    PORTAL_OPTION_ORIGINS = 15,
    /// The subprotocols that the server speaks (RFC 6455 section 1.9), separated by commas, none
    /// twice, in order of preference. The first that the client offers is chosen; with none in
    /// common the client is accepted with none.
    ///
    /// Text. Default "".
    PORTAL_OPTION_SUBPROTOCOLS = 16,
    /// permessage-deflate (RFC 7692): 0 off, 1 on without context takeover, 2 on with it where the
    /// client agrees. With 1 an idle client costs no more memory than an uncompressed one; with 2
    /// each costs up to 210 KiB from its first compressed messages on. A build without it has the
    /// default 0, and takes no other.
    ///
    /// Number. Default 1. Range 0 to 2.
    PORTAL_OPTION_DEFLATE = 17,
    /// How hard to compress: 1 is fastest, 9 is smallest.
    ///
    /// Number. Default 1. Range 1 to 9.
    PORTAL_OPTION_DEFLATE_LEVEL = 18,
    /// Messages under it go out as they are, and so do those that would not become shorter.
    ///
    /// Number, bytes. Default 256. Range 0 to 2,147,483,647.
    PORTAL_OPTION_DEFLATE_MIN_SIZE = 19,
    /// A PEM file with the certificate and its chain, read at start. With TLS_KEY: wss://.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CERTIFICATE = 20,
    /// A PEM file with the certificate's key.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_KEY = 21,
    /// A PEM file; clients must show a certificate that it signed.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CLIENT_CA = 22,
    /// The value of the "Server" header; empty = no such header.
    ///
    /// Text. Default "".
    PORTAL_OPTION_SERVER_HEADER = 23,
    /// How loops talk to the system: 1 by epoll, 2 by io_uring; 0, auto, receives by epoll and sends to
    /// many clients at once by io_uring, which measures best. Where the system forbids io_uring or is
    /// older than Linux 6.1, and with HOST dispatch, epoll does everything, in silence.
    ///
    /// Number. Default 0. Range 0 to 2.
    PORTAL_OPTION_BACKEND = 24,
}

/// Makes a set of options, all at their defaults.
///
/// @return The options; portal_options_destroy ends them. NULL when that failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_options_create() -> *mut portal_options {
    guard_or(ptr::null_mut(), || {
        Box::into_raw(Box::new(portal_options {
            options: Options::default(),
        }))
    })
}

/// Sets a number.
///
/// @param options  Borrowed until the call returns.
/// @param option   A number of enum portal_option.
/// @param value    In the range that stands beside the option.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes text, or out of
///                                    range.
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
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes a number, or
///                                    malformed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use portal_option::*;

    #[test]
    fn settings_go_in_until_the_options_are_destroyed() {
        let options = portal_options_create();
        // SAFETY: options that this test made, and literals.
        unsafe {
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_THREADS as u32, 4),
                0
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_THREADS as u32, -1),
                -1
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_DEFLATE as u32, 3),
                -1
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_HOST as u32, 1),
                -1
            );
            let host = PORTAL_OPTION_HOST as u32;
            assert_eq!(
                portal_options_set_text(options, host, c"127.0.0.1".as_ptr()),
                0
            );
            assert_eq!(
                portal_options_set_text(options, host, c"no host".as_ptr()),
                -1
            );
            assert_eq!(portal_options_set_text(options, host, c"\xff".as_ptr()), -1);
            assert_eq!(portal_options_set_text(options, host, ptr::null()), -1);

            let kept = &(*options).options;
            assert_eq!((kept.threads, kept.host.as_str()), (4, "127.0.0.1"));
            portal_options_destroy(options);
        }
    }

    #[test]
    fn no_options_are_an_argument_and_may_be_destroyed() {
        let misaligned = ptr::without_provenance_mut(1);
        for none in [ptr::null_mut(), misaligned] {
            // SAFETY: neither is followed.
            unsafe {
                assert_eq!(
                    portal_options_set_number(none, PORTAL_OPTION_THREADS as u32, 1),
                    -1
                );
                let host = PORTAL_OPTION_HOST as u32;
                assert_eq!(portal_options_set_text(none, host, c"::".as_ptr()), -1);
                portal_options_destroy(none);
            }
        }
    }
}

//! # Connections to servers
//!
//! A connection is a websocket like those of a server's clients: the same handlers, ids and functions.
//! It is served on a loop of a server, with that server's dispatch, or on the library's own.
//!
//! `upgrade` sees each request before it is sent, and may set headers of it; `connect` sees the server's
//! answer. An attempt that fails before `connect` calls `error`, with the event UPGRADE and the status
//! ADDRESS (not found, refused, unreachable, timed out; a proxy's refusal), TLS, PROTOCOL (no valid
//! answer, RFC 6455 section 4.1) or REJECTED (another status than 101), and no `disconnect`.
//!
//! With RECONNECT the id lives on: after a failed attempt, or a loss that was not by portal_close,
//! portal_abort, the end of the server whose loop it uses or the peer's 1000, another attempt follows,
//! after a random part of a delay that doubles each time, from RECONNECT up to RECONNECT_MAX. It is
//! RECONNECT again after a minute of being open. In `error` and `disconnect` the state is CONNECTING if
//! another attempt follows, else CLOSED. What was queued when a connection was lost is never sent.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::callback::Handlers;
use super::entry::guard;
use super::handlers::portal_handlers;
use super::path::read_handlers;
use super::pointer::{borrow, place, text};
use super::status::portal_status;
use super::types::{portal_options, portal_server, portal_websocket};
use crate::server::{self, Options};

/// Begins to connect to a server, and returns.
///
/// These options mean for the connection what they mean for a server's clients: SUBPROTOCOLS (all are
/// offered, in order), DEFLATE, MAX_MESSAGE_SIZE, MAX_FRAGMENTS, MAX_HEADER_SIZE, MAX_QUEUED,
/// HANDSHAKE_TIMEOUT (of each attempt, from resolving the name to the answer), IDLE_TIMEOUT,
/// PING_INTERVAL and CLOSE_TIMEOUT; TLS_CERTIFICATE with TLS_KEY is what the server is shown of us. RECONNECT,
/// RECONNECT_MAX, TLS_CA, TLS_VERIFY, TLS_SERVER_NAME and PROXY are of connections alone. Options of a
/// server are without effect.
///
/// @param server         A server, whose loops and dispatch the connection uses; with HOST "none" it has
///                       no listener. 0 means a loop of the library's own, with IO dispatch, which runs
///                       while there are such connections.
/// @param url            "ws://host[:port]/path?query", "wss://..." or
///                       "ws+unix:/path/of.sock[:/path?query]", whose first path is percent-encoded;
///                       printable ASCII without a fragment. "user:password@" becomes Basic
///                       authorization. Borrowed until the call returns.
/// @param options        Borrowed until the call returns. NULL means all defaults.
/// @param handlers       As for portal_define_path. Borrowed until the call returns.
/// @param user_data      Passed to every handler, never dereferenced. May be NULL. Must stay valid until
///                       `release`, which is called once, as the last callback.
/// @param websocket_out  Receives the id, before the first callback can run; 0 on failure.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, a malformed URL, an invalid `size`, or a malformed proxy in
///                                    the environment.
/// @return PORTAL_STATUS_GONE         The server has closed, or is closing.
/// @return PORTAL_STATUS_TLS          A file for TLS is missing or unreadable, key and certificate do not
///                                    match, or there is no authority to trust.
/// @return PORTAL_STATUS_IO           The system could not provide a descriptor or a thread.
/// @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, wss:// in a build
///                                    without TLS, or the process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///         On failure, `release` is not called.
///
/// @threads  Any thread, and inside any callback. It may read files.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_connect(
    server: portal_server,
    url: *const c_char,
    options: *const portal_options,
    handlers: *const portal_handlers,
    user_data: *mut c_void,
    websocket_out: *mut portal_websocket,
) -> portal_status {
    guard(|| {
        let websocket_out = place(websocket_out)?;
        // SAFETY: not NULL and aligned, and the caller's to write.
        unsafe { websocket_out.write(0) };
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let url = unsafe { text(url) }?;
        let defaults;
        let options = if options.is_null() {
            defaults = Options::default();
            &defaults
        } else {
            // SAFETY: the caller's options, which no other thread uses.
            &unsafe { borrow(options) }?.options
        };
        // SAFETY: `size` bytes, or NULL, as the comment requires.
        let functions = unsafe { read_handlers(handlers) }?;
        // Of the URL the log names neither the user nor the query.
        let application = Arc::new(Handlers::new(
            server::public_part(url),
            functions,
            user_data,
        )?);
        let begun = server::connect(
            server,
            url,
            options,
            application.clone(),
            &mut |websocket| {
                // SAFETY: as above; the call has not returned yet.
                unsafe { websocket_out.write(websocket) }
            },
        );
        if let Err(error) = begun {
            // SAFETY: as above.
            unsafe { websocket_out.write(0) };
            return Err(error.into());
        }
        application.arm();
        Ok(())
    })
}

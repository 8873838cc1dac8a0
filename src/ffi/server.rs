//! # Servers
//!
//! DISPATCH selects the threads on which callbacks run:
//!
//!   IO          On the server's own loop threads, THREADS of them: 1 by default, so that callbacks
//!               never overlap. A websocket stays on its thread.
//!   PER_CLIENT  On a separate thread for each websocket, so that a handler may block without
//!               delaying others. While a websocket's queue of received messages is full, Portal does
//!               not read from its socket.
//!   HOST        On threads of the program. The library starts no thread: the program calls
//!               portal_server_run, _poll or _pull. One call serves every loop that has work and that
//!               no other thread is serving: one thread can serve all loops, and up to THREADS threads
//!               may be inside at once. A thread that ends or unwinds during a wait releases its
//!               loops; no lock is held while it waits.
//!
//! A turn is one iteration of an event loop: it receives, runs callbacks and sends what they queued.
//!
//! A thread that is cancelled (pthread_cancel) ends while portal_server_run, _poll or _pull waits, or
//! at its next cancellation point after the call. It is not cancelled inside any other function,
//! nor inside a callback, on any thread. Do not cancel the library's own threads.
//!
//! Time during which Portal itself does not read from a socket (a busy handler, a host that does not
//! poll) does not count towards any timeout.

use super::entry::{guard, guard_number};
use super::guard::guard_or;
use super::pointer::{borrow, place};
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use super::status::{Outcome, portal_status};
use super::types::{portal_options, portal_server};
use crate::server::{self, Call, CallStep, Options, OwnPaths};

/// The metrics of portal_server_metric. Totals count from the server's start.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_metric {
    /// Websockets open now.
    PORTAL_METRIC_CONNECTIONS = 1,
    /// Websockets opened.
    PORTAL_METRIC_CONNECTIONS_TOTAL = 2,
    /// Handshakes that did not end in a 101 response.
    PORTAL_METRIC_REJECTED_TOTAL = 3,
    /// Data messages received.
    PORTAL_METRIC_MESSAGES_IN = 4,
    /// Data messages sent.
    PORTAL_METRIC_MESSAGES_OUT = 5,
    /// Bytes read from sockets; with TLS, bytes of plaintext.
    PORTAL_METRIC_BYTES_IN = 6,
    /// Bytes written to sockets; with TLS, bytes of plaintext.
    PORTAL_METRIC_BYTES_OUT = 7,
    /// Bytes in send queues now.
    PORTAL_METRIC_QUEUED_BYTES = 8,
    /// Connections on which the peer violated the protocol.
    PORTAL_METRIC_PROTOCOL_ERRORS = 9,
    /// Handlers that failed.
    PORTAL_METRIC_HANDLER_ERRORS = 10,
    /// Handshakes, and attempts to connect, that were not complete within HANDSHAKE_TIMEOUT.
    PORTAL_METRIC_HANDSHAKE_TIMEOUTS = 14,
    /// Connections that were dropped because nothing was received from the peer by the next ping.
    PORTAL_METRIC_PING_TIMEOUTS = 15,
    /// Bytes of memory held for connections now; see MAX_MEMORY.
    PORTAL_METRIC_MEMORY_BYTES = 17,
    /// Connections that were ended because of MAX_MEMORY.
    PORTAL_METRIC_MEMORY_CLOSED = 18,
    /// When the first of the server's certificates expires, in seconds since 1970; 0 without TLS. In
    /// the last 14 days the log warns of it, at level 2, at the start, at a reload and once a day.
    PORTAL_METRIC_CERTIFICATE_EXPIRES = 19,
}

/// Starts a server. It listens at once; with IO or PER_CLIENT dispatch it also serves at once.
///
/// @param port        0 to 65,535; 0 chooses a free one, which portal_server_port returns.
/// @param options     Borrowed until the call returns. NULL means all defaults.
/// @param server_out  Receives the id, before the first callback can run; 0 on failure.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, a port out of range, or one that HOST excludes.
/// @return PORTAL_STATUS_ADDRESS      Cannot listen: address in use, not permitted, malformed, or an
///                                    unusable descriptor.
/// @return PORTAL_STATUS_TLS          A certificate, a key or another file for TLS is missing or
///                                    unreadable, or they do not match.
/// @return PORTAL_STATUS_IO           The system could not provide a descriptor or a thread.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_server_start(
    port: u32,
    options: *const portal_options,
    server_out: *mut portal_server,
) -> portal_status {
    guard(|| {
        let server_out = place(server_out)?;
        // SAFETY: not NULL and aligned, and the caller's to write.
        unsafe { server_out.write(0) };
        let port = u16::try_from(port).map_err(|_| PORTAL_STATUS_ARGUMENT)?;
        let defaults;
        let given = if options.is_null() {
            defaults = portal_options {
                options: Options::default(),
                paths: OwnPaths::default(),
            };
            &defaults
        } else {
            // SAFETY: the caller's options, which no other thread uses.
            unsafe { borrow(options) }?
        };
        let started = server::start(port, &given.options, &given.paths, &mut |server| {
            // SAFETY: as above; the call has not returned yet.
            unsafe { server_out.write(server) }
        });
        if let Err(error) = started {
            // SAFETY: as above.
            unsafe { server_out.write(0) };
            return Err(error.into());
        }
        Ok(())
    })
}

/// Returns the port on which a server listens: the chosen one when it was started with 0.
///
/// @param server  Any id.
///
/// @return The port, also after portal_server_stop_accepting; 0 when the server is gone, listens on
///         a Unix socket or has no listener.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_port(server: portal_server) -> u32 {
    guard_or(0, || u32::from(server::port(server)))
}

/// Stops accepting connections, and continues to serve those that exist.
///
/// For a restart without a gap: another process, which has the same inherited socket or then listens
/// on the port, accepts from now on, while this one serves its clients until they leave or
/// portal_server_close ends them. When the call returns, connections to the port are refused, and
/// those that waited to be accepted are reset. An inherited socket (HOST "fd:") is only closed, in the
/// next turn of each loop: connections that wait there stay for the other processes that have it.
///
/// Connections that were answered with a page and wait for the next request end, and a page is then the
/// last response on its connection. A connection that was accepted before may still become a websocket.
///
/// A second call, or a call on a server that is closing, changes nothing and returns OK.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_stop_accepting(server: portal_server) -> portal_status {
    guard(|| Ok(server::stop_accepting(server)?))
}

/// Closes a server and waits until it is closed.
///
/// The server stops accepting, sends a close frame (CLOSE_CODE) on every websocket, waits for close frames and for
/// queued data as long as CLOSE_TIMEOUT allows, and drops the remaining connections. When the call
/// returns, no callback of that server is running or will run, and the port is free.
///
/// The call waits for running handlers without a limit: hold no lock that a handler takes. Inside a
/// callback of any server, the call begins to close and returns. With HOST dispatch, the calling
/// thread serves the loops that no other thread serves. A concurrent second call waits as well and
/// returns OK.
///
/// A host that pulls calls portal_server_begin_close instead, and pulls until PORTAL_STATUS_GONE: as
/// long as a thread holds pulled records, or events wait for its next pull, this call returns OK
/// before the server has ended, and the server ends only with that thread's further calls.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_close(server: portal_server) -> portal_status {
    guard(|| Ok(server::close(server)?))
}

/// Begins to close a server, as portal_server_close does, and returns at once.
///
/// For programs that pull: begin to close, then continue to pull until PORTAL_STATUS_GONE, so that
/// no record is lost.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_begin_close(server: portal_server) -> portal_status {
    guard(|| Ok(server::begin_close(server)?))
}

/// Waits until a server is closed. Does not close it.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
/// @return PORTAL_STATUS_BUSY  Inside a callback.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_wait(server: portal_server) -> portal_status {
    guard(|| Ok(server::wait(server)?))
}

/// HOST dispatch: serves on this thread until the server is closed.
///
/// One call serves every loop that has work and that no other thread is serving. Up to THREADS
/// threads may be inside portal_server_run, _poll and _pull at once.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK        The server is closed.
/// @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
/// @return PORTAL_STATUS_GONE      The server had ended already, or never existed.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
/// @return PORTAL_STATUS_IO        A system call failed.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C-unwind" fn portal_server_run(server: portal_server) -> portal_status {
    serve(server, -1, |call| Ok(server::run(call)?))
}

/// HOST dispatch: runs one turn. Waits for work, processes it, calls the handlers and returns.
///
/// A signal interrupts the wait; the call then returns the number so far. Time between two calls
/// does not count towards any timeout.
///
/// @param server      Any id.
/// @param timeout_ms  Maximum time to wait for work; negative = no limit, 0 = do not wait.
///
/// @return The number of callbacks run, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never existed.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
/// @return PORTAL_STATUS_IO        A system call failed.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C-unwind" fn portal_server_poll(server: portal_server, timeout_ms: i32) -> i32 {
    serve(server, timeout_ms, |call| Ok(server::poll(call)?))
}

/// HOST dispatch: returns a descriptor that is readable while portal_server_poll or _pull has work.
///
/// It is level-triggered and covers all loops and their timers. It also becomes readable on a send,
/// ping or close from outside a turn. The library owns it: wait on it, and do nothing else with it.
/// The library closes it when the server has ended. So a program that waits on it closes the server
/// with portal_server_begin_close, and polls until PORTAL_STATUS_GONE.
///
/// @param server  Any id.
///
/// @return The descriptor, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never existed.
/// @return PORTAL_STATUS_IO        The system could not provide a descriptor.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_fd(server: portal_server) -> i32 {
    guard_number(|| Ok(server::fd(server)?))
}

/// HOST dispatch: wakes one waiting run, poll or pull; when none is waiting, the next one does not
/// wait.
///
/// Poll and pull then return even if nothing has happened.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never existed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_wake(server: portal_server) -> portal_status {
    guard(|| Ok(server::wake(server)?))
}

/// Reads certificates, keys, authorities and revocation lists again, from the same files. New
/// connections use the new ones.
///
/// Clients can resume earlier sessions, unless TLS_CLIENT_CA is set: then each must present its
/// certificate again.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_TLS          A file is missing, unreadable or does not match; everything
///                                    stays as it was.
/// @return PORTAL_STATUS_GONE         The server has ended, or never existed.
/// @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_reload_tls(server: portal_server) -> portal_status {
    guard(|| Ok(server::reload_tls(server)?))
}

/// Returns one metric of a server.
///
/// @param server  Any id. 0: of the library's own loop, see portal_connect.
/// @param which   A number of enum portal_metric.
///
/// @return The metric; 0 when the server is gone or the number is unknown.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_metric(server: portal_server, which: u32) -> u64 {
    guard_or(0, || server::metric(server, which))
}

/// Serves on the calling thread, step by step, and waits between steps. Returns a count of at most
/// 2^31-1, or a negative status.
///
/// The thread may be cancelled in the wait, unless it has disabled that. Cancellation unwinds through
/// this function and its caller, so neither owns anything that must be dropped.
pub(super) fn serve(
    server: portal_server,
    timeout_ms: i32,
    mut step: impl FnMut(&mut Call) -> Outcome<CallStep>,
) -> i32 {
    let mut call = Call::new(server, timeout_ms);
    loop {
        let mut wait = None;
        let count = guard_number(|| match step(&mut call)? {
            CallStep::Done(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            CallStep::Wait(prepared) => {
                wait = Some(prepared);
                Ok(0)
            }
        });
        let Some(wait) = wait else { return count };
        // SAFETY: this thread owns the set, which outlives the wait and is used again in the next step.
        call.waited(unsafe { wait.wait() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn a_start_that_cannot_be_leaves_no_id() {
        let mut server = 7;
        let misaligned = ptr::without_provenance(1);
        // SAFETY: a variable of this test, and a pointer that is not dereferenced.
        unsafe {
            assert_eq!(portal_server_start(0, ptr::null(), ptr::null_mut()), -1);
            assert_eq!(
                portal_server_start(65_536, ptr::null(), &raw mut server),
                -1
            );
            assert_eq!(server, 0);
            server = 7;
            assert_eq!(portal_server_start(0, misaligned, &raw mut server), -1);
            assert_eq!(server, 0);
        }
    }

    #[test]
    fn a_count_fits_a_number_that_has_a_sign() {
        assert_eq!(serve(0, 0, |_| Ok(CallStep::Done(3))), 3);
        assert_eq!(serve(0, 0, |_| Ok(CallStep::Done(u32::MAX))), i32::MAX);
        assert_eq!(serve(0, 0, |_| Err(PORTAL_STATUS_ARGUMENT)), -1);
    }
}

//! # Servers
//!
//! DISPATCH decides on which thread callbacks run:
//!
//!   IO          On the server's own loop threads, THREADS of them: 1 by default, so that callbacks
//!               never overlap. A websocket stays on its thread.
//!   PER_CLIENT  Each websocket's on a thread of its own, so that a handler may block without
//!               holding up others. When a client's inbound queue is full, it is not read.
//!   HOST        The library starts no thread; the host drives the server with portal_server_run,
//!               _poll or _pull. One call serves whichever loops have work and no other thread: one
//!               thread can serve all, up to THREADS may be inside at once. A thread that ends, or is
//!               thrown out of a wait, gives its loops back; no lock is held in a wait.
//!
//! A thread that is cancelled (pthread_cancel) ends while portal_server_run, _poll or _pull waits, or at its
//! next cancellation point after the call. Inside all other functions, and inside callbacks wherever they
//! run, it is not cancelled. The library's own threads are not to be cancelled.
//!
//! Time during which Portal itself does not read a client (a busy handler, a host that is
//! elsewhere) is never held against the client.

use super::guard::{guard, guard_number, guard_or};
use super::pointer::{borrow, place};
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use super::status::{Outcome, portal_status};
use super::types::{portal_options, portal_server};
use crate::server::{self, Call, Options, Step};

/// What portal_server_metric returns. Totals count from the server's start and end with it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_metric {
    /// Websockets open now.
    PORTAL_METRIC_CONNECTIONS = 1,
    /// Websockets opened.
    PORTAL_METRIC_CONNECTIONS_TOTAL = 2,
    /// Handshakes not answered with 101.
    PORTAL_METRIC_REJECTED_TOTAL = 3,
    /// Data messages received.
    PORTAL_METRIC_MESSAGES_IN = 4,
    /// Data messages sent.
    PORTAL_METRIC_MESSAGES_OUT = 5,
    /// Bytes read from sockets, inside TLS.
    PORTAL_METRIC_BYTES_IN = 6,
    /// Bytes written to sockets, inside TLS.
    PORTAL_METRIC_BYTES_OUT = 7,
    /// Bytes in send queues now.
    PORTAL_METRIC_QUEUED_BYTES = 8,
    /// Clients that broke the protocol.
    PORTAL_METRIC_PROTOCOL_ERRORS = 9,
    /// Handlers that failed.
    PORTAL_METRIC_HANDLER_ERRORS = 10,
}

/// Starts a server: listens, and with IO or PER_CLIENT dispatch serves from now on.
///
/// @param port        0 to 65,535; 0 chooses a free one, which portal_server_port tells.
/// @param options     Borrowed until the call returns, and yours after. May be NULL: all defaults.
/// @param server_out  Gets the id, before the first callback can run; 0 on failure.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, or a port out of range.
/// @return PORTAL_STATUS_ADDRESS      Cannot listen there: in use, not permitted, malformed.
/// @return PORTAL_STATUS_TLS          Certificate or key missing, unreadable, or not a pair.
/// @return PORTAL_STATUS_IO           The system refused a descriptor or a thread.
/// @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation was refused.
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
        let options = if options.is_null() {
            defaults = Options::default();
            &defaults
        } else {
            // SAFETY: the caller's options, which no other thread uses.
            &unsafe { borrow(options) }?.options
        };
        let started = server::start(port, options, &mut |server| {
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

/// Reads the port that a server listens on: the real one when 0 was asked.
///
/// @param server  Any id.
///
/// @return The port; 0 when the server is gone or listens on a Unix socket.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_port(server: portal_server) -> u32 {
    guard_or(0, || u32::from(server::port(server)))
}

/// Closes a server and waits until it has closed.
///
/// It stops accepting, sends close 1001 to every client, waits as CLOSE_TIMEOUT says for
/// their answers and for queued data, and ends the rest. When the call returns, no callback of that
/// server runs any more and the port is free. It waits for running handlers however long, so hold
/// no lock that a handler takes. Inside a callback of any server it only begins. With HOST dispatch
/// it serves on the calling thread what no other thread serves. A second close at the same time
/// waits too and answers OK.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  It has ended already, or never was.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_close(server: portal_server) -> portal_status {
    guard(|| Ok(server::close(server)?))
}

/// Begins to close a server as portal_server_close does, and returns.
///
/// The way for hosts that pull: begin, and pull on until PORTAL_STATUS_GONE, so that no record is
/// lost.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  It has ended already, or never was.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_begin_close(server: portal_server) -> portal_status {
    guard(|| Ok(server::begin_close(server)?))
}

/// Waits until a server has closed; does not begin it.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_GONE  It has ended already, or never was.
/// @return PORTAL_STATUS_BUSY  Inside a callback.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_wait(server: portal_server) -> portal_status {
    guard(|| Ok(server::wait(server)?))
}

/// HOST dispatch: serves on this thread until the server has closed.
///
/// One call serves whichever loops have work and no other thread. Up to THREADS threads may be
/// inside portal_server_run, _poll and _pull at once.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK        The server has closed.
/// @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
/// @return PORTAL_STATUS_GONE      It had ended already, or never was.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
/// @return PORTAL_STATUS_IO        The system refused.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C-unwind" fn portal_server_run(server: portal_server) -> portal_status {
    serve(server, -1, |call| Ok(server::run(call)?))
}

/// HOST dispatch: one turn. Waits for work, does what there is, calls the handlers, returns.
///
/// A signal makes it return what it has. Time between two calls is not held against the clients.
///
/// @param server      Any id.
/// @param timeout_ms  How long to wait for work; negative = no limit, 0 = not at all.
///
/// @return The number of callbacks run, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never was.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
/// @return PORTAL_STATUS_IO        The system refused.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C-unwind" fn portal_server_poll(server: portal_server, timeout_ms: i32) -> i32 {
    serve(server, timeout_ms, |call| Ok(server::poll(call)?))
}

/// HOST dispatch: the descriptor that is readable while portal_server_poll or _pull has work.
///
/// It is level-triggered and covers all loops and their timers. It also becomes readable on a send,
/// ping or close from outside a turn. The library owns it: wait on it, and do nothing else with it.
/// It is closed when the server has ended, so whoever waits on it ends the server by
/// portal_server_begin_close, and polls until PORTAL_STATUS_GONE.
///
/// @param server  Any id.
///
/// @return The descriptor, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never was.
/// @return PORTAL_STATUS_IO        The system refused a descriptor.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_fd(server: portal_server) -> i32 {
    guard_number(|| Ok(server::fd(server)?))
}

/// HOST dispatch: makes one waiting run, poll or pull look up; when none waits, the next one.
///
/// Poll and pull then return although nothing has happened.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never was.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_wake(server: portal_server) -> portal_status {
    guard(|| Ok(server::wake(server)?))
}

/// Reads certificate and key again, from the same files. New clients get the new pair.
///
/// @param server  Any id.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_TLS          Missing, unreadable, or not a pair; the old pair stays.
/// @return PORTAL_STATUS_GONE         The server has ended, or never was.
/// @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
/// @return PORTAL_STATUS_MEMORY       An allocation was refused.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_reload_tls(server: portal_server) -> portal_status {
    guard(|| Ok(server::reload_tls(server)?))
}

/// Returns one metric of a server.
///
/// @param server  Any id.
/// @param which   A number of enum portal_metric.
///
/// @return The metric; 0 when the server is gone or the number unknown.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub extern "C" fn portal_server_metric(server: portal_server, which: u32) -> u64 {
    guard_or(0, || server::metric(server, which))
}

/// Serves on the calling thread, step by step, and waits between them; answers a count, one over 2^31-1 as that.
///
/// The thread may be cancelled in the wait, unless its own choice is another. That unwinds through this
/// function and its caller, which therefore hold nothing that is to be dropped.
pub(super) fn serve(
    server: portal_server,
    timeout_ms: i32,
    mut step: impl FnMut(&mut Call) -> Outcome<Step>,
) -> i32 {
    let mut call = Call::new(server, timeout_ms);
    loop {
        let mut wait = None;
        let count = guard_number(|| match step(&mut call)? {
            Step::Done(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
            Step::Wait(prepared) => {
                wait = Some(prepared);
                Ok(0)
            }
        });
        let Some(wait) = wait else { return count };
        // SAFETY: the set is this thread's own and lives as long; the next step is the next to use it.
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
        // SAFETY: a place of this test, and what is not followed.
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
        assert_eq!(serve(0, 0, |_| Ok(Step::Done(3))), 3);
        assert_eq!(serve(0, 0, |_| Ok(Step::Done(u32::MAX))), i32::MAX);
        assert_eq!(serve(0, 0, |_| Err(PORTAL_STATUS_ARGUMENT)), -1);
    }
}

//! Pulling is for hosts in which callbacks from C are slow, dangerous or impossible: records are filled
//! instead, and nothing but `upgrade` and `release` is called. A handler that fails is then the host's
//! own business.

use std::any::Any;
use std::ffi::c_void;
use std::mem::{align_of, size_of};
use std::ptr;

use super::callback::{Report, lend};
use super::pointer::place;
use super::server::count;
use super::status::Outcome;
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use super::types::{portal_request, portal_server, portal_websocket};
use crate::server::{self, EventKind, Happened, Pulled, Records};

/// One event of a websocket, as portal_server_pull fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_pulled {
    /// Enum portal_event; not UPGRADE. Skip unknown ones.
    pub event: u32,
    /// MESSAGE: enum portal_message. DISCONNECT: the close code. Else 0.
    pub r#type: u32,
    /// To whom it happened. After DISCONNECT the id lives as long as the records.
    pub websocket: portal_websocket,
    /// The path's, as now defined.
    pub user_data: *mut c_void,
    /// MESSAGE, PONG: the payload. DISCONNECT: the reason. ERROR: a portal_error. Never NULL.
    pub data: *const c_void,
    /// Bytes in `data`.
    pub len: usize,
    /// CONNECT: the request. Else NULL.
    pub request: *const portal_request,
}

/// sizeof(portal_pulled) in version 0.1.
const FIRST_SIZE: usize = size_of::<portal_pulled>();
/// The most records that one call fills.
const MAX_RECORDS: usize = i32::MAX as usize;

/// HOST dispatch: one turn without callbacks. Waits for work and fills records with what happened.
///
/// What the records point to is valid until the same thread's next pull, poll or run of that server, or
/// its end, also across the server's close. What is sent between two pulls leaves at the next pull, or at
/// portal_flush. A signal makes it return what it has.
///
/// @param server       Any id.
/// @param timeout_ms   How long to wait for work; negative = no limit, 0 = not at all.
/// @param events       Room for `max` records, aligned as portal_pulled. Written until the call returns.
/// @param max          1 to 2^31-1.
/// @param record_size  sizeof(portal_pulled), as you compile it, or more when records of yours begin with
///                     one; a multiple of its alignment. Bytes that this library does not know become 0.
///
/// @return The number of records filled, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  NULL, `max` or `record_size` out of range, another dispatch than HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never was.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
/// @return PORTAL_STATUS_IO        The system refused.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_server_pull(
    server: portal_server,
    timeout_ms: i32,
    events: *mut portal_pulled,
    max: usize,
    record_size: usize,
) -> i32 {
    count(|| {
        // SAFETY: room for `max` records of `record_size` bytes, or NULL, as the comment asks.
        let mut records = unsafe { Filling::new(events, max, record_size) }?;
        Ok(server::pull(server, timeout_ms, &mut records)?)
    })
}

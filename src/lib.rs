//! Portal: WebSockets for every language that can call C.
//!
//! Four layers; a module may use its own layer and those below it:
//!
//! - `ffi`: C names, pointers and statuses. No decision is made here.
//! - `server`: loops, connections, ids, queues, limits, callbacks. Safe Rust.
//! - `net`: sockets, readiness, wake-ups. Knows nothing of WebSocket.
//! - `proto`: bytes in, events and bytes out. No I/O, clock, thread or unsafe.
//!
//! `unsafe` is allowed in `net::os::linux::sys` and `ffi` alone.

#[allow(unsafe_code, reason = "pointers from C, and calls of C functions")]
mod ffi;
mod locks;
mod net;
pub mod proto;
mod server;

/// Returns the length of the PROXY header that `bytes` begin with; None for an incomplete one, and without one. For
/// the fuzz target: the header is received in `net`.
#[must_use]
#[doc(hidden)]
pub fn proxy_header_len(bytes: &[u8]) -> Option<usize> {
    net::proxy_header_len(bytes)
}

//! Portal: WebSockets for every language that can call C.
//!
//! Four layers; a module may use its own layer and those below it:
//!
//! - `ffi`: C names, pointers and statuses. No decision is made here.
//! - `server`: loops, connections, ids, queues, limits, callbacks. Safe Rust.
//! - `net`: sockets, readiness, wake-ups. Knows nothing of WebSocket.
//! - `proto`: bytes in, events and bytes out. No I/O, clock, thread or unsafe.
//!
//! `unsafe` has two doors: `net::os::linux::sys` and `ffi`.

#[allow(unsafe_code, reason = "what C hands in, and calls out to C")]
mod ffi;
mod locks;
mod net;
pub mod proto;
mod server;

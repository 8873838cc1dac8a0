//! Servers: loops, connections, ids, queues, limits and callbacks. Plain safe Rust.

mod application;
mod error;
mod options;
mod request;

use std::ffi::c_void;
use std::os::fd::RawFd;
use std::sync::Arc;

pub use application::{Application, EventKind, Failure, FailureKind, Happened, Pulled, Records};
pub use error::ServerError;
pub use options::{Dispatch, Options};
pub use request::Request;

use crate::proto::Kind;

type Answer<T = ()> = Result<T, ServerError>;

// ---- paths and pages (process-wide) ----

/// Fails with Argument. On failure nothing keeps `application`.
pub fn define_path(path: &str, application: Arc<dyn Application>) -> Answer { todo!() }
pub fn undefine_path(path: &str) -> Answer { todo!() }
pub fn define_page(path: &str, content_type: &str, body: &[u8]) -> Answer { todo!() }
pub fn undefine_page(path: &str) -> Answer { todo!() }

// ---- servers ----

/// `publish` is told the id before the first callback can run.
pub fn start(port: u16, options: &Options, publish: &mut dyn FnMut(u64)) -> Answer<u64> { todo!() }
/// 0 when gone or a Unix socket.
pub fn port(server: u64) -> u16 { todo!() }
pub fn close(server: u64) -> Answer { todo!() }
pub fn begin_close(server: u64) -> Answer { todo!() }
pub fn wait(server: u64) -> Answer { todo!() }
pub fn run(server: u64) -> Answer { todo!() }
/// Negative `timeout_ms`: no limit. The number of callbacks run.
pub fn poll(server: u64, timeout_ms: i32) -> Answer<u32> { todo!() }
/// The number of events written to `records`.
pub fn pull(server: u64, timeout_ms: i32, records: &mut dyn Records) -> Answer<u32> { todo!() }
pub fn fd(server: u64) -> Answer<RawFd> { todo!() }
pub fn wake(server: u64) -> Answer { todo!() }
pub fn reload_tls(server: u64) -> Answer { todo!() }
/// 0 when gone or unknown.
pub fn stat(server: u64, which: u32) -> u64 { todo!() }

// ---- websockets ----

pub fn send(websocket: u64, kind: Kind, data: &[u8]) -> Answer { todo!() }
pub fn ping(websocket: u64, data: &[u8]) -> Answer { todo!() }
/// `code` 0 means 1000. Argument for a code that an application may not send.
pub fn close_websocket(websocket: u64, code: u32, reason: &[u8]) -> Answer { todo!() }
pub fn flush(websocket: u64) -> Answer { todo!() }
pub fn abort(websocket: u64) -> Answer { todo!() }
/// The number of `enum portal_state`; 3 for any dead id.
pub fn state_of(websocket: u64) -> u32 { todo!() }
pub fn queued(websocket: u64) -> usize { todo!() }
pub fn set_data(websocket: u64, data: *mut c_void) -> Answer { todo!() }
/// NULL if gone.
pub fn data(websocket: u64) -> *mut c_void { todo!() }

// ---- log, debugger ----

/// What takes log lines: level 1 (error) to 5 (trace), a line without its end.
pub type LogCallback = dyn Fn(u32, &std::ffi::CStr) + Send + Sync;
/// When it returns, the old callback does not run any more, except around this very call.
pub fn set_log(level: u32, callback: Option<Arc<LogCallback>>) { todo!() }
/// The log line of a panic, called by the panic hook that `ffi` installs.
pub fn log_panic(text: &str) { todo!() }
/// Stop in a debugger, if one traces the process, when a handler fails.
pub fn set_debug_on_error(on: bool) { todo!() }

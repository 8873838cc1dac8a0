//! Servers: loops, connections, ids, queues, limits and callbacks. Plain safe Rust.
//!
//! The functions here are what C can do; every one may be called from any thread.

mod admission;
mod answering;
mod application;
mod connect;
mod dispatch;
mod error;
mod event;
mod event_loop;
mod handler_calls;
mod handshake;
mod histogram;
mod host;
mod host_threads;
mod id;
mod lifecycle;
mod log;
mod memory_budget;
mod metrics;
mod options;
mod own_loop;
mod parked;
mod registry;
mod scrape;
mod sending;
mod shared;
mod slot;
mod sync;
mod trusted_proxies;
mod websocket;

pub(crate) use crate::net::TlsFact;
pub(crate) use answering::{
    set_body as set_answer_body, set_deflate as set_answer_deflate, set_header as set_answer_header,
};
pub(crate) use application::{
    Application, EventKind, Failure, FailureKind, Record, RecordBytes, RecordEvent, Records,
};
pub(crate) use connect::{connect, public_part};
pub(crate) use error::ServerError;
pub(crate) use handler_calls::{count_handler, run_foreign, set_debug_on_error};
pub(crate) use handshake::own_paths::OwnPaths;
pub(crate) use handshake::request::Request;
pub(crate) use host::{Call, CallStep, fd, poll, pull, run, wake};
pub(crate) use lifecycle::{close, start, wait};
pub(crate) use log::LogCallback;
pub(crate) use options::{Dispatch, Options};
pub(crate) use sending::{
    abort, close as close_websocket, data, flush, ping, queued, send, set_data, state_of,
};
pub(crate) use slot::State;
#[cfg(test)]
pub(crate) use {
    dispatch::pull::{Batch, Puller},
    event::{Event, Target},
    handshake::paths::Paths,
};

use std::sync::Arc;

use error::ServerResult;
use lifecycle::refuse_in_child;

/// Defines a path, or gives a defined one to another application.
pub(crate) fn define_path(path: &str, application: Arc<dyn Application>) -> ServerResult {
    refuse_in_child()?;
    handshake::paths::define_path(path, application)
}

/// Undefines a path; its clients keep their last application until they leave.
pub(crate) fn undefine_path(path: &str) -> ServerResult {
    refuse_in_child()?;
    handshake::paths::undefine_path(path)
}

/// Defines or replaces a page: what GET and HEAD of `path` answer.
pub(crate) fn define_page(path: &str, content_type: &str, body: &[u8]) -> ServerResult {
    refuse_in_child()?;
    handshake::paths::define_page(path, handshake::page::Page::new(content_type, body)?)
}

/// Removes a page.
pub(crate) fn undefine_page(path: &str) -> ServerResult {
    refuse_in_child()?;
    handshake::paths::undefine_page(path)
}

/// Defines a path of the servers that are started with the same options. Returns the application before, which
/// is dropped when nothing is borrowed.
pub(crate) fn define_own_path(
    paths: &mut OwnPaths,
    path: &str,
    application: Arc<dyn Application>,
) -> ServerResult<Option<Arc<dyn Application>>> {
    refuse_in_child()?;
    paths.define_path(path, application)
}

/// Defines or replaces a page of the servers that are started with the same options.
pub(crate) fn define_own_page(
    paths: &mut OwnPaths,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> ServerResult {
    refuse_in_child()?;
    paths.define_page(path, handshake::page::Page::new(content_type, body)?)
}

/// Sets who takes the log; None is nobody.
pub(crate) fn set_log(level: u32, callback: Option<Arc<LogCallback>>) -> ServerResult {
    refuse_in_child()?;
    log::set(level, callback);
    Ok(())
}

/// The port that a server listens on; 0 when it is gone, listens on a Unix socket or not at all.
pub(crate) fn port(server: u64) -> u16 {
    registry::find(server).map_or(0, |server| server.port())
}

/// A metric by its number in `enum portal_metric`, of a server or, for 0, of the library's own loop; 0 when it is gone
/// or the number is unknown.
pub(crate) fn metric(server: u64, which: u32) -> u64 {
    match server {
        0 => own_loop::metric(which),
        server => registry::find(server).map_or(0, |server| server.metric(which)),
    }
}

/// Stops accepting connections, and continues to serve those that exist.
pub(crate) fn stop_accepting(server: u64) -> ServerResult {
    registry::find(server).map(|server| server.stop_accepting())
}

/// Begins to close a server, and returns.
pub(crate) fn begin_close(server: u64) -> ServerResult {
    registry::find(server).map(|server| server.begin_close())
}

/// Reads the certificate and the key again, for clients that come from now on.
pub(crate) fn reload_tls(server: u64) -> ServerResult {
    registry::find(server)?.reload_tls()
}

/// What the panic hook has to say.
pub(crate) fn log_panic(text: &str) {
    ::log::error!("a bug in Portal was caught: {text}");
}

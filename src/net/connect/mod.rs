//! Outgoing connections: names are resolved, addresses raced and proxies talked to in the background.
//!
//! A thread does this as long as there is something to do ([`thread`]); it waits for nothing but its sockets, so one
//! is enough. Names are resolved by a few others, because the system's resolver blocks ([`resolver`]).

mod environment;
mod error;
mod http_proxy;
mod proxy;
mod race;
mod remote;
mod resolver;
mod route;
mod socks5;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use thread::Report;

pub(crate) use error::ConnectError;
pub(crate) use proxy::Proxy;
pub(crate) use remote::Remote;
pub(crate) use route::Route;

/// A connection that is being made. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Connecting(Arc<AtomicBool>);

impl Drop for Connecting {
    fn drop(&mut self) {
        // The sockets of one that is over are gone already.
        if !self.0.swap(true, Ordering::AcqRel) {
            thread::wake();
        }
    }
}

/// Connects in the background. `report` is called once, on a thread that must not wait, unless the connection is given
/// up before. It is given until `deadline`.
///
/// # Errors
///
/// There is no descriptor or no thread.
pub(crate) fn connect(route: Route, deadline: Instant, report: Report) -> io::Result<Connecting> {
    let is_over = Arc::new(AtomicBool::new(false));
    thread::add(thread::Job {
        route,
        deadline,
        report,
        is_over: Arc::clone(&is_over),
    })?;
    Ok(Connecting(is_over))
}

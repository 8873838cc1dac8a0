//! The library's own loop, for connections that belong to no server: it runs while there are any.

use std::sync::{Arc, Mutex};

use super::handshake::own_paths::OwnPaths;
use super::registry::{Server, find};
use super::{Options, ServerError, lifecycle};
use crate::locks;

#[derive(Default)]
struct OwnLoop {
    server: Option<Arc<Server>>,
    connections: usize,
}

static OWN: Mutex<OwnLoop> = Mutex::new(OwnLoop {
    server: None,
    connections: 0,
});

/// Counts one more connection. Returns the server without a listener that serves it.
pub(crate) fn enter() -> Result<Arc<Server>, ServerError> {
    let mut own = locks::lock(&OWN);
    let server = match &own.server {
        Some(server) => Arc::clone(server),
        None => {
            let mut options = Options::default();
            options.set_no_listener();
            let id = lifecycle::start(0, &options, &OwnPaths::default(), &mut |_| ())?;
            let server = find(id)?;
            server.serve_own_connections(leave);
            own.server = Some(Arc::clone(&server));
            server
        }
    };
    own.connections += 1;
    Ok(server)
}

/// Uncounts a connection. After the last one the loop ends.
pub(crate) fn leave() {
    let mut own = locks::lock(&OWN);
    own.connections -= 1;
    if own.connections == 0
        && let Some(server) = own.server.take()
    {
        server.begin_close();
    }
}

/// A metric by its number in `enum portal_metric`; 0 while the loop does not run, or when it is unknown.
pub(crate) fn metric(which: u32) -> u64 {
    let server = locks::lock(&OWN).server.clone();
    server.map_or(0, |server| server.metric(which))
}

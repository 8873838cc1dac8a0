//! The handshake that `upgrade` decides on the current thread.

use std::cell::Cell;

use scoped_tls::scoped_thread_local;

use crate::server::handshake::request::Request;

scoped_thread_local!(static REQUEST: Request);

thread_local! {
    static WEBSOCKET: Cell<u64> = const { Cell::new(0) };
}

/// Calls `upgrade` for a request.
pub(crate) fn with<T>(websocket: u64, request: &Request, upgrade: impl FnOnce() -> T) -> T {
    WEBSOCKET.set(websocket);
    let decision = REQUEST.set(request, upgrade);
    WEBSOCKET.set(0);
    decision
}

/// Does something with the request, if the current thread runs the `upgrade` of this websocket.
pub(crate) fn current<T>(websocket: u64, work: impl FnOnce(&Request) -> T) -> Option<T> {
    let is_current = REQUEST.is_set() && WEBSOCKET.get() == websocket;
    is_current.then(|| REQUEST.with(work))
}

//! Calls of the application's handlers.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::log::ConnectionName;
use super::{Application, EventKind, Failure, Request, handshake};
use crate::net::process;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static HANDLER_COUNT: Cell<u32> = const { Cell::new(0) };
}

static DEBUG_ON_ERROR: AtomicBool = AtomicBool::new(false);

/// Counts a handler of the application that is about to run.
#[inline]
pub(crate) fn count_handler() {
    HANDLER_COUNT.set(HANDLER_COUNT.get().wrapping_add(1));
}

/// Runs foreign code. Whoever implements [`Application`] calls out through this.
#[inline]
pub(crate) fn run_foreign<T>(foreign: impl FnOnce() -> T) -> T {
    DEPTH.set(DEPTH.get() + 1);
    let result = foreign();
    DEPTH.set(DEPTH.get() - 1);
    result
}

/// Returns how many handlers have run on the current thread, wrapping.
pub(crate) fn handler_count() -> u32 {
    HANDLER_COUNT.get()
}

/// Whether the current thread is inside a callback of any server.
pub(crate) fn is_inside() -> bool {
    DEPTH.get() > 0
}

/// Sets whether a handler that fails stops in the debugger, if one traces the process.
pub(crate) fn set_debug_on_error(on: bool) {
    DEBUG_ON_ERROR.store(on, Ordering::Relaxed);
}

/// Runs a handler; when it fails, calls `error`. Returns true when it failed. `name` is for the log.
#[inline]
pub(crate) fn handle(
    application: &dyn Application,
    websocket: u64,
    event: EventKind,
    name: impl FnOnce() -> ConnectionName,
    handler: impl FnOnce() -> i32,
) -> bool {
    let code = handler();
    let failed = code != 0;
    if failed {
        report_failure(application, websocket, event, code, name);
    }
    failed
}

/// The decision of `upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// With a status from 300 to 599.
    Reject(u16),
    Failed(i32),
}

impl From<i32> for Verdict {
    fn from(code: i32) -> Self {
        match u16::try_from(code) {
            Ok(0) => Self::Accept,
            Ok(status @ 300..=599) => Self::Reject(status),
            _ => Self::Failed(code),
        }
    }
}

/// Calls `upgrade`; when it fails, calls `error`.
pub(crate) fn upgrade(application: &dyn Application, websocket: u64, request: &Request) -> Verdict {
    let verdict = upgrade_only(application, websocket, request);
    if let Verdict::Failed(code) = verdict {
        let name = || ConnectionName {
            websocket,
            peer: Some(request.peer_address()),
        };
        report_failure(application, websocket, EventKind::Upgrade, code, name);
    }
    verdict
}

/// Calls `upgrade`, and nothing else.
pub(crate) fn upgrade_only(
    application: &dyn Application,
    websocket: u64,
    request: &Request,
) -> Verdict {
    let upgrade = || application.upgrade(websocket, request);
    let verdict = Verdict::from(handshake::deciding::with(websocket, request, upgrade));
    request.seal();
    verdict
}

/// Reports to `error`, or else to the log, that a handler has failed.
#[cold]
#[inline(never)]
pub(crate) fn report_failure(
    application: &dyn Application,
    websocket: u64,
    event: EventKind,
    code: i32,
    name: impl FnOnce() -> ConnectionName,
) {
    if DEBUG_ON_ERROR.load(Ordering::Relaxed) {
        process::stop_in_debugger();
    }
    if !application.error(websocket, &Failure::of_handler(event, code)) {
        log::warn!(
            "{}: the `{}` handler of path {} returned {code}; the path has no `error` handler",
            name(),
            event.name(),
            application.path(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrade_accepts_rejects_or_fails() {
        assert_eq!(Verdict::from(0), Verdict::Accept);
        for status in [300, 308, 400, 403, 599] {
            assert_eq!(Verdict::from(i32::from(status)), Verdict::Reject(status));
        }
        for code in [1, 299, 600, -3, -2, 65_536, 65_536 + 400] {
            assert_eq!(Verdict::from(code), Verdict::Failed(code));
        }
    }
}

//! Calls into the application, and what they must know of each other.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Application, EventKind, Failure, FailureKind};
use crate::net::process;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

static DEBUG_ON_ERROR: AtomicBool = AtomicBool::new(false);

/// What a handler may return without having failed, although it is not 0: PORTAL_STATUS_GONE, so
/// that returning a send's status makes a good handler.
const GONE: i32 = -2;

/// Runs foreign code.
#[inline]
pub fn run<T>(foreign: impl FnOnce() -> T) -> T {
    DEPTH.set(DEPTH.get() + 1);
    let answer = foreign();
    DEPTH.set(DEPTH.get() - 1);
    answer
}

/// Whether the current thread is inside a callback of any server.
pub fn is_inside() -> bool {
    DEPTH.get() > 0
}

/// Stop in a debugger, if one traces the process, when a handler fails.
pub fn set_debug_on_error(on: bool) {
    DEBUG_ON_ERROR.store(on, Ordering::Relaxed);
}

/// Runs a handler; when it fails, tells `error`. True when it failed.
#[inline]
pub fn handle(
    application: &dyn Application,
    websocket: u64,
    event: EventKind,
    handler: impl FnOnce() -> i32,
) -> bool {
    let code = run(handler);
    let failed = code != 0 && code != GONE;
    if failed {
        tell_failed(application, websocket, event, code);
    }
    failed
}

/// Tells `error` that a handler has failed.
#[cold]
pub fn tell_failed(application: &dyn Application, websocket: u64, event: EventKind, code: i32) {
    if DEBUG_ON_ERROR.load(Ordering::Relaxed) {
        process::stop_in_debugger();
    }
    let failure = Failure {
        kind: FailureKind::Handler,
        event,
        code,
        close_code: 0,
        message: std::ffi::CString::new(format!("the handler of {} returned {code}", event.name()))
            .unwrap_or_default(),
    };
    run(|| application.error(websocket, &failure));
}

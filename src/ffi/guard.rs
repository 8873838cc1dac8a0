// Where a panic ends: no entry point lets one through, and nothing is printed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::thread;

use super::status::portal_status_value::{PORTAL_STATUS_INTERNAL, PORTAL_STATUS_OK};
use super::status::{Outcome, portal_status};
use crate::net::process;
use crate::server;

const _: () = assert!(
    cfg!(panic = "unwind"),
    "a panic must end at the border, not end the process"
);

/// Runs the body of one entry point and turns its outcome into a status.
///
/// A panic ends here. The hook has already reported it; C sees `PORTAL_STATUS_INTERNAL`.
pub(super) fn guard(body: impl FnOnce() -> Outcome) -> portal_status {
    let _uncancelled = process::Uncancelled::begin();
    quick_guard(body)
}

/// The same for entry points that return a number, which is never negative, or a negative status.
pub(super) fn guard_number(body: impl FnOnce() -> Outcome<i32>) -> i32 {
    guard_or(PORTAL_STATUS_INTERNAL as i32, || {
        body().unwrap_or_else(|status| status as i32)
    })
}

/// The same for entry points that return anything else: `neutral` after a panic.
///
/// The thread is not cancelled before the end: cancellation unwinds, which must not pass through
/// us.
pub(super) fn guard_or<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    let _uncancelled = process::Uncancelled::begin();
    quick_guard_or(neutral, body)
}

/// [`guard`] for functions that reach no cancellation point, except on threads that cannot be
/// cancelled. So the quick functions pay nothing for it.
pub(super) fn quick_guard(body: impl FnOnce() -> Outcome) -> portal_status {
    let status = quick_guard_or(PORTAL_STATUS_INTERNAL, || match body() {
        Ok(()) => PORTAL_STATUS_OK,
        Err(status) => status,
    });
    status as portal_status
}

/// The same as [`quick_guard`] for entry points that return anything else.
pub(super) fn quick_guard_or<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    install_hook();
    let _mark = Mark::put(Running::Ours);
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(neutral)
}

/// Calls foreign code, whose panics (a host may be written in Rust) are not ours to report.
pub(super) fn outside<T>(call: impl FnOnce() -> T) -> T {
    let _mark = Mark::put(Running::Foreign);
    server::run_foreign(call)
}

/// Whose code a thread runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    /// What its thread was started for.
    Thread,
    Ours,
    Foreign,
}

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(Running::Thread) };
}

/// Says whose code runs, until dropped.
struct Mark(Running);

impl Mark {
    fn put(running: Running) -> Self {
        Self(RUNNING.replace(running))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

fn runs_ours() -> bool {
    match RUNNING.get() {
        Running::Ours => true,
        Running::Foreign => false,
        Running::Thread => thread::current()
            .name()
            .is_some_and(|name| name.starts_with("portal-")),
    }
}

/// Sends our panics to the log; those of others go where they went before.
fn install_hook() {
    static INSTALLED: Once = Once::new();

    // A hook cannot be set while a panic is under way; the next call does it.
    if INSTALLED.is_completed() || thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if runs_ours() {
                server::log_panic(&one_line(panic))
            } else {
                previous(panic)
            }
        }));
    });
}

fn one_line(panic: &PanicHookInfo<'_>) -> String {
    panic.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::status::portal_status_value::PORTAL_STATUS_FULL;

    #[test]
    fn what_a_body_ends_in_becomes_a_status() {
        assert_eq!(guard(|| Ok(())), 0);
        assert_eq!(guard(|| Err(PORTAL_STATUS_FULL)), -3);
        assert_eq!(guard_number(|| Ok(7)), 7);
        assert_eq!(guard_number(|| Err(PORTAL_STATUS_FULL)), -3);
        assert_eq!(guard(|| panic!("a bug")), -11);
    }

    #[test]
    fn a_thread_is_ours_inside_a_guard_and_not_inside_foreign_code() {
        assert!(!runs_ours());
        guard_or((), || {
            assert!(runs_ours());
            outside(|| {
                assert!(!runs_ours());
                guard_or((), || assert!(runs_ours()));
                assert!(!runs_ours());
            });
            assert!(runs_ours());
        });
        assert!(!runs_ours());
    }

    #[test]
    fn a_thread_that_the_library_named_is_ours() {
        let named = thread::Builder::new()
            .name("portal-io-0".into())
            .spawn(runs_ours);
        assert!(named.expect("a thread starts").join().expect("it ends"));
    }
}

// Where a panic ends: no entry point lets one through, and nothing is printed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::thread;

use crate::net::process;
use crate::server;

const _: () = assert!(
    cfg!(panic = "unwind"),
    "a panic must end at the border, not end the process"
);

/// Runs the body of one entry point; returns `neutral` after a panic, which the hook has reported.
///
/// The thread is not cancelled before the end: cancellation unwinds, which must not pass through
/// us.
pub(super) fn guard_or<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    let _uncancelled = process::Uncancelled::begin();
    quick_guard_or(neutral, body)
}

/// [`guard_or`] for functions that reach no cancellation point, except on threads that cannot be
/// cancelled. So the quick functions pay nothing for it.
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

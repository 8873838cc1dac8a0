// Catches panics at the boundary to C: none unwinds into the caller, and none is printed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::thread;

use crate::net::process;
use crate::server;

const _: () = assert!(
    cfg!(panic = "unwind"),
    "a panic must be caught at the boundary to C, not abort the process"
);

/// Runs the body of one entry point; returns `neutral` after a panic, which the hook has logged.
///
/// The thread cannot be cancelled meanwhile: cancellation unwinds, and must not unwind Rust frames.
pub(super) fn guard_or<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    let _uncancelled = process::Uncancelled::begin();
    quick_guard_or(neutral, body)
}

/// [`guard_or`] for functions that contain no cancellation point, or run where threads cannot be
/// cancelled. It saves the cost of disabling cancellation.
pub(super) fn quick_guard_or<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    install_hook();
    let _mark = Mark::put(Running::Library);
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(neutral)
}

/// Calls foreign code. Its panics (the host may be written in Rust) are not logged.
pub(super) fn outside<T>(call: impl FnOnce() -> T) -> T {
    let _mark = Mark::put(Running::Foreign);
    server::run_foreign(call)
}

/// Which code a thread is running.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    /// Whatever the thread was started for.
    Thread,
    Library,
    Foreign,
}

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(Running::Thread) };
}

/// Sets which code is running, until dropped.
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

fn runs_library() -> bool {
    match RUNNING.get() {
        Running::Library => true,
        Running::Foreign => false,
        Running::Thread => thread::current()
            .name()
            .is_some_and(|name| name.starts_with("portal-")),
    }
}

/// Logs the library's own panics; others go to the previous hook.
fn install_hook() {
    static INSTALLED: Once = Once::new();

    // A hook cannot be set during a panic; the next call sets it.
    if INSTALLED.is_completed() || thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if runs_library() {
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
        assert!(!runs_library());
        guard_or((), || {
            assert!(runs_library());
            outside(|| {
                assert!(!runs_library());
                guard_or((), || assert!(runs_library()));
                assert!(!runs_library());
            });
            assert!(runs_library());
        });
        assert!(!runs_library());
    }

    #[test]
    fn a_thread_that_the_library_named_is_ours() {
        let named = thread::Builder::new()
            .name("portal-io-0".into())
            .spawn(runs_library);
        assert!(named.expect("a thread starts").join().expect("it ends"));
    }
}

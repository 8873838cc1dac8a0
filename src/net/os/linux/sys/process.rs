//! What a guest in another program must know of its process: forks, signals, debuggers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;

static FORKED: AtomicBool = AtomicBool::new(false);
static WATCHING: OnceCell<()> = OnceCell::new();

extern "C" fn note_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Makes children that are forked from now on know that they are.
pub(crate) fn watch_forks() -> io::Result<()> {
    let watch = || {
        // SAFETY: `note_fork` only stores to an atomic, which is safe after a fork.
        match unsafe { libc::pthread_atfork(None, None, Some(note_fork)) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    };
    WATCHING.get_or_try_init(watch).map(|_| ())
}

/// Whether this process was forked from one in which [`watch_forks`] had been called.
#[inline]
pub(crate) fn is_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

unsafe extern "C" {
    fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
}

/// `PTHREAD_CANCEL_DISABLE`, the same in glibc and musl.
const CANCEL_DISABLE: libc::c_int = 1;

/// Keeps the calling thread from being cancelled until this is dropped, which restores the state before. A
/// cancellation that is requested meanwhile stays pending.
#[must_use = "it ends when it is dropped"]
pub(crate) struct Uncancelled(libc::c_int);

impl Uncancelled {
    /// Begins it. A cancelled thread unwinds, which must not pass through frames that have something to drop.
    pub(crate) fn begin() -> Self {
        let mut before = 0;
        // SAFETY: `before` is ours and writable.
        unsafe { pthread_setcancelstate(CANCEL_DISABLE, &mut before) };
        Self(before)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // SAFETY: the state is the thread's earlier one; Linux permits NULL, with musl too.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}

/// Signals that are meant for a process. Those with which language runtimes stop threads (USR1,
/// USR2, URG, PROF, real-time) stay open.
const FOR_THE_PROCESS: [libc::c_int; 15] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGCHLD,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGWINCH,
    libc::SIGPIPE,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGIO,
    libc::SIGXFSZ,
];

/// Runs `start`, which starts a thread, so that the new thread blocks the signals meant for a
/// process. The calling thread's mask is as before when this returns.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: all-zero is a valid sigset_t to hand to sigemptyset.
    let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the set is ours and writable.
    unsafe { libc::sigemptyset(&mut blocked) };
    for signal in FOR_THE_PROCESS {
        // SAFETY: the set is ours and was initialised above.
        unsafe { libc::sigaddset(&mut blocked, signal) };
    }
    // SAFETY: both sets are ours and outlive the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut before) };
    let started = start();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    started
}

/// Stops in the debugger that traces this process; does nothing when there is none.
pub(crate) fn stop_in_debugger() {
    let traced = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|id| id.trim() != "0")
    });
    if traced {
        // SAFETY: raise takes no pointers; the tracer receives the signal.
        unsafe { libc::raise(libc::SIGTRAP) };
    }
}

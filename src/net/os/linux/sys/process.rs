//! The process that the library runs in: forks, cancellation, signals, debuggers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;

static FORKED: AtomicBool = AtomicBool::new(false);
static WATCHING: OnceCell<()> = OnceCell::new();

extern "C" fn note_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Registers the detection of forks; see [`is_forked_child`].
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

/// Disables cancellation of the calling thread until this is dropped, which restores the previous state. A
/// cancellation that is requested meanwhile stays pending.
#[must_use = "it ends when it is dropped"]
pub(crate) struct Uncancelled(libc::c_int);

impl Uncancelled {
    /// Disables cancellation: a cancelled thread unwinds, which must not happen in frames with destructors.
    pub(crate) fn begin() -> Self {
        let mut before = 0;
        // Miri does not know the function, and cancels no thread.
        if cfg!(not(miri)) {
            // SAFETY: `before` is a local variable.
            unsafe { pthread_setcancelstate(CANCEL_DISABLE, &mut before) };
        }
        Self(before)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        if cfg!(not(miri)) {
            // SAFETY: the state is the thread's previous one; Linux permits NULL, also with musl.
            unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
        }
    }
}

/// Signals for the process as a whole, which the library's threads block. Those with which language
/// runtimes stop threads (USR1, USR2, URG, PROF, real-time) are not blocked.
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

/// Runs `start`, which starts a thread that inherits a mask with the signals of [`FOR_THE_PROCESS`]. The
/// calling thread's mask is restored.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    // SAFETY: zeros are a valid sigset_t, which sigemptyset initialises.
    let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the set is a local variable.
    unsafe { libc::sigemptyset(&mut blocked) };
    for signal in FOR_THE_PROCESS {
        // SAFETY: the set was initialised above.
        unsafe { libc::sigaddset(&mut blocked, signal) };
    }
    // SAFETY: both sets are local variables.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut before) };
    let started = start();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    started
}

/// Raises SIGTRAP if a debugger traces this process.
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

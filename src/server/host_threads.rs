//! HOST: the host's threads, as a server sees them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::locks;
use crate::net::{CombinedDescriptor, Readiness, Signal};

/// The pause after a wait that has failed.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The host's threads that serve one server.
pub(crate) struct HostThreads {
    /// The threads inside `run`, `poll` or `pull`.
    permits: Mutex<Vec<u64>>,
    /// `portal_server_wake`: each wake-up is for one thread.
    pub wake: Signal,
    pub wakes: AtomicU32,
    /// Wakes threads that wait, to check again what there is to do.
    pub recheck: Signal,
    pub waiting: AtomicU32,
    /// That waiting fails has been logged.
    failing: AtomicBool,
    /// Readable while any loop has work; created when the host first asks for it. A loop joins it before it is
    /// parked.
    pub combined: OnceCell<CombinedDescriptor>,
}

impl HostThreads {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            permits: Mutex::default(),
            wake: Signal::semaphore()?,
            wakes: AtomicU32::new(0),
            recheck: Signal::semaphore()?,
            waiting: AtomicU32::new(0),
            failing: AtomicBool::new(false),
            combined: OnceCell::new(),
        })
    }

    /// Wakes every thread that waits.
    pub(crate) fn wake_all(&self) {
        for _ in 0..self.waiting.load(Ordering::SeqCst) {
            self.recheck.give();
        }
    }

    pub(crate) fn take_wake(&self) -> bool {
        let taken = self.wakes.load(Ordering::Acquire) > 0 && self.wake.take();
        if taken {
            self.wakes.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// One thread does not wait any more.
    pub(crate) fn end_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.recheck.take();
    }

    /// Returns how a thread's wait has ended. If it has failed, this pauses, because the next one will fail too.
    pub(crate) fn readiness(&self, waited: io::Result<Readiness>) -> Readiness {
        match waited {
            Ok(readiness) => {
                self.failing.store(false, Ordering::Relaxed);
                readiness
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    log::error!("waiting for work failed: {error}");
                }
                thread::sleep(ERROR_PAUSE);
                Readiness::Interrupted
            }
        }
    }

    pub(crate) fn permits(&self) -> MutexGuard<'_, Vec<u64>> {
        locks::lock(&self.permits)
    }
}

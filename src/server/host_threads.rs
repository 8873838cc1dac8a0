//! HOST: what a server knows of the host's threads that serve it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::locks;
use crate::net::{Readiness, Signal, Union};

/// The pause after a wait that has failed.
const PAUSE: Duration = Duration::from_millis(10);

/// What a server has for threads of the host.
pub(crate) struct HostThreads {
    /// The threads inside `run`, `poll` or `pull`.
    permits: Mutex<Vec<u64>>,
    /// `portal_server_wake`: each wake-up is for one thread.
    pub wake: Signal,
    pub wakes: AtomicU32,
    /// Something is to be looked at anew by a thread that waits.
    pub recheck: Signal,
    pub waiting: AtomicU32,
    /// That waiting fails was told.
    failing: AtomicBool,
    /// Readable while any loop has work, once asked for. A loop joins it before it is parked.
    pub union: OnceCell<Union>,
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
            union: OnceCell::new(),
        })
    }

    /// Wakes every thread that waits.
    pub(crate) fn ring(&self) {
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

    /// One thread waits no more.
    pub(crate) fn end_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.recheck.take();
    }

    /// How a thread's wait has ended. When it has failed there is a pause, since it will fail again.
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
                thread::sleep(PAUSE);
                Readiness::Interrupted
            }
        }
    }

    pub(crate) fn permits(&self) -> MutexGuard<'_, Vec<u64>> {
        locks::lock(&self.permits)
    }
}

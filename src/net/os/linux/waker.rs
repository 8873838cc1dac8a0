//! Interrupting a loop that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Descriptor;
use super::signal::Signal;

/// Ends a wait of a loop, from any thread.
#[derive(Debug)]
pub(crate) struct Waker {
    signal: Signal,
    /// The thread of a model that waits in place of a loop.
    #[cfg(all(test, loom))]
    pub parked: Option<loom::thread::Thread>,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            signal: Signal::semaphore()?,
            #[cfg(all(test, loom))]
            parked: None,
        })
    }

    pub(crate) fn wake(&self) {
        #[cfg(all(test, loom))]
        if let Some(thread) = &self.parked {
            return thread.unpark();
        }
        self.signal.give();
    }

    /// Returns the descriptor.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.signal.descriptor()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

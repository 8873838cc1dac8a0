//! Interrupting a loop that waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Descriptor;
use super::signal::Signal;

/// Ends a wait of a loop, from any thread.
#[derive(Debug)]
pub(crate) struct Waker(Signal);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Signal::semaphore().map(Self)
    }

    pub(crate) fn wake(&self) {
        self.0.give();
    }

    /// Returns the descriptor.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.0.descriptor()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

//! Interrupting a loop that waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::Signal;

/// Interrupts [`super::Poller::wait`] from any thread.
#[derive(Debug)]
pub struct Waker(Signal);

impl Waker {
    pub fn new() -> io::Result<Self> {
        Signal::semaphore().map(Self)
    }

    pub fn wake(&self) {
        self.0.give();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

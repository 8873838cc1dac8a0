//! Descriptors that other threads and the clock make readable.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::sys::wait;

/// A descriptor that is readable from when it is given until it is taken.
#[derive(Debug)]
pub struct Signal(File);

impl Signal {
    /// One that threads give: each taker takes what one giver gave.
    pub fn semaphore() -> io::Result<Self> {
        wait::semaphore().map(|descriptor| Self(descriptor.into()))
    }

    /// One that the clock gives, once armed.
    pub fn timer() -> io::Result<Self> {
        wait::timer().map(|descriptor| Self(descriptor.into()))
    }

    /// Makes it readable. A semaphore that is full stays readable, which is all that is needed.
    pub fn give(&self) {
        let _full = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Whether it was given; it is not any more, unless others gave, too.
    pub fn take(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }

    /// Makes a timer readable once, `after` from now. It is not readable until then.
    pub fn arm(&self, after: Duration) -> io::Result<()> {
        wait::arm(self.0.as_fd(), after)
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

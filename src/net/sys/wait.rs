//! Waiting for descriptors without taking anything from them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::checked;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At least one descriptor is readable.
    Ready,
    /// The time was up.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Waits until one of `descriptors` is readable. Consumes nothing and holds nothing, so a thread
/// that is ended in here loses nothing.
pub fn wait_readable(descriptors: &[RawFd], timeout: Option<Duration>) -> io::Result<Readiness> {
    let mut set: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let milliseconds = timeout.map_or(-1, |time| {
        i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    let count = set.len() as libc::nfds_t;
    // SAFETY: `set` is writable for `count` entries and outlives the call.
    match checked(unsafe { libc::poll(set.as_mut_ptr(), count, milliseconds) } as isize) {
        Ok(0) => Ok(Readiness::TimedOut),
        Ok(_) => Ok(Readiness::Ready),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Readiness::Interrupted),
        Err(error) => Err(error),
    }
}

/// One descriptor that is readable while any of its members is.
#[derive(Debug)]
pub struct Union(OwnedFd);

impl Union {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let descriptor = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } as isize)?;
        // SAFETY: epoll_create1 has just made this descriptor, and nobody else knows of it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor as i32) }))
    }

    /// Adds a member, level-triggered. It leaves by being closed.
    pub fn add(&self, member: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        let (add, union) = (libc::EPOLL_CTL_ADD, self.0.as_raw_fd());
        // SAFETY: `event` outlives the call, which only reads it.
        let answer = unsafe { libc::epoll_ctl(union, add, member, &mut event) };
        checked(answer as isize).map(|_| ())
    }
}

impl AsRawFd for Union {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

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

// Declared here because a thread may be cancelled in it, which unwinds.
unsafe extern "C-unwind" {
    fn poll(set: *mut libc::pollfd, count: libc::nfds_t, milliseconds: libc::c_int) -> libc::c_int;
}

/// Descriptors of which one is waited for.
#[derive(Default)]
pub struct PollSet(Vec<libc::pollfd>);

impl PollSet {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn add(&mut self, descriptor: RawFd) {
        self.0.push(libc::pollfd {
            fd: descriptor,
            events: libc::POLLIN,
            revents: 0,
        });
    }

    /// Waits until one is readable. Consumes nothing.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Readiness> {
        // SAFETY: the set lives, and is not used, until the call returns.
        unsafe { self.prepare(timeout).wait() }.readiness()
    }

    /// Prepares a wait.
    pub fn prepare(&mut self, timeout: Option<Duration>) -> Wait {
        let milliseconds = timeout.map_or(-1, |time| {
            i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        Wait {
            set: self.0.as_mut_ptr(),
            count: self.0.len() as libc::nfds_t,
            milliseconds,
        }
    }
}

/// A wait that is prepared. Nothing in it is to be dropped, so a thread may be ended in it, also by
/// unwinding.
#[derive(Clone, Copy)]
pub struct Wait {
    set: *mut libc::pollfd,
    count: libc::nfds_t,
    milliseconds: libc::c_int,
}

impl Wait {
    /// Waits.
    ///
    /// # Safety
    ///
    /// The set that it was prepared from lives, and is not used, until the call returns.
    pub unsafe fn wait(self) -> Waited {
        // SAFETY: the set is writable for `count` entries, and the caller vouches for its life.
        match unsafe { poll(self.set, self.count, self.milliseconds) } {
            0 => Waited(Ok(Readiness::TimedOut)),
            1.. => Waited(Ok(Readiness::Ready)),
            // SAFETY: the place of the calling thread's error number.
            ..0 => Waited(Err(unsafe { *libc::__errno_location() })),
        }
    }
}

/// How a wait has ended, or its error number.
#[derive(Clone, Copy)]
pub struct Waited(Result<Readiness, i32>);

impl Waited {
    pub fn readiness(self) -> io::Result<Readiness> {
        match self.0 {
            Err(libc::EINTR) => Ok(Readiness::Interrupted),
            answer => answer.map_err(io::Error::from_raw_os_error),
        }
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

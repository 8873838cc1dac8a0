//! Waiting for descriptors, without consuming their events.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The result of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// At least one descriptor is readable.
    Ready,
    /// The timeout expired.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

// Declared here as `C-unwind` because it is a cancellation point: a thread that is cancelled in it unwinds.
unsafe extern "C-unwind" {
    fn poll(set: *mut libc::pollfd, count: libc::nfds_t, milliseconds: libc::c_int) -> libc::c_int;
}

/// Descriptors of which at least one is waited for.
#[derive(Default)]
pub(crate) struct PollSet(Vec<libc::pollfd>);

impl PollSet {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn add(&mut self, descriptor: RawFd) {
        self.0.push(libc::pollfd {
            fd: descriptor,
            events: libc::POLLIN,
            revents: 0,
        });
    }

    /// Waits until one is readable.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Readiness> {
        // SAFETY: the set is borrowed until the call returns.
        unsafe { self.prepare(timeout).wait() }.readiness()
    }

    /// Prepares a wait.
    pub(crate) fn prepare(&mut self, timeout: Option<Duration>) -> Wait {
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

/// A prepared wait. It has no destructor, so a thread may be cancelled or unwound in it.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    set: *mut libc::pollfd,
    count: libc::nfds_t,
    milliseconds: libc::c_int,
}

impl Wait {
    /// Waits.
    ///
    /// # Safety
    ///
    /// The set from which it was prepared exists, and is not used, until the call returns.
    pub(crate) unsafe fn wait(self) -> Waited {
        // SAFETY: the set is writable for `count` entries, and the caller guarantees that it exists.
        match unsafe { poll(self.set, self.count, self.milliseconds) } {
            0 => Waited(Ok(Readiness::TimedOut)),
            1.. => Waited(Ok(Readiness::Ready)),
            // SAFETY: the address of the calling thread's `errno`.
            ..0 => Waited(Err(unsafe { *libc::__errno_location() })),
        }
    }
}

/// The result of a wait, or its error number.
#[derive(Clone, Copy)]
pub(crate) struct Waited(Result<Readiness, i32>);

impl Waited {
    pub(crate) fn readiness(self) -> io::Result<Readiness> {
        match self.0 {
            Err(libc::EINTR) => Ok(Readiness::Interrupted),
            result => result.map_err(io::Error::from_raw_os_error),
        }
    }
}

/// One descriptor that is readable while any of its members is.
#[derive(Debug)]
pub(crate) struct CombinedDescriptor(OwnedFd);

impl CombinedDescriptor {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Adds a member, level-triggered. It is removed when it is closed.
    pub(crate) fn add(&self, member: RawFd) -> io::Result<()> {
        // SAFETY: the caller holds the member open meanwhile.
        let member = unsafe { BorrowedFd::borrow_raw(member) };
        epoll::add(&self.0, member, EventData::new_u64(0), EventFlags::IN)?;
        Ok(())
    }

    /// Returns the descriptor.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

//! Waiting for descriptors without taking anything from them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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

/// An eventfd that counts: each `receive` takes one.
pub fn semaphore() -> io::Result<OwnedFd> {
    let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE;
    // SAFETY: no pointers are passed.
    let descriptor = checked(unsafe { libc::eventfd(0, flags) } as isize)?;
    // SAFETY: eventfd has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// A timer of the monotonic clock, unarmed.
pub fn timer() -> io::Result<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: no pointers are passed.
    let made = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
    let descriptor = checked(made as isize)?;
    // SAFETY: timerfd_create has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// Makes a timer readable once, `after` from now. It is not readable until then.
pub fn arm(timer: BorrowedFd<'_>, after: Duration) -> io::Result<()> {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = libc::timespec {
        tv_sec: after.as_secs() as libc::time_t,
        // All zero would disarm the timer.
        tv_nsec: (after.subsec_nanos() as libc::c_long).max(1),
    };
    let setting = libc::itimerspec {
        it_interval: zero,
        it_value: value,
    };
    let no_old = std::ptr::null_mut();
    // SAFETY: `setting` outlives the call, which only reads it; the old setting is not asked for.
    let answer = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, no_old) };
    checked(answer as isize).map(|_| ())
}

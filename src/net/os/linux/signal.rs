//! Descriptors that other threads or the clock make readable: eventfd and timerfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::retry_on_intr;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::Descriptor;

/// A descriptor that is readable between [`Signal::give`] and [`Signal::take`].
#[derive(Debug)]
pub(crate) struct Signal(OwnedFd);

impl Signal {
    /// Creates a counting semaphore: each `take` consumes one `give`.
    pub(crate) fn semaphore() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Ok(Self(eventfd(0, flags)?))
    }

    /// Creates a timer, see [`Signal::arm`].
    pub(crate) fn timer() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Makes it readable. A full counter stays readable, so the error is ignored.
    pub(crate) fn give(&self) {
        let _full = retry_on_intr(|| rustix::io::write(&self.0, &1u64.to_ne_bytes()));
    }

    /// Consumes one `give`. Returns whether there was one.
    pub(crate) fn take(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }

    /// Returns the descriptor.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.0.as_raw_fd()
    }

    /// Makes a timer readable once, `after` from now, and not before.
    pub(crate) fn arm(&self, after: Duration) -> io::Result<()> {
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: never,
            it_value: Timespec::try_from(after).map_err(|_| io::ErrorKind::InvalidInput)?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

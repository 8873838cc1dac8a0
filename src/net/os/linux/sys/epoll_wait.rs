//! Waiting for the events of an epoll descriptor.
//!
//! rustix's function leaves the size of the absent signal mask uninitialised, which the kernel ignores and
//! Valgrind reports. glibc's function is a cancellation point.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{ptr, slice};

use libc::{c_int, c_long, epoll_event};

use super::checked;

/// Returns events, at most as many as fit into `room`. Waits for the first one if `may_wait`.
pub(crate) fn wait<'a>(
    epoll: BorrowedFd<'_>,
    room: &'a mut [MaybeUninit<epoll_event>],
    may_wait: bool,
) -> io::Result<&'a [epoll_event]> {
    let milliseconds: c_long = if may_wait { -1 } else { 0 };
    let most = c_long::from(c_int::try_from(room.len()).unwrap_or(c_int::MAX));
    let no_mask = ptr::null::<libc::sigset_t>();
    // SAFETY: `room` is writable for `most` events and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait,
            c_long::from(epoll.as_raw_fd()),
            room.as_mut_ptr(),
            most,
            milliseconds,
            no_mask,
            size_of::<u64>(),
        )
    };
    let count = checked(result as isize)?;
    // SAFETY: the kernel has written so many events, at most `most`, to the beginning of `room`.
    Ok(unsafe { slice::from_raw_parts(room.as_ptr().cast(), count) })
}

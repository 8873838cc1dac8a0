//! The unacknowledged part of a socket's send queue.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::checked;

/// Returns the number of bytes that the kernel has accepted and the peer's system has not acknowledged; for a
/// Unix socket, the memory taken by what the peer has not read.
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int, to `count`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    checked(result as isize)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

//! How much of a socket's send queue the peer's system has not acknowledged.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::checked;

/// Returns how many bytes the kernel has accepted and the peer's system has not acknowledged; for a Unix
/// socket, the memory of what the peer has not read.
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int, to `count`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    checked(result as isize)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

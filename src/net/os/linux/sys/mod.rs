//! All unsafe code of `net`: system calls that neither std nor rustix provides, and the system's memory.
#![allow(unsafe_code, reason = "system calls, and memory of its own")]

pub(crate) mod adopted;
#[cfg(feature = "tls")]
pub(crate) mod crypto_memory;
pub(crate) mod epoll_wait;
mod mapped;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod ring;
pub(crate) mod send_queue;
pub(crate) mod wait;

use std::io;

/// Converts the result of a system call; if it is negative, `errno` has the error.
fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

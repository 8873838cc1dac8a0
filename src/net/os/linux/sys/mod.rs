//! The only door to system calls that neither std nor rustix offers, and to the system's memory.
#![allow(unsafe_code, reason = "system calls, and memory of its own")]

pub mod epoll_wait;
pub mod memory;
pub mod process;
pub mod ring;
pub mod send_queue;
pub mod wait;

use std::io;

/// Converts the result of a system call; if it is negative, `errno` has the error.
fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

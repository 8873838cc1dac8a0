//! The only door to system calls that neither std nor rustix offers, and to the system's memory.
#![allow(unsafe_code)]

pub mod events;
pub mod memory;
pub mod process;
pub mod ring;
pub mod send_queue;
pub mod wait;

use std::io;

/// What a system call answered, with `errno` when that is negative.
fn checked(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

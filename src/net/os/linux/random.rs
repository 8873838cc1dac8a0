//! Unpredictable bytes.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills a buffer from the system's generator.
///
/// # Errors
///
/// The system has no generator (before Linux 3.17).
pub(crate) fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let filled = rustix::io::retry_on_intr(|| getrandom(&mut *bytes, GetRandomFlags::empty()))?;
        bytes = &mut bytes[filled..];
    }
    Ok(())
}

//! One connection's socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::sys::{process, send_queue};

/// Maximum number of reads that discard input before a close.
const MAX_DISCARDING_READS: usize = 8;

/// A connected, non-blocking stream socket: TCP or Unix. Shut down and closed when dropped.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Reads what has arrived. Returns 0 at the end of the stream.
    #[inline]
    pub(super) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let receive = || rustix::net::recv(&self.0, &mut *into, RecvFlags::empty());
        let (count, _) = retry_on_intr(receive)?;
        Ok(count)
    }

    #[inline]
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let send = || rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL);
        Ok(retry_on_intr(send)?)
    }

    #[inline]
    pub(super) fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut control = SendAncillaryBuffer::default();
        let send = || rustix::net::sendmsg(&self.0, pieces, &mut control, SendFlags::NOSIGNAL);
        Ok(retry_on_intr(send)?)
    }

    /// Returns how many bytes the peer's system has not acknowledged.
    pub(super) fn unacknowledged(&self) -> io::Result<usize> {
        send_queue::unacknowledged(self.as_fd())
    }

    /// Sends a last message and closes, without waiting. Input that has arrived is discarded: otherwise the
    /// peer would receive a reset, by which it may lose the message.
    pub(crate) fn leave_with(self, message: &[u8]) {
        let mut dropped = [0; 4096];
        // A new connection has room for it, unless its peer has left.
        let _ = self.send(message);
        let _ = self.shutdown_write();
        for _ in 0..MAX_DISCARDING_READS {
            if !self
                .receive(&mut dropped)
                .is_ok_and(|count| count == dropped.len())
            {
                return;
            }
        }
    }

    /// Ends the stream to the peer; reading goes on.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }

    /// Ends the connection before it is closed.
    pub(super) fn shutdown(&self) {
        end(&self.0);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        end(&self.0);
    }
}

/// Ends the connection, or the listening, of a socket that is about to be closed. Closing alone does not
/// while a request of io_uring lasts, or while a forked child holds the socket open, too.
///
/// Bytes in the send queue are still delivered, as by closing.
pub(super) fn end(socket: impl AsFd) {
    // In the child itself it is the parent's.
    if !process::is_forked_child() {
        // Fails if the peer has reset the connection.
        let _ended = rustix::net::shutdown(socket, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

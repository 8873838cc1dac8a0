//! One connection's socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::process;
use super::sys::send_queue;

/// So many pieces are read of what nobody will read.
const PIECES_DROPPED: usize = 8;

/// A connected, non-blocking stream socket: TCP or Unix. Shut down and closed when dropped.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Reads what has arrived; 0 is the end of the stream.
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

    /// How many bytes the peer's system has not acknowledged.
    pub(super) fn unacknowledged(&self) -> io::Result<usize> {
        send_queue::unacknowledged(self.as_fd())
    }

    /// Says a last thing and closes, without waiting for anything. What has arrived is read and dropped:
    /// else the peer would get a reset, by which it may lose what was said.
    pub fn leave_with(self, words: &[u8]) {
        let mut dropped = [0; 4096];
        // Who does not take it now has gone.
        let _ = self.send(words);
        let _ = self.shutdown_write();
        for _ in 0..PIECES_DROPPED {
            if !self
                .receive(&mut dropped)
                .is_ok_and(|count| count == dropped.len())
            {
                return;
            }
        }
    }

    /// Says that nothing more will be written; reading goes on.
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

/// Ends the connection, or the listening, of a socket that is about to be closed. Closing alone would not
/// while a request of io_uring lasts, or while a forked child holds the socket open, too.
///
/// What is still to be delivered is delivered, as by closing.
pub(super) fn end(socket: impl AsFd) {
    // In the child itself it is the parent's.
    if !process::is_forked_child() {
        // Fails if the peer has ended already.
        let _ended = rustix::net::shutdown(socket, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

//! One connection's socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrAny};

use super::sys::{process, send_queue};
use crate::net::address::Peer;

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

    /// Reads what has arrived, and leaves it to be read again.
    pub(super) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        let peek = || rustix::net::recv(&self.0, &mut *into, RecvFlags::PEEK);
        let (count, _) = retry_on_intr(peek)?;
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

    /// Returns the peer's address. Fails when the peer has reset the connection.
    pub(super) fn peer(&self) -> io::Result<Peer> {
        Ok(peer_at(rustix::net::getpeername(&self.0)?))
    }

    /// Returns how many bytes the peer's system has not acknowledged.
    pub(super) fn unacknowledged(&self) -> io::Result<usize> {
        send_queue::unacknowledged(self.as_fd())
    }

    /// Sends a last message and closes, without waiting. Received data is discarded: otherwise the peer would
    /// get a reset, and might lose the message.
    pub(crate) fn leave_with(self, message: &[u8]) {
        let mut dropped = [0; 4096];
        // The send buffer of a new connection has room for it, so an error means that the peer has
        // disconnected.
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

    /// Shuts down writing; reading continues.
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

/// Returns the peer that the system has described.
pub(super) fn peer_at(address: Option<SocketAddrAny>) -> Peer {
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    address.map_or(Peer::Unix, |address| {
        // The IPv4 peer of a dual-stack listener is an IPv4 peer.
        // An address of IPv6 keeps its scope.
        match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => Peer::Inet(SocketAddr::new(ip, address.port())),
            IpAddr::V6(_) => Peer::Inet(address),
        }
    })
}

/// Shuts down a connection or listener that is about to be closed. Closing alone does not end it during a
/// request of io_uring, or while a forked child holds the socket open.
///
/// Data in the send buffer is still delivered, as after a close.
pub(super) fn end(socket: impl AsFd) {
    // In the child, the connection belongs to the parent.
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

//! Reading and writing sockets without a signal: `MSG_NOSIGNAL`, which std's vectored writes lack.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::checked;

/// Reads what has arrived, at most `into.len()` bytes; 0 is the end of the stream.
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `into` is writable for its length and outlives the call.
    checked(unsafe { libc::recv(socket.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0) })
}

/// Writes `bytes`, or as many of them as the socket takes.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let (start, len, flags) = (bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
    // SAFETY: `bytes` is readable for its length and outlives the call.
    checked(unsafe { libc::send(socket.as_raw_fd(), start, len, flags) })
}

/// Writes several pieces in order with one system call.
pub fn send_vectored(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero is a valid msghdr: no address, no pieces, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice is ABI-compatible with iovec on Unix, as its documentation promises.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len();
    // SAFETY: `message` and the pieces that it points to outlive the call, which only reads them.
    checked(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
}

/// Accepts one connection, close-on-exec and non-blocking; `address` receives who it is.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, socket2::SockAddr)> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let accept = |address: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        // SAFETY: both are valid for writes, and `len` holds the size of the storage.
        let answer = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), len, flags) };
        checked(answer as isize)
    };
    // SAFETY: accept4 filled the storage with an address of the length that it wrote.
    let (descriptor, address) = unsafe { socket2::SockAddr::try_init(accept) }?;
    // SAFETY: accept4 has just made this descriptor, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    Ok((socket, address))
}

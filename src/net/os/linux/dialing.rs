//! Sockets that are being connected, and waiting for several of them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, SockAddr, Type};

use super::signal::Signal;
use super::socket::{self, Socket};
use crate::net::address::Peer;

/// A non-blocking socket that is being connected, or that a proxy is being talked to on.
#[derive(Debug)]
pub(crate) struct DialingSocket(OwnedFd);

/// What is awaited of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    Readable,
    Writable,
}

impl DialingSocket {
    /// Begins to connect to an address.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        Self::begin(socket, &address.into())
    }

    /// Begins to connect to a Unix socket.
    pub(crate) fn connect_unix(path: &Path) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        Self::begin(socket, &SockAddr::unix(path)?)
    }

    fn begin(socket: socket2::Socket, address: &SockAddr) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        match socket.connect(address) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => (),
            result => result?,
        }
        Ok(Self(socket.into()))
    }

    /// Returns the result of connecting, once the socket is writable.
    pub(crate) fn outcome(&self) -> io::Result<()> {
        match rustix::net::sockopt::socket_error(&self.0)? {
            Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let send = || rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL);
        Ok(retry_on_intr(send)?)
    }

    /// Reads what has arrived; 0 at the end of the stream.
    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.receive_with(into, RecvFlags::empty())
    }

    /// Returns what has arrived, and leaves it there.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.receive_with(into, RecvFlags::PEEK)
    }

    fn receive_with(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let receive = || rustix::net::recv(&self.0, &mut *into, flags);
        let (count, _) = retry_on_intr(receive)?;
        Ok(count)
    }

    /// Returns the connected socket, and its peer.
    pub(crate) fn finish(self) -> io::Result<(Socket, Peer)> {
        let peer = socket::peer_at(rustix::net::getpeername(&self.0)?);
        Ok((Socket::new(self.0), peer))
    }
}

impl AsFd for DialingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of the sockets is as awaited or has failed, until `signal` is given, or for so long. Returns for
/// each socket whether it is, in order.
pub(crate) fn wait_for_any(
    sockets: &[(&DialingSocket, Awaited)],
    signal: &Signal,
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled = vec![PollFd::new(signal, PollFlags::IN)];
    polled.extend(sockets.iter().map(|(socket, awaited)| {
        let flags = match awaited {
            Awaited::Readable => PollFlags::IN,
            Awaited::Writable => PollFlags::OUT,
        };
        PollFd::new(*socket, flags)
    }));
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => (),
        Err(error) => return Err(error.into()),
    }
    Ok(polled[1..]
        .iter()
        .map(|polled| !polled.revents().is_empty())
        .collect())
}

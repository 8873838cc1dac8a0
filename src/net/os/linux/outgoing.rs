//! Sockets that connect, and then speak with a proxy, without waiting; and one wait for all of them.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, getpeername, getsockname, socket_with,
    sockopt,
};

use super::signal::Signal;
use super::socket::{self, Socket};
use super::sys::memory;
use crate::net::address::Peer;

/// A stream socket on its way to a server. Shut down and closed when dropped.
///
/// An operation that fails with `WouldBlock` fails so until [`wait_for_outgoing`] has found that it can go on.
#[derive(Debug)]
pub(crate) struct Outgoing {
    socket: Socket,
    /// What it waits for, if it does.
    awaited: Cell<Option<PollFlags>>,
}

impl Outgoing {
    /// Begins to connect to an address; [`Outgoing::connected`] says when that is done.
    pub(crate) fn to_inet(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = stream(family)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        let awaited = match rustix::net::connect(&socket, &address) {
            Ok(()) => None,
            // After a signal it goes on in the background, too.
            Err(Errno::INPROGRESS | Errno::INTR) => Some(PollFlags::OUT),
            Err(error) => return Err(error.into()),
        };
        Ok(Self::new(socket, awaited))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: its listener's queue is full, and nothing tells when it is not any more.
    pub(crate) fn to_unix(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let socket = stream(AddressFamily::UNIX)?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        Ok(Self::new(socket, None))
    }

    fn new(socket: OwnedFd, awaited: Option<PollFlags>) -> Self {
        Self {
            socket: Socket::new(socket),
            awaited: Cell::new(awaited),
        }
    }

    /// Returns the peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: it has not connected yet. Others: it will not.
    pub(crate) fn connected(&self) -> io::Result<Peer> {
        self.now_or(PollFlags::OUT, |socket| {
            sockopt::socket_error(socket)??;
            let peer = getpeername(socket)?;
            // A connection to a port of this machine on which nobody listens may be made from that very port.
            let own = getsockname(socket)?;
            match SocketAddr::try_from(own.clone()).is_ok() && peer.as_ref() == Some(&own) {
                true => Err(Errno::CONNREFUSED.into()),
                false => Ok(socket::peer_at(peer)),
            }
        })
    }

    /// Sends all of `pending`, and removes what was sent.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: some of it is still pending.
    pub(crate) fn send_all(&self, pending: &mut Vec<u8>) -> io::Result<()> {
        while !pending.is_empty() {
            let count = self.now_or(PollFlags::OUT, |socket| socket.send(pending))?;
            pending.drain(..count);
        }
        Ok(())
    }

    /// Reads what has arrived, and leaves it to be read again. Returns 0 at the end of the stream.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.now_or(PollFlags::IN, |socket| socket.peek(into))
    }

    /// Reads what has arrived. Returns 0 at the end of the stream.
    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.now_or(PollFlags::IN, |socket| socket.receive(into))
    }

    /// Returns the connection's socket.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Does `what`, which waits for `readiness`, unless it is known that it would have to.
    fn now_or<T>(
        &self,
        readiness: PollFlags,
        what: impl FnOnce(&Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.awaited.get().is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = what(&self.socket);
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.awaited.set(Some(readiness));
        }
        result
    }
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

/// Waits until one of the sockets can go on, `interrupt` is given, a signal handler has run, or the time is over.
pub(crate) fn wait_for_outgoing<'a>(
    interrupt: &Signal,
    sockets: impl Iterator<Item = &'a Outgoing> + Clone,
    timeout: Duration,
) -> io::Result<()> {
    let mut polled = Vec::new();
    memory::try_reserve(&mut polled, sockets.clone().count() + 1)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    polled.push(PollFd::from_borrowed_fd(interrupt.as_fd(), PollFlags::IN));
    polled.extend(sockets.clone().map(|outgoing| {
        let awaited = outgoing.awaited.get().unwrap_or(PollFlags::empty());
        PollFd::from_borrowed_fd(outgoing.socket.as_fd(), awaited)
    }));
    // A time that is too long to be expressed does not end.
    let timeout = Timespec::try_from(timeout).ok();
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => (),
        Err(Errno::INTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    for (outgoing, polled) in sockets.zip(&polled[1..]) {
        // Errors and the end are among the events.
        if !polled.revents().is_empty() {
            outgoing.awaited.set(None);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Repeats an operation until it does not ask to wait.
    fn finish<T>(outgoing: &Outgoing, mut what: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let never = Signal::semaphore()?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match what() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                result => return result,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still waiting");
            wait_for_outgoing(&never, [outgoing].into_iter(), left)?;
        }
    }

    fn pair() -> (Outgoing, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let outgoing = Outgoing::to_inet(address).unwrap();
        let peer = finish(&outgoing, || outgoing.connected()).unwrap();
        assert_eq!(peer, Peer::Inet(address));
        (outgoing, listener.accept().unwrap().0)
    }

    #[test]
    fn a_connected_socket_does_not_block_delay_or_reach_programs_that_are_executed() {
        let (outgoing, _other) = pair();
        let socket = outgoing.into_socket();
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
    }

    #[test]
    fn a_peek_leaves_what_a_read_takes() {
        let (outgoing, mut other) = pair();
        other.write_all(b"hello").unwrap();
        let mut bytes = [0; 8];
        for _ in 0..2 {
            let count = finish(&outgoing, || outgoing.peek(&mut bytes)).unwrap();
            assert_eq!(&bytes[..count], b"hello");
        }
        assert_eq!(outgoing.receive(&mut bytes[..4]).unwrap(), 4);
        assert_eq!(outgoing.receive(&mut bytes).unwrap(), 1);
        let error = outgoing.peek(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(other);
        assert_eq!(finish(&outgoing, || outgoing.peek(&mut bytes)).unwrap(), 0);
    }

    #[test]
    fn more_than_the_send_buffer_is_sent_as_the_peer_reads() {
        let (outgoing, mut other) = pair();
        let mut pending = vec![7; 32 << 20];
        let total = pending.len();
        let error = outgoing.send_all(&mut pending).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let reader = std::thread::spawn(move || {
            other.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut received = vec![0; total];
            other.read_exact(&mut received).map(|()| received)
        });
        finish(&outgoing, || outgoing.send_all(&mut pending)).unwrap();
        let received = reader.join().unwrap().unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_wait_ends_when_it_is_interrupted() {
        let (outgoing, _other) = pair();
        let _ = outgoing.peek(&mut [0]).unwrap_err();
        let interrupt = Signal::semaphore().unwrap();
        interrupt.give();
        let begun = Instant::now();
        wait_for_outgoing(&interrupt, [&outgoing].into_iter(), DEADLINE).unwrap();
        assert!(begun.elapsed() < DEADLINE);
    }
}

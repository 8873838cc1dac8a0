//! The sockets of one loop.
//!
//! The poller owns the connections' sockets and hands over bytes, not readiness.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::time::Duration;

use super::epoll::{Epoll, Waker};
use super::{Listener, Socket};

/// Which connection: its place, and which of those that stood there one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub index: u32,
    pub generation: u32,
}

/// What has happened to a connection.
#[derive(Debug)]
pub enum Happening {
    /// The bytes at the front of the buffer given to [`Poller::next`].
    Received(Token, usize),
    /// The stream has ended; with an error, if not orderly.
    Ended(Token, Option<io::Error>),
}

pub struct Poller {
    sockets: Epoll,
}

impl Poller {
    pub fn new() -> io::Result<(Self, Waker)> {
        let (sockets, waker) = Epoll::new()?;
        Ok((Self { sockets }, waker))
    }

    pub fn listen(&mut self, listener: &Listener) -> io::Result<()> {
        self.sockets.listen(listener)
    }

    pub fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        self.sockets.stop_listening(listener)
    }

    /// Whether clients may be waiting since it was last asked. Take them all, or ask again later.
    pub fn take_acceptable(&mut self) -> bool {
        self.sockets.take_acceptable()
    }

    /// Takes over a connection's socket.
    pub fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        self.sockets.add(socket, token)
    }

    /// Closes a connection's socket.
    pub fn remove(&mut self, token: Token) {
        self.sockets.remove(token);
    }

    /// From now on nothing is received from this connection.
    pub fn pause(&mut self, token: Token) {
        self.sockets.pause(token);
    }

    pub fn resume(&mut self, token: Token) {
        self.sockets.resume(token);
    }

    /// Says once, by [`Poller::take_writable`], when this connection can be written to again.
    pub fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        self.sockets.arm_writes(token)
    }

    #[inline]
    pub fn send(&mut self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.sockets.send(token, bytes)
    }

    #[inline]
    pub fn send_vectored(&mut self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.sockets.send_vectored(token, pieces)
    }

    pub fn shutdown_write(&mut self, token: Token) -> io::Result<()> {
        self.sockets.shutdown_write(token)
    }

    /// Whether there is something to do without waiting.
    pub fn has_work(&self) -> bool {
        self.sockets.has_work()
    }

    /// Waits until something happens or the time is up. A signal handler ends it, too.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sockets.wait(timeout)
    }

    /// How many connections wait to be read; each is visited once by as many calls of `next`.
    pub fn readable(&self) -> usize {
        self.sockets.readable()
    }

    /// Connections that can be written to again; each stands here once.
    pub fn take_writable(&mut self) -> Vec<Token> {
        self.sockets.take_writable()
    }

    /// Visits the next connection that may hold bytes, and reads into `buffer`.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        self.sockets.next(buffer)
    }

    /// A descriptor that is readable when [`Poller::wait`] would not wait.
    pub fn descriptor(&self) -> RawFd {
        self.sockets.descriptor()
    }

    /// Makes [`Poller::descriptor`] readable `after` from now.
    pub fn set_timer(&mut self, after: Option<Duration>) -> io::Result<()> {
        self.sockets.set_timer(after)
    }
}

//! The interface to the sockets of one loop, which each system interface (epoll, io_uring) implements.

use std::io::{self, IoSlice};
use std::time::Duration;

use super::address::Peer;
use super::event::{IoEvent, Token};

/// The sockets of one loop: its connections, by their tokens, and a listener.
///
/// A call for a connection that was removed, even if its index is in use again, does nothing or fails with
/// `NotConnected`.
pub(crate) trait Sockets {
    /// A connection that is not yet polled.
    type Socket;
    /// The type from which connections are accepted.
    type Listener;
    /// The system's type of descriptors.
    type Descriptor;

    // ---- accepting ----

    /// Starts polling a listener.
    fn listen(&mut self, listener: &Self::Listener) -> io::Result<()>;

    /// Stops polling the listener.
    fn stop_listening(&mut self, listener: &Self::Listener) -> io::Result<()>;

    /// Whether connections may be waiting to be accepted. Edge-triggered: accept until `WouldBlock`, or try
    /// again later without a notification.
    fn take_acceptable(&mut self) -> bool;

    // ---- connections ----

    /// Adds a connection, whose data is reported from now on.
    fn add(&mut self, socket: Self::Socket, token: Token) -> io::Result<()>;

    /// Returns the address of a connection's peer.
    ///
    /// # Errors
    ///
    /// `NotConnected`: also when the peer has reset the connection.
    fn peer(&self, token: Token) -> io::Result<Peer>;

    /// Closes a connection's socket. Nothing more is reported for it.
    fn remove(&mut self, token: Token);

    // ---- reading ----

    /// Stops reporting what this connection receives, until it is resumed. Nothing is lost.
    fn pause(&mut self, token: Token);

    /// Resumes reporting what this connection receives.
    fn resume(&mut self, token: Token);

    /// Returns the number of readable connections; so many calls of [`Sockets::next`] visit each of them
    /// once.
    fn readable(&self) -> usize;

    /// Visits the next connection that may hold data, and reads into `buffer`. Data is reported before the
    /// end of its stream.
    fn next(&mut self, buffer: &mut [u8]) -> Option<IoEvent>;

    // ---- writing ----

    /// Writes bytes to the socket. Returns how many were accepted, at least one.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: none can be accepted now; see [`Sockets::arm_writes`].
    fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize>;

    /// [`Sockets::send`] for bytes in several pieces.
    fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether so many sends are cheaper with one call of [`Sockets::send_all`] than one by one.
    fn sends_together(&self, sends: usize) -> bool;

    /// Sends to several connections, and reports for each what [`Sockets::send`] would return, in order.
    fn send_all(&mut self, batch: &[(Token, &[u8])], report: impl FnMut(Token, io::Result<usize>));

    /// Requests one report, by [`Sockets::take_writable`], when this connection can be written to again.
    fn arm_writes(&mut self, token: Token) -> io::Result<()>;

    /// Returns the connections that can be written to again, each once.
    fn take_writable(&mut self) -> Vec<Token>;

    /// Returns how many of the bytes sent the peer's system has not acknowledged.
    fn unacknowledged(&self, token: Token) -> io::Result<usize>;

    /// Shuts down writing; reading continues.
    fn shutdown_write(&self, token: Token) -> io::Result<()>;

    // ---- waiting ----

    /// Whether there is work to do without waiting.
    fn has_work(&self) -> bool;

    /// Collects events. With `may_wait`, and while there is no work, it first waits for an event, the waker,
    /// the timer or a signal handler.
    fn wait(&mut self, may_wait: bool) -> io::Result<()>;

    /// Sets the timer, which expires once, `after` from now. It replaces an earlier setting.
    fn set_timer(&self, after: Duration) -> io::Result<()>;

    /// Returns a descriptor that is readable when [`Sockets::wait`] would not wait.
    fn descriptor(&self) -> Self::Descriptor;
}

/// Implements most methods of [`Sockets`] for an enum of kinds by matching on it: unlike virtual calls, these
/// can be inlined.
macro_rules! dispatch {
    ($($(#[$only:meta])? $kind:ident),+) => {
        fn take_acceptable(&mut self) -> bool {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.take_acceptable()),+ }
        }

        fn peer(&self, token: $crate::net::event::Token) -> std::io::Result<$crate::net::address::Peer> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.peer(token)),+ }
        }

        fn remove(&mut self, token: $crate::net::event::Token) {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.remove(token)),+ }
        }

        fn pause(&mut self, token: $crate::net::event::Token) {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.pause(token)),+ }
        }

        fn resume(&mut self, token: $crate::net::event::Token) {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.resume(token)),+ }
        }

        fn readable(&self) -> usize {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.readable()),+ }
        }

        #[inline]
        fn next(&mut self, buffer: &mut [u8]) -> Option<$crate::net::event::IoEvent> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.next(buffer)),+ }
        }

        #[inline]
        fn send(&self, token: $crate::net::event::Token, bytes: &[u8]) -> std::io::Result<usize> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.send(token, bytes)),+ }
        }

        #[inline]
        fn send_vectored(
            &self,
            token: $crate::net::event::Token,
            pieces: &[std::io::IoSlice<'_>],
        ) -> std::io::Result<usize> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.send_vectored(token, pieces)),+ }
        }

        #[inline]
        fn sends_together(&self, sends: usize) -> bool {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.sends_together(sends)),+ }
        }

        fn send_all(
            &mut self,
            batch: &[($crate::net::event::Token, &[u8])],
            report: impl FnMut($crate::net::event::Token, std::io::Result<usize>),
        ) {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.send_all(batch, report)),+ }
        }

        fn arm_writes(&mut self, token: $crate::net::event::Token) -> std::io::Result<()> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.arm_writes(token)),+ }
        }

        fn take_writable(&mut self) -> Vec<$crate::net::event::Token> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.take_writable()),+ }
        }

        fn unacknowledged(&self, token: $crate::net::event::Token) -> std::io::Result<usize> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.unacknowledged(token)),+ }
        }

        fn shutdown_write(&self, token: $crate::net::event::Token) -> std::io::Result<()> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.shutdown_write(token)),+ }
        }

        fn has_work(&self) -> bool {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.has_work()),+ }
        }

        fn set_timer(&self, after: std::time::Duration) -> std::io::Result<()> {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.set_timer(after)),+ }
        }

        fn descriptor(&self) -> Self::Descriptor {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.descriptor()),+ }
        }
    };
}
pub(super) use dispatch;

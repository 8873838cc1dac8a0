//! The interface to the sockets of one loop. Each way in which a system offers them is a kind.

use std::io::{self, IoSlice};
use std::time::Duration;

use super::event::{IoEvent, Token};

/// The sockets of one loop: connections by their tokens, and what accepts them.
///
/// A call that names a connection which is not there, because it was removed or its place has been given to
/// another, does nothing, or fails with `NotConnected`.
pub(crate) trait Sockets {
    /// A connection that is not yet polled.
    type Socket;
    /// What connections are accepted from.
    type Listener;
    /// What the system waits for.
    type Descriptor;

    // ---- accepting ----

    /// Polls a listener, too.
    fn listen(&mut self, listener: &Self::Listener) -> io::Result<()>;

    /// Stops polling the listener.
    fn stop_listening(&mut self, listener: &Self::Listener) -> io::Result<()>;

    /// Whether connections may be waiting to be accepted. Returns true once for each arrival: accept all of
    /// them, or try again later without being notified.
    fn take_acceptable(&mut self) -> bool;

    // ---- connections ----

    /// Takes over a connection's socket, and reads from it from now on.
    fn add(&mut self, socket: Self::Socket, token: Token) -> io::Result<()>;

    /// Closes a connection's socket. Nothing more is reported of it.
    fn remove(&mut self, token: Token);

    // ---- reading ----

    /// Reports nothing more that this connection receives, until it is resumed. Nothing is lost.
    fn pause(&mut self, token: Token);

    /// Reports again what this connection receives.
    fn resume(&mut self, token: Token);

    /// Returns how many connections are waiting to be read; as many calls of [`Sockets::next`] visit each of
    /// them once.
    fn readable(&self) -> usize;

    /// Visits the next connection that may hold bytes, and reads into `buffer`. The bytes come before the end
    /// of their stream.
    fn next(&mut self, buffer: &mut [u8]) -> Option<IoEvent>;

    // ---- writing ----

    /// Hands bytes to the system. Returns how many it took, which is at least one.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: it takes none now; see [`Sockets::arm_writes`].
    fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize>;

    /// [`Sockets::send`] for bytes in several pieces.
    fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether so many sends cost less by one call of [`Sockets::send_all`] than one by one.
    fn sends_together(&self, sends: usize) -> bool;

    /// Sends to several connections, and reports for each what [`Sockets::send`] would return, in order.
    fn send_all(&mut self, batch: &[(Token, &[u8])], report: impl FnMut(Token, io::Result<usize>));

    /// Reports once, by [`Sockets::take_writable`], when this connection can be written to again.
    fn arm_writes(&mut self, token: Token) -> io::Result<()>;

    /// Returns the connections that can be written to again, each once.
    fn take_writable(&mut self) -> Vec<Token>;

    /// Returns how many of the bytes sent the peer's system has not acknowledged.
    fn unacknowledged(&self, token: Token) -> io::Result<usize>;

    /// Ends the stream to the peer; reading goes on.
    fn shutdown_write(&self, token: Token) -> io::Result<()>;

    // ---- waiting ----

    /// Whether there is something to do without waiting.
    fn has_work(&self) -> bool;

    /// Learns what has happened. If it may, which is while there is no work, it waits for something first: an
    /// event, the waker, the timer or a signal handler.
    fn wait(&mut self, may_wait: bool) -> io::Result<()>;

    /// Sets the timer, which goes off once, `after` from now. It replaces what was set before.
    fn set_timer(&self, after: Duration) -> io::Result<()>;

    /// Returns a descriptor that is readable when [`Sockets::wait`] would not wait.
    fn descriptor(&self) -> Self::Descriptor;
}

/// Implements most methods of [`Sockets`] for an enum of kinds: the kind at hand is called. No table of
/// functions is read, so calls may be inlined.
macro_rules! dispatch {
    ($($(#[$only:meta])? $kind:ident),+) => {
        fn take_acceptable(&mut self) -> bool {
            match self { $($(#[$only])? Self::$kind(sockets) => sockets.take_acceptable()),+ }
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

//! The operating system, which is chosen here and nowhere else: sockets, readiness, wake-ups, memory, and the
//! state of the process. Nothing above this module depends on the system.
//!
//! Tests also have a network in memory.

#[cfg(test)]
mod in_memory;
mod linux;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use self::linux as system;

#[cfg(test)]
pub(crate) use in_memory::{Failing, Network, RemoteEnd, Write};
#[cfg(feature = "tls")]
pub(crate) use linux::crypto_memory;
pub(crate) use linux::{
    Backend, CombinedDescriptor, Descriptor, Outgoing, PollSet, Readiness, Signal, Wait, Waited,
    Waker, lacks_resources, memory, memory_limit, process, random, wait_for_outgoing,
};

#[cfg(test)]
use in_memory::{InMemoryListener, InMemorySocket, InMemorySockets};

use super::address::{Address, Peer};
use super::event::Token;
use super::sockets::{Sockets, dispatch};

/// The sockets of one loop, of any kind.
pub(crate) enum AnySockets {
    System(system::SystemSockets),
    #[cfg(test)]
    InMemory(InMemorySockets),
}

impl AnySockets {
    pub(crate) fn new(backend: Backend, waker: &Arc<Waker>) -> io::Result<Self> {
        system::SystemSockets::new(backend, waker).map(Self::System)
    }

    /// Creates the sockets of a network in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(network: &Network, waker: &Arc<Waker>) -> Self {
        Self::InMemory(InMemorySockets::new(network, waker))
    }

    /// Switches to the kind of sockets that is bound to one thread, if the system permits it. Must be called
    /// by the thread that will serve, before there is any connection or timer.
    pub(crate) fn use_ring(&mut self) {
        match self {
            Self::System(sockets) => sockets.use_ring(),
            #[cfg(test)]
            Self::InMemory(_) => (),
        }
    }

    /// Whether the system's memory is to be trimmed when the loop has nothing else to do.
    pub(crate) fn keeps_memory(&self) -> bool {
        match self {
            Self::System(_) => memory::has_kept_blocks(),
            #[cfg(test)]
            Self::InMemory(_) => false,
        }
    }

    /// Returns the time by which the timer goes off.
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::System(_) => Instant::now(),
            #[cfg(test)]
            Self::InMemory(sockets) => sockets.now(),
        }
    }
}

impl Sockets for AnySockets {
    type Socket = Socket;
    type Listener = Listener;
    type Descriptor = Descriptor;

    dispatch!(
        System,
        #[cfg(test)]
        InMemory
    );

    fn listen(&mut self, listener: &Listener) -> io::Result<()> {
        match (self, listener) {
            (Self::System(sockets), Listener::System(listener)) => sockets.listen(listener),
            #[cfg(test)]
            (Self::InMemory(sockets), Listener::InMemory(listener)) => sockets.listen(listener),
            #[cfg(test)]
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        match (self, listener) {
            (Self::System(sockets), Listener::System(listener)) => sockets.stop_listening(listener),
            #[cfg(test)]
            (Self::InMemory(sockets), Listener::InMemory(listener)) => {
                sockets.stop_listening(listener)
            }
            #[cfg(test)]
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        match (self, socket) {
            (Self::System(sockets), Socket::System(socket)) => sockets.add(socket, token),
            #[cfg(test)]
            (Self::InMemory(sockets), Socket::InMemory(socket)) => sockets.add(socket, token),
            #[cfg(test)]
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        match self {
            Self::System(sockets) => sockets.wait(may_wait),
            #[cfg(test)]
            Self::InMemory(sockets) => sockets.wait(may_wait),
        }
    }
}

/// One connection's socket, non-blocking. The connection ends when this is dropped.
#[derive(Debug)]
pub(crate) enum Socket {
    System(system::Socket),
    #[cfg(test)]
    InMemory(InMemorySocket),
}

impl Socket {
    /// Makes the socket of a connection from one that has connected.
    pub(crate) fn connected(outgoing: Outgoing) -> Self {
        Self::System(outgoing.into_socket())
    }

    /// Sends a last message and closes, without waiting. The peer receives what fits into the send buffer,
    /// and no reset.
    pub(crate) fn leave_with(self, message: &[u8]) {
        match self {
            Self::System(socket) => socket.leave_with(message),
            #[cfg(test)]
            Self::InMemory(socket) => socket.leave_with(message),
        }
    }
}

/// Accepts connections. When the last clone is dropped, it is closed and a Unix socket's file is removed. An
/// inherited descriptor is closed only once it has been taken over.
#[derive(Clone, Debug)]
pub(crate) enum Listener {
    System(Arc<system::Listener>),
    #[cfg(test)]
    InMemory(InMemoryListener),
}

impl Listener {
    /// Listens at an address. Mode 0 leaves the permissions of a Unix socket's file to the umask.
    pub(crate) fn bind(address: &Address, backlog: i32, unix_mode: u32) -> io::Result<Self> {
        let listener = system::Listener::bind(address, backlog, unix_mode)?;
        Ok(Self::System(Arc::new(listener)))
    }

    /// Makes an inherited descriptor ours: it is closed with this. Until then it stays the program's.
    pub(crate) fn take_over(&self) {
        match self {
            Self::System(listener) => listener.take_over(),
            #[cfg(test)]
            Self::InMemory(_) => (),
        }
    }

    /// Makes an inherited descriptor the program's again: it is not closed with this.
    pub(crate) fn give_back(&self) {
        match self {
            Self::System(listener) => listener.give_back(),
            #[cfg(test)]
            Self::InMemory(_) => (),
        }
    }

    /// Refuses connections from now on. An inherited socket goes on listening, for whoever else has it.
    pub(crate) fn stop(&self) {
        match self {
            Self::System(listener) => listener.stop(),
            #[cfg(test)]
            Self::InMemory(_) => (),
        }
    }

    /// Returns the port in use; 0 for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::System(listener) => listener.port(),
            #[cfg(test)]
            Self::InMemory(_) => 0,
        }
    }

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: none is waiting. Other errors may be temporary.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::System(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((Socket::System(socket), peer))
            }
            #[cfg(test)]
            Self::InMemory(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((Socket::InMemory(socket), peer))
            }
        }
    }
}

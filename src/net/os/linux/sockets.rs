//! The two kinds of sockets on Linux, and the switch from one to the other.

use std::io;
use std::sync::Arc;

use super::Descriptor;
use super::batch::Batches;
use super::epoll::EpollSockets;
use super::listener::Listener;
use super::ring::RingSockets;
use super::signal::Signal;
use super::socket::Socket;
use super::waker::Waker;
use crate::net::event::Token;
use crate::net::sockets::{Sockets, dispatch};

/// The system interface of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// epoll for everything.
    Epoll,
    /// epoll, and io_uring for many sends at once if the system permits it. The loop stays on one thread.
    Mixed,
    /// io_uring, or epoll where the system does not permit it. The loop stays on one thread.
    Ring,
}

/// The sockets of one loop.
pub(crate) enum SystemSockets {
    Epoll(EpollSockets),
    Ring(Box<RingSockets>),
}

impl SystemSockets {
    /// Creates sockets with epoll; see [`SystemSockets::use_ring`].
    pub(crate) fn new(backend: Backend, waker: &Arc<Waker>) -> io::Result<Self> {
        let batches = match backend {
            Backend::Mixed => Batches::Untried,
            Backend::Epoll | Backend::Ring => Batches::Never,
        };
        let timer = Arc::new(Signal::timer()?);
        EpollSockets::new(waker, &timer, batches).map(Self::Epoll)
    }

    /// Switches to io_uring, if the system permits it. Must be called by the thread that will serve, before
    /// there is any connection or timer: a ring is bound to the thread that creates it.
    pub(crate) fn use_ring(&mut self) {
        let Self::Epoll(epoll) = self else { return };
        let ring = RingSockets::new(epoll.waker()).and_then(|mut ring| {
            epoll
                .listener()
                .map_or(Ok(()), |listener| ring.listen(listener))?;
            Ok(ring)
        });
        match ring {
            Ok(ring) => *self = Self::Ring(Box::new(ring)),
            Err(error) => log::debug!("io_uring is not available, using epoll: {error}"),
        }
    }
}

impl Sockets for SystemSockets {
    type Socket = Socket;
    type Listener = Arc<Listener>;
    type Descriptor = Descriptor;

    dispatch!(Epoll, Ring);

    fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        match self {
            Self::Epoll(sockets) => sockets.listen(listener),
            Self::Ring(sockets) => sockets.listen(listener),
        }
    }

    fn stop_listening(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        match self {
            Self::Epoll(sockets) => sockets.stop_listening(listener),
            Self::Ring(sockets) => sockets.stop_listening(listener),
        }
    }

    fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        match self {
            Self::Epoll(sockets) => sockets.add(socket, token),
            Self::Ring(sockets) => sockets.add(socket, token),
        }
    }

    fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        let ring = match self {
            Self::Epoll(epoll) => return epoll.wait(may_wait),
            Self::Ring(ring) => ring,
        };
        if let Err(error) = ring.wait(may_wait) {
            let epoll = ring.hand_over()?;
            log::warn!("io_uring accepts no requests any more, using epoll: {error}");
            *self = Self::Epoll(epoll);
        }
        Ok(())
    }
}

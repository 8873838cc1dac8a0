//! Sockets by epoll: readiness, and the reading that follows from it.
//!
//! Events are edge-triggered; a socket that may hold more bytes stands in a queue of its own and is
//! visited once a turn, so that nobody starves.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use super::batch::{self, Batches};
use super::poller::{Happening, Token};
use super::{Listener, Signal, Socket, Waker};

const _: () = assert!(usize::BITS == 64, "a token holds an index and a generation");

const WAKER: mio::Token = mio::Token(usize::MAX);
const TIMER: mio::Token = mio::Token(usize::MAX - 1);
const LISTENER: mio::Token = mio::Token(usize::MAX - 2);

impl From<Token> for mio::Token {
    fn from(token: Token) -> Self {
        Self((token.generation as usize) << 32 | token.index as usize)
    }
}

impl From<mio::Token> for Token {
    fn from(token: mio::Token) -> Self {
        Self {
            index: token.0 as u32,
            generation: (token.0 >> 32) as u32,
        }
    }
}

/// The sockets of one loop.
pub struct Epoll {
    poll: Poll,
    batches: Batches,
    events: Events,
    timer: Signal,
    places: Vec<Place>,
    /// Connections that may hold bytes, in the order of their visits.
    readable: VecDeque<Token>,
    /// Connections that can be written to again.
    writable: Vec<Token>,
    acceptable: bool,
}

/// What the poller knows of one connection.
#[derive(Default)]
struct Place {
    socket: Option<Socket>,
    generation: u32,
    /// Stands in `readable`.
    queued: bool,
    /// May hold bytes; while paused it does not stand in `readable`.
    has_bytes: bool,
    /// No further edge will come: read on to the end or an error.
    ending: bool,
    paused: bool,
    /// Registered for writability, too.
    writes_armed: bool,
}

impl Epoll {
    pub fn new(waker: &Waker, batches: Batches) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Signal::timer()?;
        // Each edge is an event, so what was given need not be taken.
        for (descriptor, token) in [(waker.as_raw_fd(), WAKER), (timer.as_raw_fd(), TIMER)] {
            let registry = poll.registry();
            registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            batches,
            events: Events::with_capacity(1024),
            timer,
            places: Vec::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
        })
    }

    pub fn listen(&mut self, listener: &Listener) -> io::Result<()> {
        let descriptor = listener.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&descriptor), LISTENER, Interest::READABLE)
    }

    pub fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        self.acceptable = false;
        self.poll
            .registry()
            .deregister(&mut SourceFd(&listener.as_raw_fd()))
    }

    /// Whether clients may be waiting since it was last asked. Take them all, or ask again later.
    pub fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    /// Takes over a connection's socket.
    pub fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        let descriptor = socket.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&descriptor), token.into(), Interest::READABLE)?;
        let index = token.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, Place::default);
        }
        self.places[index] = Place {
            socket: Some(socket),
            generation: token.generation,
            ..Place::default()
        };
        Ok(())
    }

    /// Closes a connection's socket.
    pub fn remove(&mut self, token: Token) {
        if let Some(place) = self.place(token) {
            *place = Place {
                generation: token.generation,
                ..Place::default()
            };
        }
    }

    /// From now on nothing is received from this connection.
    pub fn pause(&mut self, token: Token) {
        if let Some(place) = self.place(token) {
            place.paused = true;
        }
    }

    pub fn resume(&mut self, token: Token) {
        let Some(place) = self.place(token) else {
            return;
        };
        place.paused = false;
        if place.has_bytes && !place.queued {
            place.queued = true;
            self.readable.push_back(token);
        }
    }

    /// Says once, by [`Epoll::take_writable`], when this connection can be written to again.
    pub fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        let Some(place) = self.places.get_mut(token.index as usize) else {
            return Ok(());
        };
        let Some(socket) = place.socket.as_ref().filter(|_| !place.writes_armed) else {
            // A write that was taken in part brings a new edge by itself.
            return Ok(());
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let descriptor = socket.as_raw_fd();
        self.poll
            .registry()
            .reregister(&mut SourceFd(&descriptor), token.into(), both)?;
        place.writes_armed = true;
        Ok(())
    }

    #[inline]
    pub fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.socket(token)?.send(bytes)
    }

    #[inline]
    pub fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket(token)?.send_vectored(pieces)
    }

    /// Whether so many sends are better given to [`Epoll::send_all`].
    #[inline]
    pub fn sends_together(&self, sends: usize) -> bool {
        self.batches.pay_for(sends)
    }

    pub fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        mut tell: impl FnMut(Token, io::Result<usize>),
    ) {
        let Self {
            batches, places, ..
        } = self;
        match batches.ring() {
            Some(ring) => batch::send_all(ring, batch, |token| socket(places, token), tell),
            None => batch
                .iter()
                .for_each(|(token, bytes)| tell(*token, self.send(*token, bytes))),
        }
    }

    pub fn shutdown_write(&self, token: Token) -> io::Result<()> {
        self.socket(token)?.shutdown_write()
    }

    /// Whether there is something to do without waiting.
    pub fn has_work(&self) -> bool {
        !self.readable.is_empty() || !self.writable.is_empty() || self.acceptable
    }

    /// Learns what has happened; waits for something, if it may. The timer ends that, and so does a
    /// signal handler.
    pub fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        let timeout = (!may_wait).then_some(Duration::ZERO);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            answer => answer?,
        }
        for event in &self.events {
            match event.token() {
                WAKER | TIMER => (),
                LISTENER => self.acceptable = true,
                token => {
                    note(
                        event,
                        token.into(),
                        &mut self.places,
                        &mut self.readable,
                        &mut self.writable,
                    );
                }
            }
        }
        Ok(())
    }

    /// How many connections wait to be read; each is visited once by as many calls of `next`.
    pub fn readable(&self) -> usize {
        self.readable.len()
    }

    /// Connections that can be written to again; each stands here once.
    pub fn take_writable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.writable)
    }

    /// Visits the next connection that may hold bytes, and reads into `buffer`.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        while let Some(token) = self.readable.pop_front() {
            let Some(place) = self.places.get_mut(token.index as usize) else {
                continue;
            };
            if place.generation != token.generation {
                continue;
            }
            place.queued = false;
            let Some(socket) = place.socket.as_ref().filter(|_| !place.paused) else {
                continue;
            };
            match socket.receive(buffer) {
                Ok(0) => return Some(Happening::Ended(token, None)),
                Ok(count) => {
                    // Fewer bytes than asked for: drained, and the next byte brings an edge.
                    place.has_bytes = count == buffer.len() || place.ending;
                    if place.has_bytes {
                        place.queued = true;
                        self.readable.push_back(token);
                    }
                    return Some(Happening::Received(token, count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => place.has_bytes = false,
                Err(error) => return Some(Happening::Ended(token, Some(error))),
            }
        }
        None
    }

    /// A descriptor that is readable when [`Epoll::wait`] would not wait.
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Sets the timer, which goes off once, `after` from now.
    pub fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.timer.arm(after)
    }

    fn place(&mut self, token: Token) -> Option<&mut Place> {
        let place = self.places.get_mut(token.index as usize)?;
        (place.generation == token.generation && place.socket.is_some()).then_some(place)
    }

    fn socket(&self, token: Token) -> io::Result<&Socket> {
        socket(&self.places, token).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn socket(places: &[Place], token: Token) -> Option<&Socket> {
    let place = places.get(token.index as usize);
    let place = place.filter(|place| place.generation == token.generation);
    place.and_then(|place| place.socket.as_ref())
}

/// Notes one connection's event.
fn note(
    event: &Event,
    token: Token,
    places: &mut [Place],
    readable: &mut VecDeque<Token>,
    writable: &mut Vec<Token>,
) {
    let Some(place) = places.get_mut(token.index as usize) else {
        return;
    };
    if place.generation != token.generation || place.socket.is_none() {
        return;
    }
    let ending = event.is_read_closed() || event.is_write_closed() || event.is_error();
    if event.is_readable() || ending {
        place.ending |= ending;
        place.has_bytes = true;
        if !place.queued && !place.paused {
            place.queued = true;
            readable.push_back(token);
        }
    }
    if place.writes_armed && event.is_writable() {
        writable.push(token);
    }
}

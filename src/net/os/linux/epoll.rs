//! Sockets by epoll: readiness, and the reading that follows from it.
//!
//! Events are edge-triggered; a socket that may hold more bytes stands in a queue of its own and is
//! visited once a turn, so that nobody starves.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::batch::{self, Batches};
use super::sys::{events, memory};
use super::{Listener, Signal, Socket, Waker};
use crate::net::event::{Happening, Token};

/// At most so many events are learnt of at once.
const EVENTS: usize = 256;

/// What an event is of that is not a connection's.
const WAKER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;

/// What is to be told of a connection: that bytes have come, or the end of them.
const READABLE: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// What is the end of a connection, or leads to it.
const ENDING: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// What an event is of that is a connection's.
fn data(token: Token) -> EventData {
    EventData::new_u64(u64::from(token.generation) << 32 | u64::from(token.index))
}

fn token(data: u64) -> Token {
    Token {
        index: data as u32,
        generation: (data >> 32) as u32,
    }
}

/// The sockets of one loop.
pub struct Epoll {
    epoll: OwnedFd,
    batches: Batches,
    waker: Arc<Waker>,
    timer: Arc<Signal>,
    listener: Option<Arc<Listener>>,
    places: Vec<Place>,
    /// What was received by io_uring before it failed, and not read.
    unread: HashMap<u32, VecDeque<u8>>,
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

/// A connection that io_uring cannot serve any more.
pub struct Heir {
    pub socket: Socket,
    pub token: Token,
    /// What was received and not read.
    pub unread: VecDeque<u8>,
    pub paused: bool,
    pub writes_armed: bool,
}

impl Epoll {
    pub fn new(waker: &Arc<Waker>, timer: &Arc<Signal>, batches: Batches) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Each edge is an event, so what was given need not be taken.
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, waker, EventData::new_u64(WAKER), edges)?;
        epoll::add(&epoll, timer, EventData::new_u64(TIMER), edges)?;
        Ok(Self {
            epoll,
            batches,
            waker: Arc::clone(waker),
            timer: Arc::clone(timer),
            listener: None,
            places: Vec::new(),
            unread: HashMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
        })
    }

    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    pub fn listener(&self) -> Option<&Arc<Listener>> {
        self.listener.as_ref()
    }

    pub fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        let edges = EventFlags::IN | EventFlags::ET;
        for socket in listener.sockets() {
            epoll::add(&self.epoll, socket, EventData::new_u64(LISTENER), edges)?;
        }
        self.listener = Some(Arc::clone(listener));
        Ok(())
    }

    pub fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        self.acceptable = false;
        self.listener = None;
        for socket in listener.sockets() {
            epoll::delete(&self.epoll, socket)?;
        }
        Ok(())
    }

    /// Whether clients may be waiting since it was last asked. Take them all, or ask again later.
    pub fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    /// Takes over a connection's socket.
    pub fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        let missing = (token.index as usize + 1).saturating_sub(self.places.len());
        memory::try_reserve(&mut self.places, missing).map_err(|_| io::ErrorKind::OutOfMemory)?;
        epoll::add(&self.epoll, &socket, data(token), READABLE)?;
        self.put(socket, token);
        Ok(())
    }

    fn put(&mut self, socket: Socket, token: Token) -> &mut Place {
        let index = token.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, Place::default);
        }
        let place = &mut self.places[index];
        *place = Place {
            socket: Some(socket),
            generation: token.generation,
            ..Place::default()
        };
        place
    }

    /// Takes over a connection from io_uring. One that cannot be polled is told to have ended.
    pub fn inherit(&mut self, heir: Heir) {
        let Heir {
            socket,
            token,
            unread,
            paused,
            writes_armed,
        } = heir;
        let flags = match writes_armed {
            true => READABLE | EventFlags::OUT,
            false => READABLE,
        };
        let added = epoll::add(&self.epoll, &socket, data(token), flags);
        if let Err(error) = added {
            log::warn!("cannot poll a connection's socket: {error}");
            socket.shutdown();
        }
        let readable = added.is_err() || !unread.is_empty();
        let place = self.put(socket, token);
        place.paused = paused;
        place.writes_armed = writes_armed;
        place.has_bytes = readable;
        place.queued = readable && !paused;
        if place.queued {
            self.readable.push_back(token);
        }
        if !unread.is_empty() {
            self.unread.insert(token.index, unread);
        }
    }

    /// Takes over what io_uring has learnt of connections that can be written to again.
    pub fn inherit_writable(&mut self, writable: Vec<Token>) {
        self.writable = writable;
    }

    /// Closes a connection's socket.
    pub fn remove(&mut self, token: Token) {
        if !self.unread.is_empty() && self.place(token).is_some() {
            self.unread.remove(&token.index);
        }
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
        let both = READABLE | EventFlags::OUT;
        epoll::modify(&self.epoll, socket, data(token), both)?;
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

    pub fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        self.socket(token)?.unacknowledged()
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
        let mut room = [const { MaybeUninit::uninit() }; EVENTS];
        let events = match events::wait(self.epoll.as_fd(), &mut room, may_wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            answer => answer?,
        };
        for event in events {
            match event.u64 {
                WAKER | TIMER => (),
                LISTENER => self.acceptable = true,
                data => note(
                    data,
                    EventFlags::from_bits_retain(event.events),
                    &mut self.places,
                    &mut self.readable,
                    &mut self.writable,
                ),
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
            if !self.unread.is_empty()
                && let Some(count) = take_unread(&mut self.unread, token, buffer)
            {
                place.queued = true;
                self.readable.push_back(token);
                return Some(Happening::Received(token, count));
            }
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
        self.epoll.as_raw_fd()
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

/// Reads what was received of a connection before it was epoll's; None when nothing is left of that.
#[cold]
fn take_unread(
    unread: &mut HashMap<u32, VecDeque<u8>>,
    token: Token,
    into: &mut [u8],
) -> Option<usize> {
    let bytes = unread.get_mut(&token.index)?;
    let mut count = 0;
    while !bytes.is_empty() && count < into.len() {
        count += bytes.read(&mut into[count..]).unwrap_or(0);
    }
    if bytes.is_empty() {
        unread.remove(&token.index);
    }
    Some(count)
}

fn socket(places: &[Place], token: Token) -> Option<&Socket> {
    let place = places.get(token.index as usize);
    let place = place.filter(|place| place.generation == token.generation);
    place.and_then(|place| place.socket.as_ref())
}

/// Notes one connection's event.
fn note(
    data: u64,
    flags: EventFlags,
    places: &mut [Place],
    readable: &mut VecDeque<Token>,
    writable: &mut Vec<Token>,
) {
    let token = token(data);
    let Some(place) = places.get_mut(token.index as usize) else {
        return;
    };
    if place.generation != token.generation || place.socket.is_none() {
        return;
    }
    let ending = flags.intersects(ENDING);
    if flags.contains(EventFlags::IN) || ending {
        place.ending |= ending;
        place.has_bytes = true;
        if !place.queued && !place.paused {
            place.queued = true;
            readable.push_back(token);
        }
    }
    if place.writes_armed && flags.contains(EventFlags::OUT) {
        writable.push(token);
    }
}

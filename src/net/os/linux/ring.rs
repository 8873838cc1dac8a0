//! Sockets by io_uring: the kernel receives into buffers that all connections share, and we copy
//! from them what is asked for.
//!
//! A connection's receiving is one request that lasts. It ends when the kernel has no buffer left,
//! and is asked for anew when some were given back. Of a connection that is paused nothing is left
//! in shared buffers: its request is ended as soon as it brings something, and what it has brought
//! is kept aside. The kernel cannot end the request of a client that floods before it has run out
//! of buffers; such a client is asked for one piece after the other from then on, until its socket
//! is drained.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{self, Batches};
use super::epoll::{Epoll, Heir};
use super::sys::memory;
use super::sys::ring::{self, Completion};
use super::{Listener, Signal, Socket, Waker};
use crate::net::event::{Happening, Token};

/// How many buffers the kernel may receive into, and how large each is.
const BUFFERS: (u16, u32) = (32, 32 * 1024);

/// At most so many completions are waited for together.
const TOGETHER: usize = 64;

/// No piece.
const NONE: u32 = u32::MAX;

/// In [`Place::end`]: the stream goes on, or has ended in order. Else an error number.
const GOES_ON: u16 = 0;
const IN_ORDER: u16 = u16::MAX;

/// What a request is for: the upper bits of its mark. Those of a connection have its token below.
mod kind {
    pub const RECEIVE: u64 = 0;
    pub const WRITE: u64 = 1 << 58;
    pub const WAKE: u64 = 2 << 58;
    pub const LISTEN: u64 = 3 << 58;
    pub const CANCEL: u64 = 4 << 58;
    pub const TIMER: u64 = 5 << 58;
    pub const ALL: u64 = 0b11_1111 << 58;
}

/// A token holds an index of 32 bits and a generation of 26.
fn mark(kind: u64, token: Token) -> u64 {
    kind | u64::from(token.generation) << 32 | u64::from(token.index)
}

fn token(mark: u64) -> Token {
    Token {
        index: mark as u32,
        generation: ((mark & !kind::ALL) >> 32) as u32,
    }
}

/// What the kernel is to be asked for next. Descriptors are looked up only then: until then they
/// may have been closed.
enum Wish {
    Receive(Token),
    Write(Token),
    Wake,
    Timer,
    /// To one of the listeners.
    Listen(u32),
    StopListening(u32),
    StopReceiving(Token),
}

/// The sockets of one loop.
pub struct Ring {
    kernel: ring::Ring,
    wishes: Vec<Wish>,
    waker: Arc<Waker>,
    timer: Arc<Signal>,
    /// None while nobody is to be accepted.
    listener: Option<Arc<Listener>>,
    places: Vec<Place>,
    /// Of each piece: how much of it was read, and the next one of the same connection.
    pieces: Vec<Piece>,
    /// What was received of connections that were paused then.
    kept: HashMap<u32, VecDeque<u8>>,
    /// Connections of which something is to be told, in the order of their visits.
    readable: VecDeque<Token>,
    /// Connections that can be written to again.
    writable: Vec<Token>,
    acceptable: bool,
    /// How much was received since the last wait: about as much will come next.
    arrivals: usize,
}

/// What the ring knows of one connection.
struct Place {
    socket: Option<Socket>,
    generation: u32,
    /// The pieces that were received and not read: a list, by its ends.
    first: u32,
    last: u32,
    end: u16,
    /// Stands in `readable`.
    queued: bool,
    paused: bool,
    /// The kernel is receiving, or will be asked to.
    receiving: bool,
    /// The kernel was asked to end that.
    cancelled: bool,
    /// It sent more while it was paused: it is received from piece by piece.
    floods: bool,
    writes_armed: bool,
    /// Its end was told.
    told: bool,
}

#[derive(Clone, Copy)]
struct Piece {
    read: u32,
    next: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            socket: None,
            generation: 0,
            first: NONE,
            last: NONE,
            end: GOES_ON,
            queued: false,
            paused: false,
            receiving: false,
            cancelled: false,
            floods: false,
            writes_armed: false,
            told: false,
        }
    }
}

impl Ring {
    /// Belongs to the thread that makes it.
    pub fn new(waker: &Arc<Waker>) -> io::Result<Self> {
        Self::with_buffers(waker, BUFFERS)
    }

    pub(super) fn with_buffers(waker: &Arc<Waker>, (count, size): (u16, u32)) -> io::Result<Self> {
        Ok(Self {
            kernel: ring::Ring::new(count, size)?,
            wishes: vec![Wish::Wake, Wish::Timer],
            waker: Arc::clone(waker),
            timer: Arc::new(Signal::timer()?),
            listener: None,
            places: Vec::new(),
            pieces: Vec::new(),
            kept: HashMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
            arrivals: 0,
        })
    }

    /// Hands everything over to epoll, when the kernel takes no requests any more.
    pub fn hand_over(&mut self) -> io::Result<Epoll> {
        let mut epoll = Epoll::new(&self.waker, &self.timer, Batches::Never)?;
        if let Some(listener) = &self.listener {
            epoll.listen(listener)?;
        }
        self.kernel.give_up();
        self.note_all();
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            let Some(socket) = place.socket.take() else {
                continue;
            };
            let token = Token {
                index: index as u32,
                generation: place.generation,
            };
            let (paused, writes_armed) = (place.paused, place.writes_armed);
            self.keep(token);
            let unread = self.kept.remove(&token.index).unwrap_or_default();
            epoll.inherit(Heir {
                socket,
                token,
                unread,
                paused,
                writes_armed,
            });
        }
        epoll.inherit_writable(std::mem::take(&mut self.writable));
        Ok(epoll)
    }

    pub fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        self.listener = Some(Arc::clone(listener));
        self.wishes.extend(self.listeners().map(Wish::Listen));
        Ok(())
    }

    pub fn stop_listening(&mut self, _listener: &Listener) -> io::Result<()> {
        self.acceptable = false;
        self.wishes
            .extend(self.listeners().map(Wish::StopListening));
        self.listener = None;
        Ok(())
    }

    fn listeners(&self) -> impl Iterator<Item = u32> + use<> {
        let count = self
            .listener
            .as_ref()
            .map_or(0, |listener| listener.sockets().len());
        0..count as u32
    }

    pub fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    pub fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        let index = token.index as usize;
        if self.places.len() <= index {
            let missing = index + 1 - self.places.len();
            memory::try_reserve(&mut self.places, missing)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.places.resize_with(index + 1, Place::default);
        }
        self.places[index] = Place {
            socket: Some(socket),
            generation: token.generation,
            receiving: true,
            ..Place::default()
        };
        self.wishes.push(Wish::Receive(token));
        Ok(())
    }

    pub fn remove(&mut self, token: Token) {
        let Some(place) = self.place(token) else {
            return;
        };
        let emptied = Place {
            generation: token.generation,
            ..Place::default()
        };
        // While a request lasts, the kernel holds the socket open; that it is shut down ends them.
        let removed = std::mem::replace(place, emptied);
        self.kept.remove(&token.index);
        let mut piece = removed.first;
        while piece != NONE {
            self.kernel.give_back(piece);
            piece = self.pieces[piece as usize].next;
        }
    }

    pub fn pause(&mut self, token: Token) {
        let Some(place) = self.place(token) else {
            return;
        };
        place.paused = true;
        self.keep(token);
    }

    pub fn resume(&mut self, token: Token) {
        let Some(place) = self.place(token) else {
            return;
        };
        place.paused = false;
        self.go_on(token);
    }

    pub fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        if let Some(place) = self.place(token).filter(|place| !place.writes_armed) {
            place.writes_armed = true;
            self.wishes.push(Wish::Write(token));
        }
        Ok(())
    }

    pub fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.socket(token)?.send(bytes)
    }

    pub fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket(token)?.send_vectored(pieces)
    }

    pub fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        tell: impl FnMut(Token, io::Result<usize>),
    ) {
        if let Err(error) = self.wish() {
            log::error!("io_uring accepts no requests: {error}");
        }
        let Self { kernel, places, .. } = self;
        let socket = |token: Token| {
            let place = places.get(token.index as usize);
            let place = place.filter(|place| place.generation == token.generation);
            place.and_then(|place| place.socket.as_ref())
        };
        batch::send_all(kernel, batch, socket, tell);
        self.note_all();
    }

    pub fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        self.socket(token)?.unacknowledged()
    }

    pub fn shutdown_write(&self, token: Token) -> io::Result<()> {
        self.socket(token)?.shutdown_write()
    }

    pub fn has_work(&self) -> bool {
        !self.readable.is_empty() || !self.writable.is_empty() || self.acceptable
    }

    pub fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        self.wish()?;
        let expected = std::mem::take(&mut self.arrivals) / 2;
        if may_wait && !self.has_work() {
            self.kernel.wait(expected.min(TOGETHER))?;
        } else {
            self.kernel.look()?;
        }
        self.note_all();
        Ok(())
    }

    pub fn readable(&self) -> usize {
        self.readable.len()
    }

    pub fn take_writable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.writable)
    }

    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        while let Some(token) = self.readable.pop_front() {
            let Some(place) = self.place(token) else {
                continue;
            };
            place.queued = false;
            if place.paused {
                continue;
            }
            let count = self.read(token, buffer);
            if count == 0 {
                let place = self.place(token)?;
                if place.end != GOES_ON && !std::mem::replace(&mut place.told, true) {
                    let error = (place.end != IN_ORDER)
                        .then(|| io::Error::from_raw_os_error(place.end.into()));
                    return Some(Happening::Ended(token, error));
                }
                continue;
            }
            self.go_on(token);
            return Some(Happening::Received(token, count));
        }
        None
    }

    pub fn descriptor(&self) -> RawFd {
        self.kernel.as_raw_fd()
    }

    pub fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.timer.arm(after)
    }

    // ---- reading what was received ----

    /// Copies what was received into `into`, the oldest first.
    fn read(&mut self, token: Token, into: &mut [u8]) -> usize {
        let mut count = 0;
        if let Some(kept) = self.kept.get_mut(&token.index) {
            while !kept.is_empty() && count < into.len() {
                count += kept.read(&mut into[count..]).unwrap_or(0);
            }
            if !kept.is_empty() {
                return count;
            }
            self.kept.remove(&token.index);
        }
        while let Some(first) = self.first(token).filter(|_| count < into.len()) {
            let read = &mut self.pieces[first as usize].read;
            let rest = &self.kernel.received(first)[*read as usize..];
            let length = rest.len().min(into.len() - count);
            into[count..count + length].copy_from_slice(&rest[..length]);
            *read += length as u32;
            count += length;
            if length == rest.len() {
                self.take_first(token);
                self.kernel.give_back(first);
            }
        }
        count
    }

    /// Keeps aside what was received, and gives the pieces back.
    fn keep(&mut self, token: Token) {
        while let Some(piece) = self.take_first(token) {
            let read = self.pieces[piece as usize].read as usize;
            let rest = &self.kernel.received(piece)[read..];
            self.kept.entry(token.index).or_default().extend(rest);
            self.kernel.give_back(piece);
        }
    }

    fn first(&self, token: Token) -> Option<u32> {
        let first = self.places.get(token.index as usize)?.first;
        (first != NONE).then_some(first)
    }

    /// Takes the oldest piece out of a connection's list.
    fn take_first(&mut self, token: Token) -> Option<u32> {
        let first = self.first(token)?;
        let place = &mut self.places[token.index as usize];
        place.first = self.pieces[first as usize].next;
        if place.first == NONE {
            place.last = NONE;
        }
        Some(first)
    }

    /// Sees to it that what follows of a connection is told, or received.
    fn go_on(&mut self, token: Token) {
        let has_kept = self.kept.contains_key(&token.index);
        let Some(place) = self.place(token).filter(|place| !place.paused) else {
            return;
        };
        let ended = place.end != GOES_ON;
        let untold = has_kept || place.first != NONE || ended && !place.told;
        let starts = !place.receiving && !ended && !has_kept;
        let queues = untold && !place.queued;
        place.receiving |= starts;
        place.queued |= queues;
        if starts {
            self.wishes.push(Wish::Receive(token));
        }
        if queues {
            self.readable.push_back(token);
        }
    }

    // ---- requests ----

    /// Puts what is wished for before the kernel.
    fn wish(&mut self) -> io::Result<()> {
        let mut wishes = std::mem::take(&mut self.wishes);
        let asked = wishes.drain(..).try_for_each(|wish| self.ask(&wish));
        self.wishes = wishes;
        asked
    }

    fn ask(&mut self, wish: &Wish) -> io::Result<()> {
        let Self {
            kernel,
            places,
            listener,
            waker,
            timer,
            ..
        } = self;
        let place = |token: Token| {
            let place = places.get(token.index as usize);
            let place = place.filter(|place| place.generation == token.generation)?;
            Some((place.socket.as_ref()?, place))
        };
        match *wish {
            Wish::Receive(token) => place(token).map_or(Ok(()), |(socket, place)| {
                let mark = mark(kind::RECEIVE, token);
                match place.floods {
                    true => kernel.receive_once(socket.as_fd(), mark),
                    false => kernel.receive(socket.as_fd(), mark),
                }
            }),
            Wish::Write(token) => place(token).map_or(Ok(()), |(socket, _)| {
                kernel.watch_writability(socket.as_fd(), mark(kind::WRITE, token))
            }),
            Wish::Wake => kernel.watch(waker.as_raw_fd(), kind::WAKE),
            Wish::Timer => kernel.watch(timer.as_raw_fd(), kind::TIMER),
            Wish::Listen(number) => {
                let sockets = listener.as_ref().map(|listener| listener.sockets());
                let socket = sockets.and_then(|mut sockets| sockets.nth(number as usize));
                socket.map_or(Ok(()), |socket| {
                    kernel.watch(socket.as_raw_fd(), kind::LISTEN | u64::from(number))
                })
            }
            Wish::StopListening(number) => {
                kernel.cancel(kind::LISTEN | u64::from(number), ring::SILENT)
            }
            Wish::StopReceiving(token) => {
                kernel.cancel(mark(kind::RECEIVE, token), mark(kind::CANCEL, token))
            }
        }
    }

    fn note_all(&mut self) {
        while let Some(completion) = self.kernel.next() {
            self.note(completion);
        }
    }

    fn note(&mut self, completion: Completion) {
        let token = token(completion.mark);
        match completion.mark & kind::ALL {
            kind::RECEIVE => {
                self.arrivals += 1;
                self.note_received(token, completion);
            }
            kind::WRITE => {
                if let Some(place) = self.place(token) {
                    place.writes_armed = false;
                    self.writable.push(token);
                }
            }
            kind::WAKE if !completion.more => self.wishes.push(Wish::Wake),
            kind::TIMER if !completion.more => self.wishes.push(Wish::Timer),
            kind::LISTEN => {
                self.acceptable |= self.listener.is_some();
                if !completion.more {
                    self.wishes.push(Wish::Listen(token.index));
                }
            }
            kind::CANCEL if completion.result < 0 => self.note_not_cancelled(token),
            _ => (),
        }
    }

    fn note_received(&mut self, token: Token, completion: Completion) {
        let Some(place) = self.place(token) else {
            if let Some(piece) = completion.piece {
                self.kernel.give_back(piece);
            }
            return;
        };
        if !completion.more {
            place.receiving = false;
            place.cancelled = false;
            place.floods &= completion.leaves_some || completion.piece.is_none();
            place.end = match -completion.result {
                0 => IN_ORDER,
                // Something was received, or no buffer was left, or the request was ended by us.
                ..0 | libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => GOES_ON,
                error => error as u16,
            };
        }
        let (is_paused, is_receiving) = (place.paused, place.receiving);
        if is_paused && is_receiving && !place.cancelled {
            place.cancelled = true;
            place.floods = true;
            self.wishes.push(Wish::StopReceiving(token));
        }
        if let Some(piece) = completion.piece {
            self.append(token, piece);
        }
        if is_paused && !is_receiving {
            self.keep(token);
        }
        self.go_on(token);
    }

    /// A request could not be ended, because the kernel is just at it: it is tried again.
    fn note_not_cancelled(&mut self, token: Token) {
        if self.place(token).is_some_and(|place| place.cancelled) {
            self.wishes.push(Wish::StopReceiving(token));
        }
    }

    /// Adds a piece to a connection's list.
    fn append(&mut self, token: Token, piece: u32) {
        let alone = Piece {
            read: 0,
            next: NONE,
        };
        if self.pieces.len() <= piece as usize {
            self.pieces.resize(piece as usize + 1, alone);
        }
        self.pieces[piece as usize] = alone;
        let place = &mut self.places[token.index as usize];
        match place.last {
            NONE => place.first = piece,
            last => self.pieces[last as usize].next = piece,
        }
        place.last = piece;
    }

    fn place(&mut self, token: Token) -> Option<&mut Place> {
        let place = self.places.get_mut(token.index as usize)?;
        (place.generation == token.generation && place.socket.is_some()).then_some(place)
    }

    fn socket(&self, token: Token) -> io::Result<&Socket> {
        let place = self.places.get(token.index as usize);
        place
            .filter(|place| place.generation == token.generation)
            .and_then(|place| place.socket.as_ref())
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

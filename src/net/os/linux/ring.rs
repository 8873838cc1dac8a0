//! Sockets with io_uring: the kernel receives into buffers that all connections share, and [`Sockets::next`]
//! copies from them.
//!
//! Each connection has one multishot request to receive. It ends when the kernel has no buffer left, and is
//! submitted again when some have been returned. A paused connection holds no shared buffer: its request is
//! cancelled as soon as it completes, and what it has received is stored separately. While a peer floods, the
//! kernel cannot cancel the request before it runs out of buffers. From then on, such a connection receives
//! with single requests until its socket is drained.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use super::Descriptor;
use super::batch::{self, Batches};
use super::epoll::{EpollSockets, HandedOver};
use super::listener::Listener;
use super::signal::Signal;
use super::socket::Socket;
use super::sys::memory;
use super::sys::ring::{self, Completion};
use super::waker::Waker;
use crate::net::address::Peer;
use crate::net::event::{IoEvent, Token};
use crate::net::sockets::Sockets;

/// Number and size of the buffers into which the kernel receives.
const BUFFERS: (u16, u32) = (32, 32 * 1024);

/// Maximum number of completions for which one wait gathers.
const MAX_GATHERED: usize = 64;

/// The index that stands for no piece.
const NO_PIECE: u32 = u32::MAX;

/// In [`Connection::end`], beside error numbers: the stream has not ended, or has ended without an error.
const NOT_ENDED: u16 = 0;
const ENDED_IN_ORDER: u16 = u16::MAX;

/// Kinds of requests: the upper bits of the user data. The lower bits are the connection's token, if any.
mod kind {
    pub(crate) const RECEIVE: u64 = 0;
    pub(crate) const WRITE: u64 = 1 << 58;
    pub(crate) const WAKE: u64 = 2 << 58;
    pub(crate) const LISTEN: u64 = 3 << 58;
    pub(crate) const CANCEL: u64 = 4 << 58;
    pub(crate) const TIMER: u64 = 5 << 58;
    pub(crate) const ALL: u64 = 0b11_1111 << 58;
}

/// A token holds an index of 32 bits and a generation of 26.
fn user_data(kind: u64, token: Token) -> u64 {
    kind | u64::from(token.generation) << 32 | u64::from(token.index)
}

fn token(user_data: u64) -> Token {
    Token {
        index: user_data as u32,
        generation: ((user_data & !kind::ALL) >> 32) as u32,
    }
}

/// A request to submit. Its descriptor is looked up at submission, because it may be closed before.
enum Request {
    Receive(Token),
    Write(Token),
    Wake,
    Timer,
    /// The index of the listening socket.
    Listen(u32),
    StopListening(u32),
    StopReceiving(Token),
}

/// The sockets of one loop.
pub(crate) struct RingSockets {
    kernel: ring::Ring,
    requests: Vec<Request>,
    waker: Arc<Waker>,
    timer: Arc<Signal>,
    /// None while not listening.
    listener: Option<Arc<Listener>>,
    /// By the tokens' indices.
    connections: Vec<Connection>,
    /// By the numbers of received pieces.
    links: Vec<Link>,
    /// Data that paused connections had received, by their indices.
    set_aside: HashMap<u32, VecDeque<u8>>,
    /// Connections with something to report, in the order of their visits.
    readable: VecDeque<Token>,
    /// Connections that can be written to again.
    writable: Vec<Token>,
    acceptable: bool,
    /// Receive completions since the last wait; about as many are expected for the next.
    arrivals: usize,
}

struct Connection {
    socket: Option<Socket>,
    generation: u32,
    /// The ends of the list of pieces that were received and not read.
    first: u32,
    last: u32,
    end: u16,
    /// It is in `readable`.
    queued: bool,
    paused: bool,
    /// A receive request is submitted or pending.
    receiving: bool,
    /// The receive request is being cancelled.
    cancelled: bool,
    /// It received more while it was paused, and receives with single requests.
    receives_once: bool,
    writes_armed: bool,
    end_reported: bool,
}

/// One received piece in a connection's list.
#[derive(Clone, Copy)]
struct Link {
    /// How many of its bytes were read.
    read: u32,
    next: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            socket: None,
            generation: 0,
            first: NO_PIECE,
            last: NO_PIECE,
            end: NOT_ENDED,
            queued: false,
            paused: false,
            receiving: false,
            cancelled: false,
            receives_once: false,
            writes_armed: false,
            end_reported: false,
        }
    }
}

impl RingSockets {
    /// Creates the sockets, which are bound to the calling thread.
    pub(crate) fn new(waker: &Arc<Waker>) -> io::Result<Self> {
        Self::with_buffers(waker, BUFFERS)
    }

    pub(crate) fn with_buffers(waker: &Arc<Waker>, (count, size): (u16, u32)) -> io::Result<Self> {
        Ok(Self {
            kernel: ring::Ring::new(count, size)?,
            requests: vec![Request::Wake, Request::Timer],
            waker: Arc::clone(waker),
            timer: Arc::new(Signal::timer()?),
            listener: None,
            connections: Vec::new(),
            links: Vec::new(),
            set_aside: HashMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
            arrivals: 0,
        })
    }

    /// Converts everything to epoll, when the kernel no longer accepts requests.
    pub(crate) fn hand_over(&mut self) -> io::Result<EpollSockets> {
        let mut epoll = EpollSockets::new(&self.waker, &self.timer, Batches::Never)?;
        if let Some(listener) = &self.listener {
            epoll.listen(listener)?;
        }
        self.kernel.give_up();
        self.note_all();
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let Some(socket) = connection.socket.take() else {
                continue;
            };
            let token = Token {
                index: index as u32,
                generation: connection.generation,
            };
            let (paused, writes_armed) = (connection.paused, connection.writes_armed);
            self.put_aside(token);
            let unread = self.set_aside.remove(&token.index).unwrap_or_default();
            epoll.take_over(HandedOver {
                socket,
                token,
                unread,
                paused,
                writes_armed,
            });
        }
        epoll.take_over_writable(std::mem::take(&mut self.writable));
        Ok(epoll)
    }

    /// Returns the indices of the listening sockets.
    fn listeners(&self) -> impl Iterator<Item = u32> + use<> {
        let count = self
            .listener
            .as_ref()
            .map_or(0, |listener| listener.sockets().len());
        0..count as u32
    }

    // ---- reading what was received ----

    /// Copies received bytes into `into`, the oldest first. Returns how many.
    fn read(&mut self, token: Token, into: &mut [u8]) -> usize {
        let mut count = 0;
        if let Some(set_aside) = self.set_aside.get_mut(&token.index) {
            while !set_aside.is_empty() && count < into.len() {
                count += set_aside.read(&mut into[count..]).unwrap_or(0);
            }
            if !set_aside.is_empty() {
                return count;
            }
            self.set_aside.remove(&token.index);
        }
        while let Some(first) = self.first(token).filter(|_| count < into.len()) {
            let read = &mut self.links[first as usize].read;
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

    /// Copies received bytes out of the shared buffers, which are returned to the kernel.
    fn put_aside(&mut self, token: Token) {
        while let Some(piece) = self.take_first(token) {
            let read = self.links[piece as usize].read as usize;
            let rest = &self.kernel.received(piece)[read..];
            self.set_aside.entry(token.index).or_default().extend(rest);
            self.kernel.give_back(piece);
        }
    }

    fn first(&self, token: Token) -> Option<u32> {
        let first = self.connections.get(token.index as usize)?.first;
        (first != NO_PIECE).then_some(first)
    }

    /// Removes the oldest piece from a connection's list.
    fn take_first(&mut self, token: Token) -> Option<u32> {
        let first = self.first(token)?;
        let connection = &mut self.connections[token.index as usize];
        connection.first = self.links[first as usize].next;
        if connection.first == NO_PIECE {
            connection.last = NO_PIECE;
        }
        Some(first)
    }

    /// Queues a connection that has something to report, and requests more data if none is stored.
    fn continue_reading(&mut self, token: Token) {
        let has_set_aside = self.set_aside.contains_key(&token.index);
        let Some(connection) = self
            .connection(token)
            .filter(|connection| !connection.paused)
        else {
            return;
        };
        let ended = connection.end != NOT_ENDED;
        let unreported =
            has_set_aside || connection.first != NO_PIECE || ended && !connection.end_reported;
        let starts = !connection.receiving && !ended && !has_set_aside;
        let queues = unreported && !connection.queued;
        connection.receiving |= starts;
        connection.queued |= queues;
        if starts {
            self.requests.push(Request::Receive(token));
        }
        if queues {
            self.readable.push_back(token);
        }
    }

    // ---- requests ----

    /// Submits the pending requests.
    fn submit(&mut self) -> io::Result<()> {
        let mut requests = std::mem::take(&mut self.requests);
        let submitted = requests
            .drain(..)
            .try_for_each(|request| self.submit_one(&request));
        self.requests = requests;
        submitted
    }

    fn submit_one(&mut self, request: &Request) -> io::Result<()> {
        let Self {
            kernel,
            connections,
            listener,
            waker,
            timer,
            ..
        } = self;
        let connection = |token: Token| {
            let connection = connections.get(token.index as usize);
            let connection =
                connection.filter(|connection| connection.generation == token.generation)?;
            Some((connection.socket.as_ref()?, connection))
        };
        match *request {
            Request::Receive(token) => connection(token).map_or(Ok(()), |(socket, connection)| {
                let user_data = user_data(kind::RECEIVE, token);
                match connection.receives_once {
                    true => kernel.receive_once(socket.as_fd(), user_data),
                    false => kernel.receive(socket.as_fd(), user_data),
                }
            }),
            Request::Write(token) => connection(token).map_or(Ok(()), |(socket, _)| {
                kernel.watch_writability(socket.as_fd(), user_data(kind::WRITE, token))
            }),
            Request::Wake => kernel.watch(waker.descriptor(), kind::WAKE),
            Request::Timer => kernel.watch(timer.descriptor(), kind::TIMER),
            Request::Listen(number) => {
                let sockets = listener.as_ref().map(|listener| listener.sockets());
                let socket = sockets.and_then(|mut sockets| sockets.nth(number as usize));
                socket.map_or(Ok(()), |socket| {
                    kernel.watch(socket.as_raw_fd(), kind::LISTEN | u64::from(number))
                })
            }
            Request::StopListening(number) => {
                kernel.cancel(kind::LISTEN | u64::from(number), ring::IGNORED)
            }
            Request::StopReceiving(token) => kernel.cancel(
                user_data(kind::RECEIVE, token),
                user_data(kind::CANCEL, token),
            ),
        }
    }

    fn note_all(&mut self) {
        while let Some(completion) = self.kernel.next() {
            self.note(completion);
        }
    }

    fn note(&mut self, completion: Completion) {
        let token = token(completion.user_data);
        match completion.user_data & kind::ALL {
            kind::RECEIVE => {
                self.arrivals += 1;
                self.note_received(token, completion);
            }
            kind::WRITE => {
                if let Some(connection) = self.connection(token) {
                    connection.writes_armed = false;
                    self.writable.push(token);
                }
            }
            kind::WAKE if !completion.more => self.requests.push(Request::Wake),
            kind::TIMER if !completion.more => self.requests.push(Request::Timer),
            kind::LISTEN => {
                self.acceptable |= self.listener.is_some();
                if !completion.more {
                    self.requests.push(Request::Listen(token.index));
                }
            }
            kind::CANCEL if completion.result < 0 => self.note_not_cancelled(token),
            _ => (),
        }
    }

    fn note_received(&mut self, token: Token, completion: Completion) {
        let Some(connection) = self.connection(token) else {
            if let Some(piece) = completion.piece {
                self.kernel.give_back(piece);
            }
            return;
        };
        if !completion.more {
            connection.receiving = false;
            connection.cancelled = false;
            connection.receives_once &= completion.leaves_some || completion.piece.is_none();
            connection.end = match -completion.result {
                0 => ENDED_IN_ORDER,
                // Something was received, no buffer was left, or we cancelled the request.
                ..0 | libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => NOT_ENDED,
                error => error as u16,
            };
        }
        let (is_paused, is_receiving) = (connection.paused, connection.receiving);
        if is_paused && is_receiving && !connection.cancelled {
            connection.cancelled = true;
            connection.receives_once = true;
            self.requests.push(Request::StopReceiving(token));
        }
        if let Some(piece) = completion.piece {
            self.append(token, piece);
        }
        if is_paused && !is_receiving {
            self.put_aside(token);
        }
        self.continue_reading(token);
    }

    /// A request was not cancelled, because the kernel was executing it: tries again.
    fn note_not_cancelled(&mut self, token: Token) {
        if self
            .connection(token)
            .is_some_and(|connection| connection.cancelled)
        {
            self.requests.push(Request::StopReceiving(token));
        }
    }

    /// Appends a piece to a connection's list.
    fn append(&mut self, token: Token, piece: u32) {
        let alone = Link {
            read: 0,
            next: NO_PIECE,
        };
        if self.links.len() <= piece as usize {
            self.links.resize(piece as usize + 1, alone);
        }
        self.links[piece as usize] = alone;
        let connection = &mut self.connections[token.index as usize];
        match connection.last {
            NO_PIECE => connection.first = piece,
            last => self.links[last as usize].next = piece,
        }
        connection.last = piece;
    }

    fn connection(&mut self, token: Token) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(token.index as usize)?;
        (connection.generation == token.generation && connection.socket.is_some())
            .then_some(connection)
    }

    fn socket(&self, token: Token) -> io::Result<&Socket> {
        let connection = self.connections.get(token.index as usize);
        connection
            .filter(|connection| connection.generation == token.generation)
            .and_then(|connection| connection.socket.as_ref())
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Sockets for RingSockets {
    type Socket = Socket;
    type Listener = Arc<Listener>;
    type Descriptor = Descriptor;

    fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        self.listener = Some(Arc::clone(listener));
        self.requests.extend(self.listeners().map(Request::Listen));
        Ok(())
    }

    fn stop_listening(&mut self, _listener: &Arc<Listener>) -> io::Result<()> {
        self.acceptable = false;
        self.requests
            .extend(self.listeners().map(Request::StopListening));
        self.listener = None;
        Ok(())
    }

    fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        let index = token.index as usize;
        if self.connections.len() <= index {
            let missing = index + 1 - self.connections.len();
            memory::try_reserve(&mut self.connections, missing)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.connections.resize_with(index + 1, Connection::default);
        }
        self.connections[index] = Connection {
            socket: Some(socket),
            generation: token.generation,
            receiving: true,
            ..Connection::default()
        };
        self.requests.push(Request::Receive(token));
        Ok(())
    }

    fn peer(&self, token: Token) -> io::Result<Peer> {
        self.socket(token)?.peer()
    }

    fn remove(&mut self, token: Token) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        let emptied = Connection {
            generation: token.generation,
            ..Connection::default()
        };
        // The kernel holds the socket open during a request. Dropping it shuts it down, which ends the
        // requests.
        let removed = std::mem::replace(connection, emptied);
        self.set_aside.remove(&token.index);
        let mut piece = removed.first;
        while piece != NO_PIECE {
            self.kernel.give_back(piece);
            piece = self.links[piece as usize].next;
        }
    }

    fn pause(&mut self, token: Token) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.paused = true;
        self.put_aside(token);
    }

    fn resume(&mut self, token: Token) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.paused = false;
        self.continue_reading(token);
    }

    fn readable(&self) -> usize {
        self.readable.len()
    }

    fn next(&mut self, buffer: &mut [u8]) -> Option<IoEvent> {
        while let Some(token) = self.readable.pop_front() {
            let Some(connection) = self.connection(token) else {
                continue;
            };
            connection.queued = false;
            if connection.paused {
                continue;
            }
            let count = self.read(token, buffer);
            if count == 0 {
                let connection = self.connection(token)?;
                if connection.end != NOT_ENDED
                    && !std::mem::replace(&mut connection.end_reported, true)
                {
                    let error = (connection.end != ENDED_IN_ORDER)
                        .then(|| io::Error::from_raw_os_error(connection.end.into()));
                    return Some(IoEvent::Ended(token, error));
                }
                continue;
            }
            self.continue_reading(token);
            return Some(IoEvent::Received(token, count));
        }
        None
    }

    fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.socket(token)?.send(bytes)
    }

    fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket(token)?.send_vectored(pieces)
    }

    fn sends_together(&self, sends: usize) -> bool {
        sends > 1
    }

    fn send_all(&mut self, batch: &[(Token, &[u8])], report: impl FnMut(Token, io::Result<usize>)) {
        if let Err(error) = self.submit() {
            log::error!("io_uring accepts no requests: {error}");
        }
        let Self {
            kernel,
            connections,
            ..
        } = self;
        let socket = |token: Token| {
            let connection = connections.get(token.index as usize);
            let connection =
                connection.filter(|connection| connection.generation == token.generation);
            connection.and_then(|connection| connection.socket.as_ref())
        };
        batch::send_all(kernel, batch, socket, report);
        self.note_all();
    }

    fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        if let Some(connection) = self
            .connection(token)
            .filter(|connection| !connection.writes_armed)
        {
            connection.writes_armed = true;
            self.requests.push(Request::Write(token));
        }
        Ok(())
    }

    fn take_writable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.writable)
    }

    fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        self.socket(token)?.unacknowledged()
    }

    fn shutdown_write(&self, token: Token) -> io::Result<()> {
        self.socket(token)?.shutdown_write()
    }

    fn has_work(&self) -> bool {
        !self.readable.is_empty() || !self.writable.is_empty() || self.acceptable
    }

    fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        self.submit()?;
        let expected = std::mem::take(&mut self.arrivals) / 2;
        if may_wait && !self.has_work() {
            self.kernel.wait(expected.min(MAX_GATHERED))?;
        } else {
            self.kernel.poll()?;
        }
        self.note_all();
        Ok(())
    }

    fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.timer.arm(after)
    }

    fn descriptor(&self) -> Descriptor {
        self.kernel.as_raw_fd()
    }
}

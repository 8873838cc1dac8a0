//! Sockets with epoll: readiness, and reads.
//!
//! Events are edge-triggered. A socket that may hold more data stays in a queue and is visited once per turn,
//! so that no connection starves the others.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::Descriptor;
use super::batch::{self, Batches};
use super::listener::Listener;
use super::signal::Signal;
use super::socket::Socket;
use super::sys::{epoll_wait, memory};
use super::waker::Waker;
use crate::net::address::Peer;
use crate::net::event::{IoEvent, Token};
use crate::net::sockets::Sockets;

/// Maximum number of events that one system call reports.
const MAX_EVENTS: usize = 256;

/// The data of events that do not belong to a connection.
const WAKER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const LISTENER: u64 = u64::MAX - 2;

/// The readiness that is requested for a connection: data or its end has arrived.
const READABLE: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// Flags that announce the end of a connection.
const ENDING: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// The data of a connection's events.
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
pub(crate) struct EpollSockets {
    epoll: OwnedFd,
    batches: Batches,
    waker: Arc<Waker>,
    timer: Arc<Signal>,
    listener: Option<Arc<Listener>>,
    /// By the tokens' indices.
    connections: Vec<Connection>,
    /// Data that io_uring had received before it failed, and that has not been read.
    unread: HashMap<u32, VecDeque<u8>>,
    /// Connections that may hold data, in the order of their visits.
    readable: VecDeque<Token>,
    /// Connections that can be written to again.
    writable: Vec<Token>,
    acceptable: bool,
}

#[derive(Default)]
struct Connection {
    socket: Option<Socket>,
    generation: u32,
    /// It is in `readable`.
    queued: bool,
    /// It may hold data; while paused it is not in `readable`.
    has_bytes: bool,
    /// No further edge will be reported: it is read until its end or an error.
    ending: bool,
    paused: bool,
    /// It is registered for writability, too.
    writes_armed: bool,
}

/// A connection that io_uring cannot serve any longer.
pub(crate) struct HandedOver {
    pub socket: Socket,
    pub token: Token,
    /// Received data that has not been read.
    pub unread: VecDeque<u8>,
    pub paused: bool,
    pub writes_armed: bool,
}

impl EpollSockets {
    pub(crate) fn new(
        waker: &Arc<Waker>,
        timer: &Arc<Signal>,
        batches: Batches,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Each edge is an event, so the counters of the waker and the timer need not be read.
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, waker, EventData::new_u64(WAKER), edges)?;
        epoll::add(&epoll, timer, EventData::new_u64(TIMER), edges)?;
        Ok(Self {
            epoll,
            batches,
            waker: Arc::clone(waker),
            timer: Arc::clone(timer),
            listener: None,
            connections: Vec::new(),
            unread: HashMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
        })
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    pub(crate) fn listener(&self) -> Option<&Arc<Listener>> {
        self.listener.as_ref()
    }

    /// Takes over a connection from io_uring. One that cannot be polled is reported as ended.
    pub(crate) fn take_over(&mut self, connection: HandedOver) {
        let HandedOver {
            socket,
            token,
            unread,
            paused,
            writes_armed,
        } = connection;
        let flags = match writes_armed {
            true => READABLE | EventFlags::OUT,
            false => READABLE,
        };
        let added = epoll::add(&self.epoll, &socket, data(token), flags);
        if let Err(error) = added {
            log::warn!("peer {}: cannot poll its socket: {error}", name(&socket));
            socket.shutdown();
        }
        let readable = added.is_err() || !unread.is_empty();
        let connection = self.insert(socket, token);
        connection.paused = paused;
        connection.writes_armed = writes_armed;
        connection.has_bytes = readable;
        connection.queued = readable && !paused;
        if connection.queued {
            self.readable.push_back(token);
        }
        if !unread.is_empty() {
            self.unread.insert(token.index, unread);
        }
    }

    /// Takes over the list of connections that can be written to again.
    pub(crate) fn take_over_writable(&mut self, writable: Vec<Token>) {
        self.writable = writable;
    }

    fn insert(&mut self, socket: Socket, token: Token) -> &mut Connection {
        let index = token.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, Connection::default);
        }
        let connection = &mut self.connections[index];
        *connection = Connection {
            socket: Some(socket),
            generation: token.generation,
            ..Connection::default()
        };
        connection
    }

    fn connection(&mut self, token: Token) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(token.index as usize)?;
        (connection.generation == token.generation && connection.socket.is_some())
            .then_some(connection)
    }

    fn socket(&self, token: Token) -> io::Result<&Socket> {
        socket(&self.connections, token).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Sockets for EpollSockets {
    type Socket = Socket;
    type Listener = Arc<Listener>;
    type Descriptor = Descriptor;

    fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        let edges = EventFlags::IN | EventFlags::ET;
        for socket in listener.sockets() {
            epoll::add(&self.epoll, socket, EventData::new_u64(LISTENER), edges)?;
        }
        self.listener = Some(Arc::clone(listener));
        Ok(())
    }

    fn stop_listening(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        self.acceptable = false;
        self.listener = None;
        for socket in listener.sockets() {
            epoll::delete(&self.epoll, socket)?;
        }
        Ok(())
    }

    fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        let missing = (token.index as usize + 1).saturating_sub(self.connections.len());
        memory::try_reserve(&mut self.connections, missing)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        epoll::add(&self.epoll, &socket, data(token), READABLE)?;
        self.insert(socket, token);
        Ok(())
    }

    fn peer(&self, token: Token) -> io::Result<Peer> {
        self.socket(token)?.peer()
    }

    fn remove(&mut self, token: Token) {
        if !self.unread.is_empty() && self.connection(token).is_some() {
            self.unread.remove(&token.index);
        }
        if let Some(connection) = self.connection(token) {
            *connection = Connection {
                generation: token.generation,
                ..Connection::default()
            };
        }
    }

    fn pause(&mut self, token: Token) {
        if let Some(connection) = self.connection(token) {
            connection.paused = true;
        }
    }

    fn resume(&mut self, token: Token) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.paused = false;
        if connection.has_bytes && !connection.queued {
            connection.queued = true;
            self.readable.push_back(token);
        }
    }

    fn readable(&self) -> usize {
        self.readable.len()
    }

    fn next(&mut self, buffer: &mut [u8]) -> Option<IoEvent> {
        while let Some(token) = self.readable.pop_front() {
            let Some(connection) = self.connections.get_mut(token.index as usize) else {
                continue;
            };
            if connection.generation != token.generation {
                continue;
            }
            connection.queued = false;
            let Some(socket) = connection.socket.as_ref().filter(|_| !connection.paused) else {
                continue;
            };
            if !self.unread.is_empty()
                && let Some(count) = take_unread(&mut self.unread, token, buffer)
            {
                connection.queued = true;
                self.readable.push_back(token);
                return Some(IoEvent::Received(token, count));
            }
            match socket.receive(buffer) {
                Ok(0) => return Some(IoEvent::Ended(token, None)),
                Ok(count) => {
                    // A short read: the socket is drained, and new data causes an edge.
                    connection.has_bytes = count == buffer.len() || connection.ending;
                    if connection.has_bytes {
                        connection.queued = true;
                        self.readable.push_back(token);
                    }
                    return Some(IoEvent::Received(token, count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.has_bytes = false;
                }
                Err(error) => return Some(IoEvent::Ended(token, Some(error))),
            }
        }
        None
    }

    #[inline]
    fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.socket(token)?.send(bytes)
    }

    #[inline]
    fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket(token)?.send_vectored(pieces)
    }

    #[inline]
    fn sends_together(&self, sends: usize) -> bool {
        self.batches.pay_for(sends)
    }

    fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        mut report: impl FnMut(Token, io::Result<usize>),
    ) {
        let Self {
            batches,
            connections,
            ..
        } = self;
        match batches.ring() {
            Some(ring) => batch::send_all(ring, batch, |token| socket(connections, token), report),
            None => batch
                .iter()
                .for_each(|(token, bytes)| report(*token, self.send(*token, bytes))),
        }
    }

    fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(token.index as usize) else {
            return Ok(());
        };
        let is_unarmed = connection.generation == token.generation && !connection.writes_armed;
        let Some(socket) = connection.socket.as_ref().filter(|_| is_unarmed) else {
            // After a short write, writability causes a new edge without a further call.
            return Ok(());
        };
        let both = READABLE | EventFlags::OUT;
        epoll::modify(&self.epoll, socket, data(token), both)?;
        connection.writes_armed = true;
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
        let mut room = [const { MaybeUninit::uninit() }; MAX_EVENTS];
        let events = match epoll_wait::wait(self.epoll.as_fd(), &mut room, may_wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        for event in events {
            match event.u64 {
                WAKER | TIMER => (),
                LISTENER => self.acceptable = true,
                data => note(
                    data,
                    EventFlags::from_bits_retain(event.events),
                    &mut self.connections,
                    &mut self.readable,
                    &mut self.writable,
                ),
            }
        }
        Ok(())
    }

    fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.timer.arm(after)
    }

    fn descriptor(&self) -> Descriptor {
        self.epoll.as_raw_fd()
    }
}

/// Reads data that io_uring had received for a connection. Returns None when none is left.
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

fn socket(connections: &[Connection], token: Token) -> Option<&Socket> {
    let connection = connections.get(token.index as usize);
    let connection = connection.filter(|connection| connection.generation == token.generation);
    connection.and_then(|connection| connection.socket.as_ref())
}

/// Returns the peer as the log names it; a connection's id is not known here.
fn name(socket: &Socket) -> String {
    let peer = socket.peer();
    peer.map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string())
}

/// Records one connection's event.
fn note(
    data: u64,
    flags: EventFlags,
    connections: &mut [Connection],
    readable: &mut VecDeque<Token>,
    writable: &mut Vec<Token>,
) {
    let token = token(data);
    let Some(connection) = connections.get_mut(token.index as usize) else {
        return;
    };
    if connection.generation != token.generation || connection.socket.is_none() {
        return;
    }
    let ending = flags.intersects(ENDING);
    if flags.contains(EventFlags::IN) || ending {
        connection.ending |= ending;
        connection.has_bytes = true;
        if !connection.queued && !connection.paused {
            connection.queued = true;
            readable.push_back(token);
        }
    }
    if connection.writes_armed && flags.contains(EventFlags::OUT) {
        writable.push(token);
    }
}

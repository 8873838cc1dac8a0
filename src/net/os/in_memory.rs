//! Sockets in memory, for tests: a pair of byte queues for each connection, whose other end a test drives. No
//! call waits, and no clock is read: time passes when a test says so, the timer is noted, and
//! [`Network::timer`] returns it.
//!
//! These sockets report no more than [`Sockets`] guarantees: writability once for each request, the end of a
//! stream once, arrivals at a listener once.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Descriptor, Waker};
use crate::net::address::Peer;
use crate::net::event::{IoEvent, Token};
use crate::net::sockets::Sockets;

/// A network with one listener. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    now: Instant,
    /// Connections that have not been accepted.
    backlog: VecDeque<InMemorySocket>,
    /// One has arrived since the last wait.
    arrived: bool,
    connected: u16,
    has_descriptors: bool,
    /// How many of the next calls fail, by what they do.
    failing: Failing,
    /// When the timer goes off.
    timer: Option<Instant>,
    idle_waits: usize,
}

/// How many calls fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failing {
    pub waits: usize,
    pub timers: usize,
    pub adds: usize,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            // Any time will do: it does not pass.
            now: Instant::now(),
            backlog: VecDeque::new(),
            arrived: false,
            connected: 0,
            has_descriptors: true,
            failing: Failing::default(),
            timer: None,
            idle_waits: 0,
        })))
    }

    /// Returns what accepts this network's connections.
    pub(crate) fn listener(&self) -> InMemoryListener {
        InMemoryListener(self.clone())
    }

    /// Connects to the listener. Returns the other end, which has a port of its own.
    pub(crate) fn connect(&self) -> RemoteEnd {
        let mut state = self.state();
        state.connected += 1;
        let wire = Arc::new(Mutex::new(Wire {
            port: state.connected,
            ..Wire::default()
        }));
        let socket = InMemorySocket(Arc::clone(&wire));
        state.backlog.push_back(socket);
        state.arrived = true;
        RemoteEnd(wire)
    }

    /// Whether the process has descriptors left. Without any, accepting fails and connections stay waiting.
    pub(crate) fn set_has_descriptors(&self, has_descriptors: bool) {
        self.state().has_descriptors = has_descriptors;
    }

    /// Lets some of the next calls fail.
    pub(crate) fn fail(&self, failing: Failing) {
        self.state().failing = failing;
    }

    /// Returns how long it is until the timer goes off that was set last.
    pub(crate) fn timer(&self) -> Option<Duration> {
        let state = self.state();
        Some(state.timer?.saturating_duration_since(state.now))
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.state().now += time;
    }

    /// Returns the number of waits that would have blocked: they were permitted to, and no event was pending.
    pub(crate) fn idle_waits(&self) -> usize {
        self.state().idle_waits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test has panicked in here")
    }
}

/// Fails, if that is still due.
fn fail_once(failing: &mut usize) -> io::Result<()> {
    match failing.checked_sub(1) {
        None => Ok(()),
        Some(left) => {
            *failing = left;
            Err(Errno::NOMEM.into())
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// The scripted result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Accepts at most so many bytes, at least one.
    Accept(usize),
    /// Fails; nothing is accepted.
    Fail(io::ErrorKind),
}

/// Two queues of bytes.
#[derive(Default)]
struct Wire {
    /// The remote end's.
    port: u16,
    /// From the remote end, as it was sent: a read takes from one piece only.
    arrived: VecDeque<Vec<u8>>,
    /// The remote end sends nothing more; with an error, if it has reset the connection.
    end: Option<Option<io::ErrorKind>>,
    /// The remote end does not read any more.
    remote_gone: bool,
    /// To the remote end.
    sent: Vec<u8>,
    /// Maximum number of bytes in `sent`; None: no limit.
    send_buffer: Option<usize>,
    /// The results of the next writes.
    script: VecDeque<Write>,
    /// Sent data is not acknowledged automatically.
    holds_acknowledgements: bool,
    unacknowledged: usize,
    /// Nothing more is written at the near end.
    write_closed: bool,
    closed: bool,
}

impl Wire {
    fn peer(&self) -> Peer {
        Peer::Inet(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port))
    }

    fn room(&self) -> usize {
        self.send_buffer
            .map_or(usize::MAX, |most| most.saturating_sub(self.sent.len()))
    }

    /// Whether a write fails.
    fn is_broken(&self) -> bool {
        self.remote_gone || self.end.flatten().is_some()
    }

    fn has_input(&self) -> bool {
        !self.arrived.is_empty()
    }

    fn write<'b>(&mut self, pieces: impl Iterator<Item = &'b [u8]>) -> io::Result<usize> {
        if let Some(Some(reset)) = self.end {
            return Err(reset.into());
        }
        if self.write_closed || self.remote_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = match self.script.pop_front() {
            Some(Write::Fail(kind)) => return Err(kind.into()),
            Some(Write::Accept(most)) => most,
            None => usize::MAX,
        };
        let before = self.sent.len();
        let mut room = self.room().min(most);
        let mut is_empty = true;
        for piece in pieces {
            is_empty &= piece.is_empty();
            let count = piece.len().min(room);
            self.sent.extend_from_slice(&piece[..count]);
            room -= count;
        }
        let count = self.sent.len() - before;
        if count == 0 && !is_empty {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.holds_acknowledgements {
            self.unacknowledged += count;
        }
        Ok(count)
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let Some(piece) = self.arrived.front_mut() else {
            return 0;
        };
        let count = piece.len().min(into.len());
        into[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.arrived.pop_front();
        }
        count
    }
}

/// The end of a connection that a test drives. When it is dropped, the connection ends: with a reset if it
/// has unread data, as with a system's socket.
pub(crate) struct RemoteEnd(Arc<Mutex<Wire>>);

impl RemoteEnd {
    /// Sends a piece, which is not read together with others.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.wire().arrived.push_back(bytes.to_vec());
        }
    }

    /// Receives what has been sent so far, and so makes room for more.
    pub(crate) fn receive(&self) -> Vec<u8> {
        std::mem::take(&mut self.wire().sent)
    }

    /// Sends nothing more; it still receives.
    pub(crate) fn shutdown_write(&self) {
        self.wire().end.get_or_insert(None);
    }

    /// Resets the connection. What it has sent can still be read.
    pub(crate) fn reset(&self) {
        self.wire().end = Some(Some(io::ErrorKind::ConnectionReset));
    }

    /// Whether the near end will send nothing more.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.wire().write_closed
    }

    /// Whether the near end has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.wire().closed
    }

    /// Sets the maximum number of bytes in transit.
    pub(crate) fn set_send_buffer(&self, most: usize) {
        self.wire().send_buffer = Some(most);
    }

    /// Sets the results of the next writes, in order.
    pub(crate) fn script_writes(&self, writes: impl IntoIterator<Item = Write>) {
        self.wire().script.extend(writes);
    }

    /// Stops acknowledging automatically.
    pub(crate) fn hold_acknowledgements(&self) {
        self.wire().holds_acknowledgements = true;
    }

    /// Acknowledges some of what was sent.
    pub(crate) fn acknowledge(&self, count: usize) {
        self.wire().unacknowledged -= count;
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.0)
    }
}

impl Drop for RemoteEnd {
    fn drop(&mut self) {
        let mut wire = self.wire();
        let reset = !wire.sent.is_empty();
        wire.remote_gone = true;
        wire.end
            .get_or_insert(reset.then_some(io::ErrorKind::ConnectionReset));
    }
}

/// The near end of a connection. It is closed when it is dropped.
pub(crate) struct InMemorySocket(Arc<Mutex<Wire>>);

impl InMemorySocket {
    pub(crate) fn leave_with(self, message: &[u8]) {
        // As with a system's socket, a peer that does not accept it has disconnected.
        let _ = self.wire().write([message].into_iter());
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.0)
    }
}

impl fmt::Debug for InMemorySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemorySocket")
    }
}

impl Drop for InMemorySocket {
    fn drop(&mut self) {
        let mut wire = self.wire();
        wire.write_closed = true;
        wire.closed = true;
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().expect("no test has panicked in here")
}

/// Accepts a network's connections.
#[derive(Clone, Debug)]
pub(crate) struct InMemoryListener(Network);

impl InMemoryListener {
    pub(crate) fn accept(&self) -> io::Result<(InMemorySocket, Peer)> {
        let mut state = self.0.state();
        if !state.has_descriptors && !state.backlog.is_empty() {
            return Err(Errno::MFILE.into());
        }
        let socket = state.backlog.pop_front();
        let socket = socket.ok_or(io::ErrorKind::WouldBlock)?;
        let peer = socket.wire().peer();
        Ok((socket, peer))
    }
}

/// The sockets of one loop.
pub(crate) struct InMemorySockets {
    network: Network,
    waker: Arc<Waker>,
    listens: bool,
    connections: Vec<Connection>,
    readable: VecDeque<Token>,
    writable: Vec<Token>,
    acceptable: bool,
}

#[derive(Default)]
struct Connection {
    socket: Option<InMemorySocket>,
    generation: u32,
    queued: bool,
    paused: bool,
    writes_armed: bool,
    end_reported: bool,
}

impl Connection {
    /// Whether there is something to report.
    fn is_readable(&self) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.paused) else {
            return false;
        };
        let wire = socket.wire();
        wire.has_input() || wire.end.is_some() && !self.end_reported
    }

    /// Queues it, if it is readable.
    fn queue(&mut self, token: Token, readable: &mut VecDeque<Token>) {
        if !self.queued && self.is_readable() {
            self.queued = true;
            readable.push_back(token);
        }
    }
}

impl InMemorySockets {
    pub(crate) fn new(network: &Network, waker: &Arc<Waker>) -> Self {
        Self {
            network: network.clone(),
            waker: Arc::clone(waker),
            listens: false,
            connections: Vec::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            acceptable: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.network.state().now
    }

    fn connection(&mut self, token: Token) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(token.index as usize)?;
        (connection.generation == token.generation && connection.socket.is_some())
            .then_some(connection)
    }

    fn wire(&self, token: Token) -> io::Result<MutexGuard<'_, Wire>> {
        self.connections
            .get(token.index as usize)
            .filter(|connection| connection.generation == token.generation)
            .and_then(|connection| connection.socket.as_ref())
            .map(InMemorySocket::wire)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Sockets for InMemorySockets {
    type Socket = InMemorySocket;
    type Listener = InMemoryListener;
    type Descriptor = Descriptor;

    fn listen(&mut self, _listener: &InMemoryListener) -> io::Result<()> {
        self.listens = true;
        Ok(())
    }

    fn stop_listening(&mut self, _listener: &InMemoryListener) -> io::Result<()> {
        self.listens = false;
        self.acceptable = false;
        Ok(())
    }

    fn take_acceptable(&mut self) -> bool {
        std::mem::take(&mut self.acceptable)
    }

    fn add(&mut self, socket: InMemorySocket, token: Token) -> io::Result<()> {
        fail_once(&mut self.network.state().failing.adds)?;
        let index = token.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, Connection::default);
        }
        self.connections[index] = Connection {
            socket: Some(socket),
            generation: token.generation,
            ..Connection::default()
        };
        Ok(())
    }

    fn peer(&self, token: Token) -> io::Result<Peer> {
        let wire = self.wire(token)?;
        match wire.end {
            Some(Some(_)) => Err(io::ErrorKind::NotConnected.into()),
            _ => Ok(wire.peer()),
        }
    }

    fn remove(&mut self, token: Token) {
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
        let Self {
            connections,
            readable,
            ..
        } = self;
        let connection = connections.get_mut(token.index as usize);
        if let Some(connection) = connection.filter(|one| one.generation == token.generation) {
            connection.paused = false;
            connection.queue(token, readable);
        }
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
            if !connection.is_readable() {
                continue;
            }
            let mut wire = self.wire(token).ok()?;
            if wire.has_input() {
                let count = wire.read(buffer);
                drop(wire);
                let connection = &mut self.connections[token.index as usize];
                connection.queue(token, &mut self.readable);
                return Some(IoEvent::Received(token, count));
            }
            let error = wire.end.flatten().map(io::Error::from);
            drop(wire);
            self.connection(token)?.end_reported = true;
            return Some(IoEvent::Ended(token, error));
        }
        None
    }

    fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        self.wire(token)?.write([bytes].into_iter())
    }

    fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.wire(token)?.write(pieces.iter().map(|piece| &**piece))
    }

    fn sends_together(&self, sends: usize) -> bool {
        sends > 1
    }

    fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        mut report: impl FnMut(Token, io::Result<usize>),
    ) {
        for (token, bytes) in batch {
            report(*token, self.send(*token, bytes));
        }
    }

    fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        if let Some(connection) = self.connection(token) {
            connection.writes_armed = true;
        }
        Ok(())
    }

    fn take_writable(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.writable)
    }

    fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        Ok(self.wire(token)?.unacknowledged)
    }

    fn shutdown_write(&self, token: Token) -> io::Result<()> {
        self.wire(token)?.write_closed = true;
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.readable.is_empty() || !self.writable.is_empty() || self.acceptable
    }

    fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        fail_once(&mut self.network.state().failing.waits)?;
        let Self {
            connections,
            readable,
            writable,
            ..
        } = self;
        for (connection, index) in connections.iter_mut().zip(0..) {
            let token = Token {
                index,
                generation: connection.generation,
            };
            connection.queue(token, readable);
            let Some(socket) = connection.socket.as_ref() else {
                continue;
            };
            // A scripted error occurs at the write.
            let wire = socket.wire();
            if connection.writes_armed && (wire.room() > 0 || wire.is_broken()) {
                connection.writes_armed = false;
                writable.push(token);
            }
        }
        let mut state = self.network.state();
        if self.listens {
            self.acceptable |= std::mem::take(&mut state.arrived);
        }
        let has_work = !self.readable.is_empty() || !self.writable.is_empty() || self.acceptable;
        state.idle_waits += usize::from(may_wait && !has_work);
        Ok(())
    }

    fn set_timer(&self, after: Duration) -> io::Result<()> {
        let mut state = self.network.state();
        fail_once(&mut state.failing.timers)?;
        state.timer = Some(state.now + after);
        Ok(())
    }

    /// Returns the waker's descriptor, which is readable when the loop was woken. It does not reflect
    /// connections.
    fn descriptor(&self) -> Descriptor {
        self.waker.descriptor()
    }
}

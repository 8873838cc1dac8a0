//! The behaviour of a whole loop: a server with one loop, on a network in memory whose time a test advances.
//!
//! A test does something, runs turns, and compares. The application's callbacks and the frames that the
//! peer receives are lists of short texts: `"text hello"`, `"close 1000 bye"`. The inner state of a connection
//! is read by a few methods of [`Server`] only.

mod accepting;
mod any_sequence;
mod closing;
#[cfg(feature = "deflate")]
mod deflate;
mod mail;
mod memory;
mod opening;
mod per_client;
mod phases;
mod proxies;
mod pulling;
mod reading;
mod system_errors;
mod timeouts;
mod writing;

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::locks;
use crate::net::{Listener, Network, RemoteEnd, Write};
use crate::proto::Kind;
use crate::server::dispatch::pull::{Batch, Puller};
use crate::server::error::ServerResult;
use crate::server::handshake::own_paths::OwnPaths;
use crate::server::handshake::page::Page;
use crate::server::handshake::paths;
use crate::server::metrics::Metrics;
use crate::server::websocket::connections::Phase;
use crate::server::websocket::mailbox::{Mail, MailedMessage};
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::slot_arena;
use crate::server::{
    Application, Dispatch, EventKind, Failure, FailureKind, Options, Record, RecordEvent, Records,
    Request, ServerError, State, sending,
};

/// A loop that still has work after so many turns never waits.
const MAX_TURNS: usize = 10_000;

/// Maximum wait for another thread.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a handler does after it has been recorded; it returns what the handler returns.
type Reaction = dyn Fn(u64) -> i32 + Send + Sync;

/// A server with one path.
struct Server {
    network: Network,
    shared: Arc<Shared>,
    event_loop: Loop,
    /// More loops, if a test needs some.
    others: Vec<Loop>,
    application: Arc<Script>,
    /// HOST: room for so many events in a pull, and the batch of the last pull.
    room: Cell<usize>,
    pulled: RefCell<Option<Batch>>,
}

impl Server {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// A server with other options than the default ones.
    fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::with_loops(1, change)
    }

    /// A server with so many loops, of which the first accepts.
    fn with_loops(count: usize, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let network = Network::new();
        let listener = Arc::new(Listener::InMemory(network.listener()));
        let shared = Shared::new(
            &options,
            &OwnPaths::default(),
            Some(Arc::clone(&listener)),
            count,
        )
        .expect("no TLS");
        let shared = Arc::new(shared);
        let mut loops = (0..count).map(|number| {
            let (poller, waker) = Poller::in_memory(&network).expect("a waker");
            let event_loop = Loop::with_poller(Arc::clone(&shared), number, poller, waker);
            let event_loop = event_loop.expect("memory for a loop");
            let _ = shared.loops[number].mailbox.set(event_loop.mailbox);
            event_loop
        });
        let event_loop = loops.next().expect("one loop at least");
        let others = loops.collect();
        let listening = event_loop.core.borrow_mut().listen(listener);
        listening.expect("a listener in memory");
        // Any id but 0; the server is not registered.
        shared.set_id(1);
        let application = Arc::new(Script::new());
        paths::define_path(&application.path, application.clone()).expect("a path of its own");
        Self {
            network,
            shared,
            event_loop,
            others,
            application,
            room: Cell::new(64),
            pulled: RefCell::default(),
        }
    }

    /// Sets what a handler does.
    fn on(&self, event: EventKind, reaction: impl Fn(u64) -> i32 + Send + Sync + 'static) {
        let mut reactions = locks::lock(&self.application.reactions);
        reactions.insert(event.name(), Arc::new(reaction));
    }

    /// Sets what a handler does; it returns 0.
    fn on_do<T>(&self, event: EventKind, act: impl Fn(u64) -> T + Send + Sync + 'static) {
        self.on(event, move |websocket| {
            act(websocket);
            0
        });
    }

    // ---- turns and time ----

    fn loops(&self) -> impl Iterator<Item = &Loop> {
        std::iter::once(&self.event_loop).chain(&self.others)
    }

    /// Runs one turn of each loop.
    fn turn(&self) {
        for event_loop in self.loops() {
            match self.shared.options.dispatch {
                Dispatch::Io => event_loop.turn(true, &mut Sink::Call),
                Dispatch::PerClient => event_loop.turn(true, &mut Sink::ClientThread),
                Dispatch::Host => self.turn_of_host(event_loop),
            }
        }
    }

    /// Runs one turn of a host that pulls, and then handles the events.
    fn turn_of_host(&self, event_loop: &Loop) {
        if let Some(batch) = self.pulled.take() {
            event_loop.core.borrow_mut().take_back(batch);
        }
        let (records, batch) = pull(event_loop, self.room.get());
        self.pulled.replace(Some(batch));
        for (websocket, kind, event) in records {
            self.application.call(websocket, kind, event);
        }
    }

    /// Runs turns until nothing happens any more: until two in a row would wait, because a timeout may
    /// follow the first.
    fn run(&self) {
        let mut idle = 0;
        for _ in 0..MAX_TURNS {
            let before = self.network.idle_waits();
            self.turn();
            let waited = self.network.idle_waits() == before + self.loops().count();
            idle = if waited { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
        }
        panic!("the loop never waits");
    }

    /// Runs turns until `done`, which needs another thread, returns true.
    fn turn_until(&self, mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < DEADLINE, "for too long");
            self.turn();
            std::thread::yield_now();
        }
    }

    /// Advances the time. The loop runs whenever its timer expires, as if it had waited.
    fn pass(&self, milliseconds: u64) {
        let mut left = Duration::from_millis(milliseconds);
        loop {
            self.run();
            if left.is_zero() {
                return;
            }
            let timer = self.network.timer().filter(|timer| !timer.is_zero());
            let step = timer.map_or(left, |timer| timer.min(left));
            self.network.pass(step);
            left -= step;
        }
    }

    /// Runs `work` on the loop's own thread, as the handler of another websocket would.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.set(&self.event_loop, work)
    }

    /// Closes the server, from outside.
    fn close(&self) {
        self.shared.begin_close();
    }

    // ---- peers ----

    /// Connects a peer, which sends nothing.
    fn connect(&self) -> Peer {
        Peer {
            remote: self.network.connect(),
            received: RefCell::default(),
            websocket: 0,
        }
    }

    /// A handshake for the path of this server.
    fn handshake(&self) -> String {
        handshake(&self.application.path)
    }

    /// Opens a websocket. Its `upgrade` and `connect` are removed from the events.
    fn open(&self) -> Peer {
        let mut peer = self.connect();
        peer.remote.send(self.handshake().as_bytes());
        self.run();
        assert_eq!(peer.status(), 101);
        peer.websocket = self.last_websocket();
        self.application.take_events(peer.websocket);
        peer
    }

    /// Returns the websocket of the last `upgrade`.
    fn last_websocket(&self) -> u64 {
        self.application.last.load(Ordering::Relaxed)
    }

    /// Takes the events since the last call.
    fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut *locks::lock(&self.application.events));
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// Takes the events of one websocket.
    fn events_of(&self, peer: &Peer) -> Vec<String> {
        self.application.take_events(peer.websocket)
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    // ---- the inside ----

    /// The phases of all connections.
    fn phases(&self) -> Vec<Phase> {
        self.loops().flat_map(phases_of).collect()
    }

    /// The phase of the only connection.
    fn phase(&self) -> Phase {
        let phases = self.phases();
        assert!(phases.len() <= 1, "{phases:?}");
        phases.first().copied().unwrap_or(Phase::Free)
    }

    /// Whether writability is awaited.
    fn is_blocked(&self, peer: &Peer) -> bool {
        let core = self.event_loop.core.borrow();
        core.conns
            .get(peer.token())
            .is_some_and(|conn| conn.writing.blocked)
    }

    /// Whether reading is paused.
    fn is_read_paused(&self, peer: &Peer) -> bool {
        let core = self.event_loop.core.borrow();
        let conn = core.conns.get(peer.token());
        conn.is_some_and(|conn| conn.reading.paused)
    }

    /// Whether the loop's thread would end.
    fn is_finished(&self) -> bool {
        self.event_loop.core.borrow().is_finished()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been undefined by the test.
        let _ = paths::undefine_path(&self.application.path);
    }
}

/// The phases of a loop's connections.
fn phases_of(event_loop: &Loop) -> Vec<Phase> {
    let core = event_loop.core.borrow();
    let groups = 0..core.conns.groups();
    let tokens = groups.flat_map(|group| core.conns.group(group));
    let phase = |token| core.conns.get(token).map(|conn| conn.phase);
    tokens.filter_map(phase).collect()
}

/// A request to open a websocket.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

// ---- the application ----

/// Records its callbacks, and does in each what the test has set.
struct Script {
    path: String,
    /// The websocket of the last `upgrade`.
    last: AtomicU64,
    /// The address of its client.
    client: Mutex<String>,
    /// Websockets by the queries in their requests.
    by_query: Mutex<HashMap<CString, u64>>,
    events: Mutex<Vec<(u64, String)>>,
    reactions: Mutex<HashMap<&'static str, Arc<Reaction>>>,
}

impl Script {
    /// Each has its own path, because paths are process-wide.
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            path: format!("/loop-{number}"),
            last: AtomicU64::new(0),
            client: Mutex::default(),
            by_query: Mutex::default(),
            events: Mutex::default(),
            reactions: Mutex::default(),
        }
    }

    fn take_events(&self, websocket: u64) -> Vec<String> {
        let mut events = locks::lock(&self.events);
        let taken = events.extract_if(.., |(whose, _)| *whose == websocket);
        taken.map(|(_, event)| event).collect()
    }

    /// Records an event and reacts to it.
    fn call(&self, websocket: u64, kind: EventKind, event: String) -> i32 {
        locks::lock(&self.events).push((websocket, event));
        let reaction = locks::lock(&self.reactions).get(kind.name()).cloned();
        reaction.map_or(0, |reaction| reaction(websocket))
    }
}

impl Application for Script {
    fn upgrade(&self, websocket: u64, request: &Request) -> i32 {
        self.last.store(websocket, Ordering::Relaxed);
        *locks::lock(&self.client) = request.peer_address().to_string();
        locks::lock(&self.by_query).insert(request.query().to_owned(), websocket);
        self.call(websocket, EventKind::Upgrade, "upgrade".to_owned())
    }

    fn connect(&self, websocket: u64, _request: &Request) -> i32 {
        self.call(websocket, EventKind::Connect, "connect".to_owned())
    }

    fn message(&self, websocket: u64, kind: Kind, terminated: &[u8]) -> i32 {
        let kind = match kind {
            Kind::Text => "text",
            Kind::Binary => "binary",
        };
        let event = sentence(&[kind, &brief(without_nul(terminated))]);
        self.call(websocket, EventKind::Message, event)
    }

    fn disconnect(&self, websocket: u64, code: u16, reason: &CStr) -> i32 {
        let reason = reason.to_string_lossy();
        let event = sentence(&["disconnect", &code.to_string(), &reason]);
        self.call(websocket, EventKind::Disconnect, event)
    }

    fn error(&self, websocket: u64, failure: &Failure) -> bool {
        let event = match failure.kind {
            FailureKind::Handler => format!("error in {}: {}", failure.event.name(), failure.code),
            kind => format!("error {kind:?} {}", failure.close_code),
        };
        self.call(websocket, EventKind::Error, event);
        true
    }

    fn drain(&self, websocket: u64) {
        self.call(websocket, EventKind::Drain, "drain".to_owned());
    }

    fn pong(&self, websocket: u64, terminated: &[u8]) {
        let event = sentence(&["pong", &brief(without_nul(terminated))]);
        self.call(websocket, EventKind::Pong, event);
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn user_data(&self) -> *mut c_void {
        std::ptr::null_mut()
    }
}

fn without_nul(terminated: &[u8]) -> &[u8] {
    let (nul, bytes) = terminated.split_last().expect("a NUL");
    assert_eq!(*nul, 0);
    bytes
}

/// Returns a payload as text; one that repeats a byte more than 40 times as `count*byte`.
fn brief(payload: &[u8]) -> String {
    match payload {
        [first, ..] if payload.len() > 40 && payload.iter().all(|byte| byte == first) => {
            format!("{}*{}", payload.len(), *first as char)
        }
        _ => String::from_utf8_lossy(payload).into_owned(),
    }
}

/// Joins the words that are not empty.
fn sentence(words: &[&str]) -> String {
    let words: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

// ---- a host that pulls ----

/// A recorded event of a websocket.
type RecordedEvent = (u64, EventKind, String);

/// Records events. Of payloads, which only `unsafe` code can read, it records the length.
struct Recorder {
    room: usize,
    events: Vec<RecordedEvent>,
}

impl Records for Recorder {
    fn room(&self) -> usize {
        self.room - self.events.len()
    }

    fn push(&mut self, record: Record<'_>) -> Option<Box<dyn Any + Send>> {
        let (kind, text) = match record.event {
            RecordEvent::Connect(_) => (EventKind::Connect, "connect".to_owned()),
            RecordEvent::Message(_, bytes) => {
                (EventKind::Message, format!("message of {}", bytes.len))
            }
            RecordEvent::Pong(bytes) => (EventKind::Pong, format!("pong of {}", bytes.len)),
            RecordEvent::Drain => (EventKind::Drain, "drain".to_owned()),
            RecordEvent::Error(failure, _) => {
                (EventKind::Error, format!("error {:?}", failure.kind))
            }
            RecordEvent::Disconnect(code, _) => {
                (EventKind::Disconnect, format!("disconnect {code}"))
            }
        };
        self.events.push((record.websocket, kind, text));
        None
    }
}

/// One turn of a loop for a host with room for so many events. Returns them, and what they point to.
fn pull(event_loop: &Loop, room: usize) -> (Vec<RecordedEvent>, Batch) {
    let mut recorder = Recorder {
        room,
        events: Vec::new(),
    };
    let mut sink = Sink::Pull(Puller::new(&mut recorder));
    event_loop.turn(true, &mut sink);
    let Sink::Pull(Puller { batch, .. }) = sink else {
        panic!("another way");
    };
    (recorder.events, batch)
}

// ---- the peer ----

/// The other end of a connection, which speaks WebSocket.
struct Peer {
    remote: RemoteEnd,
    /// Received and not yet read by the test.
    received: RefCell<Vec<u8>>,
    /// The id, when the websocket is open.
    websocket: u64,
}

impl Peer {
    fn token(&self) -> Token {
        let address = slot_arena::find(self.websocket).expect("an id that was given");
        address.token
    }

    // ---- what it sends ----

    /// Sends one frame, masked.
    fn frame(&self, opcode: u8, payload: &[u8]) {
        self.remote.send(&frame(opcode, payload));
    }

    fn text(&self, text: &str) {
        self.frame(1, text.as_bytes());
    }

    fn ping(&self, payload: &str) {
        self.frame(9, payload.as_bytes());
    }

    fn pong(&self, payload: &str) {
        self.frame(10, payload.as_bytes());
    }

    fn close(&self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        self.frame(8, &payload);
    }

    // ---- what it receives ----

    fn receive(&self) {
        self.received.borrow_mut().extend(self.remote.receive());
    }

    /// Whether the head of a response has arrived.
    fn has_head(&self) -> bool {
        self.receive();
        end_of_head(&self.received.borrow()).is_some()
    }

    /// Receives the head of a response. Returns its status.
    fn status(&self) -> u16 {
        self.receive();
        let mut received = self.received.borrow_mut();
        let end = end_of_head(&received).expect("a complete head");
        let head: Vec<u8> = received.drain(..end).collect();
        let head = String::from_utf8(head).expect("ASCII");
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        status.expect("a response").parse().expect("a status")
    }

    /// Receives bytes that are not frames.
    fn bytes(&self) -> Vec<u8> {
        self.receive();
        self.received.take()
    }

    /// Receives complete frames.
    fn frames(&self) -> Vec<String> {
        self.receive();
        let mut received = self.received.borrow_mut();
        let mut frames = Vec::new();
        while let Some((frame, len)) = read_frame(&received) {
            frames.push(frame);
            received.drain(..len);
        }
        frames
    }

    /// Receives complete frames; the last one must not be incomplete.
    fn all_frames(&self) -> Vec<String> {
        let frames = self.frames();
        assert!(self.received.borrow().is_empty(), "half a frame");
        frames
    }

    /// From now on, at most so many bytes are accepted until it receives them.
    fn accept_at_most(&self, bytes: usize) {
        self.remote.set_send_buffer(bytes);
    }
}

/// A frame as a client sends it.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// Reads a frame as a server sends it. Returns its text and its length; None while it is incomplete.
fn read_frame(bytes: &[u8]) -> Option<(String, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, start) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
        len @ ..126 => (u64::from(len), 2),
        _ => panic!("a masked frame from the server"),
    };
    let end = start + usize::try_from(len).expect("a length that fits");
    let payload = bytes.get(start..end)?;
    let frame = match (first, payload) {
        (0x81, text) => sentence(&["text", &brief(text)]),
        (0x82, bytes) => sentence(&["binary", &brief(bytes)]),
        (0x88, []) => "close".to_owned(),
        (0x88, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            sentence(&["close", &code.to_string(), &brief(reason)])
        }
        (0x89, payload) => sentence(&["ping", &brief(payload)]),
        (0x8a, payload) => sentence(&["pong", &brief(payload)]),
        _ => panic!("a frame that begins with {first:#x}"),
    };
    Some((frame, end))
}

/// Runs `work` on another thread, while this one waits.
fn on_another_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

/// Another thread's `send`, stopped between the reservation and the posting.
struct Stopped {
    reservation: Reservation,
    mailbox: &'static Mailbox,
    frame: Vec<u8>,
}

impl Stopped {
    fn in_send(websocket: u64, text: &str) -> ServerResult<Self> {
        let address = slot_arena::find(websocket)?;
        let head = [0x81, text.len() as u8];
        let frame = [&head[..], text.as_bytes()].concat();
        let cost = frame.len() as u64 + Mail::COST_BYTES;
        let reservation = Reservation::of_message(address, cost, address.mailbox.max_queued());
        Ok(Self {
            reservation: reservation?,
            mailbox: address.mailbox,
            frame,
        })
    }

    /// Posts the message.
    fn go_on(self) {
        let token = self.reservation.token();
        let message = MailedMessage {
            frame: self.frame,
            head_len: 2,
            kind: Kind::Text,
            may_deflate: true,
        };
        self.mailbox.post(Mail::Message(token, message));
        self.reservation.commit();
    }

    /// Fails, as without memory.
    fn give_up(self) {
        drop(self.reservation);
    }
}

// ---- what the application does ----

fn send(websocket: u64, text: &str) -> ServerResult {
    sending::send(websocket, Kind::Text, text.as_bytes(), true)
}

/// Sends so many bytes.
fn send_many(websocket: u64, byte: char, count: usize) -> ServerResult {
    sending::send(websocket, Kind::Binary, &vec![byte as u8; count], true)
}

fn close(websocket: u64, code: u32, reason: &str) -> ServerResult {
    sending::close(websocket, code, reason.as_bytes())
}

use sending::{abort, ping, queued};

//! What a loop owns, and everything it does with it that calls no foreign code.
//!
//! Callbacks are noted as due here and run by [`super::worker`] when nothing is borrowed.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client_thread::Handed;
use super::clock::{Clock, ROUND};
use super::conns::{Conn, Conns, Extra, Opening, Phase};
use super::mailbox::{Mail, Mailbox};
use super::outbox::Outbox;
use super::pull::Batch;
use super::server::Server;
use super::slots::{Slot, State};
use super::stats::Traffic;
use super::{EventKind, Failure, FailureKind, Request, ServerError};
use crate::net::{Listener, Peer, Poller, Socket, Token};
use crate::proto::{self, FrameHead, HeadScanner, Limits, ProtoError, Refusal, Scratch, Session};

/// A message of so many bytes is written at once, without a copy, if nothing is queued before it.
const DIRECT: usize = 16 * 1024;

/// At most so many outboxes are kept for reuse.
const SPARE_OUTBOXES: usize = 64;

/// At most so many clients are accepted in one turn.
const ACCEPTS: usize = 64;

/// The payload of Portal's own pings; their answers are not the application's business.
const PING: &[u8] = b"\xf0\x9f\x9a\xaa\x00\x07\xe6\x0b";

/// A callback that is to run when nothing is borrowed.
pub enum Due {
    Drain,
    Failure(Box<Failure>),
    Disconnect,
    /// `upgrade` has answered on the client's own thread.
    Verdict(i32, Box<Request>),
    /// The client's own thread has ended.
    Finished,
}

/// Timeouts in ticks; 0 is never.
struct Periods {
    handshake: u32,
    idle: u32,
    ping: u32,
    close: u32,
}

pub struct Core {
    pub poller: Poller,
    pub conns: Conns,
    pub scratch: Scratch,
    pub limits: Limits,
    pub clock: Clock,
    pub traffic: Traffic,
    /// The receive buffer; lent to the turn, and to a pulled batch.
    pub arena: Option<Box<[u8]>>,
    /// Connections whose kept input is to be delivered.
    pub waiting: VecDeque<Token>,
    pub due: VecDeque<(Token, Due)>,
    /// The server closes, and every client has been told.
    pub closing: bool,
    server: Arc<Server>,
    mailbox: &'static Mailbox,
    number: usize,
    listener: Option<Arc<Listener>>,
    /// Clients may be waiting to be accepted.
    accepting: bool,
    /// Accepting failed for want of descriptors or memory.
    stalled: bool,
    periods: Periods,
    outboxes: Vec<Box<Outbox>>,
    dirty: Vec<Token>,
    /// Ended connections to whose ids something is still on its way.
    zombies: Vec<Token>,
    /// Whose address counts against MAX_CONNECTIONS_PER_IP.
    addresses: HashMap<u32, IpAddr>,
}

impl Core {
    pub fn new(server: Arc<Server>, number: usize, poller: Poller, conns: Conns) -> Self {
        let options = &server.options;
        let clock = Clock::new(options);
        let ticks = |time| if time == 0 { 0 } else { clock.ticks(time) };
        let periods = Periods {
            handshake: ticks(options.handshake_timeout),
            idle: ticks(options.idle_timeout),
            ping: ticks(options.ping_interval),
            close: ticks(options.close_timeout),
        };
        let limits = Limits {
            max_message_size: options.max_message_size,
            max_fragments: options.max_fragments,
        };
        Self {
            mailbox: conns.estate().mailbox,
            poller,
            conns,
            scratch: Scratch::default(),
            limits,
            clock,
            traffic: Traffic::default(),
            arena: None,
            waiting: VecDeque::new(),
            due: VecDeque::new(),
            closing: false,
            server,
            number,
            listener: None,
            accepting: false,
            stalled: false,
            periods,
            outboxes: Vec::new(),
            dirty: Vec::new(),
            zombies: Vec::new(),
            addresses: HashMap::new(),
        }
    }

    /// From now on clients are accepted here.
    pub fn listen(&mut self, listener: Arc<Listener>) -> io::Result<()> {
        self.poller.listen(&listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Whether a turn would find something to do without waiting.
    pub fn has_work(&self) -> bool {
        self.poller.has_work()
            || self.accepting
            || !self.waiting.is_empty()
            || !self.due.is_empty()
            || !self.dirty.is_empty()
    }

    /// Whether nothing is left of a server that closes.
    pub fn is_finished(&self) -> bool {
        self.closing && self.conns.live() == 0
    }

    /// Whether nothing is left but events that a pulling host has not fetched.
    pub fn is_quiet(&mut self) -> bool {
        let groups = self.conns.groups();
        self.closing
            && (0..groups).all(|group| {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens.into_iter().all(|token| {
                    self.conns
                        .get(token)
                        .is_none_or(|conn| conn.phase == Phase::Ended)
                })
            })
    }

    fn slot(&self, token: Token) -> &'static Slot {
        self.conns.slot(token.index)
    }

    // ---- mail ----

    /// Does what other threads have asked for until now.
    pub fn take_mail(&mut self) {
        for _ in 0..self.mailbox.len() {
            let Some(mail) = self.mailbox.take() else {
                break;
            };
            self.open_mail(mail);
        }
    }

    fn open_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message(id, frame) => {
                let (token, len) = (self.conns.token(id), frame.len());
                self.release(token, Mail::COST);
                let queued = self.queue(token, len, |outbox| outbox.adopt(frame));
                self.traffic.messages_out += u64::from(queued);
            }
            Mail::Ping(id, payload) => {
                let token = self.conns.token(id);
                self.release(token, Mail::COST);
                self.queue_ping(token, &payload);
            }
            Mail::Close(id, code, reason) => self.close(self.conns.token(id), code, reason),
            Mail::Abort(id) => self.end(self.conns.token(id), None),
            Mail::Flush(id) => self.mark_dirty(self.conns.token(id)),
            Mail::Drain(id) => self.due.push_back((self.conns.token(id), Due::Drain)),
            Mail::Room(id) => self.reconsider(self.conns.token(id)),
            Mail::Verdict(id, code, request) => {
                let token = self.conns.token(id);
                self.due.push_back((token, Due::Verdict(code, request)));
            }
            Mail::Finished(id) => {
                let token = self.conns.token(id);
                self.due.push_back((token, Due::Finished));
            }
            Mail::Adopt(socket, peer) => self.adopt(socket, peer),
            Mail::Returned(batch) => self.take_back(*batch),
        }
    }

    /// Takes back what a pulled batch was lent.
    pub fn take_back(&mut self, mut batch: Batch) {
        self.arena = self.arena.take().or(batch.arena.take());
        batch.ended.drain(..).for_each(|token| self.vacate(token));
    }

    /// Queues what a reservation of `cost` bytes promised; false when the client has gone.
    fn queue<E>(
        &mut self,
        token: Token,
        cost: usize,
        put: impl FnOnce(&mut Outbox) -> Result<(), E>,
    ) -> bool {
        let takes = self.conns.get(token).is_some_and(|conn| {
            matches!(conn.phase, Phase::Open | Phase::Closing) && !conn.has_said_goodbye()
        });
        if !takes {
            self.release(token, cost as u64);
            return false;
        }
        if put(self.outbox(token)).is_err() {
            self.release(token, cost as u64);
            log::error!("memory for a queued message was refused; its client is dropped");
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return false;
        }
        self.mark_dirty(token);
        self.say_goodbye(token);
        true
    }

    // ---- sending ----

    /// Queues one message whose bytes are counted; large ones leave at once where they can.
    #[inline]
    pub fn send(&mut self, token: Token, head: &FrameHead, body: &[u8]) -> Result<(), ServerError> {
        let head = head.as_slice();
        let cost = head.len() + body.len();
        let Some(conn) = self.conns.get(token) else {
            self.release(token, cost as u64);
            return Err(ServerError::Gone);
        };
        self.traffic.messages_out += 1;
        if body.len() >= DIRECT && conn.outbox.is_none() && !conn.blocked {
            return self.send_directly(token, head, body);
        }
        if self.outbox(token).append(head, body).is_err() {
            self.release(token, cost as u64);
            return Err(ServerError::Memory);
        }
        self.mark_dirty(token);
        Ok(())
    }

    fn send_directly(&mut self, token: Token, head: &[u8], body: &[u8]) -> Result<(), ServerError> {
        let cost = head.len() + body.len();
        let sent = match self
            .poller
            .send_vectored(token, &[IoSlice::new(head), IoSlice::new(body)])
        {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                self.release(token, cost as u64);
                self.end(token, Some(error));
                return Err(ServerError::Gone);
            }
        };
        self.traffic.bytes_out += sent as u64;
        let head_left = &head[sent.min(head.len())..];
        let body_left = &body[sent.saturating_sub(head.len())..];
        if sent < cost && self.outbox(token).append(head_left, body_left).is_err() {
            // A frame was begun and cannot be ended: nothing that makes sense can follow.
            self.release(token, cost as u64);
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return Err(ServerError::Memory);
        }
        if sent > 0 {
            self.release(token, sent as u64);
        }
        if sent < cost {
            self.await_writability(token);
        }
        Ok(())
    }

    /// Queues a ping of the application's, which is counted.
    pub fn queue_ping(&mut self, token: Token, payload: &[u8]) {
        let cost = ping_cost(payload);
        let mut frame = Vec::with_capacity(cost);
        proto::write_ping(&mut frame, payload);
        let queued = self.queue(token, cost, |outbox| {
            outbox.pings += 1;
            outbox.append(&frame, &[])
        });
        if !queued {
            self.slot(token).uncount_pings(1);
        }
    }

    /// Queues what is not counted: control frames and responses.
    pub fn say(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        if self.conns.get(token).is_none() {
            return;
        }
        if self.outbox(token).write(write).is_err() {
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
        }
        self.mark_dirty(token);
    }

    /// The client's outbox, from the pool if it has none.
    #[inline]
    fn outbox(&mut self, token: Token) -> &mut Outbox {
        let Self {
            conns, outboxes, ..
        } = self;
        let place = conns.place(token);
        place
            .outbox
            .get_or_insert_with(|| outboxes.pop().unwrap_or_default())
    }

    #[inline]
    fn mark_dirty(&mut self, token: Token) {
        if let Some(conn) = self.conns.get(token).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(token);
        }
    }

    /// Writes what was queued in this turn, one system call for each client.
    pub fn write_dirty(&mut self) {
        // Writing can end a connection, and so make another entry; the list is taken whole.
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            if let Some(conn) = self.conns.get(token) {
                conn.dirty = false;
                self.write(token);
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Writes again to clients that had taken no more.
    pub fn write_unblocked(&mut self) {
        for token in self.poller.take_writable() {
            if let Some(conn) = self.conns.get(token) {
                conn.blocked = false;
                self.write(token);
            }
        }
    }

    /// Hands to the kernel what it takes of a client's outbox.
    pub fn write(&mut self, token: Token) {
        let Self {
            conns,
            poller,
            traffic,
            clock,
            ..
        } = self;
        let Some(conn) = conns.get(token).filter(|conn| !conn.blocked) else {
            return;
        };
        let Some(outbox) = conn.outbox.as_mut() else {
            return self.said_all(token);
        };
        let (sent, counted, result) = outbox.send(poller, token);
        traffic.bytes_out += sent as u64;
        if sent > 0 && conn.keeping {
            // While nothing is read from a client, its taking bytes is its sign of life.
            conn.heard = clock.now();
        }
        if result.is_ok() {
            let pings = std::mem::take(&mut outbox.pings);
            if pings > 0 {
                self.slot(token).uncount_pings(pings);
            }
            self.return_outbox(token);
        }
        if counted > 0 {
            self.release(token, counted as u64);
        }
        match result {
            Ok(()) => self.said_all(token),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.await_writability(token)
            }
            Err(error) => self.end(token, Some(error)),
        }
    }

    fn await_writability(&mut self, token: Token) {
        match self.poller.arm_writes(token) {
            Ok(()) => _ = self.conns.get(token).map(|conn| conn.blocked = true),
            Err(error) => self.end(token, Some(error)),
        }
    }

    /// Gives an outbox back to the pool.
    fn return_outbox(&mut self, token: Token) {
        let Some(mut outbox) = self.conns.get(token).and_then(|conn| conn.outbox.take()) else {
            return;
        };
        outbox.clear();
        if self.outboxes.len() < SPARE_OUTBOXES {
            self.outboxes.push(outbox);
        }
    }

    /// Goes on after the kernel has taken everything.
    fn said_all(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if let Some(pong) = conn.extra.as_mut().and_then(|extra| extra.pong.take()) {
            self.say(token, |out| proto::write_pong(out, &pong));
            return self.write(token);
        }
        if conn.phase != Phase::Finishing {
            return;
        }
        conn.phase = Phase::Lingering;
        if conn.deaf || self.poller.shutdown_write(token).is_err() {
            self.end(token, None);
        }
    }

    /// Uncounts bytes that have left the queue, and does what hangs on it.
    fn release(&mut self, token: Token, cost: u64) {
        let low = self.mailbox.low();
        if self.slot(token).release(cost, low) {
            self.due.push_back((token, Due::Drain));
        }
        self.reconsider(token);
    }

    /// Keeps input, from `from` on, until it may be delivered; nothing is read meanwhile.
    pub fn keep(&mut self, token: Token, input: Vec<u8>, from: usize) {
        let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| conn.phase != Phase::Ended)
        else {
            return;
        };
        conn.keeping = true;
        if from < input.len() {
            let extra = conn.extra();
            extra.kept = input;
            extra.kept_from = from;
        }
        self.poller.pause(token);
    }

    /// Takes what was kept, to deliver it.
    pub fn take_kept(&mut self, token: Token) -> Option<(Vec<u8>, usize)> {
        let conn = self.conns.get(token).filter(|conn| conn.keeping)?;
        let Some(extra) = conn.extra.as_mut() else {
            return Some((Vec::new(), 0));
        };
        Some((
            std::mem::take(&mut extra.kept),
            std::mem::take(&mut extra.kept_from),
        ))
    }

    /// Reads from the client again: nothing is kept any more.
    pub fn let_read(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        conn.keeping = false;
        conn.shed();
        self.poller.resume(token);
    }

    /// Whether a client is not to be read from for now.
    pub fn is_over_mark(&mut self, token: Token) -> bool {
        let queued = self.slot(token).word().queued();
        let low = self.mailbox.low();
        self.conns.get(token).is_some_and(|conn| {
            conn.phase == Phase::Open
                && (queued > low || conn.hand().is_some_and(|hand| !hand.has_room()))
        })
    }

    /// Hands an event to the client's own thread.
    pub fn hand(&mut self, token: Token, event: Handed) {
        if let Some(hand) = self.conns.get(token).and_then(|conn| conn.hand()) {
            hand.give(event);
        }
    }

    /// Delivers kept input again, if nothing speaks against it any more.
    pub fn reconsider(&mut self, token: Token) {
        let queued = self.slot(token).word().queued();
        let low = self.mailbox.low();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.keeping && (queued <= low || conn.phase != Phase::Open) {
            self.waiting.push_back(token);
        }
    }

    // ---- the client's frames ----

    /// Answers a ping: at once, or with the newest payload when the client takes bytes again.
    pub fn answer_ping(&mut self, token: Token, payload: &[u8]) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.phase != Phase::Open {
            return;
        }
        if conn.blocked {
            conn.extra().pong = Some(payload.to_vec());
        } else {
            self.say(token, |out| proto::write_pong(out, payload));
        }
    }

    /// Whether a pong answers a ping of Portal's own.
    pub fn is_own_pong(payload: &[u8]) -> bool {
        payload == PING
    }

    /// The client's close frame has come.
    pub fn client_closed(&mut self, token: Token, code: Option<u16>, reason: &[u8]) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let ours = conn.phase == Phase::Open;
        if ours {
            conn.phase = Phase::Closing;
            conn.since = now;
        }
        let extra = conn.extra();
        extra.farewell.received = Some(code.unwrap_or(1005));
        extra.farewell.reason = reason.to_vec();
        if ours {
            extra.goodbye = Some((code, Vec::new()));
            // It fails if the application has closed at the same time; then its mail comes late.
            let _ = self.slot(token).advance(token.generation, State::Closing);
        }
        self.say_goodbye(token);
        self.finish_closing(token);
    }

    /// The client broke a rule: tells it by a close frame, and the application.
    pub fn fail(&mut self, token: Token, error: ProtoError) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let said = conn.has_said_goodbye();
        conn.phase = Phase::Finishing;
        conn.since = now;
        let code = error.close_code();
        let extra = conn.extra();
        extra.goodbye = None;
        extra.farewell.failed = Some(code);
        extra.said_goodbye = true;
        // Fails if the application has closed at the same time.
        let _ = self.slot(token).advance(token.generation, State::Closing);
        self.server
            .stats
            .protocol_errors
            .fetch_add(1, Ordering::Relaxed);
        let kind = match error {
            _ if error.is_too_big() => FailureKind::TooBig,
            _ if error.is_utf8() => FailureKind::Utf8,
            _ if error.is_memory() => FailureKind::Memory,
            _ => FailureKind::Protocol,
        };
        self.due
            .push_back((token, Due::failure(kind, code, error.to_string())));
        if !said {
            self.say(token, |out| proto::write_close(out, Some(code), b""));
        }
        self.mark_dirty(token);
    }

    // ---- closing ----

    /// Closes a websocket from our side.
    pub fn close(&mut self, token: Token, code: u16, reason: Vec<u8>) {
        let now = self.clock.now();
        let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| conn.phase == Phase::Open)
        else {
            return;
        };
        conn.phase = Phase::Closing;
        conn.since = now;
        conn.session.drop_messages();
        conn.extra().goodbye = Some((Some(code), reason));
        // The client's close frame may be among what was kept.
        self.reconsider(token);
        self.say_goodbye(token);
    }

    /// Queues our close frame, once all that was sent before it is in the outbox.
    fn say_goodbye(&mut self, token: Token) {
        let queued = self.slot(token).word().queued();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let held = conn.outbox.as_ref().map_or(0, |outbox| outbox.counted());
        if queued != held as u64 || conn.phase != Phase::Closing {
            return;
        }
        let Some(extra) = conn.extra.as_mut() else {
            return;
        };
        let Some((code, reason)) = extra.goodbye.take() else {
            return;
        };
        extra.said_goodbye = true;
        self.say(token, |out| proto::write_close(out, code, &reason));
        self.finish_closing(token);
    }

    /// After both close frames nothing more is said.
    fn finish_closing(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let extra = conn.extra();
        if extra.said_goodbye && extra.farewell.received.is_some() && conn.phase == Phase::Closing {
            conn.phase = Phase::Finishing;
            self.mark_dirty(token);
        }
    }

    /// The client's stream has ended.
    pub fn client_left(&mut self, token: Token, error: Option<io::Error>) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if error.is_some() || conn.phase == Phase::Lingering {
            return self.end(token, error);
        }
        conn.deaf = true;
        // It may still read: what is queued leaves first.
        if matches!(conn.phase, Phase::Closing | Phase::Finishing) && conn.has_said_goodbye() {
            conn.phase = Phase::Finishing;
            return self.mark_dirty(token);
        }
        self.write(token);
        self.end(token, None);
    }

    /// Ends a connection now: closes the socket and lets `disconnect` follow.
    pub fn end(&mut self, token: Token, error: Option<io::Error>) {
        let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| conn.phase != Phase::Ended)
        else {
            return;
        };
        let deciding = conn.phase == Phase::Deciding;
        conn.phase = Phase::Ended;
        conn.blocked = false;
        conn.session.abandon(&mut self.scratch);
        let (connected, counted) = (conn.connected, std::mem::take(&mut conn.counted));
        let unsent = conn
            .outbox
            .as_ref()
            .map_or((0, 0), |out| (out.counted(), out.pings));
        if let Some(extra) = conn.extra.as_mut() {
            extra.opening = None;
            extra.kept = Vec::new();
            extra.kept_from = 0;
        }
        conn.keeping = false;
        self.poller.remove(token);
        self.return_outbox(token);
        let slot = self.slot(token);
        slot.uncount_pings(unsent.1);
        // Fails if it is closing already.
        let _ = slot.advance(token.generation, State::Closing);
        // A drain that falls due now has nobody left to be told.
        let _ = slot.release(unsent.0 as u64, self.mailbox.low());
        let address = self.addresses.remove(&token.index);
        self.server.leave(self.number, counted, address);
        self.server
            .stats
            .open
            .fetch_sub(u64::from(connected), Ordering::Relaxed);
        self.accepting |= std::mem::take(&mut self.stalled);
        if let Some(error) = error.filter(|error| connected && !is_leaving(error)) {
            let text = format!("the connection failed: {error}");
            self.due
                .push_back((token, Due::failure(FailureKind::Io, 1006, text)));
        }
        // While `upgrade` decides on the client's own thread, its verdict comes first.
        if !deciding {
            self.due.push_back((token, Due::Disconnect));
        }
    }

    /// Frees an ended connection's place and id, now or as soon as nothing is on its way to it.
    pub fn vacate(&mut self, token: Token) {
        if !self.conns.remove(token) {
            self.zombies.push(token);
        }
    }

    pub fn bury_zombies(&mut self) {
        for token in std::mem::take(&mut self.zombies) {
            self.vacate(token);
        }
    }

    // ---- accepting ----

    /// Accepts clients that wait, and deals them out among the loops.
    pub fn accept(&mut self) {
        self.accepting |= self.poller.take_acceptable();
        if !self.accepting {
            return;
        }
        let Some(listener) = self.listener.clone() else {
            self.accepting = false;
            return;
        };
        for _ in 0..ACCEPTS {
            match listener.accept() {
                Ok((socket, peer)) => match self.server.deal(self.number) {
                    Some(other) => other.post(Mail::Adopt(socket, peer)),
                    None => self.adopt(socket, peer),
                },
                Err(error) => {
                    self.accepting = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        // Taken up again at the next freed socket, and at each tick.
                        self.stalled = true;
                        log::warn!("clients cannot be accepted for now: {error}");
                    }
                    return;
                }
            }
        }
    }

    /// Takes a new connection into this loop.
    fn adopt(&mut self, socket: Socket, peer: Peer) {
        if self.closing {
            return self.server.leave(self.number, false, None);
        }
        let now = self.clock.now();
        let admitted = self.server.admit(&peer);
        let opening = Opening {
            peer,
            head: Vec::new(),
            scanner: HeadScanner::default(),
        };
        let conn = Conn {
            session: Session::default(),
            extra: Some(Box::new(Extra {
                opening: Some(opening),
                ..Extra::default()
            })),
            heard: now,
            since: now,
            phase: Phase::Opening,
            counted: admitted.is_ok(),
            ..Conn::default()
        };
        let Some(token) = self.conns.insert(conn) else {
            log::error!("no id is left for a new client");
            let ip = self
                .server
                .counted_address(&peer)
                .filter(|_| admitted.is_ok());
            return self.server.leave(self.number, admitted.is_ok(), ip);
        };
        if let (Ok(()), Some(ip)) = (&admitted, self.server.counted_address(&peer)) {
            self.addresses.insert(token.index, ip);
        }
        if let Err(error) = self.poller.add(socket, token) {
            log::warn!("a client's socket cannot be polled: {error}");
            return self.end(token, None);
        }
        if let Err(refusal) = admitted {
            self.refuse(token, &refusal, false);
        }
    }

    /// Refuses a request, and says nothing after it.
    pub fn refuse(&mut self, token: Token, refusal: &Refusal, head_only: bool) {
        self.server.stats.rejected.fetch_add(1, Ordering::Relaxed);
        let server = Arc::clone(&self.server);
        self.respond(token, |out| {
            refusal.write(out, &server.options.server_header, head_only)
        });
    }

    /// Answers a request with the last that is said on its connection.
    pub fn respond(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        conn.phase = Phase::Finishing;
        conn.since = now;
        if let Some(extra) = conn.extra.as_mut() {
            extra.opening = None;
        }
        self.say(token, write);
    }

    // ---- time ----

    /// How many ticks a wait may last; None is without limit.
    pub fn ticks_to_wait(&self) -> Option<u32> {
        if self.stalled {
            return Some(1);
        }
        let groups = self.conns.groups() as u32;
        if self.conns.live() == 0 {
            return None;
        }
        let now = self.clock.now();
        (1..=ROUND).find(|ticks| now.wrapping_add(*ticks) % ROUND < groups)
    }

    /// Looks after the connections whose turn has come in these ticks.
    pub fn sweep(&mut self, ticks: std::ops::RangeInclusive<u32>) {
        if ticks.is_empty() {
            return;
        }
        self.accepting |= self.stalled && self.listener.is_some();
        for tick in ticks.take(ROUND as usize) {
            let mut group = (tick % ROUND) as usize;
            while group < self.conns.groups() {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens.into_iter().for_each(|token| self.look_after(token));
                group += ROUND as usize;
            }
        }
        self.bury_zombies();
    }

    fn look_after(&mut self, token: Token) {
        let now = self.clock.now();
        let Self { conns, periods, .. } = self;
        let Some(conn) = conns.get(token) else { return };
        let age = now.wrapping_sub(conn.since);
        let silence = now.wrapping_sub(conn.heard);
        match conn.phase {
            Phase::Free | Phase::Deciding | Phase::Ended => (),
            Phase::Opening if age >= periods.handshake => {
                log::info!("a client has not finished its handshake in time");
                self.server.stats.rejected.fetch_add(1, Ordering::Relaxed);
                self.end(token, None);
            }
            Phase::Closing | Phase::Finishing | Phase::Lingering if age >= periods.close => {
                self.end(token, None);
            }
            Phase::Closing => self.say_goodbye(token),
            Phase::Open if conn.keeping => self.look_after_keeping(token, silence),
            Phase::Open if periods.idle > 0 && silence >= periods.idle => {
                // Fails if the application has closed at the same time.
                if self
                    .slot(token)
                    .advance(token.generation, State::Closing)
                    .is_ok()
                {
                    self.close(token, 1001, Vec::new());
                }
            }
            Phase::Open if periods.ping > 0 && silence >= periods.ping => {
                if !conn.pinged {
                    conn.pinged = true;
                    conn.since = now;
                    self.say(token, |out| proto::write_ping(out, PING));
                } else if age >= periods.ping {
                    log::info!("a client has not answered a ping in time");
                    self.end(token, None);
                }
            }
            _ => (),
        }
    }

    /// A client that is not read from: its taking bytes is its sign of life.
    fn look_after_keeping(&mut self, token: Token, silence: u32) {
        let now = self.clock.now();
        let ping = self.periods.ping;
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if !conn.blocked {
            // It waits for us, and not we for it.
            conn.heard = now;
            self.reconsider(token);
        } else if ping > 0 && silence >= ping.saturating_mul(2) {
            log::info!("a client has taken no bytes in time");
            self.end(token, None);
        }
    }

    // ---- the server's closing ----

    /// Stops accepting, and closes every websocket with 1001.
    pub fn begin_closing(&mut self) {
        self.closing = true;
        self.accepting = false;
        self.stalled = false;
        if let Some(listener) = self.listener.take() {
            // Fails only if it is not polled any more.
            let _ = self.poller.stop_listening(&listener);
        }
        for group in 0..self.conns.groups() {
            let tokens: Vec<Token> = self.conns.group(group).collect();
            for token in tokens {
                let phase = self.conns.get(token).map(|conn| conn.phase);
                match phase {
                    Some(Phase::Opening) => self.end(token, None),
                    Some(Phase::Open) => {
                        // Fails if the application has closed at the same time.
                        if self
                            .slot(token)
                            .advance(token.generation, State::Closing)
                            .is_ok()
                        {
                            self.close(token, 1001, Vec::new());
                        }
                    }
                    _ => (),
                }
            }
        }
    }
}

impl Due {
    fn failure(kind: FailureKind, close_code: u16, message: String) -> Self {
        let message = CString::new(message).unwrap_or_default();
        let event = EventKind::Message;
        Self::Failure(Box::new(Failure {
            kind,
            event,
            code: 0,
            close_code,
            message,
        }))
    }
}

/// What a ping counts in the queue: its payload and a header of two bytes.
pub fn ping_cost(payload: &[u8]) -> usize {
    payload.len() + 2
}

/// Whether an error only says that the client has gone.
fn is_leaving(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    )
}

//! Connections of ours: one attempt after the other, until a server has answered, and from one to the next.

use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::outgoings::Timer;
use super::{Core, Pending};
use crate::net::{self, Beginning, ConnectError, Peer, Socket, TlsSide, Token, memory, random};
use crate::proto::{HeadScanner, Limits, Role, Session};
use crate::server::event_loop::core::periods::Periods;
use crate::server::handshake::incoming_request::IncomingRequest;
use crate::server::websocket::connections::{Conn, Counted, Phase};
use crate::server::websocket::mailbox::Mail;
use crate::server::websocket::outgoing::{NewConnection, Outgoing};
use crate::server::{EventKind, Failure, FailureKind};

/// What was sent before an attempt is dropped before it begins; it is looked for so often.
const DROPPED_CHECK_MS: u32 = 10;

impl Core {
    /// Returns a connection of ours.
    pub(crate) fn outgoing(&mut self, token: Token) -> Option<&mut Outgoing> {
        self.outgoings.get_mut(token)
    }

    /// Returns the limits on what the peer of a connection may send.
    #[inline]
    pub(crate) fn limits_of(&self, token: Token) -> &Limits {
        let own = match self.outgoings.is_empty() {
            true => None,
            false => self.outgoings.limits(token),
        };
        own.unwrap_or(&self.input.limits)
    }

    /// At most so many bytes are queued when the peer is read from again, and `drain` is due.
    #[inline]
    pub(crate) fn low_of(&self, token: Token) -> u64 {
        match self.outgoings.is_empty() {
            true => self.mailbox.low(),
            false => self.address(token).low(),
        }
    }

    /// Returns the timeouts of a connection.
    pub(super) fn periods_of(&self, token: Token) -> Periods {
        let outgoing = self.outgoings.connections.get(&token.index);
        outgoing.map_or(self.periods, |outgoing| {
            Periods::of_connection(&outgoing.destination, &self.clock)
        })
    }

    /// Adds a connection of ours, and begins its first attempt.
    pub(super) fn connect(&mut self, new: NewConnection) {
        let NewConnection {
            token,
            path,
            destination,
        } = new;
        let now = self.clock.now();
        let conn = Conn {
            session: Session::new(Role::Client, None),
            last_received_tick: now,
            phase_started_tick: now,
            phase: Phase::Waiting,
            path,
            counted: Counted {
                for_path: true,
                for_limits: false,
            },
            ..Conn::default()
        };
        let connections = &mut self.outgoings.connections;
        let has_room = memory::frugal(|| connections.try_reserve(1)).is_ok();
        let added = has_room && self.conns.insert_outgoing(token, conn).is_some();
        if !added {
            return log::error!("out of memory for a new connection");
        }
        self.outgoings
            .connections
            .insert(token.index, Outgoing::new(destination));
        if self.reserve_lists(false).is_none() {
            let failure = connect_failure(FailureKind::Memory, 0, "out of memory".to_owned());
            return self.fail_attempt(token, failure);
        }
        if self.is_closing() || self.slot(token).is_closing_locally(token.generation) {
            return self.give_up(token);
        }
        self.begin_attempt(token);
    }

    /// Begins an attempt, unless what was sent before is still on its way here.
    fn begin_attempt(&mut self, token: Token) {
        let now = self.clock.now();
        let is_clean = self.slot(token).word().queued() == 0;
        let Some(outgoing) = self.outgoings.connections.get_mut(&token.index) else {
            return;
        };
        outgoing.attempt = outgoing.attempt.wrapping_add(1);
        let attempt = outgoing.attempt;
        if !is_clean {
            let tick = now.wrapping_add(self.clock.ticks(DROPPED_CHECK_MS));
            return self.outgoings.set_timer(token, attempt, tick);
        }
        let destination = Arc::clone(&outgoing.destination);
        let mailbox = self.mailbox;
        let report = move |result| mailbox.post(Mail::Connected(token, attempt, Box::new(result)));
        let deadline = self.poller.now() + destination.handshake_timeout;
        let begun = net::connect(destination.route(), deadline, Box::new(report));
        self.conns.entry_mut(token).phase = Phase::Connecting;
        match begun {
            Ok(connecting) => {
                outgoing.connecting = Some(connecting);
                let limit = u32::try_from(destination.handshake_timeout.as_millis());
                let ticks = self.clock.ticks(limit.unwrap_or(u32::MAX));
                self.outgoings
                    .set_timer(token, attempt, now.wrapping_add(ticks));
            }
            Err(error) => {
                let text = format!("cannot connect: {error}");
                self.fail_attempt(token, connect_failure(FailureKind::Io, 0, text));
            }
        }
    }

    /// An attempt has led to a socket, or has failed.
    pub(super) fn connected(
        &mut self,
        token: Token,
        attempt: u32,
        result: Result<(Socket, Peer), ConnectError>,
    ) {
        let is_awaited = |conn: &Conn| conn.phase == Phase::Connecting;
        let is_there = self.conns.get(token).is_some_and(is_awaited);
        let Some(outgoing) = self
            .outgoings
            .get_mut(token)
            .filter(|outgoing| is_there && outgoing.attempt == attempt)
        else {
            return;
        };
        outgoing.connecting = None;
        let destination = Arc::clone(&outgoing.destination);
        let (socket, peer) = match result {
            Ok(connected) => connected,
            Err(error) => {
                let kind = match error.kind {
                    io::ErrorKind::OutOfMemory => FailureKind::Memory,
                    io::ErrorKind::QuotaExceeded => FailureKind::Io,
                    _ => FailureKind::Address,
                };
                let code = error.http_status.map_or(0, i32::from);
                return self.fail_attempt(token, connect_failure(kind, code, error.message));
            }
        };
        self.peers.note_for_log(token, peer);
        let tls = destination.tls.as_ref();
        let beginning = Beginning {
            tls: tls.map(|(trust, name)| TlsSide::Client(trust, name)),
            has_proxy_header: false,
        };
        let drawn = random::fill(&mut outgoing.nonce);
        if let Err(error) = drawn.and_then(|()| self.poller.add(socket, token, beginning)) {
            let text = format!("cannot serve the connection: {error}");
            return self.fail_attempt(token, connect_failure(FailureKind::Io, 0, text));
        }
        let now = self.clock.now();
        let conn = self.conns.entry_mut(token);
        conn.phase = Phase::Answering;
        conn.last_received_tick = now;
        conn.sent_bytes = 0;
        conn.extra().incoming_request = Some(IncomingRequest {
            peer,
            head: Vec::new(),
            scanner: HeadScanner::default(),
            has_served_page: false,
        });
        self.pending.push_back((token, Pending::Request(peer)));
    }

    /// Acts on the timers that have gone off.
    pub(super) fn check_attempts(&mut self) {
        let now = self.clock.now();
        let is_over = |timer: &mut Timer| now.wrapping_sub(timer.tick).cast_signed() >= 0;
        let over: Vec<Timer> = self.outgoings.timers.extract_if(.., is_over).collect();
        for Timer { token, attempt, .. } in over {
            let outgoing = self.outgoings.get_mut(token);
            if outgoing.is_none_or(|outgoing| outgoing.attempt != attempt) {
                continue;
            }
            match self.conns.get(token).map(|conn| conn.phase) {
                Some(Phase::Waiting) => self.begin_attempt(token),
                Some(Phase::Connecting) => self.attempt_timed_out(token, "no connection"),
                Some(Phase::Answering | Phase::Deciding) => {
                    let part = match self.poller.pending_preamble(token) {
                        Some(_) => "the TLS handshake is incomplete",
                        None => "the server has not answered",
                    };
                    self.attempt_timed_out(token, part);
                }
                _ => (),
            }
        }
    }

    fn attempt_timed_out(&mut self, token: Token, part: &str) {
        let timeouts = &self.server.metrics.handshake_timeouts;
        timeouts.fetch_add(1, Ordering::Relaxed);
        let text = format!("timed out: {part}");
        self.fail_attempt(token, connect_failure(FailureKind::Address, 0, text));
    }

    /// An informational response has arrived (RFC 9110 section 15.2): another one follows.
    pub(crate) fn await_next_answer(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token)
            && let Some(incoming) = conn.extra().incoming_request.as_mut()
        {
            incoming.head = Vec::new();
            incoming.scanner = HeadScanner::default();
        }
    }

    /// Ends an attempt that has failed; another one may follow.
    pub(crate) fn fail_attempt(&mut self, token: Token, failure: Failure) {
        log::debug!(
            "{}: cannot connect: {}",
            self.name(token),
            failure.message.to_string_lossy()
        );
        if let Some(outgoing) = self.outgoings.get_mut(token) {
            outgoing.connecting = None;
            outgoing.failure.get_or_insert(Box::new(failure));
        }
        self.end(token, None);
    }

    /// Notes the error with which a connection ends, if its attempt fails by it.
    pub(super) fn note_attempt_error(&mut self, token: Token, error: Option<&io::Error>) {
        let is_attempt = self.conns.get(token).is_some_and(|conn| !conn.connected);
        let Some(outgoing) = self.outgoings.get_mut(token) else {
            return;
        };
        outgoing.connecting = None;
        if let Some(error) = error.filter(|_| is_attempt && outgoing.failure.is_none()) {
            let text = format!("connection failed: {error}");
            let failure = connect_failure(FailureKind::Address, 0, text);
            outgoing.failure = Some(Box::new(failure));
        }
    }

    /// Whether the verdict that has come is on an attempt that has ended. They come in the order of the attempts.
    pub(crate) fn is_late_verdict(&mut self, token: Token) -> bool {
        let Some(outgoing) = self.outgoings.get_mut(token) else {
            return false;
        };
        let is_late = outgoing.late_verdicts > 0;
        outgoing.late_verdicts -= u32::from(is_late);
        is_late
    }

    /// Ends a connection of ours for good, without an error, before it was open.
    pub(crate) fn give_up(&mut self, token: Token) {
        if let Some(outgoing) = self.outgoings.get_mut(token) {
            outgoing.is_last = true;
            outgoing.connecting = None;
        }
        self.end(token, None);
    }

    /// The server has ended the stream before it has answered.
    pub(super) fn left_unanswered(&mut self, token: Token, error: Option<io::Error>) {
        let kind = match &error {
            Some(error) if error.kind() == io::ErrorKind::InvalidData => FailureKind::Tls,
            Some(_) => FailureKind::Address,
            None => FailureKind::Protocol,
        };
        let text = match (&error, self.poller.pending_preamble(token)) {
            (Some(error), Some(_)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the server ended the connection during the TLS handshake".to_owned()
            }
            (Some(error), _) => error.to_string(),
            (None, _) => "the server ended the connection without an answer".to_owned(),
        };
        self.fail_attempt(token, connect_failure(kind, 0, text));
    }

    /// Lets an ended connection wait for its next attempt. Returns false if there is none.
    pub(crate) fn wait_for_attempt(&mut self, token: Token) -> bool {
        let (now, tick) = (self.poller.now(), self.clock.now());
        let Some(outgoing) = self.outgoings.get_mut(token) else {
            return false;
        };
        let Some(delay) = outgoing.next_delay(now) else {
            return false;
        };
        outgoing.attempt = outgoing.attempt.wrapping_add(1);
        let attempt = outgoing.attempt;
        // Full jitter, so that those whose server has gone do not come back together.
        let mut random = [0; 4];
        let _ = random::fill(&mut random);
        let part = u64::from(u32::from_ne_bytes(random));
        let delay = (delay.as_millis() as u64).saturating_mul(part) >> 32;
        let ticks = self.clock.ticks(u32::try_from(delay).unwrap_or(u32::MAX));
        self.outgoings
            .set_timer(token, attempt, tick.wrapping_add(ticks));
        true
    }

    /// Makes an ended connection ready for another attempt.
    pub(crate) fn reset_outgoing(&mut self, token: Token) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let client_queue = conn.extra.take().and_then(|extra| extra.client_queue);
        *conn = Conn {
            session: Session::new(Role::Client, None),
            generation: conn.generation,
            path: conn.path,
            counted: conn.counted,
            phase: Phase::Waiting,
            last_received_tick: now,
            phase_started_tick: now,
            ..Conn::default()
        };
        if client_queue.is_some() {
            conn.extra().client_queue = client_queue;
        }
    }

    /// Forgets a connection of ours after its last attempt.
    pub(crate) fn forget_outgoing(&mut self, token: Token) {
        if self.outgoings.connections.remove(&token.index).is_some() {
            self.outgoings.timers.retain(|timer| timer.token != token);
            self.server.leave(self.number, false, None);
            self.server.outgoing_ended();
        }
    }
}

/// Describes why an attempt has failed.
pub(crate) fn connect_failure(kind: FailureKind, code: i32, message: String) -> Failure {
    Failure {
        kind,
        event: EventKind::Upgrade,
        code,
        close_code: 0,
        message: CString::new(message).unwrap_or_default(),
        request: None,
    }
}

//! The end of connections: closing handshakes, failures, and what follows the last byte.

use std::io;
use std::sync::atomic::Ordering;

use super::{Core, Pending};
use crate::net::Token;
use crate::proto::{self, ProtoError};
use crate::server::FailureKind;
use crate::server::slot::State;
use crate::server::websocket::connections::{Conn, Phase};

impl Core {
    /// The client's close frame has come.
    pub(crate) fn client_closed(&mut self, token: Token, code: Option<u16>, reason: &[u8]) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let ours = conn.phase == Phase::Open;
        if ours {
            conn.begin_ending(Phase::Closing, now);
        }
        let extra = conn.extra();
        extra.close_status.received = Some(code.unwrap_or(1005));
        extra.close_status.reason = reason.to_vec();
        if ours {
            extra.pending_close = Some((code, Vec::new()));
            // It fails if the application has closed at the same time; then its mail comes late.
            let _ = self.slot(token).advance(token.generation, State::Closing);
        }
        self.queue_close_frame(token);
        self.finish_closing(token);
    }

    /// The client broke a rule: tells it by a close frame, and the application.
    pub(crate) fn fail(&mut self, token: Token, error: ProtoError) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let said = conn.has_queued_close();
        conn.session.abandon(&mut self.input.scratch);
        conn.begin_ending(Phase::Finishing, now);
        let code = error.close_code();
        let extra = conn.extra();
        extra.pending_close = None;
        extra.close_status.failed = Some(code);
        extra.close_queued = true;
        // Fails if the application has closed at the same time.
        let _ = self.slot(token).advance(token.generation, State::Closing);
        log::info!("{}: failing connection: {code}, {error}", self.name(token));
        self.server
            .metrics
            .protocol_errors
            .fetch_add(1, Ordering::Relaxed);
        let kind = match error {
            _ if error.is_too_big() => FailureKind::TooBig,
            _ if error.is_utf8() => FailureKind::Utf8,
            _ if error.is_memory() => FailureKind::Memory,
            _ => FailureKind::Protocol,
        };
        self.pending
            .push_back((token, Pending::failure(kind, code, error.to_string())));
        if !said {
            self.say(token, |out| proto::write_close(out, Some(code), b""));
        }
        self.mark_dirty(token);
    }

    /// Memory for what the client has sent was refused: ends with it, politely where that is possible.
    pub(crate) fn fail_for_memory(&mut self, token: Token) {
        match self.conns.get(token).map(|conn| conn.phase) {
            Some(Phase::Open | Phase::Closing) => self.fail(token, ProtoError::OutOfMemory),
            _ => self.end(token, Some(io::ErrorKind::OutOfMemory.into())),
        }
    }

    /// Closes a websocket from our side.
    pub(crate) fn close(&mut self, token: Token, code: u16, reason: Vec<u8>) {
        let now = self.clock.now();
        let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| conn.phase == Phase::Open)
        else {
            return;
        };
        conn.begin_ending(Phase::Closing, now);
        conn.session.drop_messages();
        conn.extra().pending_close = Some((Some(code), reason));
        // The client's close frame may be among what was kept.
        self.reconsider_backlog(token);
        self.queue_close_frame(token);
    }

    /// Closes a websocket with 1001: not the application wants it, but the server.
    pub(crate) fn close_by_server(&mut self, token: Token) {
        // Fails if the application closes it at the same time.
        if self
            .slot(token)
            .advance(token.generation, State::Closing)
            .is_ok()
        {
            self.close(token, 1001, Vec::new());
        }
    }

    /// Queues our close frame, once all that was sent before it is in the outbox.
    pub(super) fn queue_close_frame(&mut self, token: Token) {
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
        let Some((code, reason)) = extra.pending_close.take() else {
            return;
        };
        extra.close_queued = true;
        self.say(token, |out| proto::write_close(out, code, &reason));
        self.finish_closing(token);
    }

    /// After both close frames nothing more is said.
    fn finish_closing(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let extra = conn.extra();
        if extra.close_queued
            && extra.close_status.received.is_some()
            && conn.phase == Phase::Closing
        {
            conn.phase = Phase::Finishing;
            self.mark_dirty(token);
        }
    }

    /// The client's stream has ended.
    pub(crate) fn client_left(&mut self, token: Token, error: Option<io::Error>) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let is_opening = conn.phase == Phase::Opening;
        if let Some(error) = error
            .as_ref()
            .filter(|error| is_opening && is_broken(error))
        {
            log::info!("{}: TLS failed: {error}", self.name(token));
            self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
            return self.end(token, None);
        }
        if error.is_some() || conn.phase == Phase::Lingering {
            return self.end(token, error);
        }
        conn.reading.closed = true;
        // It may still read: what is queued leaves first.
        let last_is_queued = match conn.phase {
            // A page.
            Phase::Opening => conn.outbox.is_some(),
            Phase::Closing => conn.has_queued_close(),
            phase => phase == Phase::Finishing,
        };
        if last_is_queued {
            if conn.phase == Phase::Opening {
                conn.phase_started_tick = now;
            }
            conn.phase = Phase::Finishing;
            return self.mark_dirty(token);
        }
        if is_opening {
            log::debug!("{}: left during the handshake", self.name(token));
        }
        self.write(token);
        self.end(token, None);
    }

    /// Ends a connection now: closes the socket and lets `disconnect` follow.
    pub(crate) fn end(&mut self, token: Token, error: Option<io::Error>) {
        let is_there = |conn: &Conn| conn.phase != Phase::Ended;
        if !self.conns.look(token).is_some_and(is_there) {
            return;
        }
        if let Some(error) = &error {
            self.log_failure(token, error);
        }
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let deciding = conn.phase == Phase::Deciding;
        conn.phase = Phase::Ended;
        conn.writing.blocked = false;
        conn.session.abandon(&mut self.input.scratch);
        let (connected, counted) = (conn.connected, std::mem::take(&mut conn.counted.for_limits));
        let unsent = conn
            .outbox
            .as_ref()
            .map_or((0, 0), |out| (out.counted(), out.pings()));
        if let Some(extra) = conn.extra.as_mut() {
            extra.opening = None;
            extra.backlog = Vec::new();
            extra.backlog_from = 0;
            extra.deflater = None;
        }
        conn.reading.paused = false;
        self.poller.remove(token);
        self.drop_outbox(token);
        let slot = self.slot(token);
        slot.uncount_pings(unsent.1);
        // Fails if it is closing already.
        let _ = slot.advance(token.generation, State::Closing);
        // A drain that falls due now has nobody left to be told.
        let _ = slot.release(unsent.0 as u64, self.mailbox.low());
        let address = self.peers.take_counted(token);
        if !counted {
            self.acceptor.end_late_refusal();
        }
        self.server.leave(self.number, counted, address);
        self.server
            .metrics
            .open
            .fetch_sub(u64::from(connected), Ordering::Relaxed);
        self.acceptor.retry();
        if let Some(error) = error.filter(|error| connected && !is_leaving(error)) {
            let kind = match error.kind() {
                io::ErrorKind::OutOfMemory => FailureKind::Memory,
                _ => FailureKind::Io,
            };
            let text = format!("connection failed: {error}");
            self.pending
                .push_back((token, Pending::failure(kind, 1006, text)));
        }
        // While `upgrade` decides on the client's own thread, its verdict comes first.
        if !deciding {
            self.pending.push_back((token, Pending::Disconnect));
        }
    }

    #[cold]
    #[inline(never)]
    fn log_failure(&self, token: Token, error: &io::Error) {
        if error.kind() == io::ErrorKind::OutOfMemory {
            log::error!(
                "{}: out of memory; the connection is dropped",
                self.name(token)
            );
        } else {
            log::debug!("{}: connection failed: {error}", self.name(token));
        }
    }

    /// Ends a connection now, because the application asks for it.
    pub(crate) fn abort(&mut self, token: Token) {
        let is_there = |conn: &Conn| conn.phase != Phase::Ended;
        if self.conns.look(token).is_some_and(is_there) {
            log::debug!("{}: aborted", self.name(token));
            self.end(token, None);
        }
    }

    /// Frees an ended connection's place and id, now or as soon as nothing is on its way to it.
    pub(crate) fn vacate(&mut self, token: Token) {
        self.peers.forget(token);
        if !self.conns.remove(token) {
            self.pending_frees.push(token);
        }
    }

    /// Tries again to free the places of those to whom something was on its way.
    pub(super) fn retry_pending_frees(&mut self) {
        let Self {
            pending_frees,
            conns,
            ..
        } = self;
        pending_frees.retain(|token| !conns.remove(*token));
    }

    /// Stops accepting, and closes every websocket with 1001.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_closing(&mut self) {
        self.closing = true;
        self.acceptor.stop(&mut self.poller);
        let now = self.clock.now();
        for group in 0..self.conns.groups() {
            let tokens: Vec<Token> = self.conns.group(group).collect();
            for token in tokens {
                let Some(conn) = self.conns.get(token) else {
                    continue;
                };
                match conn.phase {
                    Phase::Opening => self.end(token, None),
                    Phase::Open => self.close_by_server(token),
                    // Of a page that is taken slowly, as long as of a websocket from now on.
                    Phase::Finishing | Phase::Lingering if !conn.connected => {
                        conn.extra().ending_since = now;
                    }
                    _ => (),
                }
            }
        }
    }
}

/// Whether an error says that what was received broke a rule.
fn is_broken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
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

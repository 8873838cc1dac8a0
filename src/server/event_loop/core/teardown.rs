//! The end of a connection: its socket is closed, and its resources are released.

use std::io;
use std::sync::atomic::Ordering;

use super::{Core, Pending};
use crate::net::Token;
use crate::proto::Role;
use crate::server::FailureKind;
use crate::server::slot::State;
use crate::server::websocket::connections::{Conn, Phase};

impl Core {
    /// The peer's stream has ended.
    pub(crate) fn peer_ended(&mut self, token: Token, error: Option<io::Error>) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        if matches!(conn.phase, Phase::Answering | Phase::Deciding)
            && conn.session.role() == Role::Client
        {
            return self.left_unanswered(token, error);
        }
        let is_opening = conn.phase == Phase::Opening;
        if let Some(error) = error
            .as_ref()
            .filter(|error| is_opening && is_invalid_data(error))
        {
            log::info!("{}: TLS failed: {error}", self.name(token));
            self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
            return self.end(token, None);
        }
        if error.is_some() || conn.phase == Phase::Lingering {
            return self.end(token, error);
        }
        conn.reading.closed = true;
        // It may still read: what is queued is sent first.
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
            return self.schedule_write(token);
        }
        if is_opening && !conn.is_idle_page() {
            log::debug!("{}: left during the handshake", self.name(token));
        }
        self.write(token);
        self.end(token, None);
    }

    /// Ends a connection now: closes the socket and lets `disconnect` follow.
    pub(crate) fn end(&mut self, token: Token, error: Option<io::Error>) {
        let is_there = |conn: &Conn| conn.phase != Phase::Ended;
        if !self.conns.get(token).is_some_and(is_there) {
            return;
        }
        if let Some(error) = &error {
            self.log_failure(token, error);
        }
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let role = conn.session.role();
        let was_deciding = conn.phase == Phase::Deciding;
        let is_deciding = was_deciding && role == Role::Server;
        conn.phase = Phase::Ended;
        conn.writing.blocked = false;
        conn.session.abandon(&mut self.input.scratch);
        let (connected, counted) = (conn.connected, std::mem::take(&mut conn.counted.for_limits));
        let unsent = conn
            .outbox
            .as_ref()
            .map_or((0, 0), |out| (out.counted(), out.pings()));
        let mut was_reported = false;
        if let Some(extra) = conn.extra.as_mut() {
            was_reported = extra.close_status.failed.is_some();
            extra.incoming_request = None;
            extra.backlog = Vec::new();
            extra.backlog_from = 0;
            extra.deflater = None;
        }
        conn.reading.paused = false;
        self.poller.remove(token);
        self.drop_outbox(token);
        self.uncount_held(token);
        let slot = self.slot(token);
        slot.uncount_pings(unsent.1);
        // Fails if it is closing already.
        let _ = slot.advance(token.generation, State::Closing);
        // A `drain` that becomes pending now is not called any more.
        let _ = slot.release(unsent.0 as u64, self.low_of(token));
        match role {
            Role::Server => {
                let address = self.peers.take_counted(token);
                if !counted {
                    self.acceptor.end_late_refusal();
                }
                self.server.leave(self.number, counted, address);
            }
            Role::Client => {
                self.note_attempt_error(token, error.as_ref());
                if let Some(outgoing) = self.outgoing(token) {
                    outgoing.late_verdicts += u32::from(was_deciding);
                }
            }
        }
        self.server
            .metrics
            .open
            .fetch_sub(u64::from(connected), Ordering::Relaxed);
        self.acceptor.retry();
        let is_news = connected && !was_reported;
        if let Some(error) = error.filter(|error| is_news && !is_disconnect(error)) {
            let kind = match error.kind() {
                io::ErrorKind::OutOfMemory | io::ErrorKind::QuotaExceeded => FailureKind::Memory,
                _ => FailureKind::Io,
            };
            let text = format!("connection failed: {error}");
            self.pending
                .push_back((token, Pending::failure(kind, 1006, text)));
        }
        // While `upgrade` decides on the client's own thread, its verdict comes first.
        if !is_deciding {
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
        if self.conns.get(token).is_some_and(is_there) {
            log::debug!("{}: aborted", self.name(token));
            match self.conns.get(token).is_some_and(Conn::is_unanswered) {
                true => self.give_up(token),
                false => self.end(token, None),
            }
        }
    }

    /// Frees an ended connection and its id, now or as soon as no mail to it is under way.
    pub(crate) fn free(&mut self, token: Token) {
        self.peers.forget(token);
        self.uncount_held(token);
        if !self.conns.remove(token) {
            self.pending_frees.push(token);
        }
    }

    /// Frees the connections to which mail was under way, if it has arrived.
    pub(super) fn retry_pending_frees(&mut self) {
        let Self {
            pending_frees,
            conns,
            ..
        } = self;
        pending_frees.retain(|token| !conns.remove(*token));
    }
}

/// Whether an error says that what was received is invalid.
fn is_invalid_data(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Whether an error only says that the peer has disconnected.
fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    )
}

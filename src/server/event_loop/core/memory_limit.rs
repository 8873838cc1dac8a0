//! MAX_MEMORY: what connections hold is counted, and when it is too much, those that hold most end.

use std::io;
use std::sync::atomic::Ordering;

use super::{Core, Pending};
use crate::net::Token;
use crate::proto::{self, Refusal};
use crate::server::FailureKind;
use crate::server::dispatch::pull::Batch;
use crate::server::slot::State;
use crate::server::websocket::connections::Phase;

/// The close code for a connection that ends because of MAX_MEMORY: try again later.
const CLOSE_CODE: u16 = 1013;

/// A frame that is being sent, and of which more is left, is not worth waiting for.
const MAX_REST_BYTES: usize = 64 * 1024;

/// What `error` reports.
const OVER_LIMIT: &str = "the server holds more than MAX_MEMORY";

impl Core {
    /// Counts what a connection holds, if it may hold anything beyond a turn.
    pub(crate) fn count_held(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.extra.is_some() || conn.session.held_bytes() > 0 || !self.account.is_empty() {
            self.count_all_held(token);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn count_all_held(&mut self, token: Token) {
        self.note_held(token);
        self.check_memory();
    }

    /// Counts what a connection holds, and ends none: what other connections have queued may be in the middle of
    /// being written. The next turn checks the limit.
    #[cold]
    #[inline(never)]
    pub(super) fn note_held(&mut self, token: Token) {
        let held = self.held_by(token);
        self.account.set(token.index, held);
    }

    fn held_by(&mut self, token: Token) -> u64 {
        let held = self.conns.get(token).map_or(0, |conn| conn.held_bytes());
        (held + self.poller.held_bytes(token)) as u64
    }

    /// Counts nothing any more for a connection that has ended.
    #[inline]
    pub(super) fn uncount_held(&mut self, token: Token) {
        if !self.account.is_empty() {
            self.account.set(token.index, 0);
        }
    }

    /// Counts what a pulled batch holds, until it is returned.
    pub(crate) fn count_lent(&mut self, batch: &mut Batch) {
        batch.counted = self.account.lend(batch.held_bytes() as u64);
    }

    /// Counts nothing any more for a batch that was returned.
    pub(super) fn uncount_lent(&mut self, batch: &Batch) {
        self.account.take_back(batch.counted);
    }

    /// Returns how many bytes of memory the loop holds for its connections.
    #[inline]
    pub(crate) fn held_bytes(&self) -> u64 {
        self.account.total()
    }

    #[cfg(test)]
    pub(crate) fn is_over_memory(&self) -> bool {
        self.account.is_over()
    }

    /// Ends connections, if more is held than is allowed.
    #[inline]
    pub(crate) fn check_memory(&mut self) {
        if self.account.is_over() {
            self.relieve();
        }
    }

    /// Ends the connections that hold most.
    #[cold]
    #[inline(never)]
    fn relieve(&mut self) {
        for (index, noted) in self.account.largest() {
            if !self.account.has_excess() {
                return;
            }
            let Some(token) = self.conns.token(index) else {
                self.account.set(index, 0);
                continue;
            };
            // Since it was noted, a client's own thread may have taken much of it.
            let held = self.held_by(token);
            if held > noted / 2 {
                self.end_for_memory(token, held);
            }
            self.note_held(token);
        }
    }

    fn end_for_memory(&mut self, token: Token, held: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let phase = conn.phase;
        let extra = conn.extra.as_ref();
        let was_failed = extra.is_some_and(|extra| extra.close_status.failed == Some(CLOSE_CODE));
        let is_reading_request = extra.is_some_and(|extra| extra.incoming_request.is_some());
        if phase != Phase::Ended && !was_failed {
            let closed = &self.server.metrics.memory_closed;
            closed.fetch_add(1, Ordering::Relaxed);
            log::warn!(
                "{}: ended because of MAX_MEMORY: it holds {held} of {} bytes",
                self.name(token),
                self.account.total()
            );
        }
        match phase {
            Phase::Open | Phase::Closing => self.fail_for_memory_limit(token),
            Phase::Opening if is_reading_request && !self.has_unsent(token) => {
                self.refuse(token, &Refusal::unavailable(), false);
            }
            _ => self.end(token, Some(over_limit())),
        }
    }

    /// Fails a websocket: what is queued for it is dropped, and only a close frame follows the frame that is
    /// being sent.
    fn fail_for_memory_limit(&mut self, token: Token) {
        let now = self.clock.now();
        let committed = self.poller.committed(token);
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let (mut has_dropped, mut rest) = (false, 0);
        if let Some(outbox) = conn.outbox.as_mut() {
            let (bytes, pings, dropped) = outbox.drop_unstarted(committed);
            (has_dropped, rest) = (dropped, outbox.unsent());
            let slot = self.slot(token);
            slot.uncount_pings(pings);
            // No `drain` follows: nothing more can be sent.
            let _ = slot.release(bytes as u64, self.low_of(token));
        }
        if rest > MAX_REST_BYTES {
            return self.end(token, Some(over_limit()));
        }
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let must_close = has_dropped || !conn.has_queued_close();
        conn.session.abandon(&mut self.input.scratch);
        conn.begin_ending(Phase::Finishing, now);
        let extra = conn.extra();
        extra.backlog = Vec::new();
        extra.backlog_from = 0;
        extra.deflater = None;
        extra.pending_close = None;
        extra.close_status.failed = Some(CLOSE_CODE);
        extra.close_queued = true;
        // Fails if it is closing already.
        let _ = self.slot(token).advance(token.generation, State::Closing);
        let message = OVER_LIMIT.to_owned();
        self.pending.push_back((
            token,
            Pending::failure(FailureKind::Memory, CLOSE_CODE, message),
        ));
        if must_close {
            self.queue_frame(token, |out| {
                proto::write_close(out, Some(CLOSE_CODE), b"");
            });
        }
        self.reconsider_backlog(token);
        self.schedule_write(token);
    }
}

fn over_limit() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, OVER_LIMIT)
}

//! Input that cannot be delivered yet is buffered as a backlog, and reading is paused.

use super::Core;
use crate::net::Token;
use crate::server::websocket::connections::Phase;

impl Core {
    /// Pauses reading, and buffers input, from `from` on, until it may be delivered.
    pub(crate) fn pause_reading(&mut self, token: Token, input: Vec<u8>, from: usize) {
        let Some(conn) = self
            .conns
            .get_mut(token)
            .filter(|conn| conn.phase != Phase::Ended)
        else {
            return;
        };
        conn.reading.paused = true;
        if from < input.len() {
            let extra = conn.extra();
            extra.backlog = input;
            extra.backlog_from = from;
        }
        self.poller.pause(token);
    }

    /// Takes the backlog, to deliver it. Returns its bytes, and where the undelivered ones begin.
    pub(crate) fn take_backlog(&mut self, token: Token) -> Option<(Vec<u8>, usize)> {
        let conn = self.conns.get_mut(token)?;
        conn.reading.backlog_scheduled = false;
        if !conn.reading.paused {
            return None;
        }
        let Some(extra) = conn.extra.as_mut() else {
            return Some((Vec::new(), 0));
        };
        Some((
            std::mem::take(&mut extra.backlog),
            std::mem::take(&mut extra.backlog_from),
        ))
    }

    /// Reads from the connection again, which has no backlog any more.
    pub(crate) fn resume_reading(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        conn.reading.paused = false;
        conn.drop_idle_extra();
        self.poller.resume(token);
    }

    /// Whether so much is queued, for the peer or for the client's own thread, that reading must pause.
    pub(crate) fn is_above_low_water(&mut self, token: Token) -> bool {
        let queued = self.slot(token).word().queued();
        let low = self.low_of(token);
        self.conns.get_mut(token).is_some_and(|conn| {
            conn.phase == Phase::Open
                && (queued > low || conn.client_queue().is_some_and(|queue| !queue.has_room()))
        })
    }

    /// Delivers the backlog in the next turn, if the reason for the pause is gone.
    pub(crate) fn reconsider_backlog(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.reading.paused) else {
            return;
        };
        if conn.phase != Phase::Open || self.slot(token).word().queued() <= self.low_of(token) {
            self.schedule_backlog(token);
        }
    }

    /// Delivers the backlog in the next turn.
    pub(crate) fn schedule_backlog(&mut self, token: Token) {
        if let Some(conn) = self
            .conns
            .get_mut(token)
            .filter(|conn| !conn.reading.backlog_scheduled)
        {
            conn.reading.backlog_scheduled = true;
            self.input.backlogged.push_back(token);
        }
    }
}

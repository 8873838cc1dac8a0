//! Input that cannot be delivered yet: it is kept, and nothing more is read meanwhile.

use super::Core;
use crate::net::Token;
use crate::server::websocket::connections::Phase;

impl Core {
    /// Keeps input, from `from` on, until it may be delivered; nothing is read meanwhile.
    pub(crate) fn pause_reading(&mut self, token: Token, input: Vec<u8>, from: usize) {
        let Some(conn) = self
            .conns
            .get(token)
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

    /// Takes what was kept, to deliver it.
    pub(crate) fn take_backlog(&mut self, token: Token) -> Option<(Vec<u8>, usize)> {
        let conn = self.conns.get(token)?;
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

    /// Reads from the client again: nothing is kept any more.
    pub(crate) fn resume_reading(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        conn.reading.paused = false;
        conn.shed();
        self.poller.resume(token);
    }

    /// Whether a client is not to be read from for now.
    pub(crate) fn is_above_low_water(&mut self, token: Token) -> bool {
        let queued = self.slot(token).word().queued();
        let low = self.mailbox.low();
        self.conns.get(token).is_some_and(|conn| {
            conn.phase == Phase::Open
                && (queued > low || conn.client_queue().is_some_and(|hand| !hand.has_room()))
        })
    }

    /// Delivers kept input again, if nothing speaks against it any more.
    pub(crate) fn reconsider_backlog(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token).filter(|conn| conn.reading.paused) else {
            return;
        };
        if conn.phase != Phase::Open || self.slot(token).word().queued() <= self.mailbox.low() {
            self.schedule_backlog(token);
        }
    }

    /// The next turn delivers what is kept of this client's input.
    pub(crate) fn schedule_backlog(&mut self, token: Token) {
        if let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| !conn.reading.backlog_scheduled)
        {
            conn.reading.backlog_scheduled = true;
            self.input.backlogged.push_back(token);
        }
    }
}

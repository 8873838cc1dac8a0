//! Input that cannot be delivered yet: it is kept, and nothing more is read meanwhile.

use super::Core;
use crate::net::Token;
use crate::server::websocket::connections::Phase;

impl Core {
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
        let conn = self.conns.get(token)?;
        conn.listed = false;
        if !conn.keeping {
            return None;
        }
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

    /// Delivers kept input again, if nothing speaks against it any more.
    pub fn reconsider(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token).filter(|conn| conn.keeping) else {
            return;
        };
        if conn.phase != Phase::Open || self.slot(token).word().queued() <= self.mailbox.low() {
            self.enlist(token);
        }
    }

    /// The next turn delivers what is kept of this client's input.
    pub fn enlist(&mut self, token: Token) {
        if let Some(conn) = self.conns.get(token).filter(|conn| !conn.listed) {
            conn.listed = true;
            self.waiting.push_back(token);
        }
    }
}

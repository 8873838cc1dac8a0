//! Peers of connections, for the log.

use std::collections::HashMap;

use log::Level;

use crate::net::{Peer, Token, memory};

/// Peers of the connections that came while something listened to the log: the system forgets the address of
/// a peer that resets its connection.
#[derive(Default)]
pub(super) struct LoggedPeers(HashMap<u32, Peer>);

impl LoggedPeers {
    /// Notes the peer of a new connection, if lines about it may follow.
    #[inline]
    pub(super) fn note(&mut self, token: Token, peer: Peer) {
        if log::log_enabled!(Level::Info) {
            self.insert(token, peer);
        }
    }

    #[cold]
    fn insert(&mut self, token: Token, peer: Peer) {
        // Without memory the system is asked later.
        if memory::frugal(|| self.0.try_reserve(1)).is_ok() {
            self.0.insert(token.index, peer);
        }
    }

    /// Returns the peer of a connection, if it was noted.
    pub(super) fn get(&self, token: Token) -> Option<Peer> {
        self.0.get(&token.index).copied()
    }

    pub(super) fn forget(&mut self, token: Token) {
        if !self.0.is_empty() {
            self.0.remove(&token.index);
        }
    }
}

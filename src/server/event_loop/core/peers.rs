//! Addresses of peers, of the connections for which one is needed.

use std::collections::{HashMap, TryReserveError};
use std::net::IpAddr;

use log::Level;

use crate::net::{Peer, Token, memory};

/// Both are by the tokens' indices.
#[derive(Default)]
pub(super) struct Peers {
    /// The addresses that count against MAX_CONNECTIONS_PER_IP.
    counted: HashMap<u32, IpAddr>,
    /// The peers of connections that were accepted while something listened to the log: the system forgets the
    /// address of a peer that resets its connection. And clients that proxies have named.
    logged: HashMap<u32, Peer>,
}

impl Peers {
    /// Reserves memory for one more counted address.
    pub(super) fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.counted.try_reserve(1)
    }

    /// Notes the address for which a connection counts. Memory for it is reserved.
    pub(super) fn note_counted(&mut self, token: Token, address: IpAddr) {
        self.counted.insert(token.index, address);
    }

    /// Returns the address for which a connection has counted.
    pub(super) fn take_counted(&mut self, token: Token) -> Option<IpAddr> {
        match self.counted.is_empty() {
            true => None,
            false => self.counted.remove(&token.index),
        }
    }

    /// Notes the peer of a new connection, if lines of the log about it may follow.
    #[inline]
    pub(super) fn note_for_log(&mut self, token: Token, peer: Peer) {
        if log::log_enabled!(Level::Info) {
            self.insert_for_log(token, peer);
        }
    }

    /// Notes the client of a connection, as a proxy has named it.
    #[cold]
    pub(super) fn name(&mut self, token: Token, client: Peer) {
        self.insert_for_log(token, client);
    }

    #[cold]
    fn insert_for_log(&mut self, token: Token, peer: Peer) {
        // Without memory the system is asked later.
        if memory::frugal(|| self.logged.try_reserve(1)).is_ok() {
            self.logged.insert(token.index, peer);
        }
    }

    /// Returns the peer of a connection, if it was noted for the log.
    pub(super) fn logged(&self, token: Token) -> Option<Peer> {
        self.logged.get(&token.index).copied()
    }

    /// Forgets a connection that is gone.
    pub(super) fn forget(&mut self, token: Token) {
        if !self.logged.is_empty() {
            self.logged.remove(&token.index);
        }
    }
}

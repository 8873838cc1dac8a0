//! Who the client is, when a proxy says so.

use std::sync::atomic::Ordering;

use super::Core;
use crate::net::{NoHeader, Peer, Token, memory};
use crate::proto::Refusal;

impl Core {
    /// The connection's PROXY header has been received. The proxy may not know a client.
    pub(crate) fn learn_client(&mut self, token: Token) {
        let client = self.poller.take_client();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let Some(request) = conn.extra().incoming_request.as_mut() else {
            // It is being refused already.
            return;
        };
        if let Some(client) = client {
            request.peer = client;
        }
        let peer = request.peer;
        if let Err(refusal) = self.change_client(token, peer) {
            self.refuse(token, &refusal, false);
        }
    }

    /// Ends a connection without the PROXY header that it must begin with.
    pub(crate) fn refuse_unproxied(&mut self, token: Token, why: NoHeader) {
        self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        log::info!("{}: {}", self.name(token), why.text());
        self.end(token, None);
    }

    /// Names the connection by its client from now on, and counts it for the client's address.
    ///
    /// # Errors
    ///
    /// The address has as many connections as it may have, or memory is refused. The connection counts for none.
    pub(crate) fn change_client(&mut self, token: Token, client: Peer) -> Result<(), Refusal> {
        self.peers.name(token, client);
        let admission = &self.server.admission;
        if let Some(before) = self.peers.take_counted(token) {
            admission.uncount_address(before);
        }
        let Some(address) = admission.address_of_client(&client) else {
            return Ok(());
        };
        let room = memory::frugal(|| self.peers.reserve());
        room.map_err(|_| Refusal::unavailable())?;
        admission.count_address(address)?;
        self.peers.note_counted(token, address);
        Ok(())
    }
}

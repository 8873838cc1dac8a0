//! New connections, and those that are refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Core;
use super::input::Input;
use super::output::Output;
use crate::net::{Beginning, Peer, Socket, TlsSide, Token, memory};
use crate::proto::{self, HeadScanner, Refusal, Session};
use crate::server::handshake::incoming_request::{HeadError, IncomingRequest};
use crate::server::log::ConnectionName;
use crate::server::websocket::connections::{Conn, Counted, Extra, Phase};

/// Maximum number of connections that are accepted in one turn.
const MAX_ACCEPTS: usize = 64;

/// Why an idle connection ends that could have stayed.
pub(super) const SHORTAGE: &str = "descriptors or memory are short";

impl Core {
    /// Accepts connections that wait, and assigns them to the loops.
    #[inline]
    pub(crate) fn accept(&mut self) {
        if self.acceptor.poll(&mut self.poller) {
            self.accept_waiting();
        }
    }

    #[inline(never)]
    fn accept_waiting(&mut self) {
        for _ in 0..MAX_ACCEPTS {
            let Some((socket, peer)) = self.acceptor.accept(&self.server, self.clock.now()) else {
                if self.acceptor.is_stalled() {
                    self.end_idle_pages(SHORTAGE);
                    self.server.end_idle_pages_of_others(self.number);
                }
                return;
            };
            if !self.server.admission.may_connect(&peer) {
                self.refuse_untrusted(peer);
                continue;
            }
            match self.server.admission.admit(&peer) {
                Ok(()) => self.assign(socket, peer),
                Err(refusal) => self.refuse_over_limit(socket, peer, &refusal),
            }
        }
    }

    /// Ends connections that were answered with a page and wait for the next request. `reason` is for the log.
    #[cold]
    pub(super) fn end_idle_pages(&mut self, reason: &str) {
        for group in 0..self.conns.groups() {
            let is_idle = |token: &Token| self.conns.get(*token).is_some_and(Conn::is_idle_page);
            let idle: Vec<Token> = self.conns.group(group).filter(is_idle).collect();
            for token in idle {
                log::debug!("{}: ended while idle: {reason}", self.name(token));
                self.end(token, None);
            }
        }
    }

    /// Closes a connection of somebody whose PROXY header would not be believed.
    #[cold]
    fn refuse_untrusted(&self, peer: Peer) {
        self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        log::info!("{}: not one of TRUSTED_PROXIES", name_without_id(peer));
    }

    /// Assigns an admitted connection to the loop with the fewest.
    fn assign(&mut self, socket: Socket, peer: Peer) {
        match self.server.assign(self.number) {
            Some((number, other)) => {
                if !other.post_connection(self.server.id(), socket, peer) {
                    let address = self.server.admission.address_of_connection(&peer);
                    self.server.leave(number, true, address);
                }
            }
            None => self.register(socket, peer),
        }
    }

    /// Refuses a connection over a limit and closes it at once: otherwise the limit would not bound
    /// descriptors. A few that speak TLS are kept until the handshake, without which they cannot receive the
    /// response.
    fn refuse_over_limit(&mut self, socket: Socket, peer: Peer, refusal: &Refusal) {
        if self.server.identity().is_none() {
            self.count_refusal(refusal, || name_without_id(peer));
            let mut words = Vec::new();
            refusal.write(&mut words, &self.server.options.server_header, false);
            return socket.leave_with(&words);
        }
        if !self.acceptor.may_refuse_late() {
            self.count_refusal(refusal, || name_without_id(peer));
            return socket.leave_with(&proto::TLS_REFUSAL);
        }
        self.server.count_connection(self.number);
        if let Some(token) = self.add_connection(socket, peer, false) {
            self.acceptor.begin_late_refusal();
            self.refuse(token, refusal, false);
        }
    }

    /// Adds an admitted connection to this loop.
    pub(super) fn register(&mut self, socket: Socket, peer: Peer) {
        if self.is_closing() {
            let address = self.server.admission.address_of_connection(&peer);
            return self.server.leave(self.number, true, address);
        }
        self.add_connection(socket, peer, true);
    }

    /// Returns None when it cannot be served.
    fn add_connection(&mut self, socket: Socket, peer: Peer, admitted: bool) -> Option<Token> {
        let now = self.clock.now();
        let request = IncomingRequest {
            peer,
            head: Vec::new(),
            scanner: HeadScanner::default(),
            has_served_page: false,
        };
        let conn = Conn {
            session: Session::default(),
            extra: Some(Box::new(Extra {
                incoming_request: Some(request),
                ..Extra::default()
            })),
            last_received_tick: now,
            phase_started_tick: now,
            phase: Phase::Opening,
            counted: Counted {
                for_limits: admitted,
                ..Counted::default()
            },
            ..Conn::default()
        };
        let address = self.server.admission.address_of_connection(&peer);
        let address = address.filter(|_| admitted);
        let room = self.reserve_lists(address.is_some());
        let Some(token) = room.and_then(|()| self.conns.insert(conn)) else {
            log::error!(
                "{}: out of ids or memory for a new connection",
                name_without_id(peer)
            );
            self.server.leave(self.number, admitted, address);
            return None;
        };
        if let Some(address) = address {
            self.peers.note_counted(token, address);
        }
        self.peers.note_for_log(token, peer);
        let identity = self.server.identity();
        let beginning = Beginning {
            tls: identity.as_ref().map(TlsSide::Server),
            has_proxy_header: self.server.options.proxy_protocol,
        };
        if let Err(error) = self.poller.add(socket, token, beginning) {
            let name = ConnectionName {
                websocket: self.conns.id(token),
                peer: Some(peer),
            };
            log::warn!("{name}: cannot poll its socket: {error}");
            if !admitted {
                self.acceptor.begin_late_refusal();
            }
            self.end(token, None);
            return None;
        }
        Some(token)
    }

    /// Reserves memory for one more connection in each list in which it may be entered.
    pub(super) fn reserve_lists(&mut self, has_address: bool) -> Option<()> {
        let clients = self.conns.live() + 1;
        memory::frugal(|| {
            let Self {
                input: Input { backlogged, .. },
                output: Output { scheduled, .. },
                peers,
                pending,
                pending_frees,
                ..
            } = self;
            scheduled.try_reserve(clients.saturating_sub(scheduled.len()))?;
            pending_frees.try_reserve(clients.saturating_sub(pending_frees.len()))?;
            backlogged.try_reserve(clients.saturating_sub(backlogged.len()))?;
            pending.try_reserve((2 * clients).saturating_sub(pending.len()))?;
            match has_address {
                true => peers.reserve(),
                false => Ok(()),
            }
        })
        .ok()
    }

    /// Refuses a request whose head cannot be read.
    pub(crate) fn fail_request(&mut self, token: Token, error: HeadError) {
        match error {
            HeadError::Refused(refusal) => self.refuse(token, &refusal, false),
            HeadError::Tls => self.refuse_tls(token),
            HeadError::Memory => self.end(token, Some(io::ErrorKind::OutOfMemory.into())),
        }
    }

    /// Refuses a request; nothing is sent after the response.
    pub(crate) fn refuse(&mut self, token: Token, refusal: &Refusal, head_only: bool) {
        self.count_refusal(refusal, || self.name(token));
        let server = Arc::clone(&self.server);
        let len = refusal.max_len(&server.options.server_header);
        self.respond(len, token, |out| {
            refusal.write(out, &server.options.server_header, head_only)
        });
    }

    fn count_refusal(&self, refusal: &Refusal, name: impl FnOnce() -> ConnectionName) {
        self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        let Refusal { status, text, .. } = refusal;
        log::info!("{}: request refused: {status} {text}", name());
    }

    /// Refuses a request without TLS on a port with TLS, unless the connection is being refused already.
    pub(crate) fn refuse_plaintext(&mut self, token: Token) {
        let is_opening = self
            .conns
            .get_mut(token)
            .is_some_and(|conn| conn.phase == Phase::Opening);
        if is_opening {
            self.refuse(token, &Refusal::wants_tls(), false);
        }
    }

    /// Refuses a TLS handshake on a port without TLS.
    fn refuse_tls(&mut self, token: Token) {
        self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
        log::info!("{}: TLS handshake on a port without TLS", self.name(token));
        let alert = &proto::TLS_REFUSAL;
        self.respond(alert.len(), token, |out| out.extend_from_slice(alert));
    }

    /// Responds to a request, and waits for the next one on the same connection.
    pub(crate) fn respond_and_continue(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        conn.phase_started_tick = now;
        if let Some(request) = conn.extra().incoming_request.as_mut() {
            request.head = Vec::new();
            request.scanner = HeadScanner::default();
            request.has_served_page = true;
        }
        // A page reserves its own memory.
        self.queue_response(0, token, write);
    }

    /// Responds to a request with at most `len` bytes, the last ones that are sent on the connection.
    pub(crate) fn respond(&mut self, len: usize, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        conn.begin_ending(Phase::Finishing, now);
        conn.extra().incoming_request = None;
        self.queue_response(len, token, write);
    }
}

/// Returns how the log names a connection that has no id.
fn name_without_id(peer: Peer) -> ConnectionName {
    ConnectionName {
        websocket: 0,
        peer: Some(peer),
    }
}

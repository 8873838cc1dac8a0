//! What a loop owns, and everything it does with it that calls no foreign code.
//!
//! Callbacks are recorded as pending here and run by [`crate::server::event_loop`] when nothing is borrowed.

mod accepting;
mod backlog;
pub(crate) mod clock;
mod closing;
mod deflating;
mod logged_peers;
mod timeouts;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::net::{Listener, Poller, Token, memory};
use crate::proto::{Deflaters, Limits, Scratch};
use crate::server::dispatch::pull::Batch;
use crate::server::event::Event;
use crate::server::event_loop::core::clock::Clock;
use crate::server::event_loop::core::logged_peers::LoggedPeers;
use crate::server::handler_calls::Verdict;
use crate::server::log::ConnectionName;
use crate::server::metrics::Traffic;
use crate::server::shared::Shared;
use crate::server::slot::Slot;
use crate::server::websocket::client_thread::ClientEvent;
use crate::server::websocket::connections::{Conns, Phase};
use crate::server::websocket::mailbox::{Mail, Mailbox, ping_cost};
use crate::server::websocket::outbox::Outbox;
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::slot_arena::Address;
use crate::server::{EventKind, Failure, FailureKind, Request};

/// The receive buffer of a loop, shared by all its clients.
pub(crate) const ARENA: usize = 512 * 1024;

/// A connection that was answered with a page stays open for so many milliseconds.
const PAGE_KEEP_ALIVE_MS: u32 = 2_000;

/// A callback that is to run when nothing is borrowed.
pub(crate) enum Pending {
    Drain,
    Failure(Box<Failure>),
    Disconnect,
    /// `upgrade` has answered on the client's own thread.
    Verdict(Verdict, Box<Request>),
    /// The client's own thread has ended.
    ThreadEnded,
}

/// Timeouts in ticks; 0 is never.
struct Periods {
    handshake: u32,
    /// For a connection that was answered with a page and asks for nothing.
    kept: u32,
    idle: u32,
    ping: u32,
    close: u32,
}

pub(crate) struct Core {
    pub poller: Poller,
    pub conns: Conns,
    pub scratch: Scratch,
    pub limits: Limits,
    deflaters: Deflaters,
    /// Messages of so many bytes are compressed where that was agreed on.
    deflate_from: usize,
    pub clock: Clock,
    pub traffic: Traffic,
    /// The receive buffer; lent to the turn, and to a pulled batch.
    pub arena: Option<Vec<u8>>,
    /// Connections whose kept input is to be delivered.
    pub waiting: VecDeque<Token>,
    pub pending: VecDeque<(Token, Pending)>,
    /// The server closes, and every client has been told.
    pub closing: bool,
    server: Arc<Shared>,
    mailbox: &'static Mailbox,
    number: usize,
    listener: Option<Arc<Listener>>,
    /// Clients may be waiting to be accepted.
    accepting: bool,
    /// Accepting has failed, and is to be tried again.
    stalled: bool,
    /// The tick in which it failed last; None when that was told to be over.
    unaccepted: Option<u32>,
    /// Connections over a limit that are here to be told so.
    turned_away: usize,
    /// How many waits have failed one after the other.
    failed_waits: u32,
    /// The timer could not be set when that was last tried.
    timer_failed: bool,
    periods: Periods,
    /// Boxed as they are in a connection, which then holds but a pointer.
    #[expect(clippy::vec_box, reason = "boxes are moved, not their content")]
    outboxes: Vec<Box<Outbox>>,
    dirty: Vec<Token>,
    /// Ended connections to whose ids something is still on its way.
    pending_frees: Vec<Token>,
    /// Whose address counts against MAX_CONNECTIONS_PER_IP.
    addresses: HashMap<u32, IpAddr>,
    logged_peers: LoggedPeers,
}

impl Core {
    pub(crate) fn new(
        server: Arc<Shared>,
        number: usize,
        poller: Poller,
        conns: Conns,
    ) -> io::Result<Self> {
        let options = &server.options;
        let clock = Clock::new(options);
        let ticks = |time| if time == 0 { 0 } else { clock.ticks(time) };
        let periods = Periods {
            handshake: ticks(options.handshake_timeout),
            kept: ticks(options.handshake_timeout.min(PAGE_KEEP_ALIVE_MS)),
            idle: ticks(options.idle_timeout),
            ping: ticks(options.ping_interval),
            close: ticks(options.close_timeout),
        };
        let limits = Limits {
            max_message_size: options.max_message_size,
            max_fragments: options.max_fragments,
        };
        Ok(Self {
            mailbox: conns.slot_arena().mailbox,
            poller,
            conns,
            scratch: Scratch::on_promise(memory::promise_one),
            limits,
            deflaters: Deflaters::new(options.deflate_level).on_promise(memory::promise_one),
            // Nothing becomes shorter than nothing.
            deflate_from: options.deflate_min_size.max(1),
            clock,
            traffic: Traffic::default(),
            arena: Some(memory::zeros(ARENA)?),
            waiting: memory::long_queue()?,
            pending: memory::long_queue()?,
            closing: false,
            server,
            number,
            listener: None,
            accepting: false,
            stalled: false,
            unaccepted: None,
            turned_away: 0,
            failed_waits: 0,
            timer_failed: false,
            periods,
            outboxes: Vec::new(),
            dirty: memory::long_list()?,
            pending_frees: memory::long_list()?,
            addresses: HashMap::new(),
            logged_peers: LoggedPeers::default(),
        })
    }

    /// From now on clients are accepted here.
    pub(crate) fn listen(&mut self, listener: Arc<Listener>) -> io::Result<()> {
        self.poller.listen(&listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Whether a turn would find something to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.poller.has_work()
            || self.accepting
            || !self.waiting.is_empty()
            || !self.pending.is_empty()
            || !self.dirty.is_empty()
    }

    /// Whether nothing is left of a server that closes.
    pub(crate) fn is_finished(&self) -> bool {
        self.closing && self.conns.live() == 0
    }

    /// Whether nothing is left but events that a pulling host has not fetched.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let groups = self.conns.groups();
        self.closing
            && (0..groups).all(|group| {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens.into_iter().all(|token| {
                    self.conns
                        .get(token)
                        .is_none_or(|conn| conn.phase == Phase::Ended)
                })
            })
    }

    /// Whether `connect` has run, or is about to.
    pub(crate) fn is_connected(&self, token: Token) -> bool {
        self.conns.look(token).is_some_and(|conn| conn.connected)
    }

    /// Returns how the log names a connection that is there. It may cost a system call: ask for it only when
    /// a line is written.
    #[cold]
    pub(crate) fn name(&self, token: Token) -> ConnectionName {
        let noted = self.logged_peers.get(token);
        ConnectionName {
            websocket: self.conns.id(token),
            peer: noted.or_else(|| self.poller.peer(token).ok()),
        }
    }

    fn slot(&self, token: Token) -> &'static Slot {
        self.conns.slot(token.index)
    }

    /// Does what other threads have asked for until now.
    #[inline]
    pub(crate) fn take_mail(&mut self) {
        if self.mailbox.has_mail() {
            self.open_all_mail();
        }
        if !self.pending_frees.is_empty() {
            self.retry_pending_frees();
        }
    }

    fn open_all_mail(&mut self) {
        for _ in 0..self.mailbox.begin_taking() {
            let Some(mail) = self.mailbox.take() else {
                break;
            };
            self.open_mail(mail);
        }
    }

    fn open_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message(token, frame) => {
                let reservation = self.mailed(token, frame.len(), 0);
                let queued = self.queue_mailed(reservation, frame);
                self.traffic.messages_out += u64::from(queued);
            }
            Mail::Ping(token, payload) => {
                let reservation = self.mailed(token, ping_cost(&payload), 1);
                self.queue_ping(reservation, &payload);
            }
            Mail::Close(token, code, reason) => self.close(token, code, reason),
            Mail::Abort(token) => self.abort(token),
            Mail::Flush(token) => self.mark_dirty(token),
            Mail::Released(token, released) => {
                if released.drain {
                    self.pending.push_back((token, Pending::Drain));
                }
                self.reconsider_backlog(token);
                self.queue_close_frame(token);
            }
            Mail::ClientQueueLow(token) => self.reconsider_backlog(token),
            Mail::Verdict(token, verdict, request) => {
                self.pending
                    .push_back((token, Pending::Verdict(verdict, request)));
            }
            Mail::ThreadEnded(token) => self.pending.push_back((token, Pending::ThreadEnded)),
            Mail::Connection(socket, peer) => self.register(socket, peer),
            Mail::BatchReturned(batch) => self.take_back(*batch),
        }
    }

    /// Takes the mail that comes before a message whose bytes are counted.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_mail_before(&mut self, token: Token, counted: u64) {
        let reservation = Reservation::counted(self.address(token), counted, 0);
        self.take_mail();
        reservation.queued();
    }

    fn address(&self, token: Token) -> Address {
        Address {
            slot: self.slot(token),
            mailbox: self.mailbox,
            token,
        }
    }

    /// What was counted for something that has come by mail; the mail's own cost is uncounted.
    fn mailed(&mut self, token: Token, bytes: usize, pings: u32) -> Reservation {
        let counted = bytes as u64 + Mail::COST;
        let mut reservation = Reservation::counted(self.address(token), counted, pings);
        let cost = reservation.part(Mail::COST);
        self.release(token, cost);
        reservation
    }

    /// Takes back what a pulled batch was lent.
    pub(crate) fn take_back(&mut self, mut batch: Batch) {
        self.arena = self.arena.take().or(batch.arena.take());
        batch.ended.drain(..).for_each(|token| self.vacate(token));
    }

    /// Hands an event to the client's own thread.
    pub(crate) fn hand_over(&mut self, token: Token, event: Event<'static>) {
        if let Some(hand) = self.conns.get(token).and_then(|conn| conn.client_queue()) {
            hand.push(ClientEvent::Event(event));
        }
    }
}

impl Pending {
    fn failure(kind: FailureKind, close_code: u16, message: String) -> Self {
        let message = CString::new(message).unwrap_or_default();
        let event = EventKind::Message;
        Self::Failure(Box::new(Failure {
            kind,
            event,
            code: 0,
            close_code,
            message,
        }))
    }
}

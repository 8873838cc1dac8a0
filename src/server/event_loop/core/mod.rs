//! What a loop owns, and everything it does with it that calls no foreign code.
//!
//! Callbacks are recorded as pending here and run by [`crate::server::event_loop`] when nothing is borrowed.

mod accepting;
mod acceptor;
mod backlog;
pub(crate) mod clock;
mod closing;
mod deflating;
pub(crate) mod input;
mod output;
mod peers;
mod periods;
mod timeouts;
mod waits;
mod writing;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::net::{Listener, Poller, Token, memory};
use crate::server::dispatch::pull::Batch;
use crate::server::event::Event;
use crate::server::event_loop::core::acceptor::Acceptor;
use crate::server::event_loop::core::clock::Clock;
use crate::server::event_loop::core::input::Input;
use crate::server::event_loop::core::output::Output;
use crate::server::event_loop::core::peers::Peers;
use crate::server::event_loop::core::periods::Periods;
use crate::server::event_loop::core::waits::Waits;
use crate::server::handler_calls::Verdict;
use crate::server::log::ConnectionName;
use crate::server::metrics::Traffic;
use crate::server::shared::Shared;
use crate::server::slot::Slot;
use crate::server::websocket::client_thread::ClientEvent;
use crate::server::websocket::connections::{Conns, Phase};
use crate::server::websocket::mailbox::{Mail, Mailbox, ping_cost};
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::slot_arena::Address;
use crate::server::{EventKind, Failure, FailureKind, Request};

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

pub(crate) struct Core {
    pub poller: Poller,
    pub conns: Conns,
    pub clock: Clock,
    pub input: Input,
    output: Output,
    acceptor: Acceptor,
    periods: Periods,
    waits: Waits,
    peers: Peers,
    pub pending: VecDeque<(Token, Pending)>,
    /// Ended connections whose ids cannot be freed yet, because mail to them is under way.
    pending_frees: Vec<Token>,
    pub traffic: Traffic,
    /// The server closes, and every websocket is being closed.
    pub closing: bool,
    server: Arc<Shared>,
    mailbox: &'static Mailbox,
    number: usize,
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
        Ok(Self {
            mailbox: conns.slot_arena().mailbox,
            poller,
            conns,
            input: Input::new(options)?,
            output: Output::new(options)?,
            acceptor: Acceptor::default(),
            periods: Periods::new(options, &clock),
            clock,
            waits: Waits::default(),
            peers: Peers::default(),
            pending: memory::long_queue()?,
            pending_frees: memory::long_list()?,
            traffic: Traffic::default(),
            closing: false,
            server,
            number,
        })
    }

    /// From now on clients are accepted here.
    pub(crate) fn listen(&mut self, listener: Arc<Listener>) -> io::Result<()> {
        self.acceptor.listen(&mut self.poller, listener)
    }

    /// Whether a turn would find something to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.poller.has_work()
            || self.acceptor.is_ready()
            || !self.input.backlogged.is_empty()
            || !self.pending.is_empty()
            || !self.output.scheduled.is_empty()
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
        let noted = self.peers.logged(token);
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
        let arena = &mut self.input.arena;
        *arena = arena.take().or(batch.arena.take());
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

//! The state of a loop, and everything that it does without calling foreign code.
//!
//! Callbacks are recorded as pending, and run by [`crate::server::event_loop`] when nothing is borrowed.

mod accepting;
mod acceptor;
mod backlog;
mod batches;
mod certificate_check;
mod clients;
pub(crate) mod clock;
mod closing;
pub(crate) mod connecting;
mod deflating;
mod handing_over;
pub(crate) mod input;
mod mail;
mod masking;
mod masking_keys;
mod memory_limit;
mod outgoings;
mod output;
mod peers;
mod periods;
mod sampling;
mod shutdown;
mod teardown;
mod timeouts;
mod turn_samples;
mod waits;
mod writing;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::net::{Listener, Peer, Poller, Token, memory};
use crate::server::dispatch::pull::Batch;
use crate::server::event_loop::core::acceptor::Acceptor;
use crate::server::event_loop::core::batches::Batches;
use crate::server::event_loop::core::certificate_check::CertificateCheck;
use crate::server::event_loop::core::clock::Clock;
use crate::server::event_loop::core::input::Input;
use crate::server::event_loop::core::outgoings::Outgoings;
use crate::server::event_loop::core::output::Output;
use crate::server::event_loop::core::peers::Peers;
use crate::server::event_loop::core::periods::Periods;
use crate::server::event_loop::core::turn_samples::TurnSamples;
use crate::server::event_loop::core::waits::Waits;
use crate::server::handler_calls::Verdict;
use crate::server::log::ConnectionName;
use crate::server::memory_budget::Account;
use crate::server::metrics::Traffic;
use crate::server::shared::{Shared, Stage};
use crate::server::slot::Slot;
use crate::server::websocket::connections::Conns;
use crate::server::websocket::mailbox::Mailbox;
use crate::server::{EventKind, Failure, FailureKind, Request};

/// A callback that is to run when nothing is borrowed.
pub(crate) enum Pending {
    Drain,
    Failure(Box<Failure>),
    Disconnect,
    /// `upgrade` has returned on the client's own thread.
    Verdict(Verdict, Box<Request>),
    /// The client's own thread has ended.
    ThreadEnded,
    /// A connection of ours has a socket to this peer: the request is to be sent.
    Request(Peer),
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
    batches: Batches,
    turn_samples: TurnSamples,
    certificate_check: CertificateCheck,
    peers: Peers,
    pub outgoings: Outgoings,
    account: Account,
    pub pending: VecDeque<(Token, Pending)>,
    /// Ended connections whose ids cannot be freed yet, because mail to them is under way.
    pending_frees: Vec<Token>,
    pub traffic: Traffic,
    /// The stage of the server that this loop has entered; when closing, every websocket is being closed.
    pub stage: Stage,
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
        let clock = Clock::new(options, poller.now());
        let mailbox = conns.slot_arena().mailbox;
        let watches = number == 0 && server.has_identity();
        Ok(Self {
            mailbox,
            poller,
            conns,
            input: Input::new(options)?,
            output: Output::new(options)?,
            acceptor: Acceptor::default(),
            periods: Periods::new(options, &clock),
            certificate_check: CertificateCheck::new(watches, &clock),
            clock,
            waits: Waits::default(),
            batches: Batches::default(),
            turn_samples: TurnSamples::default(),
            peers: Peers::default(),
            outgoings: Outgoings::default(),
            account: Account::new(Arc::clone(&server.budget), mailbox),
            pending: memory::long_queue()?,
            pending_frees: memory::long_list()?,
            traffic: Traffic::default(),
            stage: Stage::Accepting,
            server,
            number,
        })
    }

    /// Accepts connections from now on.
    pub(crate) fn listen(&mut self, listener: Arc<Listener>) -> io::Result<()> {
        self.acceptor.listen(&mut self.poller, listener)
    }

    /// Whether there is something to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.poller.has_work()
            || self.acceptor.is_ready()
            || !self.input.backlogged.is_empty()
            || !self.pending.is_empty()
            || !self.output.scheduled.is_empty()
    }

    /// Whether `connect` has run, or is about to.
    pub(crate) fn is_connected(&self, token: Token) -> bool {
        self.conns.get(token).is_some_and(|conn| conn.connected)
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

    /// Takes back what was lent to a pulled batch.
    pub(crate) fn take_back(&mut self, mut batch: Batch) {
        self.uncount_lent(&batch);
        let arena = &mut self.input.arena;
        *arena = arena.take().or(batch.arena.take());
        batch.ended.drain(..).for_each(|token| self.free(token));
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
            request: None,
        }))
    }
}

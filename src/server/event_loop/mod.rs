//! One loop: turns of waiting, reading, calling the application, writing.
//!
//! A loop is a value that moves: an IO thread owns one, a HOST loop is parked between turns. No borrow crosses
//! a callback: the state is in a `RefCell`, bytes that foreign code sees are moved out of it first, and a
//! callback that sends finds the loop by [`Loop::current`].

mod connecting;
pub(crate) mod core;
mod delivery;
mod opening;
mod pending;
mod receiving;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use scoped_tls::scoped_thread_local;

use crate::net::{Backend, Poller, Token, Waker};
use crate::server::dispatch::sink::Sink;
use crate::server::event::Target;
use crate::server::event_loop::core::Core;
use crate::server::event_loop::core::clock::Ticks;
use crate::server::handshake::paths::Paths;
use crate::server::log;
use crate::server::shared::Shared;
use crate::server::websocket::connections::Conns;
use crate::server::websocket::mailbox::Mailbox;

scoped_thread_local!(static CURRENT: Loop);

pub(crate) struct Loop {
    pub core: RefCell<Core>,
    pub mailbox: &'static Mailbox,
    pub server: Arc<Shared>,
    number: usize,
}

/// What a turn calls the application with.
pub(crate) struct Turn<'t, 's> {
    pub paths: Arc<Paths>,
    pub sink: &'t mut Sink<'s>,
}

impl Loop {
    pub(crate) fn new(server: Arc<Shared>, number: usize) -> io::Result<Self> {
        let (poller, waker) = Poller::new(server.options.backend())?;
        Self::with_poller(server, number, poller, waker)
    }

    /// A loop whose connections are those of a poller, which `waker` wakes.
    fn with_poller(
        server: Arc<Shared>,
        number: usize,
        poller: Poller,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let conns = Conns::new();
        let mailbox = conns.slot_arena().mailbox;
        mailbox.attach(waker, server.options.max_queued);
        let core = RefCell::new(Core::new(Arc::clone(&server), number, poller, conns)?);
        Ok(Self {
            core,
            mailbox,
            server,
            number,
        })
    }

    /// Runs `work` with the loop whose turn the current thread runs, if it has this mailbox.
    #[inline]
    pub(crate) fn current<T>(mailbox: &Mailbox, work: impl FnOnce(&Self) -> T) -> Option<T> {
        let is_current =
            CURRENT.is_set() && CURRENT.with(|current| std::ptr::eq(current.mailbox, mailbox));
        is_current.then(|| CURRENT.with(work))
    }

    /// Returns the index of this loop among those of its server.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Serves until the server has closed.
    pub(crate) fn serve(&self, sink: &mut Sink<'_>) {
        if self.server.options.backend() == Backend::Ring {
            self.core.borrow_mut().poller.use_ring();
        }
        while !self.core.borrow().is_finished() {
            self.turn(true, sink);
        }
    }

    /// Runs one turn. It waits only if it may and there is nothing to do.
    pub(crate) fn turn(&self, may_wait: bool, sink: &mut Sink<'_>) {
        CURRENT.set(self, || {
            log::collecting(|| self.turn_in_scope(may_wait, sink))
        });
        log::report_collected();
    }

    fn turn_in_scope(&self, may_wait: bool, sink: &mut Sink<'_>) {
        let ticks = self.wait(may_wait);
        let mut turn = Turn {
            paths: Paths::current(),
            sink,
        };
        self.run_pending(&mut turn);
        self.deliver_backlog(&mut turn);
        self.core.borrow_mut().accept();
        self.receive(&mut turn);
        {
            let mut core = self.core.borrow_mut();
            // After reading: what has just arrived prevents a timeout.
            core.sweep(ticks);
            core.take_mail();
        }
        self.run_pending(&mut turn);
        // This may drop the last reference to a definition, and so call `release`.
        drop(turn);
        let mut core = self.core.borrow_mut();
        core.write_scheduled();
        if let Some(batch) = sink.batch() {
            core.count_lent(batch);
        }
        let traffic = &self.server.loops[self.number].traffic;
        traffic.publish(&core.traffic);
        traffic.publish_held_bytes(core.held_bytes());
        core.end_turn();
    }

    /// Writes what was queued, outside a turn and without a callback.
    pub(crate) fn flush(&self) {
        CURRENT.set(self, || {
            log::collecting(|| {
                let mut core = self.core.borrow_mut();
                core.take_mail();
                core.write_scheduled();
            });
        });
        log::report_collected();
    }

    /// Waits for something to do. Returns the ticks that have passed.
    fn wait(&self, may_wait: bool) -> Ticks {
        let mut core = self.core.borrow_mut();
        core.begin_turn();
        self.mailbox.stay_awake();
        core.take_mail();
        core.write_scheduled();
        let idle = may_wait && !core.has_work() && self.mailbox.fall_asleep();
        // Checked after falling asleep: whoever begins the next stage wakes those who sleep.
        let idle = idle && self.server.stage() == core.stage;
        let idle = idle && core.limit_wait() && core.limit_wait_for_batches();
        let waited = core.poller.wait(idle);
        if !core.note_wait(waited) {
            ::log::error!("waiting for events keeps failing; closing the server");
            self.server.begin_close();
        }
        self.mailbox.stay_awake();
        core.check_memory();
        let now = core.poller.now();
        core.note_turn_began(now);
        let ticks = core.clock.advance(now);
        core.check_batches(now);
        let stage = self.server.stage();
        if stage != core.stage {
            core.enter_stage(stage);
        }
        core.write_unblocked();
        ticks
    }

    /// Returns the target of a connection's events; None when it is gone.
    fn target(&self, token: Token) -> Option<Target> {
        self.core.borrow().conns.target(token)
    }
}

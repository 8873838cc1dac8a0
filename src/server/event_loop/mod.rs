//! One loop: a turn of waiting, reading, telling the application, writing.
//!
//! A loop is a value that moves: an IO thread owns one, a HOST loop lies parked between turns. No
//! borrow crosses a callback: state sits in a `RefCell`, bytes that foreign code sees are moved out
//! of it first, and a callback that sends finds the loop by [`Loop::current`].

pub(crate) mod core;
mod delivery;
mod opening;

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use scoped_tls::scoped_thread_local;

use crate::net::{Backend, IoEvent, Poller, Token, memory};
use crate::proto::{self, ProtoError, Step, WholeMessage};
use crate::server::dispatch::sink::Sink;
use crate::server::event::{Event, Target};
use crate::server::event_loop::core::clock::Ticks;
use crate::server::event_loop::core::input::{ARENA_BYTES, Input};
use crate::server::event_loop::core::{Core, Pending};
use crate::server::handshake::paths::{self, Paths};
use crate::server::shared::Shared;
use crate::server::slot::State;
use crate::server::websocket::connections::{Conn, Conns, Phase};
use crate::server::websocket::mailbox::Mailbox;
use crate::server::{Application, EventKind, handler_calls, log};

/// A pulled batch's messages share one receive buffer; no read begins with less room than this.
const LEAST_READ: usize = Poller::MIN_BUFFER_BYTES;

/// A read for a pulled batch takes at most this much, so that little is left over when it is full.
const PULLED_READ: usize = 128 * 1024;

/// At most so many messages of one client are delivered before the others have their turn.
const MESSAGES_PER_VISIT: usize = 256;

/// A message counts once more for each so many bytes: of a little input much may be inflated.
const WEIGHTY: usize = 16 * 1024;

/// What a message counts against a client's budget.
#[inline]
fn weight(payload: &[u8]) -> usize {
    1 + payload.len() / WEIGHTY
}

/// Another receive buffer, while the loop's own is lent out: a smaller one, if it must be.
#[cold]
#[inline(never)]
fn new_arena() -> Option<Vec<u8>> {
    let sizes = [ARENA_BYTES, LEAST_READ];
    sizes.into_iter().find_map(|size| memory::zeros(size).ok())
}

scoped_thread_local!(static CURRENT: Loop);

pub(crate) struct Loop {
    pub core: RefCell<Core>,
    pub mailbox: &'static Mailbox,
    pub server: Arc<Shared>,
    number: usize,
}

/// One turn's view of the application.
pub(crate) struct Turn<'t, 's> {
    pub paths: Arc<Paths>,
    pub sink: &'t mut Sink<'s>,
}

/// Why input is kept instead of delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// The next turn goes on with it.
    NextTurn,
    /// Something else will set it going: bytes leave, or the client's thread has room.
    Later,
}

/// What a client's input has led to.
enum Next<'a> {
    Step(Step<'a>),
    Hold(Hold),
    /// It is of no interest any more.
    Ignore,
    /// A request is to be read.
    Request,
}

impl Loop {
    pub(crate) fn new(server: Arc<Shared>, number: usize) -> io::Result<Self> {
        let (poller, waker) = Poller::new(server.options.backend())?;
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

    /// Which of its server's loops it is.
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

    /// One turn; it waits only if it may and there is nothing to do.
    pub(crate) fn turn(&self, may_wait: bool, sink: &mut Sink<'_>) {
        CURRENT.set(self, || log::holding(|| self.turn_inside(may_wait, sink)));
        log::tell_waiting();
    }

    fn turn_inside(&self, may_wait: bool, sink: &mut Sink<'_>) {
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
            // After reading: what has arrived counts as heard.
            core.sweep(ticks);
            core.take_mail();
        }
        self.run_pending(&mut turn);
        // The last use of a definition may be its `release`.
        drop(turn);
        let mut core = self.core.borrow_mut();
        core.write_dirty();
        self.server.loops[self.number]
            .traffic
            .publish(&core.traffic);
    }

    /// Hands what was queued to the kernel, outside a turn and without a callback.
    pub(crate) fn flush(&self) {
        CURRENT.set(self, || {
            log::holding(|| {
                let mut core = self.core.borrow_mut();
                core.take_mail();
                core.write_dirty();
            });
        });
        log::tell_waiting();
    }

    /// Waits for something to do; returns the ticks that have passed.
    fn wait(&self, may_wait: bool) -> Ticks {
        let mut core = self.core.borrow_mut();
        self.mailbox.stay_awake();
        core.take_mail();
        core.write_dirty();
        let idle = may_wait && !core.has_work() && self.mailbox.fall_asleep();
        // Looked at after falling asleep: whoever closes wakes those who sleep.
        let idle = idle && self.server.is_closing() == core.closing;
        let idle = idle && core.limit_wait();
        let waited = core.poller.wait(idle);
        if !core.note_wait(waited) {
            ::log::error!("waiting for events keeps failing; closing the server");
            self.server.begin_close();
        }
        self.mailbox.stay_awake();
        let ticks = core.clock.advance();
        if self.server.is_closing() && !core.closing {
            core.begin_closing();
        }
        core.write_unblocked();
        ticks
    }

    // ---- receiving ----

    /// Reads from the clients that have sent something, from each once.
    fn receive(&self, turn: &mut Turn<'_, '_>) {
        let visits = self.core.borrow().poller.readable();
        if visits == 0 {
            return;
        }
        let held = match turn.sink.batch() {
            Some(batch) => batch.arena.take(),
            None => None,
        };
        let held = held.or_else(|| self.core.borrow_mut().input.arena.take());
        let Some(mut arena) = held.or_else(new_arena) else {
            return ::log::error!("out of memory for receiving; trying again later");
        };
        let mut filled = turn.sink.batch().map_or(0, |batch| batch.filled);
        turn.sink.lend_from(&mut arena);
        let pulling = turn.sink.batch().is_some();
        for _ in 0..visits {
            let free = if pulling {
                if !turn.sink.has_room() || arena.len() - filled < LEAST_READ {
                    break;
                }
                filled..arena.len().min(filled + PULLED_READ)
            } else {
                0..arena.len()
            };
            let happening = self.core.borrow_mut().poller.next(&mut arena[free.clone()]);
            match happening {
                Some(IoEvent::Received(token, count)) => {
                    let input = free.start..free.start + count;
                    if pulling {
                        filled = input.end;
                    }
                    self.received(turn, token, &mut arena[input]);
                }
                Some(IoEvent::Ended(token, error)) => {
                    self.core.borrow_mut().client_left(token, error);
                }
                Some(IoEvent::PlainOnTls(token)) => {
                    self.core.borrow_mut().refuse_plain(token);
                }
                None => break,
            }
        }
        match turn.sink.batch() {
            Some(batch) => (batch.arena, batch.filled) = (Some(arena), filled),
            None => self.core.borrow_mut().input.arena = Some(arena),
        }
    }

    /// Delivers what a client has sent, and keeps what cannot be delivered yet.
    fn received(&self, turn: &mut Turn<'_, '_>, token: Token, input: &mut [u8]) {
        {
            let mut core = self.core.borrow_mut();
            core.traffic.bytes_in += input.len() as u64;
            let now = core.clock.now();
            let Some(conn) = core.conns.get(token) else {
                return;
            };
            conn.last_received_tick = now;
            conn.awaits_pong = false;
        }
        let (taken, hold) = self.deliver(turn, token, input);
        if let Some(hold) = hold {
            let rest = memory::copy(&input[taken..]);
            let mut core = self.core.borrow_mut();
            match rest {
                Ok(rest) => core.pause_reading(token, rest, 0),
                Err(_) => return core.fail_for_memory(token),
            }
            if hold == Hold::NextTurn {
                core.schedule_backlog(token);
            }
        }
    }

    /// Goes on with kept input.
    fn deliver_backlog(&self, turn: &mut Turn<'_, '_>) {
        let count = self.core.borrow().input.backlogged.len();
        for _ in 0..count {
            let mut core = self.core.borrow_mut();
            let Some(token) = core.input.backlogged.pop_front() else {
                return;
            };
            let Some((mut kept, from)) = core.take_backlog(token) else {
                continue;
            };
            drop(core);
            turn.sink.lend_from(&mut kept);
            let (taken, hold) = self.deliver(turn, token, &mut kept[from..]);
            let from = from + taken;
            let kept = match turn.sink.batch() {
                // Records point into what was delivered.
                Some(batch) => {
                    let rest = match hold {
                        Some(_) => memory::copy(&kept[from..]),
                        None => Ok(Vec::new()),
                    };
                    batch.keep(kept);
                    rest
                }
                None => Ok(kept),
            };
            let from = if turn.sink.batch().is_some() { 0 } else { from };
            let mut core = self.core.borrow_mut();
            let Ok(kept) = kept else {
                core.fail_for_memory(token);
                continue;
            };
            match hold {
                Some(hold) => {
                    core.pause_reading(token, kept, from);
                    if hold == Hold::NextTurn {
                        core.schedule_backlog(token);
                    }
                }
                None => core.resume_reading(token),
            }
        }
    }

    /// Delivers input until it is used up or held; returns how much was taken.
    fn deliver(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        input: &mut [u8],
    ) -> (usize, Option<Hold>) {
        let websocket = self.core.borrow().conns.id(token);
        let mut budget = MESSAGES_PER_VISIT;
        let mut at = match turn.sink {
            Sink::Call => self.tell_whole(turn, token, websocket, &mut budget, input),
            _ => 0,
        };
        while at < input.len() {
            let next = self.next(turn, token, budget > 0, &mut input[at..]);
            match next {
                Next::Step(step) => {
                    at += step.taken;
                    let counts = self.tell(turn, token, step.event);
                    budget = budget.saturating_sub(counts);
                }
                Next::Request => match self.read_request(turn, token, &mut input[at..]) {
                    Some(taken) => at += taken,
                    None => return (at, Some(Hold::Later)),
                },
                Next::Hold(hold) => return (at, Some(hold)),
                Next::Ignore => return (input.len(), None),
            }
        }
        let full = self.core.borrow_mut().is_above_low_water(token);
        (at, full.then_some(Hold::Later))
    }

    /// Tells the whole messages at the front of a client's input; returns how many bytes they were.
    ///
    /// Nothing is borrowed on the way: as long as the slot says that the websocket is open, whatever
    /// the handlers do, it takes messages, and its session reads on where it was.
    #[inline]
    fn tell_whole(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        websocket: u64,
        budget: &mut usize,
        input: &mut [u8],
    ) -> usize {
        let mut core = self.core.borrow_mut();
        let slot = core.conns.slot(token.index);
        let max_message_size = core.input.limits.max_message_size;
        let reads_plainly =
            |conn: &&mut Conn| conn.phase == Phase::Open && conn.session.reads_plainly();
        let Some(conn) = core.conns.get(token).filter(reads_plainly) else {
            return 0;
        };
        let path = conn.path;
        drop(core);

        let low = self.mailbox.low();
        let (mut at, mut count) = (0, 0);
        while *budget > 0 && slot.is_open_with(token.generation, low) {
            let rest = &mut input[at..];
            let Some(message) = WholeMessage::find(rest, max_message_size) else {
                break;
            };
            turn.paths.renew();
            let Some(application) = turn.paths.application(path) else {
                break;
            };
            let Ok(payload) = message.unmask(rest) else {
                self.core.borrow_mut().fail(token, ProtoError::NotUtf8);
                return input.len();
            };
            self.handle_message(application, token, websocket, || {
                application.message(websocket, message.kind, payload)
            });
            at += message.end;
            count += 1;
            *budget = budget.saturating_sub(weight(payload));
        }
        self.core.borrow_mut().traffic.messages_in += count;
        at
    }

    /// What comes next of a client's input.
    #[inline(never)]
    fn next<'a>(
        &self,
        turn: &Turn<'_, '_>,
        token: Token,
        in_budget: bool,
        input: &'a mut [u8],
    ) -> Next<'a> {
        let mut core = self.core.borrow_mut();
        let low = self.mailbox.low();
        let Core {
            conns,
            input: Input {
                limits, scratch, ..
            },
            traffic,
            ..
        } = &mut *core;
        let word = conns.slot(token.index).word();
        let Some(conn) = conns.get(token) else {
            return Next::Ignore;
        };
        match conn.phase {
            Phase::Open => {
                if !in_budget || !turn.sink.has_room() {
                    return Next::Hold(Hold::NextTurn);
                }
                if word.queued() > low || conn.client_queue().is_some_and(|hand| !hand.has_room()) {
                    return Next::Hold(Hold::Later);
                }
                if word.state() != State::Open {
                    // The application has closed it; its mail is on the way.
                    conn.session.drop_messages();
                }
            }
            Phase::Closing => (),
            Phase::Opening if turn.sink.has_room() => return Next::Request,
            Phase::Opening => return Next::Hold(Hold::NextTurn),
            Phase::Deciding => return Next::Hold(Hold::Later),
            _ => return Next::Ignore,
        }
        let step = memory::frugal(|| conn.session.next(limits, scratch, input));
        traffic.messages_in += u64::from(matches!(step.event, proto::Event::Message(..)));
        Next::Step(step)
    }

    /// Tells the application what a client has sent. Returns what it counts against the budget.
    fn tell(&self, turn: &mut Turn<'_, '_>, token: Token, event: proto::Event<'_>) -> usize {
        match event {
            proto::Event::Message(kind, payload) => {
                let weight = weight(payload.terminated());
                if let Some(target) = self.target(token) {
                    self.deliver_event(turn, target, Event::Message(kind, payload));
                }
                weight
            }
            event => self.tell_other(turn, token, event),
        }
    }

    /// [`Loop::tell`] for all but messages.
    #[cold]
    #[inline(never)]
    fn tell_other(&self, turn: &mut Turn<'_, '_>, token: Token, event: proto::Event<'_>) -> usize {
        match event {
            proto::Event::Pong(payload) if !Core::is_own_pong(payload.bytes()) => {
                if let Some(target) = self.target(token) {
                    self.deliver_event(turn, target, Event::Pong(payload));
                }
                return 1;
            }
            proto::Event::Ping(payload) => {
                self.core.borrow_mut().answer_ping(token, payload.bytes());
                return 1;
            }
            proto::Event::Close(code, reason) => {
                self.core
                    .borrow_mut()
                    .client_closed(token, code, reason.bytes());
            }
            proto::Event::Failed(error) => self.core.borrow_mut().fail(token, error),
            proto::Event::Message(..) | proto::Event::Pong(_) | proto::Event::NeedMore => (),
        }
        0
    }

    /// Runs a `message` handler, and counts it if it fails.
    #[inline]
    fn handle_message(
        &self,
        application: &Arc<dyn Application>,
        token: Token,
        websocket: u64,
        handler: impl FnOnce() -> i32,
    ) {
        let name = || self.core.borrow().name(token);
        let event = EventKind::Message;
        if handler_calls::handle(&**application, websocket, event, name, handler) {
            self.server
                .metrics
                .handler_errors
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For whom the events of a connection are; None when it is gone.
    fn target(&self, token: Token) -> Option<Target> {
        self.core.borrow().conns.target(token)
    }

    // ---- what is due ----

    /// Runs the callbacks that have become pending.
    fn run_pending(&self, turn: &mut Turn<'_, '_>) {
        log::tell_waiting();
        let count = self.core.borrow().pending.len();
        for _ in 0..count {
            if !turn.sink.has_room() {
                return;
            }
            let Some((token, due)) = self.core.borrow_mut().pending.pop_front() else {
                return;
            };
            turn.paths.renew();
            self.run_one_pending(turn, token, due);
        }
    }

    fn run_one_pending(&self, turn: &mut Turn<'_, '_>, token: Token, due: Pending) {
        let Some(target) = self.target(token) else {
            return;
        };
        let event = match due {
            Pending::Verdict(verdict, request) => {
                return self.apply_decision(turn, token, verdict, request);
            }
            Pending::ThreadEnded => return self.client_thread_ended(token),
            Pending::Drain if target.slot.word().state() != State::Open => return,
            Pending::Drain => Event::Drain,
            Pending::Failure(failure) => Event::Failure(failure),
            Pending::Disconnect if !self.core.borrow().is_connected(token) => {
                return self.forget(token);
            }
            Pending::Disconnect => {
                let (code, reason) = self.close_status(token);
                Event::Disconnect(code, reason)
            }
        };
        self.deliver_event(turn, target, event);
    }

    /// A client's own thread has ended: after `disconnect`, or by a panic.
    fn client_thread_ended(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        let Some(conn) = core.conns.get(token) else {
            return;
        };
        let in_order = conn.phase == Phase::Ended;
        let hand = conn.extra().client_queue.take();
        if in_order {
            core.vacate(token);
        } else {
            conn.connected = false;
            core.end(token, None);
        }
        drop(core);
        if let Some(hand) = hand {
            hand.join();
        }
    }

    /// What `disconnect` is told.
    fn close_status(&self, token: Token) -> (u16, CString) {
        let mut core = self.core.borrow_mut();
        let Some(conn) = core.conns.get(token) else {
            return (1006, CString::default());
        };
        let close_status = std::mem::take(&mut conn.extra().close_status);
        let code = close_status.code();
        ::log::debug!("{}: disconnected with {code}", core.name(token));
        // A reason may hold U+0000; as a C string it ends there.
        let end = close_status.reason.iter().position(|&byte| byte == 0);
        let reason = &close_status.reason[..end.unwrap_or(close_status.reason.len())];
        (code, CString::new(reason).unwrap_or_default())
    }

    /// Gives back what an ended connection had: its count in the path, its thread, its id.
    fn forget(&self, token: Token) {
        let (path, hand) = {
            let mut core = self.core.borrow_mut();
            let Some(conn) = core.conns.get(token) else {
                return;
            };
            let path = conn.counted.for_path.then_some(conn.path);
            let hand = conn
                .extra
                .as_mut()
                .and_then(|extra| extra.client_queue.take());
            core.vacate(token);
            (path, hand)
        };
        if let Some(hand) = hand {
            hand.stop();
        }
        if let Some(path) = path {
            paths::leave(path);
        }
    }
}

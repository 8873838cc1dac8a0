//! Reading from connections, and delivering what they have sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::net::{IoEvent, Poller, Token, memory};
use crate::proto::{self, ProtoError, Step, WholeMessage};
use crate::server::dispatch::sink::Sink;
use crate::server::event::Event;
use crate::server::event_loop::core::Core;
use crate::server::event_loop::core::input::{ARENA_BYTES, Input};
use crate::server::event_loop::{Loop, Turn};
use crate::server::slot::State;
use crate::server::websocket::connections::{Conn, Phase};
use crate::server::{Application, EventKind, handler_calls};

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
    /// Reads from the clients that have sent something, from each once.
    pub(super) fn receive(&self, turn: &mut Turn<'_, '_>) {
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
            return log::error!("out of memory for receiving; trying again later");
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
    pub(super) fn deliver_backlog(&self, turn: &mut Turn<'_, '_>) {
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
}

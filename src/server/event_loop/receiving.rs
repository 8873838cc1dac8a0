//! Reading from connections, and delivering what they have sent.

use std::sync::atomic::Ordering;

use crate::net::{IoEvent, Poller, Token, memory};
use crate::proto::{self, ProtoError, Role, Step, WholeMessage};
use crate::server::dispatch::sink::Sink;
use crate::server::event::Event;
use crate::server::event_loop::core::Core;
use crate::server::event_loop::core::input::{ARENA_BYTES, Input};
use crate::server::event_loop::{Loop, Turn};
use crate::server::slot::{Slot, State};
use crate::server::websocket::connections::{Conn, Phase};
use crate::server::{Application, EventKind, handler_calls};

/// The messages of a pulled batch share one receive buffer; no read begins with less room than this.
const MIN_READ_BYTES: usize = Poller::MIN_BUFFER_BYTES;

/// Maximum size of a read for a pulled batch, so that little is left over when the batch is full.
const MAX_PULLED_READ_BYTES: usize = 128 * 1024;

/// Maximum number of messages of one connection that are delivered before the others have their turn.
const MAX_MESSAGES_PER_VISIT: usize = 256;

/// A message counts once more for each so many bytes, because little input may inflate to much.
const COST_UNIT_BYTES: usize = 16 * 1024;

/// Returns what a message counts against the budget of its connection.
#[inline]
fn budget_cost(payload: &[u8]) -> usize {
    1 + payload.len() / COST_UNIT_BYTES
}

/// Returns another receive buffer while the loop's own is lent out; without memory, a smaller one.
#[cold]
#[inline(never)]
fn new_arena() -> Option<Vec<u8>> {
    let sizes = [ARENA_BYTES, MIN_READ_BYTES];
    sizes.into_iter().find_map(|size| memory::zeros(size).ok())
}

/// Until when delivery, and reading, is paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The next turn continues.
    NextTurn,
    /// Something else ends the pause: bytes are sent, or the client's own thread has room.
    Later,
}

/// A websocket whose messages are delivered.
struct Place {
    token: Token,
    websocket: u64,
    path: u32,
    slot: &'static Slot,
    /// It is not read while more is queued.
    low: u64,
    max_message_size: usize,
}

/// What to do with a connection's input.
enum Next<'a> {
    Step(Step<'a>),
    Pause(Pause),
    Ignore,
    /// Read a request.
    Request,
    /// Read the answer to ours.
    Answer,
}

impl Loop {
    /// Reads once from each connection that has received something.
    pub(super) fn receive(&self, turn: &mut Turn<'_, '_>) {
        let visits = self.core.borrow().poller.readable();
        if visits == 0 {
            return;
        }
        let lent = match turn.sink.batch() {
            Some(batch) => batch.arena.take(),
            None => None,
        };
        let lent = lent.or_else(|| self.core.borrow_mut().input.arena.take());
        let Some(mut arena) = lent.or_else(new_arena) else {
            return log::error!("out of memory for receiving; trying again later");
        };
        let mut filled = turn.sink.batch().map_or(0, |batch| batch.filled);
        turn.sink.lend_from(&mut arena);
        let pulling = turn.sink.batch().is_some();
        for _ in 0..visits {
            let free = if pulling {
                if !turn.sink.has_room() || arena.len() - filled < MIN_READ_BYTES {
                    break;
                }
                filled..arena.len().min(filled + MAX_PULLED_READ_BYTES)
            } else {
                0..arena.len()
            };
            let event = self.core.borrow_mut().poller.next(&mut arena[free.clone()]);
            match event {
                Some(IoEvent::Received(token, count)) => {
                    let input = free.start..free.start + count;
                    if pulling {
                        filled = input.end;
                    }
                    self.on_received(turn, token, &mut arena[input]);
                }
                Some(IoEvent::Proxied(token)) => self.core.borrow_mut().learn_client(token),
                Some(IoEvent::NotProxied(token, why)) => {
                    self.core.borrow_mut().refuse_unproxied(token, why);
                }
                Some(IoEvent::Ended(token, error)) => {
                    self.core.borrow_mut().peer_ended(token, error);
                }
                Some(IoEvent::PlainOnTls(token)) => {
                    self.core.borrow_mut().refuse_plaintext(token);
                }
                None => break,
            }
        }
        match turn.sink.batch() {
            Some(batch) => (batch.arena, batch.filled) = (Some(arena), filled),
            None => self.core.borrow_mut().input.arena = Some(arena),
        }
    }

    /// Delivers what was received, and buffers what cannot be delivered yet.
    fn on_received(&self, turn: &mut Turn<'_, '_>, token: Token, input: &mut [u8]) {
        {
            let mut core = self.core.borrow_mut();
            core.traffic.bytes_in += input.len() as u64;
            let now = core.clock.now();
            let Some(conn) = core.conns.get_mut(token) else {
                return;
            };
            conn.last_received_tick = now;
            conn.awaits_pong = false;
        }
        let (consumed, pause) = self.process_input(turn, token, input);
        if let Some(pause) = pause {
            let rest = memory::copy(&input[consumed..]);
            let mut core = self.core.borrow_mut();
            match rest {
                Ok(rest) => core.pause_reading(token, rest, 0),
                Err(_) => return core.fail_out_of_memory(token),
            }
            if pause == Pause::NextTurn {
                core.schedule_backlog(token);
            }
            core.count_held(token);
        }
    }

    /// Delivers the backlogs that are scheduled.
    pub(super) fn deliver_backlog(&self, turn: &mut Turn<'_, '_>) {
        let count = self.core.borrow().input.backlogged.len();
        for _ in 0..count {
            let mut core = self.core.borrow_mut();
            let Some(token) = core.input.backlogged.pop_front() else {
                return;
            };
            let Some((mut backlog, from)) = core.take_backlog(token) else {
                continue;
            };
            drop(core);
            turn.sink.lend_from(&mut backlog);
            let (consumed, pause) = self.process_input(turn, token, &mut backlog[from..]);
            let from = from + consumed;
            let (backlog, from) = match turn.sink.batch() {
                // Records point into what was delivered.
                Some(batch) if consumed > 0 => {
                    let rest = match pause {
                        Some(_) => memory::copy(&backlog[from..]),
                        None => Ok(Vec::new()),
                    };
                    batch.retain(backlog);
                    (rest, 0)
                }
                _ => (Ok(backlog), from),
            };
            let mut core = self.core.borrow_mut();
            let Ok(backlog) = backlog else {
                core.fail_out_of_memory(token);
                continue;
            };
            match pause {
                Some(pause) => {
                    core.pause_reading(token, backlog, from);
                    if pause == Pause::NextTurn {
                        core.schedule_backlog(token);
                    }
                }
                None => core.resume_reading(token),
            }
            core.count_held(token);
        }
    }

    /// Delivers input until there is none left or delivery pauses. Returns how much was consumed.
    fn process_input(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        input: &mut [u8],
    ) -> (usize, Option<Pause>) {
        let processed = self.process_all_input(turn, token, input);
        if matches!(turn.sink, Sink::ClientThread) {
            self.core.borrow_mut().hand_over(token);
        }
        processed
    }

    #[inline]
    fn process_all_input(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        input: &mut [u8],
    ) -> (usize, Option<Pause>) {
        let websocket = self.core.borrow().conns.id(token);
        let mut budget = MAX_MESSAGES_PER_VISIT;
        let mut at = match turn.sink {
            Sink::Call => self.deliver_whole_messages(turn, token, websocket, &mut budget, input),
            _ => 0,
        };
        let may_hold_more = at < input.len();
        while at < input.len() {
            let next = self.next(turn, token, budget > 0, &mut input[at..]);
            match next {
                Next::Step(step) => {
                    at += step.taken;
                    let cost = self.dispatch(turn, token, step.event);
                    budget = budget.saturating_sub(cost);
                }
                Next::Request => match self.read_request(turn, token, &mut input[at..]) {
                    Some(consumed) => at += consumed,
                    None => return (at, Some(Pause::Later)),
                },
                Next::Answer => at += self.read_answer(turn, token, &mut input[at..]),
                Next::Pause(pause) => return (at, Some(pause)),
                Next::Ignore => return (input.len(), None),
            }
        }
        let mut core = self.core.borrow_mut();
        if may_hold_more {
            core.count_held(token);
        }
        let full = core.is_above_low_water(token);
        (at, full.then_some(Pause::Later))
    }

    /// Delivers the complete, unfragmented messages at the front of the input. Returns how many bytes they are.
    ///
    /// Nothing is borrowed meanwhile: whatever the handlers do, as long as the slot says that the websocket is
    /// open, it accepts messages, and its session continues where it was.
    #[inline]
    fn deliver_whole_messages(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        websocket: u64,
        budget: &mut usize,
        input: &mut [u8],
    ) -> usize {
        let mut core = self.core.borrow_mut();
        let slot = core.conns.slot(token.index);
        let max_message_size = core.limits_of(token).max_message_size;
        let reads_plainly =
            |conn: &&mut Conn| conn.phase == Phase::Open && conn.session.reads_plainly();
        let Some(conn) = core.conns.get_mut(token).filter(reads_plainly) else {
            return 0;
        };
        let (path, role) = (conn.path, conn.session.role());
        let place = Place {
            token,
            websocket,
            path,
            slot,
            low: core.low_of(token),
            max_message_size,
        };
        drop(core);
        match role {
            Role::Server => self.deliver_each::<true>(turn, &place, budget, input),
            Role::Client => self.deliver_each::<false>(turn, &place, budget, input),
        }
    }

    /// [`Loop::deliver_whole_messages`] of a websocket that we serve, or of a connection of ours.
    #[inline(always)]
    fn deliver_each<const IS_SERVED: bool>(
        &self,
        turn: &mut Turn<'_, '_>,
        place: &Place,
        budget: &mut usize,
        input: &mut [u8],
    ) -> usize {
        let Place {
            token,
            websocket,
            path,
            slot,
            low,
            max_message_size,
        } = *place;
        let role = if IS_SERVED {
            Role::Server
        } else {
            Role::Client
        };
        let (mut at, mut count) = (0, 0);
        while *budget > 0 && slot.is_open_with(token.generation, low) {
            let rest = &mut input[at..];
            let Some(message) = WholeMessage::find(rest, role, max_message_size) else {
                break;
            };
            turn.paths.renew();
            let Some(application) = turn.paths.application(path) else {
                break;
            };
            let Ok(payload) = message.take(rest, role) else {
                self.core.borrow_mut().fail(token, ProtoError::NotUtf8);
                return input.len();
            };
            let code = application.message(websocket, message.kind, payload);
            if code != 0 {
                self.message_failed(&**application, token, code);
            }
            at += message.end;
            count += 1;
            *budget = budget.saturating_sub(budget_cost(payload));
        }
        self.core.borrow_mut().traffic.messages_in += count;
        at
    }

    /// Parses the next event of the input.
    #[inline(never)]
    fn next<'a>(
        &self,
        turn: &Turn<'_, '_>,
        token: Token,
        in_budget: bool,
        input: &'a mut [u8],
    ) -> Next<'a> {
        let mut core = self.core.borrow_mut();
        let low = core.low_of(token);
        let Core {
            conns,
            input: Input {
                limits, scratch, ..
            },
            traffic,
            outgoings,
            ..
        } = &mut *core;
        let word = conns.slot(token.index).word();
        let Some(conn) = conns.get_mut(token) else {
            return Next::Ignore;
        };
        match conn.phase {
            Phase::Open => {
                if !in_budget || !turn.sink.has_room() {
                    return Next::Pause(Pause::NextTurn);
                }
                if word.queued() > low || conn.client_queue().is_some_and(|queue| !queue.has_room())
                {
                    return Next::Pause(Pause::Later);
                }
                if word.state() != State::Open {
                    // The application has closed it; its mail is under way.
                    conn.session.drop_messages();
                }
            }
            Phase::Closing => (),
            Phase::Opening if turn.sink.has_room() => return Next::Request,
            Phase::Answering if turn.sink.has_room() => return Next::Answer,
            Phase::Opening | Phase::Answering => return Next::Pause(Pause::NextTurn),
            Phase::Deciding => return Next::Pause(Pause::Later),
            _ => return Next::Ignore,
        }
        let limits = match conn.session.role() {
            Role::Server => limits,
            Role::Client => outgoings.limits(token).unwrap_or(limits),
        };
        let step = memory::frugal(|| conn.session.next(limits, scratch, input));
        traffic.messages_in += u64::from(matches!(step.event, proto::Event::Message(..)));
        Next::Step(step)
    }

    /// Acts on what a peer has sent. Returns what it counts against the budget.
    fn dispatch(&self, turn: &mut Turn<'_, '_>, token: Token, event: proto::Event<'_>) -> usize {
        match event {
            proto::Event::Message(kind, payload) => {
                let cost = budget_cost(payload.terminated());
                if let Some(target) = self.target(token) {
                    self.deliver_event(turn, target, Event::Message(kind, payload));
                }
                cost
            }
            event => self.dispatch_other(turn, token, event),
        }
    }

    /// [`Loop::dispatch`] for everything but messages.
    #[cold]
    #[inline(never)]
    fn dispatch_other(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        event: proto::Event<'_>,
    ) -> usize {
        match event {
            proto::Event::Pong(payload) if !Core::is_own_pong(payload.bytes()) => {
                if let Some(target) = self.target(token) {
                    self.deliver_event(turn, target, Event::Pong(payload));
                }
                return 1;
            }
            proto::Event::Ping(payload) => {
                self.core.borrow_mut().reply_to_ping(token, payload.bytes());
                return 1;
            }
            proto::Event::Close(code, reason) => {
                self.core
                    .borrow_mut()
                    .close_received(token, code, reason.bytes());
            }
            proto::Event::Failed(error) => self.core.borrow_mut().fail(token, error),
            proto::Event::Message(..) | proto::Event::Pong(_) | proto::Event::NeedMore => (),
        }
        0
    }

    /// Reports, and counts, that a `message` handler has failed.
    #[cold]
    #[inline(never)]
    fn message_failed(&self, application: &dyn Application, token: Token, code: i32) {
        let websocket = self.core.borrow().conns.id(token);
        let name = || self.core.borrow().name(token);
        handler_calls::report_failure(application, websocket, EventKind::Message, code, name);
        let errors = &self.server.metrics.handler_errors;
        errors.fetch_add(1, Ordering::Relaxed);
    }
}

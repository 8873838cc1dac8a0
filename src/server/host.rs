//! HOST: the host's own threads drive the loops, by `run`, `poll` and `pull`.
//!
//! Between turns a loop lies parked. A thread takes those that no other serves, has them look
//! without waiting, and parks them again; only when nothing was found does it wait, by `poll(2)` on
//! their descriptors. That consumes nothing and holds nothing, so a thread may be ended there: a call goes
//! in steps, between which its caller waits, and what is to be given back by a thread that does not come back
//! stands in its [`Visitor`].

use std::cell::RefCell;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::net::{Descriptor, PollSet, Readiness, Union, Wait, Waited, process};
use crate::server::dispatch::pull::{Batch, Puller};
use crate::server::dispatch::sink::Sink;
use crate::server::event_loop::Loop;
use crate::server::parked::Parked;
use crate::server::registry::{Server, find};
use crate::server::shared::LoopShare;
use crate::server::websocket::mailbox::{Mail, Mailbox};
use crate::server::{Dispatch, Records, ServerError, handler_calls};

/// A closing thread leaves a server to the threads inside it for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// A closing thread wakes at least this often.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

// ---- the calling thread ----

/// What a thread has of servers: it goes with the thread.
struct Visitor {
    number: u64,
    permits: Vec<Weak<Server>>,
    held: Vec<Held>,
    /// The server for which it waits, and for what there.
    waiting: Option<Arc<Server>>,
    set: PollSet,
}

/// A pulled batch that the thread still uses.
struct Held {
    server: Weak<Server>,
    loop_number: usize,
    mailbox: &'static Mailbox,
    batch: Box<Batch>,
}

static VISITORS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static VISITOR: RefCell<Visitor> = RefCell::new(Visitor {
        number: VISITORS.fetch_add(1, Ordering::Relaxed),
        permits: Vec::new(),
        held: Vec::new(),
        waiting: None,
        set: PollSet::default(),
    });
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if process::is_forked_child() {
            // All of it is the parent's, and a lock may be held for ever.
            let theirs = (&mut self.permits, &mut self.held, &mut self.waiting);
            mem::forget((
                mem::take(theirs.0),
                mem::take(theirs.1),
                mem::take(theirs.2),
            ));
            return;
        }
        self.end_wait();
        for server in self.permits.drain(..).filter_map(|server| server.upgrade()) {
            server
                .host
                .permits()
                .retain(|&permit| permit != self.number);
            server.host.ring();
        }
        self.held.drain(..).for_each(Held::give_back);
    }
}

impl Visitor {
    /// Ends the wait, if there was one: in order, or because the thread was thrown out of it.
    fn end_wait(&mut self) -> Option<Arc<Server>> {
        let server = self.waiting.take()?;
        server.host.end_wait();
        Some(server)
    }
}

impl Held {
    /// Gives the batch back by mail.
    fn give_back(mut self) {
        self.batch.let_go();
        if let Some(server) = self.server.upgrade() {
            server.parked[self.loop_number]
                .home
                .store(0, Ordering::SeqCst);
            self.mailbox.post(Mail::BatchReturned(self.batch));
            server.host.ring();
        }
    }
}

/// A thread's place inside a server.
struct Permit {
    server: Arc<Server>,
    visitor: u64,
    /// It stays the thread's, which comes back from a wait, or ends.
    stays: bool,
}

impl Permit {
    /// Takes one of as many permits as there are loops.
    fn take(server: u64) -> Result<Self, ServerError> {
        let server = find(server)?;
        if handler_calls::is_inside() {
            return Err(ServerError::Busy);
        }
        if server.options.dispatch != Dispatch::Host {
            return Err(ServerError::Argument);
        }
        let visitor = VISITOR.with_borrow_mut(|visitor| {
            visitor.end_wait();
            visitor.number
        });
        let mut permits = server.host.permits();
        // A thread that was thrown out of a wait still has its permit.
        if !permits.contains(&visitor) {
            if permits.len() >= server.loops.len() {
                return Err(ServerError::Busy);
            }
            permits.push(visitor);
            VISITOR.with_borrow_mut(|visitor| visitor.permits.push(Arc::downgrade(&server)));
        }
        drop(permits);
        Ok(Self {
            server,
            visitor,
            stays: false,
        })
    }

    /// The place that the thread has kept through a wait for this server.
    fn come_back(server: u64) -> Option<Self> {
        VISITOR.with_borrow_mut(|visitor| {
            let waiting = visitor.waiting.as_ref()?;
            if waiting.id() != server {
                return None;
            }
            Some(Self {
                server: visitor.end_wait()?,
                visitor: visitor.number,
                stays: false,
            })
        })
    }

    /// Prepares a wait for work in the loops that nobody serves, or for somebody's wish.
    fn prepare_wait(mut self, timeout: Option<Duration>) -> Step {
        self.stays = true;
        let server = Arc::clone(&self.server);
        VISITOR.with_borrow_mut(|visitor| {
            let timeout = begin_wait(&server, Some(self.visitor), timeout, &mut visitor.set);
            visitor.waiting = Some(server);
            Step::Wait(visitor.set.prepare(timeout))
        })
    }

    /// The batches of this server that the thread has used until now.
    fn take_held(&self) -> Vec<Held> {
        let mut taken: Vec<Held> = VISITOR.with_borrow_mut(|visitor| {
            let is_ours =
                |held: &mut Held| std::ptr::eq(held.server.as_ptr(), Arc::as_ptr(&self.server));
            visitor.held.extract_if(.., is_ours).collect()
        });
        taken.iter_mut().for_each(|held| held.batch.let_go());
        taken
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        self.server
            .host
            .permits()
            .retain(|&permit| permit != self.visitor);
        VISITOR.with_borrow_mut(|visitor| {
            visitor
                .permits
                .retain(|server| !std::ptr::eq(server.as_ptr(), Arc::as_ptr(&self.server)));
        });
        self.server.host.ring();
    }
}

// ---- run, poll, pull ----

/// What a call on the host's thread has come to.
pub(crate) enum Step {
    Done(u32),
    /// The thread is to wait, with nothing left to drop, and to take the next step.
    Wait(Wait),
}

/// What a call remembers from one step to the next: nothing that is to be dropped.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    server: u64,
    timeout_ms: i32,
    /// When the time is up; known from the first step on.
    end: Option<Instant>,
    waited: Option<Waited>,
}

impl Call {
    pub(crate) fn new(server: u64, timeout_ms: i32) -> Self {
        Self {
            server,
            timeout_ms,
            end: None,
            waited: None,
        }
    }

    /// Notes how the wait has ended.
    pub(crate) fn waited(&mut self, waited: Waited) {
        self.waited = Some(waited);
    }

    /// Takes a permit, or comes back to it; returns also how the wait has ended, if there was one.
    fn enter(&mut self) -> Result<(Permit, Option<Readiness>), ServerError> {
        let Some(waited) = self.waited.take() else {
            return Ok((Permit::take(self.server)?, None));
        };
        let permit = match Permit::come_back(self.server) {
            Some(permit) => permit,
            // Somebody has used the thread, during the wait, for another call.
            None => Permit::take(self.server)?,
        };
        let readiness = permit.server.host.readiness(waited.readiness());
        Ok((permit, Some(readiness)))
    }

    /// How much time is left; None is without limit.
    fn left(&mut self) -> Option<Duration> {
        let limit = Duration::from_millis(u64::try_from(self.timeout_ms).ok()?);
        if limit.is_zero() {
            return Some(limit);
        }
        let now = Instant::now();
        let end = *self.end.get_or_insert(now + limit);
        Some(end.saturating_duration_since(now))
    }
}

/// Serves on this thread until the server has closed.
pub(crate) fn run(call: &mut Call) -> Result<Step, ServerError> {
    let came_back = call.waited.is_some();
    let (permit, readiness) = match call.enter() {
        Err(ServerError::Gone) if came_back => return Ok(Step::Done(0)),
        answer => answer?,
    };
    if readiness.is_some() {
        permit.server.host.take_wake();
    }
    let mut held = permit.take_held();
    loop {
        let found = visit(&permit.server, Some(permit.visitor), &mut held, &mut serve);
        if permit.server.has_ended() {
            return Ok(Step::Done(0));
        }
        if !found.work_left {
            return Ok(permit.prepare_wait(None));
        }
    }
}

/// One turn; returns how many callbacks have run.
pub(crate) fn poll(call: &mut Call) -> Result<Step, ServerError> {
    until_found(call, &mut |_, one, place| serve(one, place))
}

/// One turn without callbacks; returns how many events were written.
pub(crate) fn pull(call: &mut Call, records: &mut dyn Records) -> Result<Step, ServerError> {
    until_found(call, &mut |permit, one, place| {
        pull_from(permit, one, place, records)
    })
}

/// Serves until something was found, the time is up, or the thread is woken.
fn until_found(
    call: &mut Call,
    serve: &mut dyn FnMut(&Permit, &Loop, &Parked) -> u32,
) -> Result<Step, ServerError> {
    let (permit, readiness) = call.enter()?;
    if readiness == Some(Readiness::Interrupted) {
        return Ok(Step::Done(0));
    }
    let left = call.left();
    let visitor = permit.visitor;
    let mut held = permit.take_held();
    loop {
        let found = visit(
            &permit.server,
            Some(visitor),
            &mut held,
            &mut |one, place| serve(&permit, one, place),
        );
        let woken = permit.server.host.take_wake();
        if found.count > 0 {
            return Ok(Step::Done(found.count));
        }
        if permit.server.has_ended() {
            return Err(ServerError::Gone);
        }
        let left = left.and_then(|_| call.left());
        if woken || left.is_some_and(|left| left.is_zero()) {
            return Ok(Step::Done(0));
        }
        if !found.work_left {
            return Ok(permit.prepare_wait(left));
        }
    }
}

fn serve(one: &Loop, place: &Parked) -> u32 {
    place.pulled.store(false, Ordering::Relaxed);
    let before = handler_calls::handled();
    one.turn(false, &mut Sink::Call);
    handler_calls::handled().wrapping_sub(before)
}

fn pull_from(permit: &Permit, one: &Loop, place: &Parked, records: &mut dyn Records) -> u32 {
    place.pulled.store(true, Ordering::Relaxed);
    if records.room() == 0 {
        return 0;
    }
    let mut sink = Sink::Pull(Puller::new(records));
    one.turn(false, &mut sink);
    let Sink::Pull(Puller { batch, count, .. }) = sink else {
        return 0;
    };
    if count == 0 {
        one.core.borrow_mut().take_back(batch);
        return 0;
    }
    place.home.store(permit.visitor, Ordering::SeqCst);
    let held = Held {
        server: Arc::downgrade(&permit.server),
        loop_number: one.number(),
        mailbox: one.mailbox,
        batch: Box::new(batch),
    };
    VISITOR.with_borrow_mut(|visitor| visitor.held.push(held));
    count
}

// ---- taking and parking loops ----

/// What a visit of the loops has found.
#[derive(Default)]
struct Found {
    count: u32,
    work_left: bool,
}

/// Serves the loops that no other thread serves. A closing thread, which is nobody, serves also those
/// whose batch a thread still uses.
fn visit(
    server: &Arc<Server>,
    visitor: Option<u64>,
    held: &mut Vec<Held>,
    serve: &mut dyn FnMut(&Loop, &Parked) -> u32,
) -> Found {
    let mut found = Found::default();
    for (number, place) in server.parked.iter().enumerate() {
        if !place.is_open_to(visitor) {
            continue;
        }
        let served = with_loop(server, number, |one| {
            if let Some(at) = held.iter().position(|held| held.loop_number == number) {
                place.home.store(0, Ordering::SeqCst);
                one.core.borrow_mut().take_back(*held.swap_remove(at).batch);
            }
            serve(one, place)
        });
        let Some((count, work_left)) = served else {
            continue;
        };
        found.count += count;
        found.work_left |= work_left;
    }
    held.drain(..).for_each(Held::give_back);
    found
}

/// Does something with a parked loop and parks it again; returns also whether work is left in it. None
/// when another thread serves it.
fn with_loop<T>(
    server: &Arc<Server>,
    number: usize,
    work: impl FnOnce(&Loop) -> T,
) -> Option<(T, bool)> {
    let one = server.parked[number].parked().take()?;
    match catch_unwind(AssertUnwindSafe(|| work(&one))) {
        Ok(answer) => Some((answer, park(server, number, one))),
        Err(panic) => {
            // What a panic has left is not parked: its connections end, and the server closes.
            drop(one);
            server.begin_close();
            server.loop_ended();
            resume_unwind(panic)
        }
    }
}

/// Does something with a parked loop for a thread that does not serve it further: whoever waits, and may have
/// missed the loop meanwhile, looks at it anew.
fn borrow_loop(server: &Arc<Server>, number: usize, work: impl FnOnce(&Loop)) {
    let Some(((), work_left)) = with_loop(server, number, work) else {
        return;
    };
    if work_left && let Some(mailbox) = server.loops[number].mailbox.get() {
        mailbox.wake();
    }
    server.host.ring();
}

/// Parks a loop; returns whether work is left in it.
fn park(server: &Server, number: usize, one: Box<Loop>) -> bool {
    let place = &server.parked[number];
    if one.core.borrow().is_finished() {
        drop(one);
        server.loop_ended();
        return false;
    }
    // Locked before the union is looked at: whoever makes one then comes by here, or finds it parked.
    let mut parked = place.parked();
    let union = server.host.union.get();
    let joined = union.map_or(Ok(()), |union| join(union, place, &one));
    let shown = union.is_some();
    let expected_back = place.home.load(Ordering::SeqCst) != 0 && !shown;
    let mut core = one.core.borrow_mut();
    // The thread that holds a batch takes the mail when it comes back, without being woken.
    let no_mail = expected_back || one.mailbox.fall_asleep();
    let untold = server.is_closing() && !core.closing;
    let work_left = core.has_work() || !no_mail || untold;
    let work_left = !core.limit_wait() || work_left;
    if shown && work_left {
        one.mailbox.wake();
    }
    drop(core);
    *parked = Some(one);
    drop(parked);
    if let Err(error) = joined {
        log::error!("cannot add a loop to the server's descriptor: {error}");
    }
    work_left
}

/// Lets the host's descriptor show the work of a loop that is here, if it does not yet.
fn join(union: &Union, place: &Parked, one: &Loop) -> io::Result<()> {
    if !place.shown.load(Ordering::Relaxed) {
        union.add(one.core.borrow().poller.descriptor())?;
        place.shown.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Puts together what is to be waited for: work in the loops that nobody serves, and wishes. Returns how long
/// that may last; `HostThreads::end_wait` must follow.
fn begin_wait(
    server: &Server,
    visitor: Option<u64>,
    timeout: Option<Duration>,
    set: &mut PollSet,
) -> Option<Duration> {
    let host = &server.host;
    set.clear();
    set.add(host.wake.descriptor());
    set.add(host.recheck.descriptor());
    host.waiting.fetch_add(1, Ordering::SeqCst);
    let loops = server.parked.iter();
    let ours = loops.filter(|place| place.is_open_to(visitor) && place.parked().is_some());
    ours.filter_map(|place| place.descriptor.get())
        .for_each(|descriptor| set.add(*descriptor));
    let closing = server.is_closing() && !server.has_ended();
    if closing {
        timeout.into_iter().chain([POLL_INTERVAL]).min()
    } else {
        timeout
    }
}

/// A closing thread's wait.
fn wait_a_glance(server: &Server) {
    let mut set = PollSet::default();
    let timeout = begin_wait(server, None, Some(POLL_INTERVAL), &mut set);
    let waited = set.wait(timeout);
    server.host.end_wait();
    server.host.readiness(waited);
}

// ---- what else a host may ask ----

/// Parks the loops of a new server, ready to be woken.
pub(crate) fn settle(server: &Arc<Server>) {
    for number in 0..server.loops.len() {
        borrow_loop(server, number, |_| ());
    }
}

/// A descriptor that is readable while there is something to do.
pub(crate) fn fd(server: u64) -> Result<Descriptor, ServerError> {
    let server = hosted(server)?;
    let host = &server.host;
    let refused = |error: io::Error| {
        log::error!("cannot create the server's descriptor: {error}");
        ServerError::Io
    };
    let make = || {
        let union = Union::new()?;
        union.add(host.wake.descriptor())?;
        Ok(union)
    };
    let is_first = host.union.get().is_none();
    let union = host.union.get_or_try_init(make).map_err(refused)?;
    if is_first {
        // From now on what is left undone shows.
        settle(&server);
    }
    for place in &server.parked {
        // A loop that is not here joins when it comes back, if it does.
        let parked = place.parked();
        let joined = parked
            .as_ref()
            .map_or(Ok(()), |one| join(union, place, one));
        drop(parked);
        joined.map_err(refused)?;
    }
    Ok(union.descriptor())
}

/// Wakes one waiting thread, present or next.
pub(crate) fn wake(server: u64) -> Result<(), ServerError> {
    let server = hosted(server)?;
    server.host.wakes.fetch_add(1, Ordering::AcqRel);
    server.host.wake.give();
    Ok(())
}

fn hosted(server: u64) -> Result<Arc<Server>, ServerError> {
    let server = find(server)?;
    let hosted = server.options.dispatch == Dispatch::Host;
    hosted.then_some(server).ok_or(ServerError::Argument)
}

/// Hands to the system what was mailed to a loop that lies parked.
pub(crate) fn flush(mailbox: &'static Mailbox) {
    let Ok(server) = find(mailbox.server()) else {
        return;
    };
    let is_it = |place: &LoopShare| {
        place
            .mailbox
            .get()
            .is_some_and(|it| std::ptr::eq(*it, mailbox))
    };
    if let Some(number) = server.loops.iter().position(is_it) {
        borrow_loop(&server, number, Loop::flush);
    }
}

/// Serves a closing server until nothing is left of it but events that wait for `pull`.
pub(crate) fn drive_to_end(server: &Arc<Server>) {
    let began = Instant::now();
    let mine = VISITOR.with_borrow(|visitor| visitor.number);
    while !server.has_ended() {
        let others = server.host.permits().iter().any(|&permit| permit != mine);
        if others && began.elapsed() < PATIENCE {
            server.wait_a_while(POLL_INTERVAL);
            continue;
        }
        let mut quiet = 0;
        let found = visit(server, None, &mut Vec::new(), &mut |one, place| {
            let count = finish(one, place);
            let pulled = place.pulled.load(Ordering::Relaxed);
            quiet += usize::from(pulled && one.core.borrow_mut().is_quiet());
            count
        });
        if quiet == server.running_loops() {
            return;
        }
        if found.count == 0 {
            wait_a_glance(server);
        }
    }
}

/// A closing thread's turn of a loop: the events of a host that pulls wait for it.
fn finish(one: &Loop, place: &Parked) -> u32 {
    if !place.pulled.load(Ordering::Relaxed) {
        return serve(one, place);
    }
    one.turn(false, &mut Sink::Nowhere);
    0
}

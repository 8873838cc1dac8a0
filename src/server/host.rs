//! HOST: the host's own threads drive the loops, by `run`, `poll` and `pull`.
//!
//! Between turns a loop lies parked. A thread takes those that no other serves, has them look
//! without waiting, and parks them again; only when nothing was found does it wait, by `poll(2)` on
//! their descriptors. That consumes nothing and holds nothing, so a thread may be ended there.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use super::mailbox::{Mail, Mailbox};
use super::pull::{Batch, Puller};
use super::server::{Place, Server, find};
use super::sink::Sink;
use super::worker::Loop;
use super::{Dispatch, Records, ServerError, callback};
use crate::net::{Readiness, Signal, Union, process, wait_readable};

/// A closer leaves a server to the threads inside it for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// A closer looks up at least this often.
const GLANCE: Duration = Duration::from_millis(50);

/// What a server has for threads of the host.
pub struct Host {
    /// The threads inside `run`, `poll` or `pull`.
    seats: Mutex<Vec<u64>>,
    /// `portal_server_wake`: each gift makes one thread look up.
    wake: Signal,
    wakes: AtomicU32,
    /// Something is to be looked at anew by a thread that waits.
    bell: Signal,
    waiting: AtomicU32,
    /// Readable while any loop has work, once asked for. A loop joins it before it is parked.
    union: OnceCell<Union>,
}

impl Host {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            seats: Mutex::default(),
            wake: Signal::semaphore()?,
            wakes: AtomicU32::new(0),
            bell: Signal::semaphore()?,
            waiting: AtomicU32::new(0),
            union: OnceCell::new(),
        })
    }

    /// Lets every thread that waits look up.
    pub fn ring(&self) {
        for _ in 0..self.waiting.load(Ordering::SeqCst) {
            self.bell.give();
        }
    }

    fn take_wake(&self) -> bool {
        let taken = self.wakes.load(Ordering::Acquire) > 0 && self.wake.take();
        if taken {
            self.wakes.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    fn seats(&self) -> MutexGuard<'_, Vec<u64>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---- the calling thread ----

/// What a thread has of servers: it goes with the thread.
struct Visitor {
    number: u64,
    seats: Vec<Weak<Server>>,
    held: Vec<Held>,
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
        seats: Vec::new(),
        held: Vec::new(),
    });
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if process::is_forked_child() {
            // All of it is the parent's, and a lock may be held for ever.
            mem::forget((mem::take(&mut self.seats), mem::take(&mut self.held)));
            return;
        }
        for server in self.seats.drain(..).filter_map(|server| server.upgrade()) {
            server.host.seats().retain(|&seat| seat != self.number);
            server.host.ring();
        }
        self.held.drain(..).for_each(Held::give_back);
    }
}

impl Held {
    /// Gives the batch back by mail.
    fn give_back(mut self) {
        self.batch.let_go();
        if let Some(server) = self.server.upgrade() {
            server.loops[self.loop_number]
                .home
                .store(0, Ordering::SeqCst);
            self.mailbox.post(Mail::Returned(self.batch));
            server.host.ring();
        }
    }
}

/// A thread's place inside a server.
struct Seat {
    server: Arc<Server>,
    visitor: u64,
}

impl Seat {
    /// Takes one of as many seats as there are loops.
    fn take(server: u64) -> Result<Self, ServerError> {
        let server = find(server)?;
        if callback::is_inside() {
            return Err(ServerError::Busy);
        }
        if server.options.dispatch != Dispatch::Host {
            return Err(ServerError::Argument);
        }
        let visitor = VISITOR.with_borrow(|visitor| visitor.number);
        let mut seats = server.host.seats();
        // A thread that was thrown out of a wait still has its seat.
        if !seats.contains(&visitor) {
            if seats.len() >= server.loops.len() {
                return Err(ServerError::Busy);
            }
            seats.push(visitor);
            VISITOR.with_borrow_mut(|visitor| visitor.seats.push(Arc::downgrade(&server)));
        }
        drop(seats);
        Ok(Self { server, visitor })
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

impl Drop for Seat {
    fn drop(&mut self) {
        self.server
            .host
            .seats()
            .retain(|&seat| seat != self.visitor);
        VISITOR.with_borrow_mut(|visitor| {
            visitor
                .seats
                .retain(|server| !std::ptr::eq(server.as_ptr(), Arc::as_ptr(&self.server)));
        });
        self.server.host.ring();
    }
}

// ---- run, poll, pull ----

/// Serves on this thread until the server has closed.
pub fn run(server: u64) -> Result<(), ServerError> {
    let seat = Seat::take(server)?;
    let mut held = seat.take_held();
    loop {
        let found = visit(&seat.server, Some(seat.visitor), &mut held, &mut call);
        if seat.server.has_ended() {
            return Ok(());
        }
        if !found.work_left {
            wait(&seat.server, Some(seat.visitor), None);
            seat.server.host.take_wake();
        }
    }
}

/// One turn; answers how many callbacks have run.
pub fn poll(server: u64, timeout_ms: i32) -> Result<u32, ServerError> {
    let seat = Seat::take(server)?;
    let mut held = seat.take_held();
    until_found(&seat, timeout_ms, &mut held, &mut call)
}

/// One turn without callbacks; answers how many events were written.
pub fn pull(server: u64, timeout_ms: i32, records: &mut dyn Records) -> Result<u32, ServerError> {
    let seat = Seat::take(server)?;
    let mut held = seat.take_held();
    let visitor = seat.visitor;
    until_found(&seat, timeout_ms, &mut held, &mut |one, place| {
        pull_from(one, place, visitor, records)
    })
}

/// Serves until something was found, the time is up, or somebody wants the thread to look up.
fn until_found(
    seat: &Seat,
    timeout_ms: i32,
    held: &mut Vec<Held>,
    serve: &mut dyn FnMut(&Loop, &Place) -> u32,
) -> Result<u32, ServerError> {
    let server = &seat.server;
    let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let end = limit
        .filter(|limit| !limit.is_zero())
        .map(|limit| Instant::now() + limit);
    loop {
        let found = visit(server, Some(seat.visitor), held, serve);
        let woken = server.host.take_wake();
        if found.count > 0 {
            return Ok(found.count);
        }
        if server.has_ended() {
            return Err(ServerError::Gone);
        }
        let left = match (limit, end) {
            (None, _) => None,
            (_, None) => Some(Duration::ZERO),
            (_, Some(end)) => Some(end.saturating_duration_since(Instant::now())),
        };
        if woken || left.is_some_and(|left| left.is_zero()) {
            return Ok(0);
        }
        if found.work_left {
            continue;
        }
        if wait(server, Some(seat.visitor), left) == Readiness::Interrupted {
            return Ok(0);
        }
    }
}

fn call(one: &Loop, place: &Place) -> u32 {
    place.pulled.store(false, Ordering::Relaxed);
    let before = callback::handled();
    one.turn(false, &mut Sink::Call);
    callback::handled().wrapping_sub(before)
}

fn pull_from(one: &Loop, place: &Place, visitor: u64, records: &mut dyn Records) -> u32 {
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
    place.home.store(visitor, Ordering::SeqCst);
    let held = Held {
        server: Arc::downgrade(&one.server),
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

/// Serves the loops that no other thread serves. A closer, which is nobody, serves also those
/// whose batch a thread still uses.
fn visit(
    server: &Arc<Server>,
    visitor: Option<u64>,
    held: &mut Vec<Held>,
    serve: &mut dyn FnMut(&Loop, &Place) -> u32,
) -> Found {
    let mut found = Found::default();
    for (number, place) in server.loops.iter().enumerate() {
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

/// Does something with a parked loop and parks it again; answers also whether work is left in it. None
/// when another thread serves it.
fn with_loop<T>(
    server: &Arc<Server>,
    number: usize,
    work: impl FnOnce(&Loop) -> T,
) -> Option<(T, bool)> {
    let one = server.loops[number].parked().take()?;
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

/// Parks a loop; answers whether work is left in it.
fn park(server: &Server, number: usize, one: Box<Loop>) -> bool {
    let place = &server.loops[number];
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
    let work_left = !core.plan_wait() || work_left;
    if shown && work_left {
        one.mailbox.wake();
    }
    drop(core);
    *parked = Some(one);
    drop(parked);
    if let Err(error) = joined {
        log::error!("a loop does not show in the host's descriptor: {error}");
    }
    work_left
}

/// Lets the host's descriptor show the work of a loop that is here, if it does not yet.
fn join(union: &Union, place: &Place, one: &Loop) -> io::Result<()> {
    if !place.shown.load(Ordering::Relaxed) {
        union.add(one.core.borrow().poller.descriptor())?;
        place.shown.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits for work in the loops that nobody serves, or for somebody's wish.
fn wait(server: &Server, visitor: Option<u64>, timeout: Option<Duration>) -> Readiness {
    let host = &server.host;
    let mut descriptors = vec![host.wake.as_raw_fd(), host.bell.as_raw_fd()];
    host.waiting.fetch_add(1, Ordering::SeqCst);
    let loops = server.loops.iter();
    let ours = loops.filter(|place| place.is_open_to(visitor) && place.parked().is_some());
    descriptors.extend(ours.filter_map(|place| place.descriptor.get()));
    let closing = server.is_closing() && !server.has_ended();
    let timeout = if closing {
        timeout.into_iter().chain([GLANCE]).min()
    } else {
        timeout
    };
    let readiness = wait_readable(&descriptors, timeout);
    host.waiting.fetch_sub(1, Ordering::SeqCst);
    host.bell.take();
    readiness.unwrap_or_else(|error| {
        log::error!("waiting for work failed: {error}");
        Readiness::Interrupted
    })
}

// ---- what else a host may ask ----

/// Parks the loops of a new server, ready to be woken.
pub fn settle(server: &Arc<Server>) {
    for number in 0..server.loops.len() {
        with_loop(server, number, |_| ());
    }
}

/// A descriptor that is readable while there is something to do.
pub fn fd(server: u64) -> Result<RawFd, ServerError> {
    let server = hosted(server)?;
    let host = &server.host;
    let refused = |error: io::Error| {
        log::error!("no descriptor can be made for the host: {error}");
        ServerError::Io
    };
    let make = || {
        let union = Union::new()?;
        union.add(host.wake.as_raw_fd())?;
        Ok(union)
    };
    let is_first = host.union.get().is_none();
    let union = host.union.get_or_try_init(make).map_err(refused)?;
    if is_first {
        // From now on what is left undone shows.
        settle(&server);
    }
    for place in &server.loops {
        // A loop that is not here joins when it comes back, if it does.
        let parked = place.parked();
        let joined = parked
            .as_ref()
            .map_or(Ok(()), |one| join(union, place, one));
        drop(parked);
        joined.map_err(refused)?;
    }
    Ok(union.as_raw_fd())
}

/// Makes one waiting thread, present or next, look up.
pub fn wake(server: u64) -> Result<(), ServerError> {
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
pub fn flush(mailbox: &'static Mailbox) {
    let Some(server) = mailbox.server() else {
        return;
    };
    let is_it = |place: &Place| {
        place
            .mailbox
            .get()
            .is_some_and(|it| std::ptr::eq(*it, mailbox))
    };
    if let Some(number) = server.loops.iter().position(is_it) {
        with_loop(&server, number, Loop::flush);
    }
}

/// Serves a closing server until nothing is left of it but events that wait for `pull`.
pub fn drive_to_end(server: &Arc<Server>) {
    let began = Instant::now();
    let mine = VISITOR.with_borrow(|visitor| visitor.number);
    while !server.has_ended() {
        let others = server.host.seats().iter().any(|&seat| seat != mine);
        if others && began.elapsed() < PATIENCE {
            server.wait_a_while(GLANCE);
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
            wait(server, None, Some(GLANCE));
        }
    }
}

/// A closer's turn of a loop: the events of a host that pulls wait for it.
fn finish(one: &Loop, place: &Place) -> u32 {
    if !place.pulled.load(Ordering::Relaxed) {
        return call(one, place);
    }
    one.turn(false, &mut Sink::Nowhere);
    0
}

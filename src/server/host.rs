//! HOST: the host's own threads drive the loops, by `run`, `poll` and `pull`.
//!
//! Between turns a loop is parked. A thread takes the loops that no other thread serves, runs a turn of each
//! without waiting, and parks them again. Only if there was no work does it wait, with `poll(2)` on their
//! descriptors. That consumes nothing and holds nothing, so a thread may be ended there: a call proceeds in
//! steps, between which its caller waits, and what a thread that never returns must give back is in its
//! [`HostThread`].

use std::cell::RefCell;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::net::{CombinedDescriptor, Descriptor, PollSet, Readiness, Wait, Waited, process};
use crate::server::dispatch::pull::{Batch, Puller};
use crate::server::dispatch::sink::Sink;
use crate::server::event_loop::Loop;
use crate::server::parked::Parked;
use crate::server::registry::{Server, find};
use crate::server::shared::LoopShare;
use crate::server::websocket::mailbox::{Mail, Mailbox};
use crate::server::{Dispatch, Records, ServerError, handler_calls};

/// A closing thread lets the threads inside a server serve it for so long.
const HOST_THREADS_GRACE: Duration = Duration::from_secs(1);

/// A closing thread wakes at least this often.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

// ---- the calling thread ----

/// What a thread of the host holds of servers. It is dropped when the thread ends.
struct HostThread {
    number: u64,
    permits: Vec<Weak<Server>>,
    held: Vec<HeldBatch>,
    /// The server for which it waits.
    waiting: Option<Arc<Server>>,
    set: PollSet,
}

/// A pulled batch that the thread still uses.
struct HeldBatch {
    server: Weak<Server>,
    loop_number: usize,
    mailbox: &'static Mailbox,
    batch: Box<Batch>,
}

static NEXT_THREAD_NUMBER: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THIS_THREAD: RefCell<HostThread> = RefCell::new(HostThread {
        number: NEXT_THREAD_NUMBER.fetch_add(1, Ordering::Relaxed),
        permits: Vec::new(),
        held: Vec::new(),
        waiting: None,
        set: PollSet::default(),
    });
}

impl Drop for HostThread {
    fn drop(&mut self) {
        if process::is_forked_child() {
            // All of it belongs to the parent, and a lock may be held forever.
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
            server.host.wake_all();
        }
        self.held.drain(..).for_each(HeldBatch::give_back);
    }
}

impl HostThread {
    /// Ends the wait, if there is one: in order, or because the thread was unwound out of it.
    fn end_wait(&mut self) -> Option<Arc<Server>> {
        let server = self.waiting.take()?;
        server.host.end_wait();
        Some(server)
    }
}

impl HeldBatch {
    /// Returns the batch by mail.
    fn give_back(mut self) {
        self.batch.release_paths();
        if let Some(server) = self.server.upgrade() {
            server.parked[self.loop_number]
                .batch_holder
                .store(0, Ordering::SeqCst);
            self.mailbox.post(Mail::BatchReturned(self.batch));
            server.host.wake_all();
        }
    }
}

/// The right of a thread to serve a server's loops.
struct Permit {
    server: Arc<Server>,
    thread: u64,
    /// The thread retains it during a wait.
    retained: bool,
}

impl Permit {
    /// Takes a permit, of which there are as many as loops.
    fn take(server: u64) -> Result<Self, ServerError> {
        let server = find(server)?;
        if handler_calls::is_inside() {
            return Err(ServerError::Busy);
        }
        if server.options.dispatch != Dispatch::Host {
            return Err(ServerError::Argument);
        }
        let thread = THIS_THREAD.with_borrow_mut(|thread| {
            thread.end_wait();
            thread.number
        });
        let mut permits = server.host.permits();
        // A thread that was unwound out of a wait still has its permit.
        if !permits.contains(&thread) {
            if permits.len() >= server.loops.len() {
                return Err(ServerError::Busy);
            }
            permits.push(thread);
            THIS_THREAD.with_borrow_mut(|thread| thread.permits.push(Arc::downgrade(&server)));
        }
        drop(permits);
        Ok(Self {
            server,
            thread,
            retained: false,
        })
    }

    /// Returns the permit that the thread has retained during a wait for this server.
    fn resume(server: u64) -> Option<Self> {
        THIS_THREAD.with_borrow_mut(|thread| {
            let waiting = thread.waiting.as_ref()?;
            if waiting.id() != server {
                return None;
            }
            Some(Self {
                server: thread.end_wait()?,
                thread: thread.number,
                retained: false,
            })
        })
    }

    /// Prepares a wait for work in the loops that nobody serves, or for a wake-up.
    fn prepare_wait(mut self, timeout: Option<Duration>) -> CallStep {
        self.retained = true;
        let server = Arc::clone(&self.server);
        THIS_THREAD.with_borrow_mut(|thread| {
            let timeout = begin_wait(&server, Some(self.thread), timeout, &mut thread.set);
            thread.waiting = Some(server);
            CallStep::Wait(thread.set.prepare(timeout))
        })
    }

    /// Takes the batches of this server that the thread has used until now.
    fn take_held(&self) -> Vec<HeldBatch> {
        let mut taken: Vec<HeldBatch> = THIS_THREAD.with_borrow_mut(|thread| {
            let is_ours = |held: &mut HeldBatch| {
                std::ptr::eq(held.server.as_ptr(), Arc::as_ptr(&self.server))
            };
            thread.held.extract_if(.., is_ours).collect()
        });
        taken.iter_mut().for_each(|held| held.batch.release_paths());
        taken
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.retained {
            return;
        }
        self.server
            .host
            .permits()
            .retain(|&permit| permit != self.thread);
        THIS_THREAD.with_borrow_mut(|thread| {
            thread
                .permits
                .retain(|server| !std::ptr::eq(server.as_ptr(), Arc::as_ptr(&self.server)));
        });
        self.server.host.wake_all();
    }
}

// ---- run, poll, pull ----

/// The result of one step of a call.
pub(crate) enum CallStep {
    Done(u32),
    /// The thread must wait, with nothing in its frame that must be dropped, and take the next step.
    Wait(Wait),
}

/// The state of a call between its steps: nothing that must be dropped.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    server: u64,
    timeout_ms: i32,
    /// The deadline; set in the first step.
    deadline: Option<Instant>,
    waited: Option<Waited>,
}

impl Call {
    pub(crate) fn new(server: u64, timeout_ms: i32) -> Self {
        Self {
            server,
            timeout_ms,
            deadline: None,
            waited: None,
        }
    }

    /// Notes the result of the wait.
    pub(crate) fn waited(&mut self, waited: Waited) {
        self.waited = Some(waited);
    }

    /// Takes a permit, or the retained one. Returns also the result of the wait, if there was one.
    fn enter(&mut self) -> Result<(Permit, Option<Readiness>), ServerError> {
        let Some(waited) = self.waited.take() else {
            return Ok((Permit::take(self.server)?, None));
        };
        let permit = match Permit::resume(self.server) {
            Some(permit) => permit,
            // The thread was used for another call during the wait.
            None => Permit::take(self.server)?,
        };
        let readiness = permit.server.host.readiness(waited.readiness());
        Ok((permit, Some(readiness)))
    }

    /// Returns how much time is left; None: no limit.
    fn time_left(&mut self) -> Option<Duration> {
        let limit = Duration::from_millis(u64::try_from(self.timeout_ms).ok()?);
        if limit.is_zero() {
            return Some(limit);
        }
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert(now + limit);
        Some(deadline.saturating_duration_since(now))
    }
}

/// Serves on this thread until the server has closed.
pub(crate) fn run(call: &mut Call) -> Result<CallStep, ServerError> {
    let has_waited = call.waited.is_some();
    let (permit, readiness) = match call.enter() {
        Err(ServerError::Gone) if has_waited => return Ok(CallStep::Done(0)),
        result => result?,
    };
    if readiness.is_some() {
        permit.server.host.take_wake();
    }
    let mut held = permit.take_held();
    loop {
        let found = serve_loops(&permit.server, Some(permit.thread), &mut held, &mut serve);
        if permit.server.has_ended() {
            return Ok(CallStep::Done(0));
        }
        if !found.work_left {
            return Ok(permit.prepare_wait(None));
        }
    }
}

/// Runs one turn. Returns how many callbacks have run.
pub(crate) fn poll(call: &mut Call) -> Result<CallStep, ServerError> {
    serve_until_work(call, &mut |_, event_loop, parked| serve(event_loop, parked))
}

/// Runs one turn without callbacks. Returns how many events were recorded.
pub(crate) fn pull(call: &mut Call, records: &mut dyn Records) -> Result<CallStep, ServerError> {
    serve_until_work(call, &mut |permit, event_loop, parked| {
        pull_from(permit, event_loop, parked, records)
    })
}

/// Serves until there was work, the time has passed, or the thread is woken.
fn serve_until_work(
    call: &mut Call,
    serve: &mut dyn FnMut(&Permit, &Loop, &Parked) -> u32,
) -> Result<CallStep, ServerError> {
    let (permit, readiness) = call.enter()?;
    if readiness == Some(Readiness::Interrupted) {
        return Ok(CallStep::Done(0));
    }
    let left = call.time_left();
    let thread = permit.thread;
    let mut held = permit.take_held();
    loop {
        let found = serve_loops(
            &permit.server,
            Some(thread),
            &mut held,
            &mut |event_loop, parked| serve(&permit, event_loop, parked),
        );
        let woken = permit.server.host.take_wake();
        if found.count > 0 {
            return Ok(CallStep::Done(found.count));
        }
        if permit.server.has_ended() {
            return Err(ServerError::Gone);
        }
        let left = left.and_then(|_| call.time_left());
        if woken || left.is_some_and(|left| left.is_zero()) {
            return Ok(CallStep::Done(0));
        }
        if !found.work_left {
            return Ok(permit.prepare_wait(left));
        }
    }
}

fn serve(event_loop: &Loop, parked: &Parked) -> u32 {
    parked.pulled.store(false, Ordering::Relaxed);
    let before = handler_calls::handler_count();
    event_loop.turn(false, &mut Sink::Call);
    handler_calls::handler_count().wrapping_sub(before)
}

fn pull_from(
    permit: &Permit,
    event_loop: &Loop,
    parked: &Parked,
    records: &mut dyn Records,
) -> u32 {
    parked.pulled.store(true, Ordering::Relaxed);
    if records.room() == 0 {
        return 0;
    }
    let mut sink = Sink::Pull(Puller::new(records));
    event_loop.turn(false, &mut sink);
    let Sink::Pull(Puller { batch, count, .. }) = sink else {
        return 0;
    };
    if count == 0 {
        event_loop.core.borrow_mut().take_back(batch);
        return 0;
    }
    parked.batch_holder.store(permit.thread, Ordering::SeqCst);
    let held = HeldBatch {
        server: Arc::downgrade(&permit.server),
        loop_number: event_loop.number(),
        mailbox: event_loop.mailbox,
        batch: Box::new(batch),
    };
    THIS_THREAD.with_borrow_mut(|thread| thread.held.push(held));
    count
}

// ---- taking and parking loops ----

/// What serving the loops has resulted in.
#[derive(Default)]
struct Served {
    count: u32,
    work_left: bool,
}

/// Serves the loops that no other thread serves. A closing thread, with None as `thread`, serves also those
/// of which a thread still uses a batch.
fn serve_loops(
    server: &Arc<Server>,
    thread: Option<u64>,
    held: &mut Vec<HeldBatch>,
    serve: &mut dyn FnMut(&Loop, &Parked) -> u32,
) -> Served {
    let mut found = Served::default();
    for (number, parked) in server.parked.iter().enumerate() {
        if !parked.may_be_served_by(thread) {
            continue;
        }
        let served = with_loop(server, number, |event_loop| {
            if let Some(at) = held.iter().position(|held| held.loop_number == number) {
                parked.batch_holder.store(0, Ordering::SeqCst);
                event_loop
                    .core
                    .borrow_mut()
                    .take_back(*held.swap_remove(at).batch);
            }
            serve(event_loop, parked)
        });
        let Some((count, work_left)) = served else {
            continue;
        };
        found.count += count;
        found.work_left |= work_left;
    }
    held.drain(..).for_each(HeldBatch::give_back);
    found
}

/// Runs `work` with a parked loop, and parks it again. Returns also whether work is left in it. None: another
/// thread serves it.
fn with_loop<T>(
    server: &Arc<Server>,
    number: usize,
    work: impl FnOnce(&Loop) -> T,
) -> Option<(T, bool)> {
    let event_loop = server.parked[number].event_loop().take()?;
    match catch_unwind(AssertUnwindSafe(|| work(&event_loop))) {
        Ok(result) => Some((result, park(server, number, event_loop))),
        Err(panic) => {
            // After a panic the loop is not parked: its connections end, and the server closes.
            drop(event_loop);
            server.begin_close();
            server.loop_ended();
            resume_unwind(panic)
        }
    }
}

/// Runs `work` with a parked loop, for a thread that does not serve it further. Threads that wait, and may have
/// missed the loop meanwhile, check it again.
fn borrow_loop(server: &Arc<Server>, number: usize, work: impl FnOnce(&Loop)) {
    let Some(((), work_left)) = with_loop(server, number, work) else {
        return;
    };
    if work_left && let Some(mailbox) = server.loops[number].mailbox.get() {
        mailbox.wake();
    }
    server.host.wake_all();
}

/// Parks a loop. Returns whether work is left in it.
fn park(server: &Server, number: usize, event_loop: Box<Loop>) -> bool {
    let parked = &server.parked[number];
    if event_loop.core.borrow().is_finished() {
        drop(event_loop);
        server.loop_ended();
        return false;
    }
    // Locked before the descriptor's cell is read: whoever creates it finds the loop here, or this finds it.
    let mut guard = parked.event_loop();
    let combined = server.host.combined.get();
    let joined = combined.map_or(Ok(()), |combined| join(combined, parked, &event_loop));
    let is_combined = combined.is_some();
    let expected_back = parked.batch_holder.load(Ordering::SeqCst) != 0 && !is_combined;
    let mut core = event_loop.core.borrow_mut();
    // The thread that holds a batch handles the mail when it returns, without being woken.
    let no_mail = expected_back || event_loop.mailbox.fall_asleep();
    let must_enter_stage = server.stage() != core.stage;
    let work_left = core.has_work() || !no_mail || must_enter_stage;
    let work_left = !core.limit_wait() || work_left;
    if is_combined && work_left {
        event_loop.mailbox.wake();
    }
    drop(core);
    *guard = Some(event_loop);
    drop(guard);
    if let Err(error) = joined {
        log::error!("cannot add a loop to the server's descriptor: {error}");
    }
    work_left
}

/// Adds a loop to the server's descriptor, if it is not there yet.
fn join(combined: &CombinedDescriptor, parked: &Parked, event_loop: &Loop) -> io::Result<()> {
    if !parked.is_combined.load(Ordering::Relaxed) {
        combined.add(event_loop.core.borrow().poller.descriptor())?;
        parked.is_combined.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Collects the descriptors of a wait: loops that nobody serves, and wake-ups. Returns how long the wait may
/// last. `HostThreads::end_wait` must follow.
fn begin_wait(
    server: &Server,
    thread: Option<u64>,
    timeout: Option<Duration>,
    set: &mut PollSet,
) -> Option<Duration> {
    let host = &server.host;
    set.clear();
    set.add(host.wake.descriptor());
    set.add(host.recheck.descriptor());
    host.waiting.fetch_add(1, Ordering::SeqCst);
    let loops = server.parked.iter();
    let served =
        loops.filter(|parked| parked.may_be_served_by(thread) && parked.event_loop().is_some());
    served
        .filter_map(|parked| parked.descriptor.get())
        .for_each(|descriptor| set.add(*descriptor));
    // Also when it has just ended: whoever ended it may not have seen this thread.
    if server.is_closing() {
        timeout.into_iter().chain([POLL_INTERVAL]).min()
    } else {
        timeout
    }
}

/// A closing thread's wait.
fn wait_briefly(server: &Server) {
    let mut set = PollSet::default();
    let timeout = begin_wait(server, None, Some(POLL_INTERVAL), &mut set);
    let waited = set.wait(timeout);
    server.host.end_wait();
    server.host.readiness(waited);
}

// ---- other calls of a host ----

/// Parks the loops of a new server, ready to be woken.
pub(crate) fn park_all(server: &Arc<Server>) {
    for number in 0..server.loops.len() {
        borrow_loop(server, number, |_| ());
    }
}

/// Returns a descriptor that is readable while there is something to do.
pub(crate) fn fd(server: u64) -> Result<Descriptor, ServerError> {
    let server = hosted(server)?;
    let host = &server.host;
    let refused = |error: io::Error| {
        log::error!("cannot create the server's descriptor: {error}");
        ServerError::Io
    };
    let make = || {
        let combined = CombinedDescriptor::new()?;
        combined.add(host.wake.descriptor())?;
        Ok(combined)
    };
    let is_first = host.combined.get().is_none();
    let combined = host.combined.get_or_try_init(make).map_err(refused)?;
    if is_first {
        // From now on a loop that is parked with work left wakes itself.
        park_all(&server);
    }
    for parked in &server.parked {
        // A loop that a thread serves joins when it is parked.
        let guard = parked.event_loop();
        let joined = guard
            .as_ref()
            .map_or(Ok(()), |event_loop| join(combined, parked, event_loop));
        drop(guard);
        joined.map_err(refused)?;
    }
    Ok(combined.descriptor())
}

/// Wakes one thread that waits, or the next one that would.
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

/// Writes what was mailed to a parked loop.
pub(crate) fn flush(mailbox: &'static Mailbox) {
    let Ok(server) = find(mailbox.server()) else {
        return;
    };
    let is_it = |parked: &LoopShare| {
        parked
            .mailbox
            .get()
            .is_some_and(|it| std::ptr::eq(*it, mailbox))
    };
    if let Some(number) = server.loops.iter().position(is_it) {
        borrow_loop(&server, number, Loop::flush);
    }
}

/// Serves a closing server until nothing is left of it but events that are to be pulled.
pub(crate) fn drive_to_end(server: &Arc<Server>) {
    let began = Instant::now();
    let mine = THIS_THREAD.with_borrow(|thread| thread.number);
    while !server.has_ended() {
        let others = server.host.permits().iter().any(|&permit| permit != mine);
        if others && began.elapsed() < HOST_THREADS_GRACE {
            server.wait_a_while(POLL_INTERVAL);
            continue;
        }
        let mut quiet = 0;
        let found = serve_loops(server, None, &mut Vec::new(), &mut |event_loop, parked| {
            let count = finish(event_loop, parked);
            let pulled = parked.pulled.load(Ordering::Relaxed);
            quiet += usize::from(pulled && event_loop.core.borrow_mut().is_quiet());
            count
        });
        if quiet == server.running_loops() {
            return;
        }
        if found.count == 0 {
            wait_briefly(server);
        }
    }
}

/// Runs a turn of a loop for a closing thread. The events of a host that pulls stay pending.
fn finish(event_loop: &Loop, parked: &Parked) -> u32 {
    if !parked.pulled.load(Ordering::Relaxed) {
        return serve(event_loop, parked);
    }
    event_loop.turn(false, &mut Sink::Nowhere);
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::shared::Shared;
    use crate::server::{Options, OwnPaths};

    #[test]
    fn a_thread_that_has_missed_the_end_does_not_wait_without_limit() {
        let shared = Shared::new(&Options::default(), &OwnPaths::default(), None, 0).unwrap();
        let server = Server::new(Arc::new(shared));
        server.begin_close();
        assert!(server.has_ended());
        let mut set = PollSet::default();
        let time = begin_wait(&server, Some(1), None, &mut set);
        assert_eq!(time, Some(POLL_INTERVAL));
        let shorter = Some(Duration::from_millis(1));
        assert_eq!(begin_wait(&server, Some(1), shorter, &mut set), shorter);
    }
}

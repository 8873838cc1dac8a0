//! The thread for all connections that are under way. It runs while there are any.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::background;
use super::resolver::{Resolver, system_lookup};
use super::route::{ConnectError, Route};
use crate::locks;
use crate::net::{Peer, Signal, Socket, memory, process, wait_for_outgoing};

/// How long nothing is done when the system could not wait.
const PAUSE: Duration = Duration::from_millis(10);

static CONNECTOR: Connector = Connector::new(Resolver::new(&system_lookup));

/// Is told the outcome, on the thread for all connections: it must not block.
pub(crate) type Report = Box<dyn FnOnce(Result<(Socket, Peer), ConnectError>) + Send>;

/// A connection that is under way. It is given up when this is dropped: the socket is closed, and nothing is
/// reported, if that has not happened by then.
#[derive(Debug)]
#[must_use = "the connection is given up when it is dropped"]
pub(crate) struct Connecting(Weak<Handle>);

/// What both sides know of a connection that is under way.
#[derive(Debug)]
struct Handle {
    is_given_up: AtomicBool,
    /// Makes the thread look.
    signal: Arc<Signal>,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        // After a fork the thread, and the signal, are the parent's.
        if process::is_forked_child() {
            return;
        }
        if let Some(handle) = self.0.upgrade() {
            handle.is_given_up.store(true, Ordering::SeqCst);
            handle.signal.give();
        }
    }
}

/// Connects in the background. `report` is called once, without a lock being held, unless the connection is given
/// up.
///
/// # Errors
///
/// The thread could not be started, or this is a forked child. `report` is not called.
pub(crate) fn connect(route: Route, deadline: Instant, report: Report) -> io::Result<Connecting> {
    CONNECTOR.connect(route, deadline, report)
}

/// The thread, and how it is reached.
pub(super) struct Connector {
    resolver: Resolver,
    state: Mutex<State>,
}

struct State {
    /// What the thread has not taken yet.
    arrived: Vec<Order>,
    /// The thread's signal, while it runs.
    signal: Option<Arc<Signal>>,
}

struct Order {
    route: Route,
    deadline: Instant,
    report: Report,
    handle: Arc<Handle>,
}

impl Connector {
    pub(super) const fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            state: Mutex::new(State {
                arrived: Vec::new(),
                signal: None,
            }),
        }
    }

    /// See [`connect`].
    pub(super) fn connect(
        &'static self,
        route: Route,
        deadline: Instant,
        report: Report,
    ) -> io::Result<Connecting> {
        if process::is_forked_child() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        process::watch_forks()?;
        let mut state = locks::lock(&self.state);
        memory::try_reserve(&mut state.arrived, 1).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let signal = match &state.signal {
            Some(signal) => Arc::clone(signal),
            None => {
                let signal = Arc::new(Signal::semaphore()?);
                let of_thread = Arc::clone(&signal);
                background::start("portal-connect", move || self.run(&of_thread))?;
                Arc::clone(state.signal.insert(signal))
            }
        };
        let handle = Arc::new(Handle {
            is_given_up: AtomicBool::new(false),
            signal,
        });
        let connecting = Connecting(Arc::downgrade(&handle));
        handle.signal.give();
        state.arrived.push(Order {
            route,
            deadline,
            report,
            handle,
        });
        Ok(connecting)
    }

    fn run(&'static self, signal: &Arc<Signal>) {
        let mut jobs = Vec::new();
        if catch_unwind(AssertUnwindSafe(|| self.serve(&mut jobs, signal))).is_err() {
            log::error!("the thread for connections panicked");
            locks::lock(&self.state).signal = None;
            jobs.iter_mut().for_each(Job::fail);
        }
    }

    fn serve(&'static self, jobs: &mut Vec<Job>, signal: &Arc<Signal>) {
        while self.take_orders(jobs, signal) {
            let now = Instant::now();
            jobs.retain_mut(|job| job.advance(now));
            let Some(next) = jobs.iter().map(|job| job.attempt.next_at()).min() else {
                continue;
            };
            let time = next.saturating_duration_since(Instant::now());
            let sockets = jobs.iter().flat_map(|job| job.attempt.sockets());
            if let Err(error) = wait_for_outgoing(signal, sockets, time) {
                log::warn!("cannot wait for connections: {error}");
                thread::sleep(PAUSE);
            }
            while signal.take() {}
        }
    }

    /// Begins with what has arrived. Returns false when there is nothing left: the thread ends.
    fn take_orders(&'static self, jobs: &mut Vec<Job>, signal: &Arc<Signal>) -> bool {
        let arrived = {
            let mut state = locks::lock(&self.state);
            if state.arrived.is_empty() && jobs.is_empty() {
                state.signal = None;
                return false;
            }
            mem::take(&mut state.arrived)
        };
        let has_room = memory::try_reserve(jobs, arrived.len()).is_ok();
        let now = Instant::now();
        for order in arrived {
            if order.handle.is_given_up.load(Ordering::SeqCst) {
                continue;
            }
            let attempt = match has_room {
                true => Attempt::new(order.route, order.deadline, &self.resolver, signal, now),
                false => Err(io::Error::from(io::ErrorKind::OutOfMemory).into()),
            };
            match attempt {
                Ok(attempt) => jobs.push(Job {
                    attempt,
                    handle: order.handle,
                    report: Some(order.report),
                }),
                Err(error) => tell(order.report, Err(error)),
            }
        }
        true
    }
}

/// A connection that is under way, and who wants it.
struct Job {
    attempt: Attempt,
    handle: Arc<Handle>,
    report: Option<Report>,
}

impl Job {
    /// Does what is possible now. Returns whether it goes on.
    fn advance(&mut self, now: Instant) -> bool {
        if self.handle.is_given_up.load(Ordering::SeqCst) {
            return false;
        }
        let Poll::Ready(result) = self.attempt.advance(now) else {
            return true;
        };
        if let Some(report) = self.report.take() {
            tell(report, result);
        }
        false
    }

    fn fail(&mut self) {
        if let Some(report) = self.report.take() {
            let message = "the thread for connections has failed".to_owned();
            let error = ConnectError::new(io::ErrorKind::Other, message);
            tell(report, Err(error));
        }
    }
}

/// Reports an outcome. If that panics, the other connections go on.
fn tell(report: Report, result: Result<(Socket, Peer), ConnectError>) {
    if catch_unwind(AssertUnwindSafe(|| report(result))).is_err() {
        log::error!("the report of a connection panicked");
    }
}

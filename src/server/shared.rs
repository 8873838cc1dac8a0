//! What the loops of one server share, with each other and with whoever calls it.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::Duration;

use super::admission::Admission;
use super::handshake::own_paths::{OwnPaths, ServedPaths};
use super::histogram::Histogram;
use super::host_threads::HostThreads;
use super::memory_budget::Budget;
use super::metrics::{Metrics, PublishedTraffic};
use super::websocket::mailbox::{Mail, Mailbox};
use super::websocket::slot_arena::{self, Chunks};
use super::{Dispatch, Options, ServerError};
use crate::locks;
use crate::net::{Identity, Listener, memory};

/// How far the end of a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Accepting,
    /// No connection is accepted any more; those that exist are served.
    Draining,
    Closing,
}

/// Options, counts, limits and the end of one server.
pub(crate) struct Shared {
    pub options: Options,
    pub paths: ServedPaths,
    /// MAX_MEMORY.
    pub budget: Arc<Budget>,
    pub metrics: Arc<Metrics>,
    pub loops: Vec<LoopShare>,
    pub host: HostThreads,
    port: u16,
    /// What clients that come are shown; None: they do not speak TLS.
    identity: Option<RwLock<Identity>>,
    id: OnceLock<u64>,
    /// Of the library's own loop: told of the end of each of its connections.
    connection_ended: OnceLock<fn()>,
    /// A [`Stage`], which only goes forward.
    stage: AtomicU8,
    /// Dropped when accepting ends; loops that listen hold it, too.
    listener: Mutex<Option<Arc<Listener>>>,
    pub admission: Admission,
    /// Loops that have not ended.
    running: Mutex<usize>,
    /// Closing has begun, or the last loop has ended.
    changed: Condvar,
}

/// What all see of one loop.
#[derive(Default)]
pub(crate) struct LoopShare {
    pub traffic: PublishedTraffic,
    pub turn_micros: Histogram,
    pub queue_bytes: Histogram,
    /// Connections dealt to it.
    pub connections: AtomicU64,
    pub mailbox: OnceLock<&'static Mailbox>,
    /// The slots of its mailbox.
    pub slots: OnceLock<&'static Chunks>,
    /// [`Mail::EndIdlePages`] is on its way to it.
    pub ends_idle_pages: AtomicBool,
}

impl Shared {
    /// Of a server that is about to start with so many loops.
    pub(crate) fn new(
        options: &Options,
        paths: &OwnPaths,
        listener: Option<Arc<Listener>>,
        count: usize,
    ) -> Result<Self, ServerError> {
        let identity = match options.tls.is_empty() {
            true => None,
            false => Some(RwLock::new(read_identity(options, None)?)),
        };
        Ok(Self {
            options: options.clone(),
            paths: ServedPaths::new(paths, options.shared_paths)?,
            budget: Budget::of(options),
            metrics: Arc::default(),
            loops: std::iter::repeat_with(LoopShare::default)
                .take(count)
                .collect(),
            host: HostThreads::new().map_err(refused)?,
            port: listener.as_ref().map_or(0, |listener| listener.port()),
            identity,
            id: OnceLock::new(),
            connection_ended: OnceLock::new(),
            stage: AtomicU8::new(Stage::Accepting as u8),
            listener: Mutex::new(listener),
            admission: Admission::new(options)?,
            running: Mutex::new(count),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// 0 until the server is registered.
    pub(crate) fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or(0)
    }

    /// It has no application's server, but is the library's own: `ended` is told of the end of each connection.
    pub(crate) fn serve_own_connections(&self, ended: fn()) {
        let _ = self.connection_ended.set(ended);
    }

    /// The id as metrics name it: that of the library's own loop is 0.
    pub(crate) fn scraped_id(&self) -> u64 {
        match self.connection_ended.get() {
            Some(_) => 0,
            None => self.id(),
        }
    }

    /// A connection of ours has ended for good.
    pub(crate) fn outgoing_ended(&self) {
        if let Some(ended) = self.connection_ended.get() {
            ended();
        }
    }

    /// The server's id is known from now on.
    pub(crate) fn set_id(&self, id: u64) {
        let _ = self.id.set(id);
        for place in &self.loops {
            if let Some(mailbox) = place.mailbox.get() {
                mailbox.serve(id);
            }
        }
    }

    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Accepting,
            1 => Stage::Draining,
            _ => Stage::Closing,
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.stage() == Stage::Closing
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.running() == 0
    }

    /// Stops accepting connections, and continues to serve those that exist.
    pub(crate) fn stop_accepting(&self) {
        if self.advance(Stage::Draining) {
            log::info!("the server on port {} stops accepting", self.port);
        }
        self.end_listening();
        self.wake_loops();
    }

    /// Begins to close: nobody is accepted any more, and the loops are told.
    pub(crate) fn begin_close(&self) {
        if !self.advance(Stage::Closing) {
            return;
        }
        log::info!("closing the server on port {}", self.port);
        self.end_listening();
        self.wake_loops();
        // Between a look at the flag and the wait that follows from it nobody can miss this.
        drop(self.running());
        self.changed.notify_all();
    }

    /// Advances to a stage. Returns false if it, or a later one, had begun before.
    fn advance(&self, stage: Stage) -> bool {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst) < stage as u8
    }

    /// Stops the listener: connections are refused from now on. The loops stop polling it in their next turns.
    fn end_listening(&self) {
        // Locked until it has stopped: a second caller returns no earlier.
        let mut listener = locks::lock(&self.listener);
        if let Some(listener) = listener.take() {
            listener.stop();
        }
    }

    /// Leaves an inherited descriptor to the program: the start of the server fails.
    pub(crate) fn give_listener_back(&self) {
        if let Some(listener) = &*locks::lock(&self.listener) {
            listener.give_back();
        }
    }

    fn wake_loops(&self) {
        for place in &self.loops {
            if let Some(mailbox) = place.mailbox.get() {
                mailbox.wake();
            }
        }
        self.host.wake_all();
    }

    /// Lets all loops but one end connections that only wait for another request for a page.
    pub(crate) fn end_idle_pages_of_others(&self, number: usize) {
        for (_, other) in self
            .loops
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != number)
        {
            if let Some(mailbox) = other.mailbox.get()
                && !other.ends_idle_pages.swap(true, Ordering::AcqRel)
            {
                mailbox.post(Mail::EndIdlePages);
            }
        }
    }

    /// Waits until closing has begun, or the last loop has ended.
    pub(crate) fn wait_for_closing(&self) {
        let open = |running: &mut usize| *running > 0 && !self.is_closing();
        drop(self.changed.wait_while(self.running(), open));
    }

    /// Waits until the last loop has ended.
    pub(crate) fn wait_for_end(&self) {
        let some_run = |running: &mut usize| *running > 0;
        drop(self.changed.wait_while(self.running(), some_run));
    }

    /// Waits a while for the end.
    pub(crate) fn wait_a_while(&self, time: Duration) {
        let _ended = self
            .changed
            .wait_timeout_while(self.running(), time, |running| *running > 0);
    }

    pub(crate) fn running_loops(&self) -> usize {
        *self.running()
    }

    /// One loop has ended; `end` runs after the last one, before anybody who waits for it goes on.
    pub(crate) fn loop_ended(&self, end: impl FnOnce()) {
        let mut running = self.running();
        *running -= 1;
        if *running == 0 {
            end();
            self.changed.notify_all();
        }
    }

    fn running(&self) -> MutexGuard<'_, usize> {
        locks::lock(&self.running)
    }

    /// Bytes in all send queues.
    pub(crate) fn queued(&self) -> u64 {
        let mailboxes = self.loops.iter().filter_map(|place| place.mailbox.get());
        mailboxes
            .map(|mailbox| slot_arena::queued_of(mailbox))
            .sum()
    }

    // ---- who comes in ----

    /// What a client that comes now is shown, if it is to speak TLS.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let identity = self.identity.as_ref()?;
        let current = locks::read(identity);
        Some(current.clone())
    }

    /// When the first of the certificates ends, in seconds since 1970; 0 without TLS.
    pub(crate) fn certificate_expires(&self) -> u64 {
        let expires = self.identity().and_then(|identity| identity.expires());
        expires.unwrap_or(0)
    }

    /// Logs which certificates are not valid, or soon will not be.
    pub(crate) fn warn_of_certificates(&self) {
        if let Some(identity) = self.identity() {
            identity.warn_of_ends();
        }
    }

    /// Whether clients are to speak TLS.
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Reads certificates and keys again; if they are of no use, those from before are kept.
    pub(crate) fn reload_tls(&self) -> Result<(), ServerError> {
        if cfg!(not(feature = "tls")) {
            return Err(ServerError::Unsupported);
        }
        if memory::is_short() {
            return Err(ServerError::Memory);
        }
        let Some(identity) = self.identity.as_ref() else {
            log::error!(
                "the server on port {} has no certificate to reload",
                self.port
            );
            return Err(ServerError::Tls);
        };
        let earlier = self.identity();
        let read = || read_identity(&self.options, earlier.as_ref());
        let new = memory::promise(self.options.long_texts(), read)??;
        *locks::write(identity) = new;
        log::info!(
            "reloaded the certificate of the server on port {}",
            self.port
        );
        Ok(())
    }

    /// Deals a new connection to a loop: its number and its mailbox. None when the accepting one keeps
    /// it.
    pub(crate) fn assign(&self, accepting: usize) -> Option<(usize, &'static Mailbox)> {
        let number = match self.options.dispatch {
            Dispatch::Host => accepting,
            _ => self.least_loaded(),
        };
        self.loops[number]
            .connections
            .fetch_add(1, Ordering::Relaxed);
        let mailbox = self.loops[number].mailbox.get().copied();
        mailbox
            .filter(|_| number != accepting)
            .map(|mailbox| (number, mailbox))
    }

    /// Returns the loop with the fewest connections.
    pub(crate) fn least_loaded(&self) -> usize {
        let load = |number: &usize| self.loops[*number].connections.load(Ordering::Relaxed);
        (0..self.loops.len()).min_by_key(load).unwrap_or(0)
    }

    /// Counts a connection that loop `number` has without being assigned it.
    pub(crate) fn count_connection(&self, number: usize) {
        self.loops[number]
            .connections
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Uncounts a connection of loop `number`, and what it counted against the limits.
    pub(crate) fn leave(&self, number: usize, admitted: bool, address: Option<IpAddr>) {
        self.loops[number]
            .connections
            .fetch_sub(1, Ordering::Relaxed);
        self.admission.leave(admitted, address);
    }
}

fn read_identity(options: &Options, earlier: Option<&Identity>) -> Result<Identity, ServerError> {
    Identity::read(&options.tls, earlier).map_err(|error| {
        log::error!("cannot set up TLS: {error}");
        ServerError::Tls
    })
}

/// What a start answers when the system refuses something.
pub(crate) fn refused(error: io::Error) -> ServerError {
    log::error!("cannot start the server: {error}");
    match error.kind() {
        io::ErrorKind::OutOfMemory => ServerError::Memory,
        _ => ServerError::Io,
    }
}

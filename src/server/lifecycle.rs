//! Servers: from start to end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use once_cell::sync::Lazy;

use crate::net::{Address, Identity, Listener, Peer, memory, process};
use crate::proto::Refusal;
use crate::server::dispatch::sink::Sink;
use crate::server::event_loop::Loop;
use crate::server::host::Host;
use crate::server::metrics::{Metrics, PublishedTraffic};
use crate::server::websocket::mailbox::Mailbox;
use crate::server::websocket::slots::{self, IdKind, LAST_GENERATION};
use crate::server::{Dispatch, Options, ServerError, callback, host, refuse_in_child};

static SERVERS: Lazy<RwLock<Registry>> = Lazy::new(RwLock::default);

/// Threads of servers that have ended: they have nothing to do any more but to end, too.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// One server, shared by its loops and by whoever calls it.
pub struct Server {
    pub options: Options,
    pub metrics: Metrics,
    pub loops: Vec<Place>,
    pub host: Host,
    port: u16,
    /// What clients that come are shown; None: they do not speak TLS.
    identity: Option<RwLock<Identity>>,
    id: OnceLock<u64>,
    closing: AtomicBool,
    /// Dropped when closing begins; loops that listen hold it, too.
    listener: Mutex<Option<Arc<Listener>>>,
    connections: AtomicU64,
    addresses: Mutex<HashMap<IpAddr, u64>>,
    /// Loops that have not ended.
    running: Mutex<usize>,
    /// Closing has begun, or the last loop has ended.
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is known of a loop wherever that is.
#[derive(Default)]
pub struct Place {
    pub traffic: PublishedTraffic,
    /// Connections dealt to it.
    pub connections: AtomicU64,
    pub mailbox: OnceLock<&'static Mailbox>,
    /// HOST: its poller's descriptor.
    pub descriptor: OnceLock<RawFd>,
    /// HOST: the loop, while no thread serves it.
    pub parked: Mutex<Option<Box<Loop>>>,
    /// HOST: the thread that holds a pulled batch of it; 0 is none.
    pub home: AtomicU64,
    /// HOST: its work shows in the host's descriptor.
    pub shown: AtomicBool,
    /// HOST: it was last driven by `pull`, so its events wait for the next.
    pub pulled: AtomicBool,
}

impl Place {
    /// Whether no other thread holds a batch of it. A closer, which is nobody, does not mind.
    pub fn is_open_to(&self, visitor: Option<u64>) -> bool {
        let home = self.home.load(Ordering::SeqCst);
        visitor.is_none_or(|visitor| home == 0 || home == visitor)
    }

    pub fn parked(&self) -> MutexGuard<'_, Option<Box<Loop>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a server. `publish` is told its id before the first callback can run.
pub fn start(
    port: u16,
    options: &Options,
    publish: &mut dyn FnMut(u64),
) -> Result<u64, ServerError> {
    refuse_in_child()?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    memory::promise(options.long_texts(), || start_now(port, options, publish))?
}

fn start_now(
    port: u16,
    options: &Options,
    publish: &mut dyn FnMut(u64),
) -> Result<u64, ServerError> {
    process::watch_forks().map_err(refused)?;
    join_ending();
    let identity = match options.tls.is_empty() {
        true => None,
        false => Some(RwLock::new(read_identity(options)?)),
    };
    let listener = Arc::new(listen(port, options)?);
    let count = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    };
    let server = Arc::new(Server {
        options: options.clone(),
        metrics: Metrics::default(),
        loops: std::iter::repeat_with(Place::default).take(count).collect(),
        host: Host::new().map_err(refused)?,
        port: listener.port(),
        identity,
        id: OnceLock::new(),
        closing: AtomicBool::new(false),
        listener: Mutex::new(Some(Arc::clone(&listener))),
        connections: AtomicU64::new(0),
        addresses: Mutex::default(),
        running: Mutex::new(count),
        changed: Condvar::new(),
        threads: Mutex::default(),
    });
    let hosted = options.dispatch == Dispatch::Host;
    let mut loops = Vec::new();
    for (number, place) in server.loops.iter().enumerate() {
        let one = Loop::new(Arc::clone(&server), number).map_err(refused)?;
        // Where loops have threads, one accepts and deals out.
        if hosted || number == 0 {
            one.core
                .borrow_mut()
                .listen(Arc::clone(&listener))
                .map_err(refused)?;
        }
        let _ = place.mailbox.set(one.mailbox);
        let _ = place.descriptor.set(one.core.borrow().poller.descriptor());
        loops.push(Box::new(one));
    }
    drop(listener);
    let id = register(&server)?;
    log::info!("a server listens on {} port {}", options.host, server.port);
    publish(id);
    if hosted {
        server
            .loops
            .iter()
            .zip(loops)
            .for_each(|(place, one)| *place.parked() = Some(one));
        host::settle(&server);
        return Ok(id);
    }
    for (number, one) in loops.into_iter().enumerate() {
        if let Err(error) = server.start_thread(number, one) {
            server.begin_close();
            // The loops without a thread hold no connection yet.
            (number..count).for_each(|_| server.loop_ended());
            publish(0);
            return Err(refused(error));
        }
    }
    Ok(id)
}

fn listen(port: u16, options: &Options) -> Result<Listener, ServerError> {
    if options.host.starts_with("unix:") && port != 0 {
        return Err(ServerError::Argument);
    }
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    let listener =
        Address::resolve(&options.host, port).and_then(|address| Listener::bind(&address, backlog));
    listener.map_err(|error| {
        log::error!("cannot listen on {} port {port}: {error}", options.host);
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => ServerError::Io,
            _ => ServerError::Address,
        }
    })
}

fn read_identity(options: &Options) -> Result<Identity, ServerError> {
    Identity::read(&options.tls).map_err(|error| {
        log::error!("TLS is not possible: {error}");
        ServerError::Tls
    })
}

fn refused(error: io::Error) -> ServerError {
    log::error!("a server cannot be started: {error}");
    match error.kind() {
        io::ErrorKind::OutOfMemory => ServerError::Memory,
        _ => ServerError::Io,
    }
}

/// Finds a server that has not ended.
pub fn find(server: u64) -> Result<Arc<Server>, ServerError> {
    let gone = ServerError::Gone;
    let (generation, slot) = slots::parts(IdKind::Server, server).ok_or(gone)?;
    let registry = SERVERS.read().unwrap_or_else(PoisonError::into_inner);
    let entry = registry
        .entries
        .get(slot as usize)
        .filter(|entry| entry.generation == generation);
    entry.and_then(|entry| entry.server.clone()).ok_or(gone)
}

/// Finds a server that has not ended. Of one that has, not even a thread is left afterwards.
fn find_or_join(server: u64) -> Result<Arc<Server>, ServerError> {
    find(server).inspect_err(|_| join_ending())
}

/// Waits for the last steps of threads that have no part in any server any more.
fn join_ending() {
    // After a fork they are the parent's.
    if process::is_forked_child() {
        return;
    }
    // Locked until they have ended, so that whoever comes meanwhile waits, too.
    let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    for thread in ending.drain(..) {
        // A panic was caught inside.
        let _ = thread.join();
    }
}

/// Closes a server and waits until it has closed; inside a callback it only begins.
pub fn close(server: u64) -> Result<(), ServerError> {
    let server = find_or_join(server)?;
    server.begin_close();
    if !callback::is_inside() {
        server.wait();
    }
    Ok(())
}

/// Waits until a server has closed.
pub fn wait(server: u64) -> Result<(), ServerError> {
    let server = find_or_join(server)?;
    if callback::is_inside() {
        return Err(ServerError::Busy);
    }
    server.wait();
    Ok(())
}

/// A metric by its number in `enum portal_metric`; 0 when the server is gone or it is unknown.
pub fn metric(server: u64, which: u32) -> u64 {
    let Ok(server) = find(server) else { return 0 };
    let traffic = || server.loops.iter().map(|place| place.traffic.read());
    let metrics = &server.metrics;
    match which {
        1 => metrics.open.load(Ordering::Relaxed),
        2 => metrics.connections_total.load(Ordering::Relaxed),
        3 => metrics.rejected.load(Ordering::Relaxed),
        4 => traffic().map(|traffic| traffic.messages_in).sum(),
        5 => traffic().map(|traffic| traffic.messages_out).sum(),
        6 => traffic().map(|traffic| traffic.bytes_in).sum(),
        7 => traffic().map(|traffic| traffic.bytes_out).sum(),
        8 => server.queued(),
        9 => metrics.protocol_errors.load(Ordering::Relaxed),
        10 => metrics.handler_errors.load(Ordering::Relaxed),
        _ => 0,
    }
}

impl Server {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// 0 until the server is registered.
    pub fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or(0)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub fn has_ended(&self) -> bool {
        *self.running() == 0
    }

    /// Begins to close: nobody is accepted any more, and the loops are told.
    pub fn begin_close(&self) {
        if self.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        log::info!("the server on port {} closes", self.port);
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(listener);
        for place in &self.loops {
            if let Some(mailbox) = place.mailbox.get() {
                mailbox.wake();
            }
        }
        self.host.ring();
        // Between a look at the flag and the wait that follows from it nobody can miss this.
        drop(self.running());
        self.changed.notify_all();
    }

    /// Waits until nothing of the server runs any more.
    fn wait(self: &Arc<Self>) {
        if self.options.dispatch == Dispatch::Host {
            // Until then the host serves; who only waits does not.
            let open = |running: &mut usize| *running > 0 && !self.is_closing();
            drop(self.changed.wait_while(self.running(), open));
            return host::drive_to_end(self);
        }
        let some_run = |running: &mut usize| *running > 0;
        drop(self.changed.wait_while(self.running(), some_run));
        join_ending();
    }

    /// Waits a while for the end.
    pub fn wait_a_while(&self, time: std::time::Duration) {
        let _ended = self
            .changed
            .wait_timeout_while(self.running(), time, |running| *running > 0);
    }

    fn start_thread(self: &Arc<Self>, number: usize, one: Box<Loop>) -> io::Result<()> {
        let server = Arc::clone(self);
        let builder = std::thread::Builder::new().name(format!("portal-loop-{number}"));
        let serve = move || {
            let _ours = process::Uncancelled::begin();
            let served = catch_unwind(AssertUnwindSafe(|| {
                one.serve(&mut match server.options.dispatch {
                    Dispatch::PerClient => Sink::Hand,
                    _ => Sink::Call,
                });
            }));
            if served.is_err() {
                log::error!("a loop has panicked; its server closes");
                server.begin_close();
            }
            drop(one);
            server.loop_ended();
        };
        memory::probe()?;
        let thread = process::with_signals_blocked(|| builder.spawn(serve))?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    pub fn running_loops(&self) -> usize {
        *self.running()
    }

    /// One loop has ended; after the last one the server's id is gone.
    pub fn loop_ended(&self) {
        let mut running = self.running();
        *running -= 1;
        if *running == 0 {
            let threads =
                std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            ENDING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(threads);
            unregister(self.id());
            self.changed.notify_all();
        }
    }

    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in all send queues.
    fn queued(&self) -> u64 {
        let mailboxes = self.loops.iter().filter_map(|place| place.mailbox.get());
        mailboxes.map(|mailbox| slots::queued_of(mailbox)).sum()
    }

    // ---- who comes in ----

    /// What a client that comes now is shown, if it is to speak TLS.
    pub fn identity(&self) -> Option<Identity> {
        let identity = self.identity.as_ref()?;
        let current = identity.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }

    /// Reads certificate and key again; if they are of no use, those from before are kept.
    pub fn reload_tls(&self) -> Result<(), ServerError> {
        if cfg!(not(feature = "tls")) {
            return Err(ServerError::Unsupported);
        }
        if memory::is_short() {
            return Err(ServerError::Memory);
        }
        let new = memory::promise(self.options.long_texts(), || read_identity(&self.options))??;
        let identity = self.identity.as_ref().ok_or(ServerError::Tls)?;
        *identity.write().unwrap_or_else(PoisonError::into_inner) = new;
        log::info!(
            "the server on port {} shows a certificate read anew",
            self.port
        );
        Ok(())
    }

    /// Deals a new connection to a loop: its number and its mailbox. None when the accepting one keeps
    /// it.
    pub fn deal(&self, accepting: usize) -> Option<(usize, &'static Mailbox)> {
        let deals = self.options.dispatch != Dispatch::Host;
        let load = |place: &Place| place.connections.load(Ordering::Relaxed);
        let least = (0..self.loops.len())
            .filter(|_| deals)
            .min_by_key(|&n| load(&self.loops[n]));
        let number = least.unwrap_or(accepting);
        self.loops[number]
            .connections
            .fetch_add(1, Ordering::Relaxed);
        let mailbox = self.loops[number].mailbox.get().copied();
        mailbox
            .filter(|_| number != accepting)
            .map(|mailbox| (number, mailbox))
    }

    /// Counts a connection that loop `number` keeps without being dealt it.
    pub fn keep(&self, number: usize) {
        self.loops[number]
            .connections
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection against the limits, or says how it is refused.
    pub fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        let max = self.options.max_connections;
        let one_more = |count| (max == 0 || count < max).then_some(count + 1);
        let counted = self
            .connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if counted.is_err() {
            return Err(Refusal::unavailable());
        }
        if let Some(ip) = self.counted_address(peer) {
            let mut addresses = self
                .addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(ip).or_default();
            if *count >= self.options.max_connections_per_ip {
                self.connections.fetch_sub(1, Ordering::AcqRel);
                return Err(Refusal::too_many_connections());
            }
            *count += 1;
        }
        Ok(())
    }

    /// The address that counts against MAX_CONNECTIONS_PER_IP, if there is such a limit.
    pub fn counted_address(&self, peer: &Peer) -> Option<IpAddr> {
        peer.ip()
            .filter(|_| self.options.max_connections_per_ip > 0)
            .map(counted_as)
    }

    /// Uncounts a connection of loop `number`, and what it counted against the limits.
    pub fn leave(&self, number: usize, admitted: bool, address: Option<IpAddr>) {
        self.loops[number]
            .connections
            .fetch_sub(1, Ordering::Relaxed);
        if admitted {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
        let Some(ip) = address else { return };
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&ip);
            }
        }
    }
}

/// Under which address a client counts. Who has one IPv6 address mostly has all of its /64 (RFC 4291
/// section 2.5.1), so that counts as one.
fn counted_as(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

/// Servers by the slot in their id.
#[derive(Default)]
struct Registry {
    entries: Vec<Entry>,
    free: VecDeque<u32>,
}

struct Entry {
    generation: u32,
    server: Option<Arc<Server>>,
}

fn register(server: &Arc<Server>) -> Result<u64, ServerError> {
    let mut registry = SERVERS.write().unwrap_or_else(PoisonError::into_inner);
    let slot = match registry.free.pop_front() {
        Some(slot) => slot,
        None => {
            let slot = registry.entries.len() as u32;
            if slot >> 24 != 0 {
                return Err(ServerError::Memory);
            }
            registry.entries.push(Entry {
                generation: 0,
                server: None,
            });
            slot
        }
    };
    let entry = &mut registry.entries[slot as usize];
    entry.server = Some(Arc::clone(server));
    let id = slots::id(IdKind::Server, entry.generation, slot);
    let _ = server.id.set(id);
    Ok(id)
}

fn unregister(id: u64) {
    let Some((_, slot)) = slots::parts(IdKind::Server, id) else {
        return;
    };
    let mut registry = SERVERS.write().unwrap_or_else(PoisonError::into_inner);
    let Some(entry) = registry.entries.get_mut(slot as usize) else {
        return;
    };
    let ended = entry.server.take();
    entry.generation += 1;
    if entry.generation < LAST_GENERATION {
        registry.free.push_back(slot);
    }
    drop(registry);
    drop(ended);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        for (one, other, same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("2001:db8:1:2::1", "2001:db9:1:2::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.1", "::1", false),
        ] {
            assert_eq!(counted(one) == counted(other), same, "{one} {other}");
        }
    }
}

//! Servers by their ids.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use once_cell::sync::Lazy;

use super::ServerError;
use super::id::{self, IdKind, LAST_GENERATION};
use super::parked::Parked;
use super::shared::Shared;
use crate::locks;
use crate::net::process;

static SERVERS: Lazy<RwLock<Registry>> = Lazy::new(RwLock::default);

/// Threads of servers that have ended: they have nothing to do any more but to end, too.
static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// One server: what its loops share, and where they are.
pub(crate) struct Server {
    pub shared: Arc<Shared>,
    /// HOST: one for each loop.
    pub parked: Vec<Parked>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let parked = std::iter::repeat_with(Parked::default);
        Self {
            parked: parked.take(shared.loops.len()).collect(),
            threads: Mutex::default(),
            shared,
        }
    }

    /// Takes a thread that serves a loop; it is joined after the last one has ended.
    pub(crate) fn keep_thread(&self, thread: JoinHandle<()>) {
        let mut threads = locks::lock(&self.threads);
        threads.push(thread);
    }

    /// One loop has ended; after the last one the server's id is gone.
    pub(crate) fn loop_ended(&self) {
        self.shared.loop_ended(|| {
            let mut threads = locks::lock(&self.threads);
            locks::lock(&ENDING).append(&mut threads);
            unregister(self.id());
        });
    }
}

/// Finds a server that has not ended.
pub(crate) fn find(server: u64) -> Result<Arc<Server>, ServerError> {
    let gone = ServerError::Gone;
    let (generation, slot) = id::parts(IdKind::Server, server).ok_or(gone)?;
    let registry = locks::read(&SERVERS);
    let entry = registry
        .entries
        .get(slot as usize)
        .filter(|entry| entry.generation == generation);
    entry.and_then(|entry| entry.server.clone()).ok_or(gone)
}

/// Finds a server that has not ended. Of one that has, not even a thread is left afterwards.
pub(crate) fn find_or_join(server: u64) -> Result<Arc<Server>, ServerError> {
    find(server).inspect_err(|_| join_ending())
}

/// Waits for the last steps of threads that have no part in any server any more.
pub(crate) fn join_ending() {
    // After a fork they are the parent's.
    if process::is_forked_child() {
        return;
    }
    // Locked until they have ended, so that whoever comes meanwhile waits, too.
    let mut ending = locks::lock(&ENDING);
    for thread in ending.drain(..) {
        // A panic was caught inside.
        let _ = thread.join();
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

/// Gives a server its id.
pub(crate) fn register(server: &Arc<Server>) -> Result<u64, ServerError> {
    let mut registry = locks::write(&SERVERS);
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
    let id = id::id(IdKind::Server, entry.generation, slot);
    server.set_id(id);
    Ok(id)
}

fn unregister(id: u64) {
    let Some((_, slot)) = id::parts(IdKind::Server, id) else {
        return;
    };
    let mut registry = locks::write(&SERVERS);
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

//! HOST: a loop that no thread serves at the moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::event_loop::Loop;
use crate::locks;
use crate::net::Descriptor;

/// Holds one loop while it is parked.
#[derive(Default)]
pub(crate) struct Parked {
    /// Its poller's descriptor.
    pub descriptor: OnceLock<Descriptor>,
    event_loop: Mutex<Option<Box<Loop>>>,
    /// The thread that holds a pulled batch of it; 0 is none.
    pub batch_holder: AtomicU64,
    /// It has been added to the server's descriptor.
    pub is_combined: AtomicBool,
    /// It was last served by `pull`: its events stay pending until the next.
    pub pulled: AtomicBool,
}

impl Parked {
    /// Whether no other thread holds a batch of it. With None, a closing thread, that does not matter.
    pub(crate) fn may_be_served_by(&self, thread: Option<u64>) -> bool {
        let batch_holder = self.batch_holder.load(Ordering::SeqCst);
        thread.is_none_or(|thread| batch_holder == 0 || batch_holder == thread)
    }

    pub(crate) fn event_loop(&self) -> MutexGuard<'_, Option<Box<Loop>>> {
        locks::lock(&self.event_loop)
    }
}

//! HOST: where a loop lies while no thread serves it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::event_loop::Loop;
use crate::locks;
use crate::net::Descriptor;

/// One loop's place, and who has what of it.
#[derive(Default)]
pub(crate) struct Parked {
    /// Its poller's descriptor.
    pub descriptor: OnceLock<Descriptor>,
    parked: Mutex<Option<Box<Loop>>>,
    /// The thread that holds a pulled batch of it; 0 is none.
    pub home: AtomicU64,
    /// Its work shows in the host's descriptor.
    pub shown: AtomicBool,
    /// It was last driven by `pull`, so its events wait for the next.
    pub pulled: AtomicBool,
}

impl Parked {
    /// Whether no other thread holds a batch of it. A closer, which is nobody, does not mind.
    pub(crate) fn is_open_to(&self, visitor: Option<u64>) -> bool {
        let home = self.home.load(Ordering::SeqCst);
        visitor.is_none_or(|visitor| home == 0 || home == visitor)
    }

    pub(crate) fn parked(&self) -> MutexGuard<'_, Option<Box<Loop>>> {
        locks::lock(&self.parked)
    }
}

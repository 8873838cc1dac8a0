//! The limit of a send queue (MAX_QUEUED), in the slot's word: bytes are counted there before they are queued, or
//! refused as FULL, and uncounted when they have left.

use super::{DRAIN_BIT, GENERATION_SHIFT, QUEUED_MASK, Released, STATE_SHIFT, Slot, State, Word};
use crate::server::ServerError;
use crate::server::sync::atomic::Ordering;

/// The queued bytes in a word, if that is an open websocket's of this generation; else more than can
/// be queued.
#[inline]
fn queued_if_open(word: u64, generation: u32) -> u64 {
    let open = u64::from(generation) << GENERATION_SHIFT | (State::Open as u64) << STATE_SHIFT;
    (word & !DRAIN_BIT).wrapping_sub(open)
}

impl Slot {
    /// Counts `cost` bytes that will be queued, if the websocket is open and under `limit`.
    #[inline]
    pub(crate) fn reserve(
        &self,
        generation: u32,
        cost: u64,
        limit: u64,
    ) -> Result<(), ServerError> {
        let word = self.word.load(Ordering::Acquire);
        let queued = queued_if_open(word, generation);
        if queued < limit.min(QUEUED_MASK) && cost <= QUEUED_MASK - queued {
            let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
            let swapped = self
                .word
                .compare_exchange(word, word + cost, success, failure);
            if swapped.is_ok() {
                return Ok(());
            }
        }
        self.reserve_or_refuse(generation, cost, limit)
    }

    /// [`Slot::reserve`] for all that is not done at once.
    #[cold]
    fn reserve_or_refuse(&self, generation: u32, cost: u64, limit: u64) -> Result<(), ServerError> {
        let reserved = self.update(generation, |word| match word.state() {
            State::Connecting => Err(ServerError::Busy),
            State::Open if word.queued() >= limit => Ok(word.0 | DRAIN_BIT),
            State::Open if cost > QUEUED_MASK - word.queued() => Err(ServerError::Memory),
            State::Open => Ok(word.0 + cost),
            _ => Err(ServerError::Gone),
        });
        match reserved?.queued() >= limit {
            true => Err(ServerError::Full),
            false => Ok(()),
        }
    }

    /// Whether the websocket is open, and has at most `most` bytes queued.
    #[inline]
    pub(crate) fn is_open_with(&self, generation: u32, most: u64) -> bool {
        queued_if_open(self.word.load(Ordering::Acquire), generation) <= most
    }

    /// Uncounts bytes that left the queue or never entered it. True when `drain` is due now: it
    /// was owed, and the queue is at most `low`.
    #[inline]
    pub(crate) fn release(&self, cost: u64, low: u64) -> bool {
        self.uncount(cost, low).1
    }

    /// The same on another thread than the loop's: what the loop has to be told, if anything.
    pub(crate) fn release_elsewhere(&self, cost: u64, low: u64) -> Option<Released> {
        let (before, drain) = self.uncount(cost, low);
        let closing = matches!(
            before.state(),
            State::Closing | State::ClosingLocally | State::Closed
        );
        let is_low = before.queued() > low && before.queued() - cost <= low;
        (drain || closing || is_low).then_some(Released { drain })
    }

    /// Uncounts bytes. Returns the word before, and whether `drain` is due.
    #[inline]
    fn uncount(&self, cost: u64, low: u64) -> (Word, bool) {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let left = (word & QUEUED_MASK) - cost;
            let due = word & DRAIN_BIT != 0 && left <= low;
            let cleared = if due { word & !DRAIN_BIT } else { word };
            match self.word.compare_exchange_weak(
                word,
                cleared - cost,
                Ordering::SeqCst,
                Ordering::Acquire,
            ) {
                Ok(_) => return (Word(word), due),
                Err(now) => word = now,
            }
        }
    }

    /// Sets the limit of a connection that has its own.
    pub(crate) fn set_max_queued(&self, max: u64) {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        self.max_queued.store(max, Ordering::Release);
    }

    /// Returns the limit of a connection that has its own; 0 of a client's.
    #[inline]
    pub(crate) fn max_queued(&self) -> u64 {
        u64::from(self.max_queued.load(Ordering::Acquire))
    }
}

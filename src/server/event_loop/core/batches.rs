//! Batches of messages whose handlers may still run on their clients' threads, and since when.

use std::collections::{TryReserveError, VecDeque};
use std::time::{Duration, Instant};

use crate::net::{Token, memory};

/// So long what the handlers of a batch send may wait for the others.
const MAX_DELAY: Duration = Duration::from_millis(1);

/// Batches in the order in which they were handed over.
#[derive(Default)]
pub(super) struct Batches(VecDeque<Batch>);

#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) token: Token,
    /// What its handlers have sent must leave then.
    pub(super) deadline: Instant,
}

impl Batches {
    /// # Errors
    ///
    /// Memory is refused.
    pub(super) fn add(&mut self, token: Token, now: Instant) -> Result<(), TryReserveError> {
        memory::frugal(|| self.0.try_reserve(1))?;
        let deadline = now + MAX_DELAY;
        self.0.push_back(Batch { token, deadline });
        Ok(())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<Batch> {
        self.0.front().copied()
    }

    pub(super) fn forget_oldest(&mut self) {
        self.0.pop_front();
    }
}

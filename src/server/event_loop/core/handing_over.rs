//! PER_CLIENT: what a read brought is handed to the client's own thread as one batch.
//!
//! Mail of the batch's handlers does not wake the loop before the last of them has returned. So that it leaves
//! even if one of them blocks, the loop looks for it after a while, and wants to be woken from then on.

use std::collections::TryReserveError;
use std::time::Instant;

use super::Core;
use crate::net::Token;
use crate::server::event::Event;
use crate::server::websocket::client_queue::ClientQueue;

impl Core {
    /// Passes an event to the client's own thread; a message, when the rest of what was read is handed over.
    ///
    /// # Errors
    ///
    /// Memory for a copy is refused.
    pub(crate) fn queue_client_event(
        &mut self,
        token: Token,
        event: Event<'_>,
    ) -> Result<(), TryReserveError> {
        match self.client_queue(token) {
            Some(queue) => queue.add(event),
            None => Ok(()),
        }
    }

    /// Hands the messages that were read to the client's own thread.
    pub(crate) fn hand_over(&mut self, token: Token) {
        let is_batch = self
            .client_queue(token)
            .is_some_and(|queue| queue.hand_over());
        if is_batch {
            let now = self.poller.now();
            if self.batches.add(token, now).is_err() {
                self.announce_at_once(token);
            }
        }
    }

    /// Limits the next wait, if handlers of a batch may run. Returns false when there must be no wait.
    #[inline]
    pub(crate) fn limit_wait_for_batches(&mut self) -> bool {
        self.batches.is_empty() || self.limit_wait_for_oldest_batch()
    }

    fn limit_wait_for_oldest_batch(&mut self) -> bool {
        while let Some(batch) = self.batches.oldest() {
            if self.running_batch(batch.token).is_some() {
                let left = batch.deadline.saturating_duration_since(self.poller.now());
                return !left.is_zero() && self.waits.limit_to(left, &mut self.clock, &self.poller);
            }
            self.batches.forget_oldest();
        }
        true
    }

    /// Looks for what the handlers of batches send that have had their time.
    #[inline]
    pub(crate) fn check_batches(&mut self, now: Instant) {
        if !self.batches.is_empty() {
            self.check_oldest_batches(now);
        }
    }

    fn check_oldest_batches(&mut self, now: Instant) {
        while let Some(batch) = self.batches.oldest()
            && batch.deadline <= now
        {
            self.batches.forget_oldest();
            self.announce_at_once(batch.token);
        }
    }

    fn announce_at_once(&mut self, token: Token) {
        if let Some(queue) = self.running_batch(token) {
            queue.announce_at_once();
        }
    }

    /// The queue of a client whose thread runs the handlers of a batch, or is about to.
    fn running_batch(&mut self, token: Token) -> Option<&mut ClientQueue> {
        self.client_queue(token).filter(|queue| queue.runs_batch())
    }

    fn client_queue(&mut self, token: Token) -> Option<&mut ClientQueue> {
        let extra = self.conns.get_mut(token)?.extra.as_mut()?;
        extra.client_queue.as_mut()
    }
}

//! PER_CLIENT: what a read brought is handed to the client's own thread as one batch.
//!
//! Mail of the batch's handlers does not wake the loop before the last of them has returned. So that it leaves
//! even if one of them blocks, the loop looks for it after a while, and wants to be woken from then on.

use std::collections::{TryReserveError, VecDeque};
use std::time::{Duration, Instant};

use super::Core;
use crate::net::{Token, memory};
use crate::server::event::Event;
use crate::server::websocket::client_thread::ClientQueue;

/// So long what the handlers of a batch send may wait for the others.
const MAX_DELAY: Duration = Duration::from_millis(1);

/// Batches that were handed over in the last [`MAX_DELAY`], or whose handlers may still run.
#[derive(Default)]
pub(super) struct Batches(VecDeque<Batch>);

struct Batch {
    token: Token,
    handed_over: Instant,
}

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
        let handed_over = self.clock.last();
        let Some(queue) = self.client_queue(token) else {
            return;
        };
        if !queue.hand_over() {
            return;
        }
        let room = memory::frugal(|| self.batches.0.try_reserve(1));
        if room.is_err() {
            return self.announce_at_once(token);
        }
        self.batches.0.push_back(Batch { token, handed_over });
    }

    /// Limits the next wait, if handlers of a batch may run. Returns false when there must be no wait.
    pub(crate) fn limit_wait_for_batches(&mut self) -> bool {
        while let Some(Batch { token, handed_over }) = self.batches.0.front() {
            let (token, end) = (*token, *handed_over + MAX_DELAY);
            let left = end.saturating_duration_since(self.poller.now());
            if self
                .client_queue(token)
                .is_some_and(|queue| queue.runs_batch())
            {
                return !left.is_zero() && self.waits.limit_to(left, &mut self.clock, &self.poller);
            }
            self.batches.0.pop_front();
        }
        true
    }

    /// Takes no more part in the batches that have had their time: what their handlers send is announced at once.
    #[inline]
    pub(crate) fn check_batches(&mut self, now: Instant) {
        while let Some(Batch { token, handed_over }) = self.batches.0.front() {
            if now.saturating_duration_since(*handed_over) < MAX_DELAY {
                return;
            }
            let token = *token;
            self.batches.0.pop_front();
            self.announce_at_once(token);
        }
    }

    fn announce_at_once(&mut self, token: Token) {
        if let Some(queue) = self.client_queue(token)
            && queue.runs_batch()
        {
            queue.announce_at_once();
        }
    }

    fn client_queue(&mut self, token: Token) -> Option<&mut ClientQueue> {
        let extra = self.conns.get_mut(token)?.extra.as_mut()?;
        extra.client_queue.as_mut()
    }
}

//! What a measured turn tells: how long it took, and what waited in the queues that it wrote.

use std::time::Instant;

use super::Core;
use crate::net::Token;
use crate::server::histogram::{QUEUE_BYTES, TURN_MICROS};

impl Core {
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.turn_samples.begin();
    }

    /// The wait is over; what the turn does begins.
    #[inline]
    pub(crate) fn note_turn_began(&mut self, now: Instant) {
        if self.turn_samples.is_due() {
            self.turn_samples.note_began(now);
        }
    }

    #[inline]
    pub(crate) fn end_turn(&mut self) {
        if self.turn_samples.is_due() {
            self.observe_turn();
        }
    }

    #[cold]
    #[inline(never)]
    fn observe_turn(&mut self) {
        let Some(began) = self.turn_samples.end() else {
            return;
        };
        let took = self.poller.now().saturating_duration_since(began);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let share = &self.server.loops[self.number];
        share.turn_micros.observe(&TURN_MICROS, micros);
    }

    /// Notes what waits for these connections, which are about to be written to.
    #[inline]
    pub(super) fn note_queues(&self, scheduled: &[Token]) {
        if self.turn_samples.is_due() {
            self.observe_queues(scheduled);
        }
    }

    #[cold]
    #[inline(never)]
    fn observe_queues(&self, scheduled: &[Token]) {
        let histogram = &self.server.loops[self.number].queue_bytes;
        for conn in scheduled.iter().filter_map(|token| self.conns.get(*token)) {
            if let Some(outbox) = &conn.outbox {
                histogram.observe(&QUEUE_BYTES, outbox.unsent() as u64);
            }
        }
    }
}

//! Some turns are measured: all of them would need one more look at the clock each.

use std::time::Instant;

use super::Core;
use crate::net::Token;
use crate::server::histogram::{QUEUE_BYTES, TURN_MICROS};

/// One of so many turns is measured.
const INTERVAL_TURNS: u32 = 64;

#[derive(Default)]
pub(super) struct TurnSamples {
    turns: u32,
    /// This turn is measured.
    is_due: bool,
    /// When the wait of this turn ended.
    began: Option<Instant>,
}

impl Core {
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        let samples = &mut self.turn_samples;
        samples.turns = samples.turns.wrapping_add(1);
        samples.is_due = samples.turns.is_multiple_of(INTERVAL_TURNS);
    }

    /// The wait is over; what the turn does begins.
    #[inline]
    pub(crate) fn note_turn_began(&mut self, now: Instant) {
        let samples = &mut self.turn_samples;
        samples.began = samples.is_due.then_some(now);
    }

    #[inline]
    pub(crate) fn end_turn(&mut self) {
        if let Some(began) = self.turn_samples.began.take() {
            self.observe_turn(began);
        }
    }

    #[cold]
    fn observe_turn(&mut self, began: Instant) {
        let took = self.poller.now().saturating_duration_since(began);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let share = &self.server.loops[self.number];
        share.turn_micros.observe(&TURN_MICROS, micros);
        self.turn_samples.is_due = false;
    }

    /// Notes what waits for these connections, which are about to be written to.
    #[inline]
    pub(super) fn note_queues(&self, scheduled: &[Token]) {
        if self.turn_samples.is_due {
            self.observe_queues(scheduled);
        }
    }

    #[cold]
    fn observe_queues(&self, scheduled: &[Token]) {
        let histogram = &self.server.loops[self.number].queue_bytes;
        for conn in scheduled.iter().filter_map(|token| self.conns.get(*token)) {
            if let Some(outbox) = &conn.outbox {
                histogram.observe(&QUEUE_BYTES, outbox.unsent() as u64);
            }
        }
    }
}

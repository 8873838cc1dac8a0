//! Some turns are measured: all of them would need one more look at the clock each.

use std::time::Instant;

/// One of so many turns is measured.
const INTERVAL_TURNS: u32 = 64;

pub(super) struct TurnSamples {
    /// So many turns begin before the one that is measured; 0 in that one.
    left: u32,
    /// When the wait of the measured turn ended.
    began: Option<Instant>,
}

impl Default for TurnSamples {
    fn default() -> Self {
        Self {
            left: INTERVAL_TURNS,
            began: None,
        }
    }
}

impl TurnSamples {
    #[inline]
    pub(super) fn begin(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Whether this turn is measured.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.left == 0
    }

    /// The wait is over; what the measured turn does begins.
    pub(super) fn note_began(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// Ends the measured turn. Returns when it began.
    pub(super) fn end(&mut self) -> Option<Instant> {
        self.left = INTERVAL_TURNS;
        self.began.take()
    }
}

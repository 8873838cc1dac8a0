//! A loop's coarse time. It reads no clock: its owner says what time it is.
//!
//! Time is counted in ticks. A turn counts no more of them than it had meant to wait for and two
//! more: time in which a handler, or the host, was busy elsewhere is held against no client.

use std::time::{Duration, Instant};

use crate::server::Options;

/// Each group of connections is looked at once in so many ticks.
pub(crate) const ROUND_TICKS: u32 = 10;

/// A turn counts at most so many ticks beside those that it waited for.
const GRACE_TICKS: u64 = 2;

/// Ticks that have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub first: u32,
    pub count: u32,
}

#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Nanoseconds in a tick.
    tick: u64,
    /// Ticks that have been counted.
    now: u32,
    /// Ticks that have passed since `started`.
    passed: u64,
    /// How many ticks the coming wait may last.
    planned: u64,
    /// When the timer goes off that ends waits: so many ticks after `started`.
    alarm: Option<u64>,
}

impl Clock {
    /// A clock that starts now, fine enough for the shortest of the timeouts.
    pub(crate) fn new(options: &Options, now: Instant) -> Self {
        let timeouts = [
            options.handshake_timeout,
            options.idle_timeout,
            options.ping_interval,
            options.close_timeout,
            options.page_keep_alive,
        ];
        let shortest = timeouts
            .into_iter()
            .filter(|&time| time > 0)
            .min()
            .unwrap_or(u32::MAX);
        let milliseconds = u64::from((shortest / 40).clamp(5, 100));
        Self {
            started: now,
            tick: milliseconds * 1_000_000,
            now: 0,
            passed: 0,
            planned: 0,
            alarm: None,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// How many ticks a time takes, at least one.
    pub(crate) fn ticks(&self, milliseconds: u32) -> u32 {
        let nanoseconds = u64::from(milliseconds) * 1_000_000;
        let ticks = nanoseconds.div_ceil(self.tick);
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }

    /// Plans a wait that ends in `ticks`. Returns when that is, if a timer must be set to it: one that was
    /// set before and ends the wait early enough is left alone.
    pub(crate) fn plan(&mut self, ticks: u32) -> Option<Instant> {
        self.planned = u64::from(ticks);
        let end = self.passed + self.planned;
        if self.alarm.is_some_and(|alarm| alarm <= end) {
            return None;
        }
        self.alarm = Some(end);
        Some(self.started + Duration::from_nanos(self.tick.saturating_mul(end)))
    }

    /// The timer was not set as planned.
    pub(crate) fn forget_alarm(&mut self) {
        self.alarm = None;
    }

    /// Counts what has passed until now; returns the ticks that began since.
    pub(crate) fn advance(&mut self, now: Instant) -> Ticks {
        // Nanoseconds, of which there are enough for centuries.
        let elapsed = now.saturating_duration_since(self.started).as_nanos() as u64;
        let passed = elapsed / self.tick;
        let counted = (passed - self.passed).min(self.planned + GRACE_TICKS) as u32;
        self.passed = passed;
        self.planned = 0;
        self.alarm = self.alarm.filter(|&alarm| alarm > passed);
        let first = self.now.wrapping_add(1);
        self.now = self.now.wrapping_add(counted);
        Ticks {
            first,
            count: counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// A clock of the default options, and when it was started.
    fn clock() -> (Clock, Instant) {
        let now = Instant::now();
        (Clock::new(&Options::default(), now), now)
    }

    #[test]
    fn a_clock_is_as_fine_as_the_shortest_timeout_asks() {
        assert_eq!(clock().0.tick, 100_000_000);
        let options = Options {
            close_timeout: 100,
            ..Options::default()
        };
        let short = Clock::new(&options, Instant::now());
        assert_eq!(short.tick, 5_000_000);
        assert_eq!(short.ticks(100), 20);
        assert_eq!(short.ticks(101), 21);
    }

    #[test]
    fn a_timer_that_goes_off_early_enough_is_left_alone() {
        let (mut clock, start) = clock();
        assert_eq!(clock.plan(5), Some(start + 5 * TICK));
        assert_eq!(clock.plan(5), None);
        assert_eq!(clock.plan(6), None);
        assert_eq!(clock.plan(2), Some(start + 2 * TICK));
        clock.advance(start + TICK * 5 / 2);
        assert_eq!(clock.plan(9), Some(start + 11 * TICK));
    }

    #[test]
    fn a_tick_begins_when_it_has_passed_whole() {
        let (mut clock, start) = clock();
        clock.plan(1);
        let just_before = start + TICK - Duration::from_nanos(1);
        assert_eq!(clock.advance(just_before), Ticks { first: 1, count: 0 });
        clock.plan(1);
        assert_eq!(clock.advance(start + TICK), Ticks { first: 1, count: 1 });
    }

    #[test]
    fn time_spent_elsewhere_counts_two_ticks() {
        let (mut clock, start) = clock();
        assert_eq!(
            clock.advance(start + 100 * TICK),
            Ticks { first: 1, count: 2 }
        );
        clock.plan(50);
        assert_eq!(
            clock.advance(start + 200 * TICK),
            Ticks {
                first: 3,
                count: 52
            }
        );
    }
}

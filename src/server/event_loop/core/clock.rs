//! A loop's coarse time.
//!
//! Time is counted in ticks. A turn counts no more of them than it had meant to wait for and two
//! more: time in which a handler, or the host, was busy elsewhere is held against no client.

use std::time::{Duration, Instant};

use crate::server::Options;

/// Each group of connections is looked at once in so many ticks.
pub(crate) const ROUND: u32 = 10;

/// A turn counts at most so many ticks beside those that it waited for.
const GRACE: u64 = 2;

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
    /// A clock fine enough for the shortest of the timeouts.
    pub(crate) fn new(options: &Options) -> Self {
        let timeouts = [
            options.handshake_timeout,
            options.idle_timeout,
            options.ping_interval,
            options.close_timeout,
        ];
        let shortest = timeouts
            .into_iter()
            .filter(|&time| time > 0)
            .min()
            .unwrap_or(u32::MAX);
        let milliseconds = u64::from((shortest / 40).clamp(5, 100));
        Self {
            started: Instant::now(),
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

    /// Plans a wait that ends in `ticks`. Returns how long that is, if a timer must be set to it: one
    /// that was set before and ends the wait early enough is left alone.
    pub(crate) fn plan(&mut self, ticks: u32) -> Option<Duration> {
        self.planned = u64::from(ticks);
        let end = self.passed + self.planned;
        if self.alarm.is_some_and(|alarm| alarm <= end) {
            return None;
        }
        self.alarm = Some(end);
        let end = self.tick.saturating_mul(end);
        Some(Duration::from_nanos(end.saturating_sub(self.elapsed())))
    }

    /// The timer was not set as planned.
    pub(crate) fn forget_alarm(&mut self) {
        self.alarm = None;
    }

    /// Counts what has passed; returns the ticks that began since.
    pub(crate) fn advance(&mut self) -> Ticks {
        let passed = self.elapsed() / self.tick;
        let counted = (passed - self.passed).min(self.planned + GRACE) as u32;
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

    /// Nanoseconds since the clock was started; enough for centuries.
    fn elapsed(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_as_fine_as_the_shortest_timeout_asks() {
        let default = Clock::new(&Options::default());
        assert_eq!(default.tick, 100_000_000);
        let short = Clock::new(&Options {
            close_timeout: 100,
            ..Options::default()
        });
        assert_eq!(short.tick, 5_000_000);
        assert_eq!(short.ticks(100), 20);
        assert_eq!(short.ticks(101), 21);
    }

    #[test]
    fn a_timer_that_goes_off_early_enough_is_left_alone() {
        let mut clock = Clock::new(&Options::default());
        let first = clock.plan(5).unwrap();
        assert!(first <= Duration::from_millis(500));
        assert_eq!(clock.plan(5), None);
        assert_eq!(clock.plan(6), None);
        let sooner = clock.plan(2).unwrap();
        assert!(sooner <= Duration::from_millis(200));
        clock.started -= Duration::from_millis(250);
        clock.advance();
        assert!(clock.plan(9).is_some());
    }

    #[test]
    fn time_spent_elsewhere_counts_two_ticks() {
        let mut clock = Clock::new(&Options::default());
        clock.started = Instant::now() - Duration::from_secs(10);
        assert_eq!(clock.advance(), Ticks { first: 1, count: 2 });
        clock.started -= Duration::from_secs(10);
        clock.plan(50);
        assert_eq!(
            clock.advance(),
            Ticks {
                first: 3,
                count: 52
            }
        );
    }
}

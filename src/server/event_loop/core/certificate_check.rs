//! When a loop looks at the server's certificates: once a day.

use crate::server::event_loop::core::clock::Clock;

const PERIOD_MS: u32 = 24 * 60 * 60 * 1_000;

pub(super) struct CertificateCheck {
    /// In ticks.
    period: u32,
    /// The tick of the next check; None: another loop checks, or there is nothing to check.
    next: Option<u32>,
}

impl CertificateCheck {
    pub(super) fn new(is_needed: bool, clock: &Clock) -> Self {
        let period = clock.ticks(PERIOD_MS);
        Self {
            period,
            next: is_needed.then(|| clock.now().wrapping_add(period)),
        }
    }

    /// Returns how many ticks remain until the next check, at least one; None: there is none.
    pub(super) fn remaining(&self, now: u32) -> Option<u32> {
        let remaining = self.next.map(|next| next.wrapping_sub(now));
        remaining.map(|ticks| ticks.cast_signed().max(1).cast_unsigned())
    }

    /// Returns true once when the time of a check has come.
    pub(super) fn is_due(&mut self, now: u32) -> bool {
        let has_come = |next: &u32| now.wrapping_sub(*next).cast_signed() >= 0;
        if self.next.filter(has_come).is_none() {
            return false;
        }
        self.next = Some(now.wrapping_add(self.period));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Options;

    #[test]
    fn certificates_are_checked_once_a_day() {
        let clock = Clock::new(&Options::default(), std::time::Instant::now());
        let day = clock.ticks(PERIOD_MS);
        let mut check = CertificateCheck::new(true, &clock);
        let mut now = clock.now();
        for _ in 0..3 {
            assert_eq!(check.remaining(now), Some(day));
            now += day - 1;
            assert!(!check.is_due(now));
            assert_eq!(check.remaining(now), Some(1));
            now += 1;
            assert_eq!(check.remaining(now), Some(1));
            assert!(check.is_due(now));
            assert!(!check.is_due(now));
        }
        assert!(check.is_due(now + 2 * day));
    }

    #[test]
    fn where_nothing_is_to_be_checked_nothing_is_waited_for() {
        let clock = Clock::new(&Options::default(), std::time::Instant::now());
        let mut check = CertificateCheck::new(false, &clock);
        assert_eq!(check.remaining(0), None);
        assert!(!check.is_due(1 << 20));
    }
}

//! Distributions that a loop counts and that are scraped.

use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bound of a bucket, and how `le` writes it in both formats.
pub(crate) type Bound = (u64, &'static str);

/// How many buckets a histogram has, the one without an upper bound included.
pub(crate) const BUCKETS: usize = 11;

/// How long a turn takes: microseconds, written in seconds.
pub(crate) const TURN_MICROS: [Bound; BUCKETS] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (u64::MAX, "+Inf"),
];

/// How much waits in a send queue: bytes.
pub(crate) const QUEUE_BYTES: [Bound; BUCKETS] = [
    (256, "256.0"),
    (1 << 10, "1024.0"),
    (4 << 10, "4096.0"),
    (16 << 10, "16384.0"),
    (64 << 10, "65536.0"),
    (256 << 10, "262144.0"),
    (1 << 20, "1.048576e+06"),
    (4 << 20, "4.194304e+06"),
    (16 << 20, "1.6777216e+07"),
    (64 << 20, "6.7108864e+07"),
    (u64::MAX, "+Inf"),
];

/// Counted by one thread at a time, and read by any.
#[derive(Default)]
pub(crate) struct Histogram {
    /// Each without those below its lower bound.
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a histogram has counted, or several of them together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Distribution {
    /// How many values are not above each bound.
    pub cumulative: [u64; BUCKETS],
    pub sum: u64,
}

impl Histogram {
    pub(crate) fn observe(&self, bounds: &[Bound; BUCKETS], value: u64) {
        let bucket = bounds.partition_point(|(bound, _)| *bound < value);
        add(&self.buckets[bucket.min(BUCKETS - 1)], 1);
        add(&self.sum, value);
    }
}

/// Adds to what no other thread writes meanwhile.
fn add(count: &AtomicU64, value: u64) {
    let before = count.load(Ordering::Relaxed);
    count.store(before.wrapping_add(value), Ordering::Relaxed);
}

impl<'a> FromIterator<&'a Histogram> for Distribution {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(histograms: I) -> Self {
        let mut all = Self::default();
        for histogram in histograms {
            let mut below = 0;
            for (cumulative, bucket) in all.cumulative.iter_mut().zip(&histogram.buckets) {
                below += bucket.load(Ordering::Relaxed);
                *cumulative += below;
            }
            all.sum = all.sum.wrapping_add(histogram.sum.load(Ordering::Relaxed));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_from_the_first_bound_that_it_does_not_pass() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for value in [0, 256, 257] {
            one.observe(&QUEUE_BYTES, value);
        }
        other.observe(&QUEUE_BYTES, u64::from(u32::MAX));
        let all: Distribution = [&one, &other].into_iter().collect();
        assert_eq!(all.cumulative, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(all.sum, 513 + u64::from(u32::MAX));
    }

    #[test]
    fn the_bounds_rise_and_the_last_has_none_above_it() {
        for bounds in [TURN_MICROS, QUEUE_BYTES] {
            assert!(bounds.is_sorted_by(|one, next| one.0 < next.0));
            assert_eq!(bounds[BUCKETS - 1], (u64::MAX, "+Inf"));
        }
    }
}

//! How long something took: a count for each power of two of microseconds.

use std::time::Duration;

/// More than half an hour; what takes longer counts as that.
const BUCKETS: usize = 32;

/// Durations, each in the first bucket that it fits into: up to 1, 2, 4, 8, ... microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    buckets: [u64; BUCKETS],
}

impl Latency {
    pub(super) fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = u64::BITS - micros.saturating_sub(1).leading_zeros();
        self.buckets[(bucket as usize).min(BUCKETS - 1)] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
    }

    /// Upper bounds in microseconds, each with the number of durations up to it; only those where
    /// this grows.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        let buckets = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        buckets.map(move |(bucket, count)| {
            sum += count;
            (1 << bucket, sum)
        })
    }

    /// Microseconds within which this part of all durations (0.0 to 100.0) lies: the upper bound of
    /// a bucket.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * percent / 100.0).ceil().max(1.0) as u64;
        self.cumulative().find(|(_, count)| *count >= wanted).map_or(0, |(micros, _)| micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_powers_of_two() {
        let mut latency = Latency::default();
        for micros in [0, 1, 2, 3, 4, 5, 1_000, u64::MAX] {
            latency.note(Duration::from_micros(micros));
        }
        let found: Vec<_> = latency.cumulative().collect();
        assert_eq!(found, [(1, 2), (2, 3), (4, 5), (8, 6), (1024, 7), (1 << 31, 8)]);
        assert_eq!(latency.percentile(50.0), 4);
        assert_eq!(latency.percentile(99.9), 1 << 31);
    }
}

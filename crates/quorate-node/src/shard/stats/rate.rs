//! How much of something there is a second, of late.

use std::time::Duration;

use quorate_cluster::time::Instant;

/// Samples that the average is of.
const SAMPLES: usize = 16;

/// The least time between two samples.
const PAUSE: Duration = Duration::from_millis(100);

/// A sum that is looked at from time to time.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: [u64; SAMPLES],
    next: usize,
    last: Option<(Instant, u64)>,
}

impl Rate {
    /// The sum is `total` now. Returns how much it grows a second, by the last samples.
    pub(super) fn sample(&mut self, now: Instant, total: u64) -> u64 {
        let (then, before) = *self.last.get_or_insert((now, total));
        let passed = now.since(then);
        if passed >= PAUSE {
            let grown = u128::from(total.saturating_sub(before)) * 1_000_000 / passed.as_micros();
            self.samples[self.next] = u64::try_from(grown).unwrap_or(u64::MAX);
            self.next = (self.next + 1) % SAMPLES;
            self.last = Some((now, total));
        }
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let mut rate = Rate::default();
        let mut found = 0;
        for tenth in 0..=16 {
            found = rate.sample(Instant::from_millis(tenth * 100), tenth * 50);
        }
        assert_eq!(found, 500);
        for tenth in 17..=33 {
            found = rate.sample(Instant::from_millis(tenth * 100), 800);
        }
        assert_eq!(found, 0);
    }
}

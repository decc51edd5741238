//! How long a peer usually takes to answer.

use core::time::Duration;

/// A running estimate of the time within which 95 of a hundred answers come.
///
/// It goes up by 19 steps with each answer that takes longer, and down by one with each that does not:
/// so it stays where one answer in twenty is above it. A step is a part of the estimate itself, which
/// makes it find its place from anywhere within some hundred answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    micros: u64,
}

impl Usual {
    /// An answer took this long.
    pub(super) fn note(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let step = self.micros / STEPS + 1;
        self.micros = if took > self.micros {
            self.micros.saturating_add(step.saturating_mul(UP)).min(took)
        } else {
            self.micros.saturating_sub(step)
        };
    }

    /// Within which nearly all answers come.
    pub(super) fn limit(self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

const STEPS: u64 = 64;
const UP: u64 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_answers_come_within_it() {
        let mut usual = Usual::default();
        for round in 0..2_000_u64 {
            // Between one and two milliseconds, evenly.
            usual.note(Duration::from_micros(1_000 + round * 379 % 1_000));
        }
        let limit = usual.limit().as_micros();
        assert!((1_700..=2_000).contains(&limit), "{limit}");
        for _ in 0..2_000 {
            usual.note(Duration::from_micros(100));
        }
        let limit = usual.limit().as_micros();
        assert!(limit <= 130, "it follows: {limit}");
    }
}

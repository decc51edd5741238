//! When a node is overdue, by the rhythm in which it has shown that it is alive.

use core::time::Duration;

use crate::{
    limits::{
        GOSSIP_ARRIVALS, GOSSIP_DEVIATION_MIN, GOSSIP_OVERDUE_DEVIATIONS, GOSSIP_SILENCE_MAX,
    },
    time::Instant,
};

/// The latest intervals between signs of life of one node: the window of a phi-accrual failure
/// detector (Hayashibara, Défago, Yared and Katayama, 2004).
///
/// Phi is how unlikely it is, as a power of ten, that a sign of life comes even later than now, if
/// intervals are distributed normally. It only grows with the time, so it is at its threshold at a
/// moment that follows from mean and deviation: this moment is all that is asked for, and no
/// logarithm is needed.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    last: Instant,
    /// In milliseconds; a ring, once it is full.
    intervals: [u32; GOSSIP_ARRIVALS],
    /// How many there were so far.
    count: usize,
}

impl Arrivals {
    /// A node of which nothing is known but that it was there at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, intervals: [0; GOSSIP_ARRIVALS], count: 0 }
    }

    /// When the last sign of life came.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// A sign of life of a node that was there all the time.
    pub(super) fn handle_arrival(&mut self, now: Instant) {
        let interval = now.since(self.last).min(GOSSIP_SILENCE_MAX);
        self.intervals[self.count % GOSSIP_ARRIVALS] =
            u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        self.count += 1;
        self.last = now;
    }

    /// A sign of life that tells nothing of the rhythm: the first one after a silence, or the answer
    /// to a question.
    pub(super) fn handle_return(&mut self, now: Instant) {
        self.last = now;
    }

    /// From when on the node is overdue. As long as its rhythm is not known, that is late: in a large
    /// cluster the first beats take some rounds to arrive.
    pub(super) fn overdue_at(&self) -> Instant {
        if self.count < GOSSIP_ARRIVALS {
            return self.last + GOSSIP_SILENCE_MAX;
        }
        let intervals = self.intervals.iter().map(|&each| u64::from(each));
        let count = GOSSIP_ARRIVALS as u64;
        let mean = intervals.clone().sum::<u64>() / count;
        let squares: u64 = intervals.map(|each| each.abs_diff(mean).pow(2)).sum();
        let deviation = Duration::from_millis((squares / count).isqrt());
        let deviation = deviation.max(GOSSIP_DEVIATION_MIN);
        let allowed = Duration::from_millis(mean) + deviation * GOSSIP_OVERDUE_DEVIATIONS / 100;
        self.last + allowed.min(GOSSIP_SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(intervals: impl IntoIterator<Item = u64>) -> Duration {
        let mut now = Instant::from_millis(1_000);
        let mut arrivals = Arrivals::new(now);
        for interval in intervals {
            now += Duration::from_millis(interval);
            arrivals.handle_arrival(now);
        }
        arrivals.overdue_at().since(now)
    }

    #[test]
    fn an_unsteady_rhythm_is_given_more_time() {
        let unknown = after([500; GOSSIP_ARRIVALS - 1]);
        assert_eq!(unknown, GOSSIP_SILENCE_MAX);
        let steady = after([500; 100]);
        let unsteady = after((0..100).map(|each| if each % 2 == 0 { 100 } else { 900 }));
        assert_eq!(
            steady,
            Duration::from_millis(500) + GOSSIP_DEVIATION_MIN * GOSSIP_OVERDUE_DEVIATIONS / 100
        );
        assert!(unsteady > steady + Duration::from_millis(800), "{unsteady:?}");
    }

    #[test]
    fn the_window_forgets_and_no_silence_is_allowed_for_ever() {
        let slow = after([60_000; 100]);
        assert_eq!(slow, GOSSIP_SILENCE_MAX);
        let steady = after([500; 100]);
        let again = after([60_000; 100].into_iter().chain([500; GOSSIP_ARRIVALS]));
        assert_eq!(again, steady);
    }
}

//! The hybrid logical clock that issues stamps.
//!
//! The clock reads no time itself: every call is told the wall clock. It never issues the same
//! stamp twice, never runs backwards, and refuses to follow a stamp from too far in the future,
//! because one such stamp would beat every later write.
//!
//! Source: Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally
//! Distributed Databases", 2014.

use quorate_proto::{Origin, Stamp};

/// How far ahead of the local wall clock a stamp from elsewhere may lie, in milliseconds.
pub const SKEW_MAX_MS: u64 = 250;

/// Issues stamps for one origin.
#[derive(Clone, Debug)]
pub struct HybridClock {
    origin: Origin,
    /// Newest reading issued or observed: `milliseconds << 16 | counter`.
    last: u64,
}

impl HybridClock {
    /// A clock that has seen nothing yet.
    pub fn new(origin: Origin) -> Self {
        Self { origin, last: 0 }
    }

    /// The origin of the stamps that this clock issues.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Changes the origin of the stamps issued from now on.
    pub fn adopt_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// A stamp greater than every stamp issued or observed before.
    ///
    /// When the counter of a millisecond is used up the clock runs into the next one; a wall
    /// clock that stands still or goes back delays nothing.
    pub fn tick(&mut self, wall_ms: u64) -> Stamp {
        self.last = (self.last + 1).max(wall_ms << 16);
        Stamp::new(self.last, self.origin)
    }

    /// The newest stamp issued, or one as new as the newest observed.
    pub(crate) fn last(&self) -> Stamp {
        Stamp::new(self.last, self.origin)
    }

    /// Remembers `stamp`, so that later stamps are greater.
    pub fn observe(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp.clock());
    }

    /// Whether `stamp` lies within the bound on clock skew, seen at `wall_ms`.
    ///
    /// A clock that already runs ahead of its wall (a wall clock set back) is judged by its own
    /// reading, so that a cluster keeps working while its clocks are slewed back.
    pub fn accepts(&self, stamp: Stamp, wall_ms: u64) -> bool {
        let local_ms = wall_ms.max(self.last >> 16);
        stamp.milliseconds() <= local_ms + SKEW_MAX_MS
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::Start;

    use super::*;

    const ORIGIN: Origin = Origin::new(1, Start::from_random(1));

    #[test]
    fn stamps_rise_whatever_the_wall_clock_does() {
        let mut clock = HybridClock::new(ORIGIN);
        let mut last = Stamp::ZERO;
        for wall_ms in [5, 5, 9, 3, 0, 10] {
            let stamp = clock.tick(wall_ms);
            assert!(stamp > last);
            last = stamp;
        }
        assert_eq!(last.milliseconds(), 10);
    }

    #[test]
    fn a_full_counter_runs_into_the_next_millisecond() {
        let mut clock = HybridClock::new(ORIGIN);
        let first = clock.tick(7);
        let last = (0..65_536).map(|_| clock.tick(7)).last().expect("issued");
        assert_eq!(first.milliseconds(), 7);
        assert_eq!(last.milliseconds(), 8);
    }

    #[test]
    fn observed_stamps_are_passed() {
        let mut clock = HybridClock::new(ORIGIN);
        let seen = Stamp::new(900 << 16, Origin::new(2, Start::from_random(1)));
        clock.observe(seen);
        assert!(clock.tick(1) > seen);
    }

    #[test]
    fn the_skew_bound_is_inclusive() {
        let clock = HybridClock::new(ORIGIN);
        let at = |ms: u64| Stamp::new(ms << 16, Origin::new(2, Start::from_random(1)));
        assert!(clock.accepts(at(1000 + SKEW_MAX_MS), 1000));
        assert!(!clock.accepts(at(1001 + SKEW_MAX_MS), 1000));
    }
}

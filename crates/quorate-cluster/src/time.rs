//! The two times: monotonic for deadlines, wall for stamps. Both are arguments, never read here.

use core::{
    fmt,
    ops::{Add, AddAssign},
    time::Duration,
};

/// A reading of the shell's monotonic clock, in microseconds since a start of its choosing.
///
/// Arithmetic saturates: a deadline beyond the end of time is [`Instant::NEVER`], and time that
/// seems to run backwards is no time at all.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// After every moment that comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the start of the clock.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The moment `millis` milliseconds after the start of the clock.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the start of the clock.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` until this moment; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A reading of the wall clock, in milliseconds since the Unix epoch. It may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How far this clock is ahead of `other`, in milliseconds; negative when it is behind.
    pub fn ahead_of(self, other: Self) -> i64 {
        let ahead = i128::from(self.0) - i128::from(other.0);
        ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let start = Instant::from_millis(5);
        assert_eq!(start + Duration::from_micros(7), Instant::from_micros(5_007));
        assert_eq!(start + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::from_millis(u64::MAX), Instant::NEVER);
        assert_eq!(start.since(Instant::ZERO), Duration::from_millis(5));
        assert_eq!(Instant::ZERO.since(start), Duration::ZERO);
    }

    #[test]
    fn wall_differences_have_a_sign() {
        assert_eq!(Wall(10).ahead_of(Wall(4)), 6);
        assert_eq!(Wall(4).ahead_of(Wall(10)), -6);
        assert_eq!(Wall(u64::MAX).ahead_of(Wall(0)), i64::MAX);
    }
}

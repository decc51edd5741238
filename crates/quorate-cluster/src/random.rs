//! A small seeded generator, for jitter and for breaking ties evenly. Not for secrets.

use core::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014). The same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(INCREMENT);
        mix(self.0)
    }

    /// A number below `bound`. The bias is below one in 2^32 for the bounds used here.
    pub fn below(&mut self, bound: u32) -> u32 {
        let high = self.next_u64() >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }

    /// Between half of `duration` and all of it: neighbours that failed together come back apart.
    pub fn jittered(&mut self, duration: Duration) -> Duration {
        let half = duration / 2;
        let span = u32::try_from(half.as_micros()).unwrap_or(u32::MAX);
        half + Duration::from_micros(u64::from(self.below(span.saturating_add(1))))
    }
}

/// Spreads the bits of `value`: equal values give equal results, near ones unrelated results.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What SplitMix64 adds before each number: the golden ratio, as an odd number of 64 bits.
pub(crate) const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed() {
        // Published test vector of SplitMix64 for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(7);
        for _ in 0..1_000 {
            assert!(random.below(10) < 10);
            let jittered = random.jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&jittered.as_millis()));
        }
        assert_eq!(random.jittered(Duration::ZERO), Duration::ZERO);
    }
}

//! Streams of random numbers that do not disturb each other: what one part of the simulation draws
//! changes nothing for the others, so that a fault can be left out without changing the workload.

use quorate_cluster::random::Random;
use quorate_proto::checksum;

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream(Random);

impl Stream {
    /// The stream of this name, and number, for a seed.
    pub fn new(seed: u64, name: &str, number: u64) -> Self {
        let name = u64::from(checksum::crc32c(name.as_bytes())) << 32 | number;
        let mut mixed = Random::new(seed ^ Random::new(name).next_u64());
        Self(Random::new(mixed.next_u64()))
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.number() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether something happens that does so `percent` times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// A time around `mean`, as those between independent events are.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let uniform = (self.number() >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - uniform).ln() * mean as f64) as u64
    }

    /// One of `choices`, with the probability that its weight gives it. `None` if there is none.
    pub fn weighted<'a, T>(&mut self, choices: &'a [(T, u32)]) -> Option<&'a T> {
        let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = self.below(total);
        for (choice, weight) in choices {
            let weight = u64::from(*weight);
            if drawn < weight {
                return Some(choice);
            }
            drawn -= weight;
        }
        None
    }
}

//! Which key comes next.

/// How keys are chosen.
#[derive(Clone, Debug)]
pub(super) enum Distribution {
    /// Every key as likely as any other.
    Uniform,
    /// Few keys get most requests: Zipf with exponent 0.99.
    Zipf { zeta: f64, eta: f64, alpha: f64 },
    /// One after the other.
    Sequential,
}

/// Exponent of the Zipf distribution, the usual one of key/value benchmarks.
const THETA: f64 = 0.99;

impl Distribution {
    /// Zipf over `keys` keys, after Gray et al., "Quickly generating billion-record synthetic
    /// databases", 1994.
    pub(super) fn zipf(keys: u64) -> Self {
        let zeta: f64 = (1..=keys).map(|rank| (rank as f64).powf(-THETA)).sum();
        let zeta2 = 1.0 + 2_f64.powf(-THETA);
        let eta = (1.0 - (2.0 / keys as f64).powf(1.0 - THETA)) / (1.0 - zeta2 / zeta);
        Self::Zipf { zeta, eta, alpha: 1.0 / (1.0 - THETA) }
    }
}

/// A stream of key numbers.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    distribution: Distribution,
    keys: u64,
    state: u64,
    next: u64,
}

impl Keys {
    pub(super) fn new(distribution: Distribution, keys: u64) -> Self {
        Self { distribution, keys, state: 0x2545_f491_4f6c_dd1d, next: 0 }
    }

    /// A random number in `0..1`.
    pub(super) fn fraction(&mut self) -> f64 {
        // Xorshift (Marsaglia, 2003): fast enough not to show in the metrics.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn next(&mut self) -> u64 {
        let keys = self.keys as f64;
        let key = match self.distribution {
            Distribution::Sequential => {
                self.next += 1;
                return (self.next - 1) % self.keys;
            }
            Distribution::Uniform => self.fraction() * keys,
            Distribution::Zipf { zeta, eta, alpha } => {
                let u = self.fraction();
                match u * zeta {
                    low if low < 1.0 => 0.0,
                    low if low < 1.0 + 0.5_f64.powf(THETA) => 1.0,
                    _ => keys * (eta * u - eta + 1.0).powf(alpha),
                }
            }
        };
        (key as u64).min(self.keys - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_range_and_follow_their_distribution() {
        let counts = |distribution| {
            let mut keys = Keys::new(distribution, 1000);
            let mut counts = [0; 1000];
            (0..100_000).for_each(|_| counts[keys.next() as usize] += 1);
            counts
        };
        assert!(counts(Distribution::Sequential).iter().all(|count| *count == 100));
        assert!(counts(Distribution::Uniform).iter().all(|count| (40..200).contains(count)));
        let zipf = counts(Distribution::zipf(1000));
        assert!(zipf[0] > 10_000 && zipf[0] > zipf[1] && zipf[1] > zipf[100]);
    }
}

//! Quantiles: exact while there are few different numbers, else by buckets of relative width.
//!
//! Buckets are those of DDSketch (Masson, Rim and Lee, 2019): a number is in the bucket of its
//! logarithm, so what is answered is off by at most half a bucket's width, and merged buckets are
//! those of all numbers. Which of the two it is depends on how many different numbers there are
//! in all, not on the order or the partitions in which they came.

use alloc::collections::BTreeMap;

use super::order::{number_of, ordered_bits};

/// Numbers that were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantile {
    /// 1 / the relative width of a bucket.
    pub(crate) resolution: u32,
    /// Different numbers and how often they came, while they are few: by [`ordered_bits`].
    pub(crate) exact: BTreeMap<u64, u64>,
    /// How many numbers are in a bucket: those above 0 behind [`MIDDLE`], those below before
    /// -[`MIDDLE`], 0 in 0.
    pub(crate) buckets: BTreeMap<i64, u64>,
}

/// Farther from 0 than the logarithm of any number by the finest width.
const MIDDLE: i64 = 1 << 32;

impl Quantile {
    /// Of `QUANTILE` if none is given. RediSearch's.
    pub(crate) const RESOLUTION: u32 = 500;
    /// RediSearch's bound.
    pub(crate) const RESOLUTION_MAX: u32 = 1000;

    pub(crate) fn new(resolution: u32) -> Quantile {
        Quantile { resolution, exact: BTreeMap::new(), buckets: BTreeMap::new() }
    }

    /// How many different numbers are kept as they are.
    pub(crate) fn exact_max(&self) -> usize {
        2 * self.resolution as usize
    }

    /// Whether it can be what numbers lead to, and not what only a peer says.
    pub(crate) fn is_valid(&self) -> bool {
        (1..=Self::RESOLUTION_MAX).contains(&self.resolution)
            && (self.exact.is_empty() || self.buckets.is_empty())
    }

    /// Adds a number; one that is none does not count.
    pub(crate) fn add(&mut self, number: f64) {
        if number.is_nan() {
            return;
        }
        self.count(ordered_bits(number), 1);
    }

    fn count(&mut self, bits: u64, times: u64) {
        if !self.buckets.is_empty() {
            let bucket = self.bucket(number_of(bits));
            add(&mut self.buckets, bucket, times);
            return;
        }
        add(&mut self.exact, bits, times);
        if self.exact.len() > self.exact_max() {
            for (bits, times) in core::mem::take(&mut self.exact) {
                let bucket = self.bucket(number_of(bits));
                add(&mut self.buckets, bucket, times);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Quantile) {
        if !other.buckets.is_empty() {
            for (bits, times) in core::mem::take(&mut self.exact) {
                let bucket = self.bucket(number_of(bits));
                add(&mut self.buckets, bucket, times);
            }
        }
        other.buckets.iter().for_each(|(&bucket, &times)| add(&mut self.buckets, bucket, times));
        other.exact.iter().for_each(|(&bits, &times)| self.count(bits, times));
    }

    /// The number that so large a part of all is not above; none if there are none.
    pub(crate) fn at(&self, part: f64) -> Option<f64> {
        let exact = self.exact.iter().map(|(&bits, &times)| (number_of(bits), times));
        let buckets = self.buckets.iter();
        let buckets = buckets.map(|(&bucket, &times)| (self.middle_of(bucket), times));
        let total = self.exact.values().chain(self.buckets.values());
        let total = total.fold(0u64, |total, &times| total.saturating_add(times));
        let rank = (libm::ceil(part * total as f64) as u64).clamp(1, total.max(1));
        let mut passed: u64 = 0;
        let mut all = exact.chain(buckets);
        let found = all.find(|&(_, times)| {
            passed = passed.saturating_add(times);
            passed >= rank
        });
        found.map(|(number, _)| number)
    }

    fn growth(&self) -> f64 {
        1.0 + 1.0 / f64::from(self.resolution)
    }

    fn bucket(&self, number: f64) -> i64 {
        // The infinite are in the bucket of the greatest.
        let size = number.abs().min(f64::MAX);
        if size == 0.0 {
            return 0;
        }
        let bucket = MIDDLE + libm::ceil(libm::log(size) / libm::log(self.growth())) as i64;
        if number < 0.0 { -bucket } else { bucket }
    }

    fn middle_of(&self, bucket: i64) -> f64 {
        if bucket == 0 {
            return 0.0;
        }
        let power = (bucket.saturating_abs() - MIDDLE) as f64;
        let growth = self.growth();
        // By the logarithm, since the power alone may be above the greatest double.
        let size = libm::exp(power * libm::log(growth) + libm::log(2.0 / (growth + 1.0)));
        let size = size.min(f64::MAX);
        if bucket < 0 { -size } else { size }
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, times: u64) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(times);
}

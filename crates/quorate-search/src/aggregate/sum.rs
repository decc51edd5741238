//! Sums that do not depend on the order of what is added.
//!
//! A sum is kept as numbers that do not overlap and together are exact (Shewchuk, "Adaptive
//! Precision Floating-Point Arithmetic", 1997), and rounded once, to the nearest. A sum beyond the
//! range of doubles on its way is infinite.

use alloc::vec::Vec;

/// An exact sum.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sum {
    /// What adds up to it, by growing size.
    pub(crate) parts: Vec<f64>,
    /// The sum of what is not finite; 0 if all is.
    pub(crate) special: f64,
}

impl Sum {
    /// Numbers that do not overlap and span the range of doubles.
    pub(crate) const PARTS_MAX: usize = 64;

    pub(crate) fn add(&mut self, number: f64) {
        let mut number = number;
        let mut kept = 0;
        for at in 0..self.parts.len() {
            if !number.is_finite() {
                break;
            }
            let part = self.parts[at];
            let (large, small) =
                if number.abs() < part.abs() { (part, number) } else { (number, part) };
            let sum = large + small;
            let rest = if sum.is_finite() { small - (sum - large) } else { 0.0 };
            if rest != 0.0 {
                self.parts[kept] = rest;
                kept += 1;
            }
            number = sum;
        }
        if number.is_finite() {
            self.parts.truncate(kept);
            self.parts.push(number);
        } else {
            self.special += number;
        }
    }

    /// Adds a product, with what its rounding loses.
    pub(crate) fn add_product(&mut self, one: f64, other: f64) {
        let product = one * other;
        self.add(product);
        if product.is_finite() {
            self.add(libm::fma(one, other, -product));
        }
    }

    pub(crate) fn merge(&mut self, other: &Sum) {
        other.parts.iter().for_each(|&part| self.add(part));
        self.special += other.special;
    }

    /// The sum, rounded to the nearest double.
    pub(crate) fn value(&self) -> f64 {
        if self.special != 0.0 {
            return self.special;
        }
        let mut parts = self.parts.iter().rev().copied();
        let mut sum = parts.next().unwrap_or(0.0);
        let mut rest = 0.0;
        for part in parts.by_ref() {
            let large = sum;
            sum = large + part;
            rest = part - (sum - large);
            if rest != 0.0 {
                break;
            }
        }
        // Half way between two doubles, what is smaller yet decides.
        let next = parts.next().unwrap_or(0.0);
        if (rest < 0.0 && next < 0.0) || (rest > 0.0 && next > 0.0) {
            let twice = rest * 2.0;
            let other = sum + twice;
            if other - sum == twice {
                sum = other;
            }
        }
        sum
    }
}

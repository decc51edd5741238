//! Vectors of single-precision numbers, whose upper and lower halves are kept apart.
//!
//! The upper half is the number rounded to 16 bits, so it alone is a vector that is off by at most
//! a part in 512; with the lower half it is exact:
//!
//! ```text
//! number  [ upper 16 bits ][ lower 16 bits ]
//! kept    [ upper, one more if the lower half begins with a 1 ] ... [ lower ]
//! ```

use alloc::vec::Vec;

use super::Slot;
use super::blocks::Blocks;
use super::distance::{Brain, Component, LANES, folded};
use crate::schema::Metric;

#[derive(Debug)]
pub(super) struct Split {
    upper: Blocks<Brain>,
    lower: Blocks<u16>,
}

impl Split {
    pub(super) fn new(dimensions: usize) -> Split {
        Split { upper: Blocks::new(dimensions), lower: Blocks::new(dimensions) }
    }

    pub(super) fn set(&mut self, slot: Slot, numbers: &[f32]) {
        self.upper.reach(slot);
        self.lower.reach(slot);
        let halves = self.upper.row_mut(slot).iter_mut().zip(self.lower.row_mut(slot));
        for ((upper, lower), number) in halves.zip(numbers) {
            (*upper, *lower) = parted(*number);
        }
    }

    pub(super) fn upper(&self) -> &Blocks<Brain> {
        &self.upper
    }

    pub(super) fn lower(&self) -> &Blocks<u16> {
        &self.lower
    }

    /// The exact squares of the distances of vectors from a query, or inner products with it.
    #[inline(always)]
    pub(super) fn sums(&self, metric: Metric, query: &[f32], slots: &[Slot], sums: &mut Vec<f64>) {
        for &slot in slots {
            let (upper, lower) = (self.upper.row(slot), self.lower.row(slot));
            let sum = match metric {
                Metric::Euclidean => summed(query, upper, lower, f32::square),
                Metric::InnerProduct | Metric::Cosine => summed(query, upper, lower, f32::product),
            };
            sums.push(f64::from(sum));
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.upper.memory() + self.lower.memory()
    }
}

/// The halves of a number.
fn parted(number: f32) -> (Brain, u16) {
    let bits = number.to_bits();
    // What is no number may come around, and goes back the same way.
    (Brain((bits.wrapping_add(0x8000) >> 16) as u16), bits as u16)
}

/// The number of these halves.
#[inline(always)]
fn joined(upper: Brain, lower: u16) -> f32 {
    let rounded = u32::from(upper.0).wrapping_sub(u32::from(lower >> 15));
    f32::from_bits((rounded << 16) | u32::from(lower))
}

/// As `distance::euclidean` and `distance::product` add up.
#[inline(always)]
fn summed(query: &[f32], upper: &[Brain], lower: &[u16], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = query.as_chunks::<LANES>();
    let (upper, upper_rest) = upper.as_chunks::<LANES>();
    let (lower, lower_rest) = lower.as_chunks::<LANES>();
    for ((chunk, upper), lower) in chunks.iter().zip(upper).zip(lower) {
        for lane in 0..LANES {
            lanes[lane] += term(chunk[lane], joined(upper[lane], lower[lane]));
        }
    }
    let rest = rest.iter().zip(upper_rest).zip(lower_rest);
    for (lane, ((&number, &upper), &lower)) in lanes.iter_mut().zip(rest) {
        *lane += term(number, joined(upper, lower));
    }
    folded(lanes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn halves_make_the_number(bits in any::<u32>()) {
            let (upper, lower) = parted(f32::from_bits(bits));
            prop_assert_eq!(joined(upper, lower).to_bits(), bits);
        }

        #[test]
        fn the_upper_half_is_near(number in -1e30f32..1e30) {
            let error = (parted(number).0.wide() - number).abs();
            prop_assert!(error <= number.abs() / 256.0, "{} {}", number, error);
        }
    }
}

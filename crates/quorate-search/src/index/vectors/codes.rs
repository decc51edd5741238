//! Vectors quantised to a byte a component, each by its own scale.
//!
//! A component is about its code times the scale of its vector, so products of vectors are about
//! whole products of codes times both scales, and distances follow from products and lengths.

use alloc::vec::Vec;

use super::Slot;
use super::blocks::Blocks;
use super::distance::{Component, product};
use crate::schema::Metric;

/// The greatest code.
const CODE_MAX: f32 = 127.0;

#[derive(Debug)]
pub(super) struct Codes {
    codes: Blocks<i8>,
    scales: Vec<Scale>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Scale {
    /// What a code stands for.
    step: f32,
    /// The square of the length.
    square: f32,
}

/// A quantised vector that others are compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Encoded {
    codes: Vec<i16>,
    scale: Scale,
}

impl Encoded {
    /// Makes it that of these numbers.
    pub(super) fn set(&mut self, numbers: impl Iterator<Item = f32> + Clone) {
        let greatest =
            numbers.clone().fold(0.0, |greatest: f32, number| greatest.max(number.abs()));
        let step = if greatest > 0.0 && greatest.is_finite() { greatest / CODE_MAX } else { 1.0 };
        self.codes.clear();
        self.codes.extend(numbers.clone().map(|number| libm::rintf(number / step) as i8 as i16));
        let square = numbers.map(|number| number * number).sum();
        self.scale = Scale { step, square };
    }
}

impl Codes {
    pub(super) fn new(dimensions: usize) -> Codes {
        Codes { codes: Blocks::new(dimensions), scales: Vec::new() }
    }

    pub(super) fn set(&mut self, slot: Slot, encoded: &Encoded) {
        self.codes.reach(slot);
        for (code, &wide) in self.codes.row_mut(slot).iter_mut().zip(&encoded.codes) {
            *code = wide as i8;
        }
        self.scales.resize(self.scales.len().max(slot as usize + 1), Scale::default());
        self.scales[slot as usize] = encoded.scale;
    }

    pub(super) fn load(&self, slot: Slot, encoded: &mut Encoded) {
        encoded.codes.clear();
        encoded.codes.extend(self.codes.row(slot).iter().map(|&code| i16::from(code)));
        encoded.scale = self.scales[slot as usize];
    }

    /// The distances of vectors from another, about.
    #[inline(always)]
    pub(super) fn distances(
        &self,
        metric: Metric,
        query: &Encoded,
        slots: &[Slot],
        distances: &mut Vec<f32>,
    ) {
        for &slot in slots {
            let sum: i32 = product(&query.codes, self.codes.row(slot));
            let scale = self.scales[slot as usize];
            let product = i8::number(sum) as f32 * (query.scale.step * scale.step);
            distances.push(match metric {
                Metric::Euclidean => query.scale.square + scale.square - 2.0 * product,
                Metric::InnerProduct | Metric::Cosine => 1.0 - product,
            });
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.codes.memory() + self.scales.capacity() * size_of::<Scale>()
    }
}

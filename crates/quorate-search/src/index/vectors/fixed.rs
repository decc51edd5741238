//! Vectors of single-precision numbers, kept so that a byte of each component alone is a vector that
//! is near, and all four bytes are exact.
//!
//! Every vector has a step, a power of two, by which its components are numbers with 24 bits behind
//! the point. The part before it, rounded, is the *code* of a component:
//!
//! ```text
//! component / step  [ 8 bits before the point ] . [ 8 bits, middle ][ 16 bits, lower ]
//! kept              [ code: one more if the middle begins with a 1, and 128 ] ... [ middle ] ... [ lower ]
//! ```
//!
//! A component of half a step or more is exact in this form. Of smaller ones, those that are not are
//! noted apart: of bell-shaped components about one of a hundred.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;

use fearless_simd::Level;

use super::Slot;
use super::blocks::Blocks;
use super::products;

/// The greatest code, without what is added to it.
const CODE_MAX: f32 = 127.0;

/// What is added to codes, so that they are above 0.
const RAISED: i32 = 128;

/// Exponents of a step. All numbers from it to what it is multiplied with are normal.
const EXPONENTS: core::ops::RangeInclusive<i32> = -100..=122;

/// Bytes that memory is read by, and how many of these are asked for in advance of a vector: the
/// processor foresees the others.
const LINE: usize = 64;
const LINES: usize = 4;

/// Vectors that are compared at once.
const AT_ONCE: usize = 32;

/// Bits behind the point.
const FRACTION_BITS: i32 = 24;

#[derive(Debug)]
pub(super) struct Fixed {
    codes: Blocks<u8>,
    middle: Blocks<u8>,
    lower: Blocks<u16>,
    scales: Blocks<Scale>,
    /// Components that the other parts do not say: a list for each vector that has any.
    noted: Vec<Box<[Noted]>>,
    /// Lists that are used no more.
    vacant: Vec<u32>,
}

/// What the codes of a vector stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scale {
    pub(super) step: f32,
    /// The square of the length of the vector of the codes.
    pub(super) square: f32,
    /// 1 and the place of the list of what is noted; 0 if nothing is.
    noted: u32,
}

/// A component that is not exact otherwise: its place, and the upper and lower half of it.
type Noted = [u16; 3];

const _: () = assert!(crate::limits::VECTOR_DIMENSIONS <= 1 << 16);

/// The codes of a vector that others are compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    codes: Vec<i8>,
    /// What raising the codes of the others adds to products.
    surplus: i32,
    scale: Scale,
}

impl Fixed {
    pub(super) fn new(dimensions: usize) -> Fixed {
        Fixed {
            codes: Blocks::new(dimensions),
            middle: Blocks::new(dimensions),
            lower: Blocks::new(dimensions),
            scales: Blocks::new(1),
            noted: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, slot: Slot, numbers: &[f32]) {
        self.codes.reach(slot);
        self.middle.reach(slot);
        self.lower.reach(slot);
        self.scales.reach(slot);
        let step = step_of(numbers);
        let (codes, middle) = (self.codes.row_mut(slot), self.middle.row_mut(slot));
        let lower = self.lower.row_mut(slot);
        let (mut noted, mut square) = (Vec::new(), 0);
        for (place, &number) in numbers.iter().enumerate() {
            let fixed = fixed(number, step);
            let code = code_of(fixed);
            square += code * code;
            codes[place] = (code + RAISED) as u8;
            middle[place] = (fixed >> 16) as u8;
            lower[place] = fixed as u16;
            // What is no number is not equal to anything.
            if fixed as f32 * unit(step) != number {
                let bits = number.to_bits();
                noted.push([place as u16, (bits >> 16) as u16, bits as u16]);
            }
        }
        let noted = self.note(slot, noted.into_boxed_slice());
        self.scales.row_mut(slot)[0] = Scale { step, square: square as f32 * step * step, noted };
    }

    /// Keeps a list in the place of that of the vector before. Returns what its scale says of it.
    fn note(&mut self, slot: Slot, noted: Box<[Noted]>) -> u32 {
        if let Some(former) = self.scale(slot).noted.checked_sub(1) {
            self.noted[former as usize] = Box::default();
            self.vacant.push(former);
        }
        if noted.is_empty() {
            return 0;
        }
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.noted.push(Box::default());
            (self.noted.len() - 1) as u32
        });
        self.noted[place as usize] = noted;
        place + 1
    }

    /// The components of a vector.
    #[inline(always)]
    pub(super) fn read(&self, slot: Slot, numbers: &mut [f32]) {
        let scale = self.scale(slot);
        let unit = unit(scale.step);
        let codes = self.codes.row(slot);
        let rest = self.middle.row(slot).iter().zip(self.lower.row(slot));
        for ((number, &code), (&middle, &lower)) in numbers.iter_mut().zip(codes).zip(rest) {
            let whole = i32::from(code) - RAISED - i32::from(middle >> 7);
            let fixed = (whole << 24) | (i32::from(middle) << 16) | i32::from(lower);
            *number = fixed as f32 * unit;
        }
        let Some(list) = scale.noted.checked_sub(1) else { return };
        for &[place, upper, lower] in &self.noted[list as usize] {
            let bits = (u32::from(upper) << 16) | u32::from(lower);
            numbers[usize::from(place)] = f32::from_bits(bits);
        }
    }

    /// Makes a query of the codes of a vector.
    pub(super) fn load(&self, slot: Slot, query: &mut Query) {
        let codes = self.codes.row(slot).iter();
        query.codes.clear();
        query.codes.extend(codes.map(|&code| (i32::from(code) - RAISED) as i8));
        query.scale = self.scale(slot);
        query.sum_up();
    }

    /// The products of the codes of vectors with those of a query.
    #[inline]
    pub(super) fn products(
        &self,
        level: Level,
        query: &Query,
        slots: &[Slot],
        mut take: impl FnMut(Slot, Scale, i32),
    ) {
        let (mut products, mut scales) = ([0; AT_ONCE], [Scale::default(); AT_ONCE]);
        for slots in slots.chunks(AT_ONCE) {
            // All that is read is asked for before any is waited for.
            let mut touched = 0;
            for (&slot, scale) in slots.iter().zip(&mut scales) {
                *scale = self.scale(slot);
                let row = self.codes.row(slot);
                row.iter().step_by(LINE).take(LINES).for_each(|&code| touched ^= code);
            }
            black_box(touched);
            let products = &mut products[..slots.len()];
            products::products(level, &query.codes, &self.codes, slots, products);
            for ((&slot, &scale), &mut product) in slots.iter().zip(&scales).zip(products) {
                take(slot, scale, product - query.surplus);
            }
        }
    }

    #[inline(always)]
    pub(super) fn scale(&self, slot: Slot) -> Scale {
        self.scales.row(slot)[0]
    }

    pub(super) fn memory(&self) -> usize {
        let blocks = self.codes.memory() + self.middle.memory() + self.lower.memory();
        let noted: usize = self.noted.iter().map(|noted| noted.len()).sum();
        let lists = self.noted.capacity() * size_of::<Box<[Noted]>>();
        let vacant = self.vacant.capacity() * size_of::<u32>();
        blocks + self.scales.memory() + lists + vacant + noted * size_of::<Noted>()
    }
}

impl Query {
    /// The codes of these numbers.
    pub(super) fn of(numbers: &[f32]) -> Query {
        let step = step_of(numbers);
        let codes: Vec<i8> =
            numbers.iter().map(|&number| code_of(fixed(number, step)) as i8).collect();
        let square: i32 = codes.iter().map(|&code| i32::from(code) * i32::from(code)).sum();
        let scale = Scale { step, square: square as f32 * step * step, noted: 0 };
        let mut query = Query { codes, surplus: 0, scale };
        query.sum_up();
        query
    }

    pub(super) fn scale(&self) -> Scale {
        self.scale
    }

    fn sum_up(&mut self) {
        let sum: i32 = self.codes.iter().map(|&code| i32::from(code)).sum();
        self.surplus = RAISED * sum;
    }
}

/// The least step by which no code of these is too large.
fn step_of(numbers: &[f32]) -> f32 {
    let sizes = numbers.iter().map(|number| number.abs()).filter(|size| size.is_finite());
    let greatest = sizes.fold(0.0, f32::max);
    let exponent = |bits: u32| ((bits >> 23) & 0xff) as i32 - 127;
    // The greatest is at most twice 2 to the power of its exponent, which is 64 steps, or 32.
    let step = power(exponent(greatest.to_bits()) - 6);
    if greatest > CODE_MAX * step { step * 2.0 } else { step }
}

/// 2 to the power of an exponent, which is made one that is allowed.
fn power(exponent: i32) -> f32 {
    let exponent = exponent.clamp(*EXPONENTS.start(), *EXPONENTS.end() - 1);
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The least part of a number with that step.
#[inline(always)]
fn unit(step: f32) -> f32 {
    f32::from_bits(step.to_bits() - ((FRACTION_BITS as u32) << 23))
}

/// A number in steps, with bits behind the point; 0 in the place of what is infinite or no number.
fn fixed(number: f32, step: f32) -> i32 {
    if !number.is_finite() {
        return 0;
    }
    (number / step * (1 << FRACTION_BITS) as f32) as i32
}

fn code_of(fixed: i32) -> i32 {
    (fixed + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(numbers: &[f32]) -> (Fixed, Vec<f32>) {
        let mut kept = Fixed::new(numbers.len());
        kept.set(0, numbers);
        let mut read = alloc::vec![0.0; numbers.len()];
        kept.read(0, &mut read);
        (kept, read)
    }

    proptest! {
        /// Whatever bits they are of: infinite, without meaning, or too small for an exponent.
        #[test]
        fn all_numbers_are_exact(bits in prop::collection::vec(any::<u32>(), 1..40)) {
            let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            for (number, read) in numbers.iter().zip(kept(&numbers).1) {
                prop_assert!(*number == read || number.to_bits() == read.to_bits());
            }
        }

        #[test]
        fn codes_are_near(
            numbers in prop::collection::vec(-1.0f32..1.0, 1..70),
            exponent in -30i32..30,
        ) {
            let numbers: Vec<f32> =
                numbers.into_iter().map(|number| number * 2.0f32.powi(exponent)).collect();
            let (kept, read) = kept(&numbers);
            prop_assert_eq!(&read, &numbers);
            let greatest = numbers.iter().fold(0.0f32, |greatest, number| greatest.max(number.abs()));
            let step = kept.scale(0).step;
            prop_assert!(greatest <= CODE_MAX * step && step <= 2.0 * greatest / CODE_MAX);
            let query = Query::of(&numbers);
            prop_assert_eq!(query.scale().square, kept.scale(0).square);
            for ((number, &code), &raised) in numbers.iter().zip(&query.codes).zip(kept.codes.row(0)) {
                prop_assert_eq!(i32::from(code), i32::from(raised) - RAISED);
                prop_assert!((f32::from(code) * step - number).abs() <= step / 2.0);
            }
            let mut square = 0.0;
            kept.products(Level::baseline(), &query, &[0], |_, _, product| {
                square = product as f32 * step * step;
            });
            prop_assert_eq!(square, query.scale().square);
        }
    }

    #[test]
    fn few_components_are_noted() {
        let mut seed = 1u32;
        let mut even = || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as f32 / u32::MAX as f32 - 0.5
        };
        let numbers: Vec<f32> = (0..10_000).map(|_| (0..9).map(|_| even()).sum()).collect();
        let (kept, read) = kept(&numbers);
        assert_eq!(read, numbers);
        let noted = kept.noted.iter().map(|noted| noted.len()).sum::<usize>();
        assert!(noted < 300, "{noted}");
    }
}

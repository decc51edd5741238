//! How far two vectors are from each other, for every kind of component.
//!
//! Sums are kept in lanes, which compilers turn into instructions on several numbers at once, for
//! the processor that runs them (see `Space`). They are added up in one order everywhere and
//! nothing is fused, so that a distance is the same on every machine.

use alloc::vec::Vec;
use core::ops::Add;

/// Sums that are kept side by side.
pub(super) const LANES: usize = 16;

/// A component of a vector.
pub(super) trait Component: Copy + Default {
    /// What is calculated with.
    type Wide: Copy + Default;

    /// What sums of products are kept in. They do not overflow: see `limits::VECTOR_DIMENSIONS`.
    type Sum: Copy + Default + Add<Output = Self::Sum>;

    /// Bytes of a component.
    const BYTES: usize;

    /// The component of that many bytes, little-endian.
    fn decoded(bytes: &[u8]) -> Self;

    /// The component that is nearest to a number.
    fn of(number: f64) -> Self;

    fn wide(self) -> Self::Wide;

    fn product(one: Self::Wide, other: Self::Wide) -> Self::Sum;

    /// The square of the difference.
    fn square(one: Self::Wide, other: Self::Wide) -> Self::Sum;

    fn number(sum: Self::Sum) -> f64;
}

/// A half-precision number: IEEE 754 binary16.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Half(u16);

/// The upper half of a single-precision number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Brain(pub(super) u16);

macro_rules! components {
    ($($component:ty, $wide_type:ty, $sum:ty, $bytes:literal, $decoded:expr, $of:expr, $wide:expr;)*) => {
        $(impl Component for $component {
            type Wide = $wide_type;
            type Sum = $sum;
            const BYTES: usize = $bytes;

            fn decoded(bytes: &[u8]) -> Self {
                let mut own = [0; $bytes];
                own.copy_from_slice(bytes);
                $decoded(own)
            }

            fn of(number: f64) -> Self {
                $of(number)
            }

            #[inline(always)]
            fn wide(self) -> $wide_type {
                $wide(self)
            }

            #[inline(always)]
            fn product(one: $wide_type, other: $wide_type) -> $sum {
                <$sum>::from(one) * <$sum>::from(other)
            }

            #[inline(always)]
            fn square(one: $wide_type, other: $wide_type) -> $sum {
                let difference = <$sum>::from(one - other);
                difference * difference
            }

            #[inline(always)]
            fn number(sum: $sum) -> f64 {
                f64::from(sum)
            }
        })*
    };
}

components! {
    f32, f32, f32, 4, f32::from_le_bytes, |number: f64| number as f32, core::convert::identity;
    f64, f64, f64, 8, f64::from_le_bytes, core::convert::identity, core::convert::identity;
    Half, f32, f32, 2, |bytes| Half(u16::from_le_bytes(bytes)), Half::of_number, Half::single;
    Brain, f32, f32, 2, |bytes| Brain(u16::from_le_bytes(bytes)), Brain::of_number, Brain::single;
    i8, i16, i32, 1, i8::from_le_bytes, |number: f64| libm::round(number) as i8, i16::from;
    u8, i16, i32, 1, u8::from_le_bytes, |number: f64| libm::round(number) as u8, i16::from;
}

impl Half {
    pub(super) fn bits(self) -> u16 {
        self.0
    }

    #[inline(always)]
    fn single(self) -> f32 {
        let bits = u32::from(self.0);
        let sign = (bits & 0x8000) << 16;
        let magnitude = bits & 0x7fff;
        // Moved to the exponent of single precision; what is 0 or below the least exponent is
        // multiplied there, infinities and what is no number get the greatest exponent.
        let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
        let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(scaled.to_bits() | special | sign)
    }

    /// Rounded to the nearest, ties to even.
    fn of_number(number: f64) -> Half {
        let single = number as f32;
        let sign = ((single.to_bits() >> 16) & 0x8000) as u16;
        let magnitude = single.abs();
        let bits = if magnitude.is_nan() {
            0x7e00
        } else if magnitude >= 65_520.0 {
            0x7c00
        } else if magnitude < f32::from_bits(0x3880_0000) {
            // Below the least exponent: steps of 2^-24.
            libm::rintf(magnitude * 16_777_216.0) as u16
        } else {
            let bits = magnitude.to_bits();
            let rounded = bits + 0xfff + ((bits >> 13) & 1);
            ((rounded - 0x3800_0000) >> 13) as u16
        };
        Half(bits | sign)
    }
}

impl Brain {
    pub(super) fn bits(self) -> u16 {
        self.0
    }

    #[inline(always)]
    fn single(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Rounded to the nearest, ties to even.
    fn of_number(number: f64) -> Brain {
        let bits = (number as f32).to_bits();
        if (number as f32).is_nan() {
            return Brain(0x7fc0);
        }
        Brain(((u64::from(bits) + 0x7fff + u64::from((bits >> 16) & 1)) >> 16) as u16)
    }
}

/// The components of a vector's bytes.
pub(super) fn decoded<C: Component>(bytes: &[u8]) -> Vec<C> {
    bytes.chunks_exact(C::BYTES).map(C::decoded).collect()
}

/// The square of the Euclidean distance from one vector to another.
#[inline(always)]
pub(super) fn euclidean<C: Component>(one: &[C::Wide], other: &[C]) -> C::Sum {
    summed(one, other, C::square)
}

/// The inner product of one vector with another.
#[inline(always)]
pub(super) fn product<C: Component>(one: &[C::Wide], other: &[C]) -> C::Sum {
    summed(one, other, C::product)
}

/// One vector at a time: the lanes of several would not stay in registers. Nothing on the way here
/// may be left to the compiler to inline, or it is made for the least of processors.
#[inline(always)]
fn summed<C: Component>(
    one: &[C::Wide],
    other: &[C],
    term: impl Fn(C::Wide, C::Wide) -> C::Sum,
) -> C::Sum {
    let mut lanes = [C::Sum::default(); LANES];
    let (chunks, rest) = one.as_chunks::<LANES>();
    let (other, other_rest) = other.as_chunks::<LANES>();
    for (a, b) in chunks.iter().zip(other) {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane] + term(a[lane], b[lane].wide());
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(rest).zip(other_rest) {
        *lane = *lane + term(*a, b.wide());
    }
    folded(lanes)
}

/// The sum of all lanes, in one order.
#[inline(always)]
pub(super) fn folded<S: Copy + Add<Output = S>>(mut lanes: [S; LANES]) -> S {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The square of the distance and the inner product.
    fn both<C: Component>(one: &[C], other: &[C]) -> (f64, f64) {
        let wide: Vec<C::Wide> = one.iter().map(|component| component.wide()).collect();
        (C::number(euclidean(&wide, other)), C::number(product(&wide, other)))
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_definition(
            pairs in prop::collection::vec((-100i8..100, -100i8..100), 0..70),
        ) {
            let (one, other): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
            let (mut square, mut inner) = (0, 0);
            for (&a, &b) in one.iter().zip(&other) {
                square += (i64::from(a) - i64::from(b)).pow(2);
                inner += i64::from(a) * i64::from(b);
            }
            // Small whole numbers are exact in every kind.
            fn check<C: Component>(one: &[i8], other: &[i8]) -> (f64, f64) {
                let own = |numbers: &[i8]| -> Vec<C> {
                    numbers.iter().map(|&number| C::of(f64::from(number))).collect()
                };
                both(&own(one), &own(other))
            }
            let expected = (square as f64, inner as f64);
            prop_assert_eq!(check::<f32>(&one, &other), expected);
            prop_assert_eq!(check::<f64>(&one, &other), expected);
            prop_assert_eq!(check::<Half>(&one, &other), expected);
            prop_assert_eq!(check::<Brain>(&one, &other), expected);
            prop_assert_eq!(check::<i8>(&one, &other), expected);
            let shifted = |numbers: &[i8]| -> Vec<u8> {
                numbers.iter().map(|&number| u8::of(f64::from(number) + 100.0)).collect()
            };
            prop_assert_eq!(both(&shifted(&one), &shifted(&other)).0, expected.0);
        }

        #[test]
        fn a_brain_number_is_the_upper_half(bits in any::<u16>()) {
            let single = Brain(bits).single();
            prop_assert_eq!(single.to_bits(), u32::from(bits) << 16);
            if !single.is_nan() {
                prop_assert_eq!(Brain::of_number(f64::from(single)).0, bits);
            }
        }
    }

    /// The examples of the standard, and all numbers there and back.
    #[test]
    fn half_precision_is_that_of_the_standard() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3c00, 1.0),
            (0x7bff, 65_504.0),
            (0x7c00, f32::INFINITY),
            (0xc000, -2.0),
        ] {
            assert_eq!(Half(bits).single(), number, "{bits:#x}");
        }
        for bits in 0..=u16::MAX {
            let single = Half(bits).single();
            let again = Half::of_number(f64::from(single));
            let same = if single.is_nan() { again.single().is_nan() } else { again.0 == bits };
            assert!(same, "{bits:#x}");
        }
        assert_eq!(Half::of_number(1.0 + 1.0 / 2048.0).0, 0x3c00, "ties to even");
        assert_eq!(Half::of_number(1.0 + 3.0 / 2048.0).0, 0x3c02, "ties to even");
        assert_eq!(Half::of_number(1e9).0, 0x7c00);
    }

    /// The longest vectors that there may be, as far from each other as they can be.
    #[test]
    fn sums_of_bytes_do_not_overflow() {
        let dimensions = crate::limits::VECTOR_DIMENSIONS as usize;
        let (low, high) = (alloc::vec![i8::MIN; dimensions], alloc::vec![i8::MAX; dimensions]);
        assert_eq!(both(&low, &high).0, 65_025.0 * dimensions as f64);
        let high = alloc::vec![u8::MAX; dimensions];
        assert_eq!(both(&high, &high).1, 65_025.0 * dimensions as f64);
    }
}

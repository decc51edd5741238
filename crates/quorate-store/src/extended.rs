//! Binary numbers beyond the range of exact decimals, as Redis computes them: the 80 bit format of
//! x86 processors, with a mantissa of 64 bits and exponents of 15. Only large values are kept in
//! it.

use crate::decimal::Decimal;

/// Every value is below two to the power of this.
const BITS_MAX: i32 = 16_384;

/// Decimal digits that are converted at a time.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u128 = 10_u128.pow(CHUNK_DIGITS as u32);

/// `mantissa * 2^exponent`, where the highest bit of the mantissa is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    /// `bits * 2^exponent`, and something below the last bit when `more`, rounded to the nearest,
    /// half to even. `None` when that is zero or out of range.
    pub(crate) fn rounded(negative: bool, bits: u128, exponent: i32, more: bool) -> Option<Self> {
        if bits == 0 {
            return None;
        }
        let shift = bits.leading_zeros();
        let bits = bits << shift;
        let (top, rest) = ((bits >> 64) as u64, bits as u64);
        let half = 1 << 63;
        let up = rest > half || rest == half && (more || top % 2 == 1);
        let exponent = exponent.checked_sub_unsigned(shift)?.checked_add(64)?;
        let (mantissa, exponent) = match top.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, exponent),
            None => (half, exponent + 1),
        };
        (exponent <= BITS_MAX - 64).then_some(Self { negative, mantissa, exponent })
    }

    /// The integer with these decimal digits, and something behind its point when `more`.
    pub(crate) fn from_digits(
        negative: bool,
        digits: impl Iterator<Item = u8>,
        more: bool,
    ) -> Option<Self> {
        let mut limbs: Vec<u64> = Vec::new();
        for digit in digits {
            let mut carry = u128::from(digit);
            for limb in &mut limbs {
                carry += u128::from(*limb) * 10;
                (*limb, carry) = (carry as u64, carry >> 64);
            }
            if carry > 0 {
                limbs.push(carry as u64);
            }
        }
        // The upper two limbs hold more than 64 significant bits; the others only decide ties.
        let lower = limbs.len().saturating_sub(2);
        let bits = limbs[lower..].iter().rev().fold(0, |bits, limb| bits << 64 | u128::from(*limb));
        let more = more || limbs[..lower].iter().any(|limb| *limb != 0);
        Self::rounded(negative, bits, i32::try_from(lower * 64).ok()?, more)
    }

    /// The nearest number to `value`; `None` for zero.
    pub(crate) fn from_decimal(value: Decimal) -> Option<Self> {
        // A value of the greatest magnitude leaves room for 32 binary places. What is below them
        // matters only to a sum with a large number when that is a tie.
        const PLACES: u32 = 32;
        let (negative, whole, fraction) = value.parts();
        let scaled = u128::from(fraction) << PLACES;
        let (places, rest) = (scaled / Decimal::UNIT, scaled % Decimal::UNIT);
        let bits = whole << PLACES | places | u128::from(rest != 0);
        Self::rounded(negative, bits, -(PLACES as i32), rest != 0)
    }

    /// The number as an exact decimal, when it is in the range of those.
    pub(crate) fn to_decimal(self) -> Option<Decimal> {
        let scaled = u128::from(self.mantissa) * Decimal::UNIT;
        let scaled = if self.exponent >= 0 {
            scaled.checked_mul(1_u128.checked_shl(self.exponent.unsigned_abs())?)?
        } else {
            scaled.checked_shr(self.exponent.unsigned_abs()).unwrap_or(0)
        };
        Decimal::from_scaled(self.negative, scaled)
    }

    /// `self + other`, rounded; `Err` when that is out of range, and `Ok(None)` when it is zero.
    pub(crate) fn add(self, other: Self) -> Result<Option<Self>, OutOfRange> {
        let order = |number: &Self| (number.exponent, number.mantissa);
        let (large, small) =
            if order(&self) >= order(&other) { (self, other) } else { (other, self) };
        // One bit is left for the carry.
        let upper = u128::from(large.mantissa) << 63;
        let (lower, distance) =
            (u128::from(small.mantissa) << 63, large.exponent.abs_diff(small.exponent));
        let aligned = lower.checked_shr(distance).unwrap_or(0);
        let more = aligned.checked_shl(distance).unwrap_or(0) != lower;
        let bits = if large.negative == small.negative {
            upper + aligned
        } else {
            upper - aligned - u128::from(more)
        };
        if bits == 0 {
            return Ok(None);
        }
        Self::rounded(large.negative, bits, large.exponent - 63, more).map(Some).ok_or(OutOfRange)
    }
}

/// A sum beyond the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfRange;

/// All digits of the integer part: a large number has no other.
impl std::fmt::Display for Extended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shift = self.exponent.max(0).unsigned_abs();
        let mantissa = self.mantissa >> self.exponent.min(0).unsigned_abs().min(63);
        let mut limbs = vec![0_u64; shift as usize / 64];
        let upper = u128::from(mantissa) << (shift % 64);
        limbs.extend([upper as u64, (upper >> 64) as u64]);
        let mut chunks: Vec<u64> = Vec::new();
        while limbs.iter().any(|limb| *limb != 0) {
            let mut rest: u128 = 0;
            for limb in limbs.iter_mut().rev() {
                rest = rest << 64 | u128::from(*limb);
                (*limb, rest) = ((rest / CHUNK) as u64, rest % CHUNK);
            }
            chunks.push(rest as u64);
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
        }
        f.write_str(if self.negative { "-" } else { "" })?;
        write!(f, "{}", chunks.pop().unwrap_or(0))?;
        chunks.iter().rev().try_for_each(|chunk| write!(f, "{chunk:0width$}", width = CHUNK_DIGITS))
    }
}

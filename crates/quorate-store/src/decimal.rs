//! Exact decimal arithmetic for counters.
//!
//! Contributions to a counter are added in any order on any replica, so addition must be
//! associative: binary floating point is not. A [`Decimal`] is a fixed-point number with 17
//! fractional digits (the precision that Redis prints) in an `i128`.

/// Fractional digits kept.
const FRACTION_DIGITS: u32 = 17;
const ONE: i128 = 10_i128.pow(FRACTION_DIGITS);

/// A number between about -1.7e21 and 1.7e21 with 17 fractional digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The integer `value`.
    pub fn from_integer(value: i64) -> Self {
        Self(i128::from(value) * ONE)
    }

    /// One, as the integer that a decimal is made of.
    pub(crate) const UNIT: u128 = ONE.unsigned_abs();

    /// `d.ddd * 10^leading`, of which `digits` are the digits. Those beyond the precision are
    /// rounded, half away from zero. `None` when the number is out of range.
    pub(crate) fn from_digits(
        negative: bool,
        digits: impl Iterator<Item = u8>,
        leading: i32,
    ) -> Option<Self> {
        let mut value: i128 = 0;
        // Places that are still to be filled: of the digit in front first.
        let mut places = leading + FRACTION_DIGITS as i32;
        for digit in digits {
            if places < 0 {
                value += i128::from(places == -1 && digit >= 5);
                places = -1;
                break;
            }
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
            places -= 1;
        }
        let missing = u32::try_from(places + 1).unwrap_or(0);
        value = value.checked_mul(10_i128.checked_pow(missing)?)?;
        Some(Self(if negative { -value } else { value }))
    }

    /// `value / 10^17`; `None` when that is out of range.
    pub(crate) fn from_scaled(negative: bool, value: u128) -> Option<Self> {
        let value = i128::try_from(value).ok()?;
        Some(Self(if negative { -value } else { value }))
    }

    /// Whether the number is negative, its integer part, and what is behind the point in units of
    /// `10^-17`.
    pub(crate) fn parts(self) -> (bool, u128, u64) {
        let magnitude = self.0.unsigned_abs();
        (self.0 < 0, magnitude / Self::UNIT, (magnitude % Self::UNIT) as u64)
    }

    /// `self + other`, or `None` when the sum is out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The value as an integer, when it is one that fits.
    pub fn to_integer(self) -> Option<i64> {
        if self.0 % ONE == 0 { i64::try_from(self.0 / ONE).ok() } else { None }
    }

    /// Big-endian two's complement.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Decimal::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(i128::from_be_bytes(bytes))
    }
}

/// The shortest text with no exponent and no trailing zeros.
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (negative, whole, fraction) = self.parts();
        let sign = if negative { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:0width$}", width = FRACTION_DIGITS as usize);
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(digits: &[u8], leading: i32) -> Option<String> {
        let value = Decimal::from_digits(false, digits.iter().copied(), leading);
        value.map(|value| value.to_string())
    }

    #[test]
    fn digits_are_placed_and_rounded() {
        for (digits, leading, expected) in [
            (&[1, 2, 5][..], 1, "12.5"),
            (&[5], 3, "5000"),
            (&[1], -17, "0.00000000000000001"),
            (&[1, 5], -17, "0.00000000000000002"),
            (&[5], -18, "0.00000000000000001"),
            (&[4], -18, "0"),
            (&[9], -900, "0"),
            (&[9, 9], -18, "0.00000000000000001"),
        ] {
            assert_eq!(read(digits, leading).as_deref(), Some(expected));
        }
        assert_eq!(read(&[1], 22), None);
        assert_eq!(read(&[1, 8], 21), None);
        assert_eq!(read(&[1, 7], 21).as_deref(), Some("1700000000000000000000"));
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let tenth = |digit| Decimal::from_digits(false, std::iter::once(digit), -1);
        let sum = tenth(1).and_then(|one| one.checked_add(tenth(2)?));
        assert_eq!(sum.map(|value| value.to_string()).as_deref(), Some("0.3"));
    }

    #[test]
    fn integers_are_recognised() {
        let half = Decimal::from_digits(false, [1, 2, 5].into_iter(), 1);
        assert_eq!(half.and_then(Decimal::to_integer), None);
        assert_eq!(Decimal::from_integer(i64::MIN).to_integer(), Some(i64::MIN));
    }
}

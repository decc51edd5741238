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

    /// Parses `[+-]digits[.digits][e[+-]digits]`. Digits beyond the precision are rounded half
    /// away from zero. `None` when the text is no number or out of range.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let scale = FRACTION_DIGITS as i32 + exponent - i32::try_from(fraction.len()).ok()?;
        let magnitude = scaled(whole.iter().chain(fraction), scale)?;
        Some(Self(if negative { -magnitude } else { magnitude }))
    }

    /// `self + other`, or `None` when the sum is out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self + other`, held at the ends of the range.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
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
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / ONE.unsigned_abs(), magnitude % ONE.unsigned_abs());
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:0width$}", width = FRACTION_DIGITS as usize);
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let exponent: i32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // Far outside the range either way; the bound keeps the arithmetic below from overflowing.
    (-1000..=1000).contains(&exponent).then_some(exponent)
}

/// The digits as an integer times `10^scale`.
fn scaled<'a>(digits: impl Iterator<Item = &'a u8>, scale: i32) -> Option<i128> {
    let mut value: i128 = 0;
    let mut dropped: i32 = 0;
    let mut first_dropped = 0;
    let mut count = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i128::from(digit - b'0');
        // 38 significant digits fill an i128; what lies behind them is far below the precision.
        if count >= 37 {
            if dropped == 0 {
                first_dropped = digit;
            }
            dropped += 1;
        } else {
            value = value * 10 + digit;
            count += i32::from(value != 0);
        }
    }
    let shift = scale + dropped;
    if shift >= 0 {
        if dropped > 0 && first_dropped >= 5 {
            value += 1;
        }
        if value == 0 {
            return Some(0);
        }
        return value.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?);
    }
    let Some(divisor) = 10_i128.checked_pow(shift.unsigned_abs()) else {
        return Some(0);
    };
    let rounding = i128::from((value % divisor) * 2 >= divisor);
    Some(value / divisor + rounding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Decimal::parse(text.as_bytes()).map(|value| value.to_string())
    }

    #[test]
    fn parses_and_prints() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("10.50", "10.5"),
            ("5.0e3", "5000"),
            ("+1.5E-2", "0.015"),
            (".5", "0.5"),
            ("3.", "3"),
            ("-2.25", "-2.25"),
            ("9223372036854775807", "9223372036854775807"),
            ("0.00000000000000001", "0.00000000000000001"),
            ("0.000000000000000004", "0"),
            ("1e-900", "0"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number_or_too_large() {
        for text in ["", "-", ".", "1e", "1.2.3", "abc", "1 ", " 1", "1e30", "1e2000", "nan", "inf"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let sum = Decimal::parse(b"0.1").and_then(|a| a.checked_add(Decimal::parse(b"0.2")?));
        assert_eq!(sum.map(|value| value.to_string()).as_deref(), Some("0.3"));
    }

    #[test]
    fn integers_are_recognised() {
        assert_eq!(Decimal::parse(b"12.0").and_then(Decimal::to_integer), Some(12));
        assert_eq!(Decimal::parse(b"12.5").and_then(Decimal::to_integer), None);
        assert_eq!(Decimal::from_integer(i64::MIN).to_integer(), Some(i64::MIN));
    }
}

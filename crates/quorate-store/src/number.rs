//! The numbers of counters: exact decimals, and beyond their range what Redis computes.
//!
//! Texts are read as the C function `strtold` reads them for Redis: decimal and hexadecimal, with
//! exponents, `inf`, but no `nan`, no spaces, and nothing that is too large or too small for a long
//! double of 80 bits.

use std::fmt;

use crate::{decimal::Decimal, extended::Extended};

/// Longer texts are no numbers to Redis.
const TEXT_LENGTH_MAX: usize = 5 * 1024 - 1;

/// Decimal exponents of the largest and the smallest number.
const EXPONENT_MAX: i64 = 4_932;
const EXPONENT_MIN: i64 = -4_951;

/// Integers with this many digits at least are beyond exact decimals, so binary is looked at only
/// then.
const EXACT_EXPONENT_MAX: i64 = 21;

/// A number that a counter holds or is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// In the range of exact decimals.
    Exact(Decimal),
    /// Beyond it.
    Large(Extended),
    /// Given or stored as such. Nothing can be added to it.
    Infinite,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self::Exact(Decimal::ZERO);

    /// The number that a text shows; `None` when it shows none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LENGTH_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        match rest {
            [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(negative, rest),
            [b'0'..=b'9' | b'.', ..] => parse_decimal(negative, rest),
            _ => {
                let infinite = [b"inf".as_slice(), b"infinity"];
                let found = infinite.iter().any(|word| rest.eq_ignore_ascii_case(word));
                found.then_some(Self::Infinite)
            }
        }
    }

    /// `self + other`; `None` when that is infinite.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if let (Self::Exact(one), Self::Exact(other)) = (self, other)
            && let Some(sum) = one.checked_add(other)
        {
            return Some(Self::Exact(sum));
        }
        let sum = match (self.to_extended()?, other.to_extended()?) {
            (Some(one), Some(other)) => one.add(other).ok()?,
            (one, other) => one.or(other),
        };
        Some(sum.map_or(Self::ZERO, Self::from_extended))
    }

    /// The value as an integer, when it is one that fits.
    pub fn to_integer(self) -> Option<i64> {
        match self {
            Self::Exact(value) => value.to_integer(),
            Self::Large(_) | Self::Infinite => None,
        }
    }

    /// `Some(None)` for zero.
    fn to_extended(self) -> Option<Option<Extended>> {
        match self {
            Self::Exact(value) => Some(Extended::from_decimal(value)),
            Self::Large(value) => Some(Some(value)),
            Self::Infinite => None,
        }
    }

    fn from_extended(value: Extended) -> Self {
        value.to_decimal().map_or(Self::Large(value), Self::Exact)
    }
}

/// As Redis prints it: no exponent, no zeros at the end.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => value.fmt(f),
            Self::Large(value) => value.fmt(f),
            Self::Infinite => f.write_str("inf"),
        }
    }
}

/// `digits[.digits][e[+-]digits]`
fn parse_decimal(negative: bool, text: &[u8]) -> Option<Number> {
    let (mantissa, exponent) = split_exponent(text, |byte| matches!(byte, b'e' | b'E'))?;
    let (whole, fraction) = split_point(mantissa, u8::is_ascii_digit)?;
    let digits = || whole.iter().chain(fraction).map(|digit| digit - b'0');
    let Some(zeros) = digits().position(|digit| digit != 0) else {
        return Some(Number::ZERO);
    };
    // The number of digits before the point once the exponent is applied.
    let point = (whole.len() as i64).saturating_add(exponent);
    let leading = point.saturating_sub(1 + zeros as i64);
    if !(EXPONENT_MIN..=EXPONENT_MAX).contains(&leading) {
        return None;
    }
    if leading <= EXACT_EXPONENT_MAX
        && let Some(value) = Decimal::from_digits(negative, digits().skip(zeros), leading as i32)
    {
        return Some(Number::Exact(value));
    }
    let point = usize::try_from(point).ok()?;
    let integer = digits().chain(std::iter::repeat(0)).take(point);
    let more = digits().skip(point).any(|digit| digit != 0);
    Extended::from_digits(negative, integer, more).map(Number::Large)
}

/// `digits[.digits][p[+-]digits]`, where the exponent is one of two.
fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<Number> {
    let (mantissa, exponent) = split_exponent(text, |byte| matches!(byte, b'p' | b'P'))?;
    let (whole, fraction) = split_point(mantissa, u8::is_ascii_hexdigit)?;
    let (mut bits, mut more) = (0_u128, false);
    let mut exponent = exponent.saturating_sub(4 * fraction.len() as i64);
    for digit in whole.iter().chain(fraction) {
        let digit = u128::from(char::from(*digit).to_digit(16)?);
        if bits >> 124 == 0 {
            bits = bits << 4 | digit;
        } else {
            exponent = exponent.saturating_add(4);
            more |= digit != 0;
        }
    }
    if bits == 0 {
        return Some(Number::ZERO);
    }
    let exponent = i32::try_from(exponent).ok()?;
    Extended::rounded(negative, bits, exponent, more).map(Number::from_extended)
}

/// A mantissa and the exponent behind `mark`, which is 0 without one.
fn split_exponent(text: &[u8], mark: impl Fn(&u8) -> bool) -> Option<(&[u8], i64)> {
    let Some(at) = text.iter().position(mark) else {
        return Some((text, 0));
    };
    let (negative, digits) = match &text[at + 1..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0_i64, |exponent, digit| {
        exponent.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Some((&text[..at], if negative { -exponent } else { exponent }))
}

/// The digits before and behind the point, at least one altogether.
fn split_point(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    let fine = whole.len() + fraction.len() > 0 && whole.iter().chain(fraction).all(is_digit);
    fine.then_some((whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Number::parse(text.as_bytes()).map(|value| value.to_string())
    }

    fn sum(one: &str, other: &str) -> Option<String> {
        let (one, other) = (Number::parse(one.as_bytes())?, Number::parse(other.as_bytes())?);
        one.checked_add(other).map(|sum| sum.to_string())
    }

    #[test]
    fn texts_are_read_as_redis_reads_them() {
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
            ("0e99999999999999999999", "0"),
            ("0x10", "16"),
            ("-0X1.8p1", "-3"),
            ("0x1p-2", "0.25"),
            ("inf", "inf"),
            ("-Infinity", "inf"),
            // What an x86 processor makes of these.
            ("1e22", "10000000000000000000000"),
            ("1e27", "1000000000000000000000000000"),
            ("1e30", "1000000000000000000024696061952"),
            ("36893488147419103233", "36893488147419103233"),
            ("-3689348814741910323300.5", "-3689348814741910323200"),
            ("0x1p80", "1208925819614629174706176"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let no_numbers = [
            "",
            "-",
            ".",
            "1e",
            "1e+",
            "1.2.3",
            "abc",
            "1 ",
            " 1",
            "nan",
            "1e4933",
            "1e-5000",
            "0x",
            "0x1p",
            "0x1p99999",
            "--1",
            "infinit",
            "1,5",
            "1e9999999999999999999999",
        ];
        for text in no_numbers {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(Number::parse(&[b'1'; TEXT_LENGTH_MAX + 1]), None);
        assert_eq!(Number::parse(&[b'1'; TEXT_LENGTH_MAX]), None);
    }

    #[test]
    fn sums_go_over_the_border_of_exact_decimals_and_back() {
        for (one, other, expected) in [
            ("0.1", "0.2", Some("0.3")),
            ("1e21", "1e21", Some("2000000000000000000000")),
            ("2e21", "-1e21", Some("1000000000000000000000")),
            ("1e25", "-1e25", Some("0")),
            ("1e25", "0", Some("10000000000000000000000000")),
            ("1e25", "0.5", Some("10000000000000000000000000")),
            ("-1e25", "1e7", Some("-9999999999999999989514240")),
            ("1e4932", "1e4932", None),
            ("inf", "-inf", None),
            ("1", "inf", None),
        ] {
            assert_eq!(sum(one, other).as_deref(), expected, "{one} + {other}");
            assert_eq!(sum(other, one).as_deref(), expected, "{other} + {one}");
        }
    }

    #[test]
    fn integers_are_recognised() {
        let integer = |text: &str| Number::parse(text.as_bytes()).and_then(Number::to_integer);
        assert_eq!(integer("12.0"), Some(12));
        assert_eq!(integer("12.5"), None);
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("1e30"), None);
    }
}

//! Floating-point numbers as text, in the form in which Redis 7.2 writes and reads them.

use alloc::{
    format,
    string::{String, ToString as _},
};

/// Integers up to here are exact, and written with all of their digits.
const EXACT_MAX: f64 = (1_u64 << 53) as f64;

/// The shortest text that gives the same number when it is read.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return (if value > 0.0 { "inf" } else { "-inf" }).to_string();
    }
    if (-EXACT_MAX..=EXACT_MAX).contains(&value) && value % 1.0 == 0.0 {
        return value.to_string();
    }
    // One digit before the point: 1.25e-7
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    let sign = if value < 0.0 { "-" } else { "" };
    // The power of ten of the last digit.
    let last = exponent + 1 - digits.len() as i32;
    if last >= 0 && exponent < digits.len() as i32 + 7
        || last < 0 && (last > -7 || exponent.abs() < 4)
    {
        // Without an exponent.
        return value.to_string();
    }
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}e{exponent_sign}{}", exponent.abs())
}

/// The number that a text stands for: decimal or hexadecimal, infinite too. `None` for what is not
/// a number, and for numbers that are too large or too small to be held.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = core::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = hexadecimal(digits)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    let value: f64 = text.parse().ok()?;
    let significand = unsigned.split(['e', 'E']).next().unwrap_or_default();
    let too_large =
        value.is_infinite() && unsigned.starts_with(|first: char| !first.is_alphabetic());
    let too_small = value == 0.0 && significand.contains(|digit| matches!(digit, '1'..='9'));
    (!value.is_nan() && !too_large && !too_small).then_some(value)
}

/// `digits[.digits][p[+-]digits]`, of which as many digits count as fit into 64 bits.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, power) = text.split_once(['p', 'P']).unwrap_or((text, "0"));
    let mut power: i32 = power.parse().ok().filter(|power: &i32| power.abs() < 5_000)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut significand: u64 = 0;
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let is_whole = at < whole.len();
        if significand >> 60 == 0 {
            significand = significand << 4 | digit;
            power -= if is_whole { 0 } else { 4 };
        } else {
            // Below the precision, but for a bit that decides how to round.
            significand |= u64::from(digit != 0);
            power += if is_whole { 4 } else { 0 };
        }
    }
    let mut value = significand as f64;
    // In steps, none of which leaves the range before the result does.
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-500, 500);
        value *= f64::from_bits(((1023 + step) as u64) << 52);
        power -= step;
    }
    (value.is_finite() && (value != 0.0 || significand == 0)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_redis_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (-2.25, "-2.25"),
            (1e8, "100000000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e17, "1e+17"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (0.000_125, "0.000125"),
            (1.25e-5, "1.25e-5"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::MIN_POSITIVE / 2.0, "1.1125369292536007e-308"),
        ] {
            assert_eq!(format_double(value), text);
            assert_eq!(parse_double(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
        }
    }

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        for (text, value) in [
            ("+5", Some(5.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1E3", Some(1000.0)),
            ("INFINITY", Some(f64::INFINITY)),
            ("0x1F", Some(31.0)),
            ("-0x.8p1", Some(-1.0)),
            ("0x1p-1080", None),
            ("1e309", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e", None),
            ("0x", None),
            ("one", None),
        ] {
            assert_eq!(parse_double(text.as_bytes()), value, "{text}");
        }
    }
}

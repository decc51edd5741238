//! The Redis protocol, versions 2 and 3.
//!
//! [`CommandReader`] turns a client's bytes into [`Command`]s, [`ReplyWriter`] encodes replies, and
//! [`reply`] reads them back. Nothing recurses, everything that arrives is bounded before it is
//! buffered, and the arguments of a command are ranges of one shared buffer.

mod command;
mod double;
mod error;
mod inline;
mod quoted;
mod reader;
pub mod reply;
mod writer;

pub use command::Command;
pub use double::{format_double, parse_double};
pub use error::ProtocolError;
pub use quoted::quoted;
pub use reader::CommandReader;
pub use writer::ReplyWriter;

/// Most decimal digits of a number.
const DECIMAL_MAX: usize = 20;

/// Appends the decimal digits of `value`.
pub(crate) fn write_decimal(out: &mut alloc::vec::Vec<u8>, value: u64) {
    let mut digits = [0; DECIMAL_MAX];
    let first = put_decimal(&mut digits, value);
    out.extend_from_slice(&digits[first..]);
}

/// Puts the decimal digits of `value` at the end of `digits`. Returns where the first one is.
#[inline]
fn put_decimal(digits: &mut [u8], value: u64) -> usize {
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return at;
        }
    }
}

/// Parses the cursor of a walk as Redis does, which leaves it to the C function `strtoul`: signs
/// are allowed, a negative number counts from the end of 64 bits, and no text at all is zero.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(if negative { number.wrapping_neg() } else { number })
}

/// Parses a signed decimal as Redis does: no plus sign, no leading zeros, no spaces.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

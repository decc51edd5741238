//! Numbers of variable length (LEB128), as records of elements hold them.

use crate::record::Encoded;

/// Appends a number.
#[inline]
pub(crate) fn write(out: &mut Encoded, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front of `input`.
#[inline]
pub(crate) fn read(input: &mut &[u8]) -> u64 {
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            u64::from(byte)
        }
        _ => read_long(input),
    }
}

fn read_long(input: &mut &[u8]) -> u64 {
    let mut value = 0;
    for (at, byte) in input.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return value;
        }
    }
    unreachable!("invariant: records are whole")
}

/// Bytes that a number takes.
#[inline]
pub(crate) fn length(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Small for numbers near zero, on either side.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn zigzag_back(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

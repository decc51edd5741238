//! Numbers in seven bits a byte, the lowest first (LEB128).

use alloc::vec::Vec;

pub(super) fn write(bytes: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The number that `bytes` begin with; they go past it.
#[inline]
pub(super) fn read(bytes: &mut &[u8]) -> u128 {
    match bytes.split_first() {
        // Most are small.
        Some((&byte, rest)) if byte < 0x80 => {
            *bytes = rest;
            u128::from(byte)
        }
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &mut &[u8]) -> u128 {
    let mut number = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    number
}

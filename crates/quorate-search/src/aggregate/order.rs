//! The order of all values, and values as bytes that are in this order.
//!
//! ```text
//! number  1 | the bits of the double, the highest first, so turned that they are in its order
//! text    2 | bytes, 0 as 0 255 | 0 0
//! list    3 | elements | 0
//! nothing 255
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::expression::Value;
use crate::limits;

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const LIST: u8 = 3;
const NULL: u8 = 255;

/// Numbers, then texts, then lists, then nothing.
pub(crate) fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => plain(*one).total_cmp(&plain(*other)),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::List(one), Value::List(other)) => {
            let pairs = one.iter().zip(other).map(|(one, other)| compare(one, other));
            let first = pairs.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| one.len().cmp(&other.len()))
        }
        _ => tag(one).cmp(&tag(other)),
    }
}

fn tag(value: &Value) -> u8 {
    match value {
        Value::Number(_) => NUMBER,
        Value::Text(_) => TEXT,
        Value::List(_) => LIST,
        Value::Null => NULL,
    }
}

/// One zero, and one that is no number.
fn plain(number: f64) -> f64 {
    if number.is_nan() { f64::NAN.abs() } else { number + 0.0 }
}

/// The bits of a number in its order.
pub(crate) fn ordered_bits(number: f64) -> u64 {
    let bits = plain(number).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The number of these bits.
pub(crate) fn number_of(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

pub(crate) fn write(value: &Value, bytes: &mut Vec<u8>) {
    bytes.push(tag(value));
    match value {
        Value::Null => {}
        Value::Number(number) => bytes.extend_from_slice(&ordered_bits(*number).to_be_bytes()),
        Value::Text(text) => {
            for byte in text.bytes() {
                bytes.push(byte);
                if byte == 0 {
                    bytes.push(255);
                }
            }
            bytes.extend_from_slice(&[0, 0]);
        }
        Value::List(values) => {
            values.iter().for_each(|value| write(value, bytes));
            bytes.push(0);
        }
    }
}

/// A value as bytes.
pub(crate) fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

/// The value that bytes begin with; none if they begin with none.
pub(crate) fn read(bytes: &mut &[u8]) -> Option<Value> {
    read_within(bytes, limits::VALUE_DEPTH)
}

fn read_within(bytes: &mut &[u8], depth: usize) -> Option<Value> {
    let (&tag, rest) = bytes.split_first()?;
    *bytes = rest;
    match tag {
        NULL => Some(Value::Null),
        NUMBER => {
            let (bits, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Some(Value::Number(number_of(u64::from_be_bytes(*bits))))
        }
        TEXT => {
            let mut text = Vec::new();
            loop {
                let (&byte, rest) = bytes.split_first()?;
                *bytes = rest;
                if byte == 0 {
                    let (&next, rest) = bytes.split_first()?;
                    *bytes = rest;
                    if next == 0 {
                        break;
                    }
                }
                text.push(byte);
            }
            Some(Value::Text(String::from_utf8(text).ok()?))
        }
        LIST if depth > 0 => {
            let mut values = Vec::new();
            while *bytes.first()? != 0 {
                values.push(read_within(bytes, depth - 1)?);
            }
            *bytes = &bytes[1..];
            Some(Value::List(values))
        }
        _ => None,
    }
}

/// The values that bytes are, if they are so many.
pub(crate) fn read_all(mut bytes: &[u8], count: usize) -> Option<Vec<Value>> {
    let values: Option<Vec<Value>> = (0..count).map(|_| read(&mut bytes)).collect();
    values.filter(|_| bytes.is_empty())
}

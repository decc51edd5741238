//! Values of expressions.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Several.
    List(Vec<Value>),
}

impl Value {
    /// A truth value: 1 or 0.
    pub fn truth(is_true: bool) -> Value {
        Value::Number(f64::from(u8::from(is_true)))
    }

    /// Whether it counts as true: a number but 0, a text or list that is not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(values) => !values.is_empty(),
        }
    }

    /// The number that it is or says.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Null | Value::List(_) => None,
        }
    }

    /// The value as a text; numbers as RediSearch prints them: whole ones with all digits, others with
    /// 12.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Number(number) => Some(printed(*number)),
            Value::Text(text) => Some(text.clone()),
            Value::List(values) => {
                let texts: Vec<String> = values.iter().filter_map(Value::text).collect();
                Some(texts.join(","))
            }
        }
    }

    /// The order of two values; none if they have none. A number and a text are compared as
    /// numbers if the text says one, else as texts.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Null, Value::Null) => Some(Ordering::Equal),
            (Value::Null, _) | (_, Value::Null) => None,
            (Value::Text(own), Value::Text(other)) => Some(own.cmp(other)),
            _ => match (self.number(), other.number()) {
                (Some(own), Some(other)) => own.partial_cmp(&other),
                _ => Some(self.text()?.cmp(&other.text()?)),
            },
        }
    }
}

/// A whole number of 64 bits as it is, any other as C's `%.12g`.
pub(super) fn printed(number: f64) -> String {
    const DIGITS: i32 = 12;
    // Of numbers that do not fit the nearest that does is another one, but for the first above.
    let whole = number as i64;
    if whole as f64 == number && whole != i64::MAX {
        return whole.to_string();
    }
    if !number.is_finite() {
        return if number.is_nan() { "nan".to_string() } else { number.to_string() };
    }
    let scientific = format!("{number:.*e}", (DIGITS - 1) as usize);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        return trimmed(&format!("{number:.decimals$}")).to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

/// Without zeros at the end of its decimals.
fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

//! Values by which documents are sorted: what `SORTABLE` fields keep.

use alloc::boxed::Box;
use alloc::string::String;
use core::cmp::Ordering;

use super::document::Value;
use crate::arguments;
use crate::schema::{Field, Kind};

/// A value by which documents are sorted.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// Of a `NUMERIC` field.
    Number(f64),
    /// Of any other; in lower case, unless the field keeps what it is given.
    Text(Box<str>),
}

impl SortValue {
    /// The order of two values: numbers before texts, texts by their bytes.
    pub fn order(&self, other: &SortValue) -> Ordering {
        match (self, other) {
            (SortValue::Number(own), SortValue::Number(other)) => own.total_cmp(other),
            (SortValue::Text(own), SortValue::Text(other)) => own.cmp(other),
            (SortValue::Number(_), SortValue::Text(_)) => Ordering::Less,
            (SortValue::Text(_), SortValue::Number(_)) => Ordering::Greater,
        }
    }

    /// What a field keeps of a value; of several the first. None for what is no number where one
    /// must be.
    pub(super) fn of(value: &Value<'_>, field: &Field) -> Option<SortValue> {
        match value {
            Value::Many(values) => values.first().and_then(|first| SortValue::of(first, field)),
            // There is one zero.
            Value::Number(number) => Some(SortValue::Number(number + 0.0)),
            Value::Bytes(bytes) if field.kind == Kind::Numeric => {
                let number = arguments::number::<f64>(bytes).filter(|number| !number.is_nan());
                number.map(|number| SortValue::Number(number + 0.0))
            }
            Value::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let text = if field.unnormalized { text.into_owned() } else { text.to_lowercase() };
                Some(SortValue::Text(text.into()))
            }
        }
    }
}

//! Values of documents as indexes take them, and which of JSON a field does not take.

use quorate_search::{index, schema::Kind};
use quorate_store::JsonValue;

/// A value that was read.
#[derive(Debug)]
pub(super) enum Owned {
    Bytes(Vec<u8>),
    Number(f64),
    Bool(bool),
    Many(Vec<Owned>),
    Object,
}

impl Owned {
    /// The value as an index takes it: what a field refuses does not come here.
    pub(super) fn borrowed(&self) -> index::Value<'_> {
        match self {
            Owned::Bytes(bytes) => index::Value::Bytes(bytes),
            Owned::Number(number) => index::Value::Number(*number),
            Owned::Bool(true) => index::Value::Bytes(b"true"),
            Owned::Bool(false) => index::Value::Bytes(b"false"),
            Owned::Many(values) => index::Value::Many(values.iter().map(Owned::borrowed).collect()),
            Owned::Object => index::Value::Many(Vec::new()),
        }
    }

    /// As a text; of several the first.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Owned::Bytes(bytes) => Some(bytes),
            Owned::Number(number) => Some(number.to_string().into_bytes()),
            Owned::Bool(is_true) => Some(is_true.to_string().into_bytes()),
            Owned::Many(values) => values.into_iter().next()?.into_bytes(),
            Owned::Object => None,
        }
    }

    /// Why a field does not take a value of JSON, in RediSearch's words.
    pub(super) fn refusal(&self, kind: &Kind) -> Option<String> {
        let text = match (self, kind) {
            (Owned::Many(values), _) => return refusal_of_many(values, kind),
            (Owned::Object, _) => {
                "Invalid JSON type: Object type can represent only GEOMETRY fields"
            }
            (Owned::Bool(_), Kind::Tag(_))
            | (Owned::Number(_), Kind::Numeric)
            | (Owned::Bytes(_), Kind::Text(_) | Kind::Tag(_) | Kind::Geo | Kind::GeoShape(_)) => {
                return None;
            }
            (Owned::Bool(_), _) => {
                "Invalid JSON type: Boolean type can be represent only TAG field"
            }
            (Owned::Bytes(_), _) => {
                "Invalid JSON type: String type can represent only TEXT, TAG, GEO or GEOMETRY field"
            }
            (Owned::Number(_), _) => {
                "Invalid JSON type: Numeric type can represent only NUMERIC field"
            }
        };
        Some(text.to_owned())
    }
}

/// Why a field does not take some of several values: those of an array, or of a path that leads to
/// several. There is no array in them but for vectors, and no truth value.
fn refusal_of_many(values: &[Owned], kind: &Kind) -> Option<String> {
    let (fits, text): (fn(&Owned) -> bool, _) = match kind {
        Kind::Text(_) | Kind::Tag(_) => (
            |value| matches!(value, Owned::Bytes(_)),
            "TEXT/TAG fields can only contain strings or nulls",
        ),
        Kind::Numeric => (
            |value| matches!(value, Owned::Number(_)),
            "NUMERIC fields can only contain numeric or nulls",
        ),
        Kind::Geo => (
            |value| matches!(value, Owned::Bytes(_)),
            "GEO fields can only contain strings or nulls",
        ),
        Kind::GeoShape(_) => {
            (|_| false, "Invalid JSON type: Array type cannot represent GEOMETRY field")
        }
        Kind::Vector(_) => return refusal_of_vector(values),
    };
    let is_taken = values.iter().all(fits) && !matches!(kind, Kind::GeoShape(_));
    (!is_taken).then(|| text.to_owned())
}

/// Why values make no vector, nor several.
fn refusal_of_vector(values: &[Owned]) -> Option<String> {
    if values.is_empty() {
        return Some("Empty array for vector field on JSON document".to_owned());
    }
    let are_many = values.iter().all(|value| matches!(value, Owned::Many(_)));
    if are_many {
        return values.iter().find_map(|value| match value {
            Owned::Many(values) => refusal_of_vector(values),
            _ => None,
        });
    }
    let wrong = values.iter().position(|value| !matches!(value, Owned::Number(_)));
    wrong.map(|at| format!("Invalid vector element at index {at}"))
}

/// What a path leads to: nothing, one value, or several. Nulls are nothing.
pub(super) fn owned(values: Vec<JsonValue>) -> Option<Owned> {
    fn one(value: JsonValue) -> Option<Owned> {
        Some(match value {
            JsonValue::Null => return None,
            JsonValue::Object => Owned::Object,
            JsonValue::Bool(is_true) => Owned::Bool(is_true),
            JsonValue::Number(number) => Owned::Number(number),
            JsonValue::Text(text) => Owned::Bytes(text.into_bytes()),
            JsonValue::Array(items) => Owned::Many(items.into_iter().filter_map(one).collect()),
        })
    }
    let mut values: Vec<Owned> = values.into_iter().filter_map(one).collect();
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Owned::Many(values)),
    }
}

#[cfg(test)]
mod tests {
    use quorate_search::Schema;
    use quorate_store::JsonValue::{Array, Bool, Null, Number, Object, Text};

    use super::*;

    /// What RediSearch 2.10 has indexed, and what not.
    #[test]
    fn values_of_a_wrong_type_are_refused_as_redisearch_does() {
        let words = "ON JSON SCHEMA $.t AS t TEXT $.g AS g TAG $.n AS n NUMERIC $.p AS p GEO $.s AS s \
                     GEOSHAPE $.v AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2";
        let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
        let schema = Schema::create(&words).expect("is well formed");
        let text = || Text("a".into());
        let numbers = || Array(vec![Number(1.0), Number(2.0)]);
        let cases: [(JsonValue, &str); 12] = [
            (Null, "tgnpsv"),
            (Bool(true), "g"),
            (Number(1.0), "n"),
            (text(), "tgps"),
            (Object, ""),
            (numbers(), "nv"),
            (Array(vec![text(), Null]), "tgp"),
            (Array(vec![text(), Bool(true)]), ""),
            (Array(vec![text(), Number(1.0)]), ""),
            (Array(vec![numbers(), numbers()]), "v"),
            (Array(vec![Array(vec![text()])]), ""),
            (Array(vec![]), "tgnp"),
        ];
        for (value, expected) in cases {
            let taken = schema.fields.iter().filter(|field| {
                let found = owned(vec![value.clone()]);
                found.is_none_or(|found| found.refusal(&field.kind).is_none())
            });
            let names: Vec<u8> = taken.map(|field| field.name[0]).collect();
            assert_eq!(String::from_utf8_lossy(&names), expected, "{value:?}");
        }
        // A path that leads to several values is as an array of them.
        let several = owned(vec![text(), Bool(true)]).expect("is something");
        assert!(several.refusal(&schema.fields[1].kind).is_some());
    }
}

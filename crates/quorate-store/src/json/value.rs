//! Values as clients send them: JSON texts.

use std::{borrow::Cow, fmt};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{cell::Leaf, document::Node, number::Number};

/// A JSON value. Of members with one key the last one counts, where the first one stands.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Value>),
    Object(IndexMap<String, Value, RandomState>),
}

impl Value {
    /// Reads the first value of a text, as RedisJSON does; what follows it does not matter. It nests
    /// up to 127 containers.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        Self::deserialize(&mut serde_json::Deserializer::from_slice(text))
    }

    /// Reads a text that is one value and nothing else.
    pub(crate) fn parse_whole(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// What the cell of its element holds.
    pub(crate) fn leaf(&self) -> Leaf<'_> {
        match self {
            Self::Null => Leaf::Null,
            Self::Bool(value) => Leaf::Bool(*value),
            Self::Number(number) => Leaf::Number(*number),
            Self::Text(text) => Leaf::Text(text),
            Self::Array(_) => Leaf::Array,
            Self::Object(_) => Leaf::Object,
        }
    }

    /// Whether a value of a document is this one: of the same type all the way down.
    pub(crate) fn is(&self, node: Node<'_>) -> bool {
        match (self, node.leaf()) {
            (Self::Array(values), Leaf::Array) => {
                let items = node.items();
                values.len() == items.len()
                    && values.iter().zip(items).all(|(value, item)| value.is(item))
            }
            (Self::Object(values), Leaf::Object) => {
                let members = node.members();
                values.len() == members.len()
                    && members.iter().all(|(key, member)| {
                        values.get(*key).is_some_and(|value| value.is(*member))
                    })
            }
            (Self::Array(_) | Self::Object(_), _) => false,
            (scalar, leaf) => scalar.leaf() == leaf,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        let integer = i64::try_from(value).map(Number::Integer);
        Ok(Value::Number(integer.unwrap_or(Number::Unsigned(value))))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(Number::Double(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = IndexMap::with_hasher(RandomState::default());
        while let Some((key, value)) = members.next_entry::<Cow<'_, str>, Value>()? {
            values.insert(key.into_owned(), value);
        }
        Ok(Value::Object(values))
    }
}

//! Documents as aggregations read them: what the index does not keep comes from the store.

use quorate_search::{aggregate::Documents, expression::Value};
use quorate_store::{Document, JsonFirst, JsonPath, JsonValue, Store};

/// The documents of a shard, as they are at a moment of the wall clock.
pub(super) struct Stored<'a> {
    pub(super) store: &'a Store,
    pub(super) wall_ms: u64,
    pub(super) shape: Shape,
}

/// What a query sees of the values that a path leads to in a JSON document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of them: a list, if there are several.
    #[default]
    Lists,
    /// The first, as aggregations have it: an array or object as its text.
    First,
    /// All of them as the text of an array, as aggregations of dialects from 3 on have it.
    Arrays,
}

impl Stored<'_> {
    fn document(&self, key: &[u8]) -> Option<Document<'_>> {
        self.store.document(self.store.slot_of(key), key, self.wall_ms)
    }
}

impl Documents for Stored<'_> {
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value> {
        let document = self.document(key)?;
        match &document {
            Document::Hash(_) => document.field(path).map(|value| text(&value)),
            Document::Json(_) => {
                let path = JsonPath::parse(path).ok()?;
                match self.shape {
                    Shape::Lists => listed(document.values(&path)),
                    Shape::First => Some(match document.first(&path)? {
                        JsonFirst::Plain(value) => of_json(value),
                        JsonFirst::Text(whole) => text(&whole),
                    }),
                    // A number alone stays one, which can be calculated with and sorted by.
                    Shape::Arrays => match document.first(&path)? {
                        JsonFirst::Plain(JsonValue::Number(number))
                            if document.count(&path) == 1 =>
                        {
                            Some(Value::Number(number))
                        }
                        _ => document.array_text(&path).map(|whole| text(&whole)),
                    },
                }
            }
        }
    }

    fn all(&self, key: &[u8]) -> Vec<(String, Value)> {
        let Some(document) = self.document(key) else { return Vec::new() };
        match &document {
            Document::Hash(_) => {
                let fields = document.fields().into_iter();
                let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                fields.map(|(field, value)| (name(field), text(&value))).collect()
            }
            Document::Json(_) => {
                let mut whole = document.json_text();
                if self.shape == Shape::Arrays {
                    whole = whole.map(|whole| [b"[", &*whole, b"]"].concat());
                }
                whole.map(|whole| ("$".to_owned(), text(&whole))).into_iter().collect()
            }
        }
    }
}

fn listed(mut values: Vec<JsonValue>) -> Option<Value> {
    match values.len() {
        0 => None,
        1 => values.pop().map(of_json),
        _ => Some(Value::List(values.into_iter().map(of_json).collect())),
    }
}

/// Texts of aggregations have letters; what is none is replaced.
fn text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}

fn of_json(value: JsonValue) -> Value {
    match value {
        JsonValue::Null | JsonValue::Object => Value::Null,
        JsonValue::Bool(is_true) => Value::truth(is_true),
        JsonValue::Number(number) => Value::Number(number),
        JsonValue::Text(text) => Value::Text(text),
        JsonValue::Array(items) => Value::List(items.into_iter().map(of_json).collect()),
    }
}

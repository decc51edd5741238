//! Keys as documents of indexes: fields of a hash, values of a JSON document.

use std::borrow::Cow;

use quorate_proto::Slot;

use crate::{
    Store,
    hash::Hash,
    json::{
        cell::Leaf,
        document::{Entry, Node},
        path::Path,
        text::{Format, Writer, text_of},
    },
    state::{Kind, State},
};

/// A JSONPath, read once.
#[derive(Debug)]
pub struct JsonPath(Path);

impl JsonPath {
    /// Reads a path in either form; the error says what is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        Path::parse(text).map(Self).map_err(|error| error.to_string())
    }
}

/// A value of a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue {
    /// `null`
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Items in their order.
    Array(Vec<JsonValue>),
    /// Members; which, is asked by paths.
    Object,
}

/// The first value that a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonFirst {
    /// One that is neither an array nor an object.
    Plain(JsonValue),
    /// The text of an array or object.
    Text(Vec<u8>),
}

/// What a key holds, as far as indexes read it.
#[derive(Debug)]
pub enum Document<'a> {
    /// A hash.
    Hash(&'a Hash),
    /// A JSON document.
    Json(JsonDocument<'a>),
}

/// A JSON document.
#[derive(Debug)]
pub struct JsonDocument<'a>(Vec<Entry<'a>>);

impl Store {
    /// The document at a key: what shows at `wall_ms` (milliseconds since the Unix epoch); none if
    /// the key is not there or holds something else.
    pub fn document(&self, slot: Slot, key: &[u8], wall_ms: u64) -> Option<Document<'_>> {
        let state = self.raw_state(slot, key).filter(|state| !state.is_expired(wall_ms))?;
        document_of(state)
    }

    /// About how many bytes a key holds.
    pub fn document_size(&self, slot: Slot, key: &[u8]) -> usize {
        self.raw_state(slot, key).map_or(0, State::estimated_bytes)
    }

    /// The keys of a slot that hold documents.
    pub fn document_keys(&self, slot: Slot, wall_ms: u64) -> Vec<Box<[u8]>> {
        let shown = self.entries(slot).filter(|(_, state)| !state.is_expired(wall_ms));
        let documents =
            shown.filter(|(_, state)| matches!(state.kind(), Some(Kind::Hash | Kind::Json)));
        documents.map(|(key, _)| key.into()).collect()
    }

    /// Calls `each` with every key of a slot that holds a document, and with the document.
    pub fn for_each_document(
        &self,
        slot: Slot,
        wall_ms: u64,
        mut each: impl FnMut(&[u8], &Document<'_>),
    ) {
        let entries = self.entries(slot).filter(|(_, state)| !state.is_expired(wall_ms));
        for (key, state) in entries {
            if let Some(document) = document_of(state) {
                each(key, &document);
            }
        }
    }
}

fn document_of(state: State<'_>) -> Option<Document<'_>> {
    match state.kind()? {
        Kind::Hash => state.hash().map(Document::Hash),
        Kind::Json => {
            let entries = state.json()?.below(&[]);
            (!entries.is_empty()).then_some(Document::Json(JsonDocument(entries)))
        }
        Kind::Text | Kind::Set | Kind::SortedSet => None,
    }
}

impl Document<'_> {
    /// The value of a field of a hash.
    pub fn field(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Document::Hash(hash) => hash.get(name).and_then(|field| field.visible()),
            Document::Json(_) => None,
        }
    }

    /// The fields of a hash and their values.
    pub fn fields(&self) -> Vec<(&[u8], Cow<'_, [u8]>)> {
        match self {
            Document::Hash(hash) => {
                let fields = hash.iter();
                fields.filter_map(|(name, field)| Some((name, field.visible()?))).collect()
            }
            Document::Json(_) => Vec::new(),
        }
    }

    /// The values that a path leads to in a JSON document; none if there are too many to look at.
    pub fn values(&self, path: &JsonPath) -> Vec<JsonValue> {
        let Document::Json(JsonDocument(entries)) = self else { return Vec::new() };
        let found = path.0.find(Node::root(entries)).unwrap_or_default();
        found.into_iter().map(value_of).collect()
    }

    /// The first value that a path leads to in a JSON document.
    pub fn first(&self, path: &JsonPath) -> Option<JsonFirst> {
        let Document::Json(JsonDocument(entries)) = self else { return None };
        let node = path.0.find(Node::root(entries)).ok()?.into_iter().next()?;
        Some(match node.leaf() {
            Leaf::Array | Leaf::Object => JsonFirst::Text(text_of(node)),
            _ => JsonFirst::Plain(value_of(node)),
        })
    }

    /// How many values a path leads to in a JSON document.
    pub fn count(&self, path: &JsonPath) -> usize {
        match self {
            Document::Json(JsonDocument(entries)) => {
                path.0.find(Node::root(entries)).map_or(0, |found| found.len())
            }
            Document::Hash(_) => 0,
        }
    }

    /// The values that a path leads to in a JSON document, as the text of an array; none if it leads
    /// to none, or to more than a reply may have.
    pub fn array_text(&self, path: &JsonPath) -> Option<Vec<u8>> {
        let Document::Json(JsonDocument(entries)) = self else { return None };
        let found = path.0.find(Node::root(entries)).ok().filter(|found| !found.is_empty())?;
        let mut writer = Writer::new(Format::default());
        writer.begin(b'[');
        for node in found {
            writer.item();
            writer.value(node);
        }
        writer.end(b']');
        writer.finish()
    }

    /// The whole of a JSON document, as a text.
    pub fn json_text(&self) -> Option<Vec<u8>> {
        match self {
            Document::Json(JsonDocument(entries)) => Some(text_of(Node::root(entries))),
            Document::Hash(_) => None,
        }
    }
}

fn value_of(node: Node<'_>) -> JsonValue {
    match node.leaf() {
        Leaf::Null => JsonValue::Null,
        Leaf::Bool(is_true) => JsonValue::Bool(is_true),
        Leaf::Number(number) => JsonValue::Number(number.to_double()),
        Leaf::Text(text) => JsonValue::Text(text.to_owned()),
        Leaf::Array => JsonValue::Array(node.items().into_iter().map(value_of).collect()),
        Leaf::Object => JsonValue::Object,
    }
}

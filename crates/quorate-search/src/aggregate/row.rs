//! A row: what is known of a document or of a group.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;

use crate::expression::{self, Value};

/// What is known of a document or of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is: a document's key, or a group's values; no other row of the stage has it.
    pub(crate) id: Arc<[u8]>,
    /// How near a document is, if the nearest were asked for.
    pub(crate) distance: Option<f64>,
    /// Values and their names, in the order in which they came.
    pub(crate) fields: Vec<(Arc<str>, Value)>,
    /// What stages of these positions will load at the coordinator, which has no documents.
    pub(crate) later: Vec<(u32, Arc<str>, Value)>,
    /// The terms of the query that a document has, if an expression asks.
    pub(crate) terms: Vec<String>,
}

impl Row {
    pub(crate) fn new(id: Arc<[u8]>) -> Row {
        Row { id, distance: None, fields: Vec::new(), later: Vec::new(), terms: Vec::new() }
    }

    /// Its values and their names, in the order in which they came. `Null` is there, too.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    /// The value of this name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(own, _)| **own == *name).map(|(_, value)| value)
    }

    pub(crate) fn set(&mut self, name: Arc<str>, value: Value) {
        match self.fields.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => *own = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Bytes that it holds, about.
    pub(crate) fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(_, value)| size(value) + size_of::<Arc<str>>());
        let later = self.later.iter().map(|(.., value)| size(value) + size_of::<Arc<str>>());
        let terms = self.terms.iter().map(|term| term.len() + size_of::<String>());
        size_of::<Row>() + self.id.len() + fields.chain(later).chain(terms).sum::<usize>()
    }
}

impl expression::Row for Row {
    fn property(&self, name: &str) -> Value {
        self.field(name).cloned().unwrap_or(Value::Null)
    }

    fn matched_terms(&self) -> &[String] {
        &self.terms
    }
}

/// Bytes that a value holds, about.
pub(crate) fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Number(_) => 0,
            Value::Text(text) => text.len(),
            Value::List(values) => values.iter().map(size).sum(),
        }
}

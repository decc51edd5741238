//! Values of documents, which an index does not keep.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;

use super::{Budget, Column, Origin, Row, Stage, row};
use crate::arguments::shown;
use crate::error::Error;
use crate::expression::Value;
use crate::index::{Index, SortValue};
use crate::schema::Kind;

/// The documents of a partition, as they are stored.
pub trait Documents {
    /// What a document has under this name of a hash's field, or JSONPath.
    fn value(&self, key: &[u8], path: &[u8]) -> Option<Value>;

    /// Everything that a document has and what it is called: the fields of a hash; of JSON the
    /// whole, called `$`.
    fn all(&self, key: &[u8]) -> Vec<(String, Value)>;

    /// Whether all was there that has been asked for of a document. Else its row is left out: whoever
    /// has asked will fetch what was missing, and ask again.
    fn is_whole(&self, _key: &[u8]) -> bool {
        true
    }
}

impl Index {
    /// What a stage loads of a document. It counts as it comes, once for each name.
    pub(crate) fn loaded(
        &self,
        stage: &Stage,
        key: &[u8],
        documents: &dyn Documents,
        budget: &mut Budget,
    ) -> Result<Vec<(Arc<str>, Value)>, Error> {
        let mut loaded: Vec<(Arc<str>, Value)> = Vec::new();
        let mut put = |name: &str, value: Value| {
            budget.take(row::size(&value) + name.len() + size_of::<Arc<str>>())?;
            loaded.push((name.into(), value));
            Ok(())
        };
        match stage {
            Stage::Load(columns) => {
                for column in columns {
                    if let Some(value) = self.column(column, key, documents) {
                        put(&column.name, value)?;
                    }
                }
            }
            Stage::LoadAll => {
                for (name, value) in documents.all(key) {
                    put(&name, self.typed(name.as_bytes(), flat(value)))?;
                }
            }
            _ => {}
        }
        Ok(loaded)
    }

    fn column(&self, column: &Column, key: &[u8], documents: &dyn Documents) -> Option<Value> {
        match &column.origin {
            Origin::Key => Some(Value::Text(shown(key))),
            Origin::Sortable(field) => {
                let entry = self.documents.get(self.documents.number(key)?);
                Some(match entry.sort_value(*field)? {
                    SortValue::Number(number) => Value::Number(*number),
                    SortValue::Text(text) => Value::Text(text.as_ref().into()),
                })
            }
            Origin::Path { path, numeric } => {
                let value = flat(documents.value(key, path)?);
                Some(if *numeric { as_number(value) } else { value })
            }
        }
    }

    /// A value of a hash's field: a number if the schema says so.
    fn typed(&self, path: &[u8], value: Value) -> Value {
        let mut fields = self.schema().fields.iter();
        match fields.find(|field| field.path == path) {
            Some(field) if field.kind == Kind::Numeric => as_number(value),
            _ => value,
        }
    }
}

fn as_number(value: Value) -> Value {
    value.number().map_or(value, Value::Number)
}

/// A value whose lists have no lists in them: these are texts.
fn flat(value: Value) -> Value {
    let plain = |value: Value| match value {
        Value::List(_) => value.text().map_or(Value::Null, Value::Text),
        value => value,
    };
    match value {
        Value::List(values) => Value::List(values.into_iter().map(plain).collect()),
        value => value,
    }
}

impl Row {
    /// Puts in what a stage loads.
    pub(super) fn load(&mut self, values: impl IntoIterator<Item = (Arc<str>, Value)>) {
        values.into_iter().for_each(|(name, value)| self.set(name, value));
    }

    /// Keeps what the stage of this position will load where there are no documents.
    pub(crate) fn load_later(&mut self, stage: usize, values: Vec<(Arc<str>, Value)>) {
        let values = values.into_iter();
        self.later.extend(values.map(|(name, value)| (stage as u32, name, value)));
    }

    /// Puts in what was kept for the stage of this position.
    pub(super) fn load_kept(&mut self, stage: usize) {
        for (at, name, value) in core::mem::take(&mut self.later) {
            match at as usize == stage {
                true => self.set(name, value),
                false => self.later.push((at, name, value)),
            }
        }
    }
}

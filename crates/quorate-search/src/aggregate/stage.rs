//! What happens to rows, a step each.

use alloc::string::String;
use alloc::vec::Vec;

use super::Reduction;
use crate::expression::Expression;
use crate::schema::FieldId;

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// Only so many rows, the nearest: what a KNN query begins with.
    Nearest(u64),
    /// Values of the document.
    Load(Vec<Column>),
    /// All values of the document.
    LoadAll,
    /// A calculated value.
    Apply { expression: Expression, name: String },
    /// Only rows for which it is true.
    Filter(Expression),
    /// A row for all rows of equal values.
    Group(Grouping),
    /// Rows in an order, and of these only some.
    Arrange { keys: Vec<SortKey>, offset: usize, count: Option<usize> },
}

impl Stage {
    /// Whether it loads values of documents.
    pub(crate) fn loads(&self) -> bool {
        matches!(self, Stage::Load(_) | Stage::LoadAll)
    }

    /// How many rows of the beginning a sorted or cut answer needs.
    pub(crate) fn needed(&self) -> Option<usize> {
        match self {
            Stage::Nearest(count) => usize::try_from(*count).ok(),
            Stage::Arrange { offset, count, .. } => count.map(|count| offset.saturating_add(count)),
            _ => None,
        }
    }
}

/// Values by which rows are grouped, and what is made of each group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grouping {
    pub(crate) by: Vec<String>,
    pub(crate) reductions: Vec<Reduction>,
}

/// A value to sort by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SortKey {
    pub(crate) property: String,
    pub(crate) descending: bool,
}

/// A value of a document and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) origin: Origin,
    pub(crate) name: String,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// The document's key.
    Key,
    /// What a `SORTABLE` field keeps.
    Sortable(FieldId),
    /// In the document, under this name or JSONPath.
    Path { path: Vec<u8>, numeric: bool },
}

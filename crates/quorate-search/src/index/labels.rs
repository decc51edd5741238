//! The labels of a `TAG` field, in order, and which documents have them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use roaring::RoaringBitmap;

use super::postings::DocumentId;

/// Labels and the documents that have them.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    documents: BTreeMap<Arc<str>, RoaringBitmap>,
}

impl Labels {
    /// Gives a document a label, which is shared with what is returned.
    pub(super) fn insert(&mut self, label: &str, document: DocumentId) -> Arc<str> {
        let label = match self.documents.get_key_value(label) {
            Some((label, _)) => label.clone(),
            None => label.into(),
        };
        self.documents.entry(label.clone()).or_default().insert(document);
        label
    }

    pub(super) fn remove(&mut self, label: &str, document: DocumentId) {
        let Some(documents) = self.documents.get_mut(label) else { return };
        documents.remove(document);
        if documents.is_empty() {
            self.documents.remove(label);
        }
    }

    /// The documents that have a label.
    pub(crate) fn get(&self, label: &str) -> Option<&RoaringBitmap> {
        self.documents.get(label)
    }

    /// The labels in order, and the documents that have them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &RoaringBitmap)> {
        self.documents.iter().map(|(label, documents)| (&**label, documents))
    }

    /// The labels from `start` on, in order, and how many documents have them.
    pub(crate) fn from<'a>(
        &'a self,
        start: &str,
    ) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let bounds = (core::ops::Bound::Included(start), core::ops::Bound::Unbounded);
        self.documents.range::<str, _>(bounds).map(|(label, documents)| (&**label, documents.len()))
    }
}

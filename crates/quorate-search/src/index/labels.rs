//! The labels of a `TAG` field, in order, and which documents have them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use core::mem::size_of;

use roaring::RoaringBitmap;

use super::memory::{NODE_BYTES, SHARED_BYTES};
use super::postings::DocumentId;

/// Labels and the documents that have them.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    documents: BTreeMap<Arc<str>, RoaringBitmap>,
    /// Bytes of the labels.
    texts: usize,
}

/// Bytes of a label besides its text: in the map, and the set of its documents with one container.
const LABEL_BYTES: usize =
    SHARED_BYTES + size_of::<(Arc<str>, RoaringBitmap)>() + NODE_BYTES + CONTAINER_BYTES;

/// Bytes of a part of a set, without the numbers in it.
const CONTAINER_BYTES: usize = 40;

impl Labels {
    /// Gives a document a label, which is shared with what is returned.
    pub(super) fn insert(&mut self, label: &str, document: DocumentId) -> Arc<str> {
        let label = match self.documents.get_key_value(label) {
            Some((label, _)) => label.clone(),
            None => {
                self.texts += label.len();
                label.into()
            }
        };
        self.documents.entry(label.clone()).or_default().insert(document);
        label
    }

    pub(super) fn remove(&mut self, label: &str, document: DocumentId) {
        let Some(documents) = self.documents.get_mut(label) else { return };
        documents.remove(document);
        if documents.is_empty() {
            self.texts -= label.len();
            self.documents.remove(label);
        }
    }

    /// Bytes of the labels and of the map, about; without what their documents take there.
    pub(super) fn memory(&self) -> usize {
        self.texts + self.documents.len() * LABEL_BYTES
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

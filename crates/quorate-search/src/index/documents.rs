//! The documents of an index by their keys and by their numbers.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::document::Entry;
use super::postings::DocumentId;

/// Documents and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    numbers: BTreeMap<Arc<[u8]>, DocumentId>,
    entries: Vec<Option<Entry>>,
    free: Vec<DocumentId>,
    all: RoaringBitmap,
    /// Of all documents.
    length: u64,
}

impl Documents {
    /// A number that no document has.
    pub(super) fn vacant(&mut self) -> DocumentId {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as DocumentId
        })
    }

    pub(super) fn insert(&mut self, id: DocumentId, entry: Entry) {
        self.numbers.insert(entry.key.clone(), id);
        self.all.insert(id);
        self.length += u64::from(entry.length);
        self.entries[id as usize] = Some(entry);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<(DocumentId, Entry)> {
        let id = self.numbers.remove(key)?;
        let entry = self.entries[id as usize].take()?;
        self.all.remove(id);
        self.length -= u64::from(entry.length);
        self.free.push(id);
        Some((id, entry))
    }

    /// The number of the document of this key.
    pub(crate) fn number(&self, key: &[u8]) -> Option<DocumentId> {
        self.numbers.get(key).copied()
    }

    /// The document of this number.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn get(&self, id: DocumentId) -> &Entry {
        self.entries[id as usize]
            .as_ref()
            .expect("invariant: indexes hold documents that are there")
    }

    /// The numbers of all documents.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// Words of all documents, by the weights of their fields.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

//! The documents of an index by their keys and by their numbers, and which of them queries see.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::beginnings::Beginnings;
use super::document::Entry;
use super::postings::{DocumentId, Postings};

/// Documents and their numbers.
#[derive(Debug)]
pub(crate) struct Documents {
    numbers: BTreeMap<Arc<[u8]>, DocumentId>,
    entries: Vec<Option<Entry>>,
    /// Words of each, by the weights of their fields. What looks at many finds them close together.
    words: Vec<u32>,
    /// Their keys, as far as it takes to tell which comes first.
    beginnings: Beginnings,
    /// The score that documents have unless they say something else, and how many do.
    usual_score: f64,
    unusual: usize,
    free: Vec<DocumentId>,
    all: Chosen,
    /// By their groups.
    groups: BTreeMap<u8, Chosen>,
    /// What queries see, if that is not all: those of the groups whose bits are set.
    seen: Option<(u64, Chosen)>,
}

/// Some documents.
#[derive(Debug, Default, Clone)]
struct Chosen {
    documents: RoaringBitmap,
    /// Words, by the weights of their fields.
    length: u64,
}

impl Chosen {
    fn insert(&mut self, id: DocumentId, entry: &Entry) {
        self.documents.insert(id);
        self.length += u64::from(entry.length);
    }

    fn remove(&mut self, id: DocumentId, entry: &Entry) {
        self.documents.remove(id);
        self.length -= u64::from(entry.length);
    }
}

/// Whether a set of groups has this one.
fn has(groups: u64, group: u8) -> bool {
    groups >> (group % 64) & 1 != 0
}

impl Documents {
    /// None, of which most will have this score.
    pub(super) fn new(usual_score: f64) -> Documents {
        Documents {
            numbers: BTreeMap::new(),
            entries: Vec::new(),
            words: Vec::new(),
            beginnings: Beginnings::default(),
            usual_score,
            unusual: 0,
            free: Vec::new(),
            all: Chosen::default(),
            groups: BTreeMap::new(),
            seen: None,
        }
    }

    /// A number that no document has, for one of that many words.
    pub(super) fn vacant(&mut self, words: u32) -> DocumentId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.words.push(0);
            (self.entries.len() - 1) as DocumentId
        });
        self.words[id as usize] = words;
        id
    }

    /// How many words each document has, by the weights of their fields; of numbers that no
    /// document has, anything.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// A number for a document's key: of two keys the lesser never has the greater.
    #[inline]
    pub(crate) fn beginning(&self, id: DocumentId) -> u64 {
        self.beginnings.get(id)
    }

    /// The score of every document, if all have the same.
    pub(crate) fn common_score(&self) -> Option<f64> {
        (self.unusual == 0).then_some(self.usual_score)
    }

    pub(super) fn insert(&mut self, id: DocumentId, entry: Entry) {
        let others = self.numbers.iter().map(|(key, id)| (&**key, *id));
        self.beginnings.insert(id, &entry.key, others);
        self.numbers.insert(entry.key.clone(), id);
        self.unusual += usize::from(entry.score != self.usual_score);
        self.all.insert(id, &entry);
        self.groups.entry(entry.group).or_default().insert(id, &entry);
        if let Some((_, seen)) = self.seen.as_mut().filter(|(groups, _)| has(*groups, entry.group))
        {
            seen.insert(id, &entry);
        }
        self.entries[id as usize] = Some(entry);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<(DocumentId, Entry)> {
        let id = self.numbers.remove(key)?;
        let entry = self.entries[id as usize].take()?;
        self.all.remove(id, &entry);
        self.unusual -= usize::from(entry.score != self.usual_score);
        if let Some(group) = self.groups.get_mut(&entry.group) {
            group.remove(id, &entry);
        }
        if let Some((_, seen)) = self.seen.as_mut().filter(|(groups, _)| has(*groups, entry.group))
        {
            seen.remove(id, &entry);
        }
        self.free.push(id);
        Some((id, entry))
    }

    /// From now on queries see the documents of these groups only: a bit a group.
    pub(super) fn show(&mut self, groups: u64) {
        if self.groups.iter().all(|(group, own)| has(groups, *group) || own.documents.is_empty()) {
            self.seen = None;
        } else if self.seen.as_ref().is_none_or(|(seen, _)| *seen != groups) {
            let mut seen = Chosen::default();
            for (_, own) in self.groups.iter().filter(|(group, _)| has(groups, **group)) {
                seen.documents |= &own.documents;
                seen.length += own.length;
            }
            self.seen = Some((groups, seen));
        }
    }

    /// The documents that queries see, if these are not all.
    pub(crate) fn seen(&self) -> Option<&RoaringBitmap> {
        self.seen.as_ref().map(|(_, seen)| &seen.documents)
    }

    /// Whether queries see a document.
    pub(crate) fn sees(&self, id: DocumentId) -> bool {
        self.seen().is_none_or(|seen| seen.contains(id))
    }

    /// How many of these documents queries see.
    pub(crate) fn seen_of(&self, documents: &RoaringBitmap) -> u64 {
        self.seen().map_or(documents.len(), |seen| seen.intersection_len(documents))
    }

    /// How many of the documents that have a term queries see.
    pub(crate) fn seen_with(&self, postings: &Postings) -> u64 {
        let Some(seen) = self.seen() else { return u64::from(postings.documents()) };
        let mut reader = postings.reader();
        let mut next = reader.seek(0);
        let mut count = 0;
        while let Some(id) = next {
            count += u64::from(seen.contains(id));
            next = id.checked_add(1).and_then(|target| reader.seek(target));
        }
        count
    }

    /// The keys of those that queries see, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let seen = self.numbers.iter().filter(|(_, id)| self.sees(**id));
        seen.map(|(key, _)| &**key)
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

    /// The numbers of all documents that queries see.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        self.seen().unwrap_or(&self.all.documents)
    }

    /// The numbers of all documents, seen or not.
    pub(crate) fn every(&self) -> &RoaringBitmap {
        &self.all.documents
    }

    /// Words of all documents that queries see, by the weights of their fields.
    pub(crate) fn length(&self) -> u64 {
        self.seen.as_ref().map_or(self.all.length, |(_, seen)| seen.length)
    }
}

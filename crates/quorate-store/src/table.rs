//! Slot tables: where the keys of a shard live.

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table};
use std::hash::BuildHasher as _;

use crate::{digest::Digest, state::KeyState};

/// A key and its state.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) state: KeyState,
}

/// The keys of one slot.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    /// Boxed: tables are at most seven eighths full, often half, and an empty place should cost
    /// a word.
    entries: HashTable<Box<Entry>>,
    /// Keys with a visible value; the rest are marks of deletions.
    pub(crate) live: usize,
    /// Sum of the digests of all keys.
    pub(crate) digest: Digest,
    /// Sum of the digests of all marks of removals.
    pub(crate) marks: Digest,
}

impl SlotTable {
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&KeyState> {
        self.entries.find(hash, |entry| *entry.key == *key).map(|entry| &entry.state)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut KeyState> {
        let found = self.entries.find_mut(hash, |entry| *entry.key == *key);
        found.map(|entry| &mut entry.state)
    }

    /// The first key with this hash that `is_it`.
    pub(crate) fn find_entry(&self, hash: u64, is_it: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.entries.find(hash, |entry| is_it(entry)).map(|entry| &**entry)
    }

    pub(crate) fn find_or_insert(
        &mut self,
        hasher: &FixedState,
        hash: u64,
        key: &[u8],
    ) -> &mut Entry {
        let same = |entry: &Entry| *entry.key == *key;
        let rehash = |entry: &Entry| hasher.hash_one(&*entry.key);
        match self.entries.entry(hash, |entry| same(entry), |entry| rehash(entry)) {
            hash_table::Entry::Occupied(found) => found.into_mut(),
            hash_table::Entry::Vacant(vacant) => vacant
                .insert(Box::new(Entry { key: key.into(), state: KeyState::default() }))
                .into_mut(),
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Ok(entry) = self.entries.find_entry(hash, |entry| *entry.key == *key) {
            entry.remove();
        }
        if self.entries.is_empty() {
            self.entries = HashTable::new();
        }
    }

    /// Every key with its state, marks of deletions included, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|entry| &**entry)
    }
}

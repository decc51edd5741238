//! Slot tables: where the keys of a shard are found.
//!
//! Most keys are plain strings of moderate size, without a time to live or any marks. These lie in the
//! shard's [`Arena`], key, stamp and value together, so that a read touches the table and one piece of
//! memory. Every other key has a box of its own. A key is in one of the two tables of its slot, or in none.

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table};
use std::hash::BuildHasher as _;

use crate::{
    arena::{Arena, Place, PlainString},
    digest::Digest,
    state::{KeyState, State},
};

/// A key and its state, where that is not a plain string.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) state: KeyState,
}

/// The keys of one slot.
#[derive(Debug, Default)]
pub(crate) struct SlotTable {
    strings: HashTable<Place>,
    /// Boxed: tables are at most seven eighths full, often half, and an empty place should cost
    /// a word.
    others: HashTable<Box<Entry>>,
    /// Keys with a visible value; the rest are marks of deletions.
    pub(crate) live: usize,
    /// Sum of the digests of all keys.
    pub(crate) digest: Digest,
    /// Sum of the digests of all marks of removals.
    pub(crate) marks: Digest,
}

impl SlotTable {
    /// The state of `key`.
    #[inline]
    pub(crate) fn find<'a>(&'a self, arena: &'a Arena, hash: u64, key: &[u8]) -> Option<State<'a>> {
        if let Some(place) = self.place(arena, hash, key) {
            return Some(view(arena.get(place)));
        }
        self.others.find(hash, |entry| *entry.key == *key).map(|entry| entry.state.view())
    }

    /// Where `key` lies if it is a plain string.
    #[inline]
    pub(crate) fn place(&self, arena: &Arena, hash: u64, key: &[u8]) -> Option<Place> {
        self.strings.find(hash, |place| arena.key(*place) == key).copied()
    }

    /// Whether `key` has a box.
    pub(crate) fn is_boxed(&self, hash: u64, key: &[u8]) -> bool {
        !self.others.is_empty() && self.others.find(hash, |entry| *entry.key == *key).is_some()
    }

    /// The state of `key`, if it has a box.
    pub(crate) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut KeyState> {
        let found = self.others.find_mut(hash, |entry| *entry.key == *key);
        found.map(|entry| &mut entry.state)
    }

    /// The first key in a box with this hash that `is_it`.
    pub(crate) fn find_entry(&self, hash: u64, is_it: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.others.find(hash, |entry| is_it(entry)).map(|entry| &**entry)
    }

    /// Where a place is noted, if it is.
    pub(crate) fn place_mut(&mut self, hash: u64, at: Place) -> Option<&mut Place> {
        self.strings.find_mut(hash, |place| *place == at)
    }

    /// Notes where a plain string lies whose key is in neither table.
    pub(crate) fn put(&mut self, arena: &Arena, hasher: &FixedState, hash: u64, place: Place) {
        self.strings.insert_unique(hash, place, |other| hasher.hash_one(arena.key(*other)));
    }

    /// The state of `key` in a box, to be changed: it is put into one if it has none.
    #[inline]
    pub(crate) fn boxed(
        &mut self,
        arena: &mut Arena,
        hasher: &FixedState,
        hash: u64,
        key: &[u8],
    ) -> &mut KeyState {
        let same = |entry: &Entry| *entry.key == *key;
        let rehash = |entry: &Entry| hasher.hash_one(&*entry.key);
        let vacant = match self.others.entry(hash, |entry| same(entry), |entry| rehash(entry)) {
            hash_table::Entry::Occupied(found) => return &mut found.into_mut().state,
            hash_table::Entry::Vacant(vacant) => vacant,
        };
        let mut state = KeyState::default();
        if let Ok(found) = self.strings.find_entry(hash, |place| arena.key(*place) == key) {
            let (place, _) = found.remove();
            let PlainString { value, stamp, .. } = arena.get(place);
            state = KeyState::plain(value, stamp);
            arena.remove(place);
            if self.strings.is_empty() {
                self.strings = HashTable::new();
            }
        }
        &mut vacant.insert(Box::new(Entry { key: key.into(), state })).into_mut().state
    }

    /// Drops the box of `key`.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Ok(entry) = self.others.find_entry(hash, |entry| *entry.key == *key) {
            entry.remove();
        }
        if self.others.is_empty() {
            self.others = HashTable::new();
        }
    }

    /// Every key with its state, marks of deletions included, in no particular order.
    pub(crate) fn iter<'a>(
        &'a self,
        arena: &'a Arena,
    ) -> impl Iterator<Item = (&'a [u8], State<'a>)> {
        let strings = self.strings.iter().map(|place| {
            let string = arena.get(*place);
            (string.key, view(string))
        });
        strings.chain(self.others.iter().map(|entry| (&*entry.key, entry.state.view())))
    }
}

fn view(string: PlainString<'_>) -> State<'_> {
    State::plain(string.value, string.stamp)
}

//! Slot tables: where the keys of a shard are found.
//!
//! Most keys are plain strings of moderate size, without a time to live or any tombstones. These
//! lie in the shard's [`Arena`], key, stamp and value together, so that a read touches the table
//! and one piece of memory. Every other key has a box of its own. A key is in one of the two tables
//! of its slot, or in none.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
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
    /// Keys with a visible value; the rest are tombstones.
    pub(crate) live: usize,
    /// Sum of the digests of all keys.
    pub(crate) digest: Digest,
    /// Sum of the digests of all tombstones.
    pub(crate) tombstones: Digest,
}

/// Where a look-up has found a key, or that it has not. It stays good until another key of the slot
/// comes or goes; what changes the key itself keeps it up to date. So a key is looked up once for
/// all that is done with it.
#[derive(Debug)]
pub(crate) struct Spot {
    /// Of the key.
    pub(crate) hash: u64,
    at: At,
}

impl Spot {
    /// Whether the key has a box.
    #[inline]
    pub(crate) fn is_boxed(&self) -> bool {
        matches!(self.at, At::Box(_))
    }
}

/// The place in one of the tables of the slot.
#[derive(Clone, Copy, Debug)]
enum At {
    Nowhere,
    String(usize),
    Box(usize),
}

impl SlotTable {
    /// Looks a key up.
    #[inline]
    pub(crate) fn look_up(&self, arena: &Arena, hash: u64, key: &[u8]) -> Spot {
        let same = |place: &Place| arena.key(*place) == key;
        let at = match self.strings.find_bucket_index(hash, same) {
            Some(bucket) => At::String(bucket),
            None => self.boxed_at(hash, |entry| *entry.key == *key),
        };
        Spot { hash, at }
    }

    /// Where a plain string with this hash probably lies, without a look at it.
    #[inline]
    pub(crate) fn likely_place(&self, hash: u64) -> Option<Place> {
        self.strings.find(hash, |_| true).copied()
    }

    /// The first key in a box with this hash that `is_it`.
    pub(crate) fn look_up_boxed(&self, hash: u64, is_it: impl Fn(&Entry) -> bool) -> Spot {
        Spot { hash, at: self.boxed_at(hash, is_it) }
    }

    #[inline]
    fn boxed_at(&self, hash: u64, is_it: impl Fn(&Entry) -> bool) -> At {
        self.others.find_bucket_index(hash, |entry| is_it(entry)).map_or(At::Nowhere, At::Box)
    }

    /// The state of a key.
    #[inline]
    pub(crate) fn state<'a>(&'a self, arena: &'a Arena, spot: &Spot) -> Option<State<'a>> {
        match spot.at {
            At::Nowhere => None,
            At::String(bucket) => self.strings.get_bucket(bucket).map(|at| view(arena.get(*at))),
            At::Box(bucket) => self.others.get_bucket(bucket).map(|entry| entry.state.view()),
        }
    }

    /// The key and its state, if it has a box.
    pub(crate) fn entry(&self, spot: &Spot) -> Option<&Entry> {
        let At::Box(bucket) = spot.at else { return None };
        self.others.get_bucket(bucket).map(|entry| &**entry)
    }

    /// The state of a key, if it has a box.
    pub(crate) fn state_mut(&mut self, spot: &Spot) -> Option<&mut KeyState> {
        let At::Box(bucket) = spot.at else { return None };
        self.others.get_bucket_mut(bucket).map(|entry| &mut entry.state)
    }

    /// Where a key lies if it is a plain string.
    #[inline]
    pub(crate) fn place_mut(&mut self, spot: &Spot) -> Option<&mut Place> {
        let At::String(bucket) = spot.at else { return None };
        self.strings.get_bucket_mut(bucket)
    }

    /// Where a place is noted, if it is.
    pub(crate) fn find_place(&mut self, hash: u64, at: Place) -> Option<&mut Place> {
        self.strings.find_mut(hash, |place| *place == at)
    }

    /// Notes where a plain string lies whose key is in neither table.
    pub(crate) fn put(
        &mut self,
        arena: &Arena,
        hasher: &FixedState,
        spot: &mut Spot,
        place: Place,
    ) {
        let rehash = |other: &Place| hasher.hash_one(arena.key(*other));
        let entry = self.strings.insert_unique(spot.hash, place, rehash);
        spot.at = At::String(entry.bucket_index());
    }

    /// The state of `key` in a box, to be changed: it is put into one if it has none.
    #[inline]
    pub(crate) fn boxed(
        &mut self,
        arena: &mut Arena,
        hasher: &FixedState,
        spot: &mut Spot,
        key: &[u8],
    ) -> &mut KeyState {
        let bucket = match spot.at {
            At::Box(bucket) => bucket,
            At::Nowhere | At::String(_) => {
                let state = self.take_string(arena, spot);
                let entry = Box::new(Entry { key: key.into(), state: state.unwrap_or_default() });
                let added = self
                    .others
                    .insert_unique(spot.hash, entry, |other| hasher.hash_one(&*other.key));
                added.bucket_index()
            }
        };
        spot.at = At::Box(bucket);
        let entry = self.others.get_bucket_mut(bucket);
        &mut entry.expect("invariant: a spot is of its table").state
    }

    /// Takes a plain string out.
    fn take_string(&mut self, arena: &mut Arena, spot: &Spot) -> Option<KeyState> {
        let At::String(bucket) = spot.at else { return None };
        let (place, _) = self.strings.get_bucket_entry(bucket).ok()?.remove();
        let PlainString { value, stamp, .. } = arena.get(place);
        let state = KeyState::plain(value, stamp);
        arena.remove(place);
        if self.strings.is_empty() {
            self.strings = HashTable::new();
        }
        Some(state)
    }

    /// Drops the box of a key.
    pub(crate) fn remove(&mut self, spot: &mut Spot) {
        let At::Box(bucket) = spot.at else { return };
        spot.at = At::Nowhere;
        if let Ok(entry) = self.others.get_bucket_entry(bucket) {
            entry.remove();
        }
        if self.others.is_empty() {
            self.others = HashTable::new();
        }
    }

    /// Every key with its state, tombstones included, in no particular order.
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

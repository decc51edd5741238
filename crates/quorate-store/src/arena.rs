//! Where plain strings lie: key, stamp and value of each in one piece of bytes.
//!
//! ```text
//! entry := key_length:u16le value_length:u16le stamp:12 key value
//! ```
//! Entries lie in [chunks](crate::chunks). Which of a drained one still live, a look-up of their
//! keys tells.

use quorate_proto::Stamp;

use crate::chunks::{Chunks, padded};
pub(crate) use crate::chunks::{Drained, Place};

/// Key and value of an entry take at most so many bytes. Larger ones gain nothing by lying
/// together.
const ENTRY_MAX: usize = 1024;

/// Bytes that come from memory together.
const CACHE_LINE: usize = 64;

const HEAD: usize = 2 + 2 + Stamp::LENGTH;

const _: () = assert!(ENTRY_MAX <= u16::MAX as usize);

/// A plain string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainString<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) stamp: Stamp,
}

impl<'a> PlainString<'a> {
    /// Whether an arena takes it.
    pub(crate) fn fits(&self) -> bool {
        self.key.len() + self.value.len() <= ENTRY_MAX
    }

    fn length(&self) -> usize {
        HEAD + self.key.len() + self.value.len()
    }

    /// The entry at the beginning of `bytes`, which hold one.
    fn read(bytes: &'a [u8]) -> Self {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().expect("invariant: an entry");
        let [key_low, key_high, value_low, value_high, stamp @ ..] = *head;
        let key_length = usize::from(u16::from_le_bytes([key_low, key_high]));
        let value_length = usize::from(u16::from_le_bytes([value_low, value_high]));
        let (key, rest) = rest.split_at(key_length);
        Self { key, value: &rest[..value_length], stamp: Stamp::from_bytes(stamp) }
    }
}

/// Plain strings of one shard.
#[derive(Debug)]
pub(crate) struct Arena(Chunks);

impl Default for Arena {
    fn default() -> Self {
        Self(Chunks::new(u32::MAX))
    }
}

impl Arena {
    /// The string at a place.
    #[inline]
    pub(crate) fn get(&self, place: Place) -> PlainString<'_> {
        PlainString::read(self.0.bytes(place))
    }

    /// The key of the string at a place.
    #[inline]
    pub(crate) fn key(&self, place: Place) -> &[u8] {
        self.get(place).key
    }

    /// Reads a byte of each cache line that an entry of common length has at a place.
    #[inline]
    pub(crate) fn touch(&self, place: Place) -> u8 {
        let entry = self.0.bytes(place);
        let lines = [0, CACHE_LINE];
        lines.iter().filter_map(|at| entry.get(*at)).fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// Appends a string, which fits. `None` when the arena is full: never while a chunk is drained.
    #[inline]
    pub(crate) fn push(&mut self, string: PlainString<'_>) -> Option<Place> {
        let mut head = [0; HEAD];
        head[..2].copy_from_slice(&(string.key.len() as u16).to_le_bytes());
        head[2..4].copy_from_slice(&(string.value.len() as u16).to_le_bytes());
        head[4..].copy_from_slice(&string.stamp.to_bytes());
        self.0.push([&head, string.key, string.value])
    }

    /// Puts a new value into the entry at a place, if it takes as much room as the old one.
    pub(crate) fn overwrite(&mut self, place: Place, value: &[u8], stamp: Stamp) -> bool {
        let old = self.get(place);
        let start = HEAD + old.key.len();
        if padded(start + value.len()) != padded(old.length()) {
            return false;
        }
        let entry = self.0.bytes_mut(place);
        entry[2..4].copy_from_slice(&(value.len() as u16).to_le_bytes());
        entry[4..HEAD].copy_from_slice(&stamp.to_bytes());
        entry[start..start + value.len()].copy_from_slice(value);
        true
    }

    /// The entry at a place is no longer needed.
    pub(crate) fn remove(&mut self, place: Place) {
        let length = self.get(place).length();
        self.0.remove(place, length);
    }

    /// Takes out a chunk that is to be drained: what of it lives must be pushed again before it is
    /// [released](Arena::release).
    #[inline]
    pub(crate) fn take_due(&mut self) -> Option<Drained> {
        self.0.take_due()
    }

    /// Every string of a drained chunk and where it was, those no longer there included.
    pub(crate) fn entries(chunk: &Drained) -> impl Iterator<Item = (Place, PlainString<'_>)> {
        let entries = chunk.entries(|bytes| PlainString::read(bytes).length());
        entries.map(|(place, bytes)| (place, PlainString::read(bytes)))
    }

    /// Gives back a chunk of which nothing lives.
    pub(crate) fn release(&mut self, chunk: Drained) {
        self.0.release(chunk);
    }

    /// Bytes of all chunks.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }
}

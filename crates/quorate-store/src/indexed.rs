//! The records of a large collection, with an index.
//!
//! ```text
//!  index (names, hashed)        places               chunks
//!  [ 2 | - | 0 | - | 1 ]  -->   [ p0 | p1 | p2 ] -->  [ record | record | gap | record ...
//! ```
//! Every element has a number, `0..len()`, so that a random one is found at once; the last one
//! takes the number of one that is removed. Records lie in [chunks](crate::chunks), long ones in
//! memory of their own. See [`crate::record`] for the records.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use quorate_proto::Stamp;

use crate::{
    chunks::{Chunks, Place},
    record::Record,
};

/// Longer records lie alone.
const RECORD_MAX: usize = 1024;

/// Places from here on are those of long records.
const LONG: u32 = 1 << 31;

/// Records by name and by number.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// What the stamps of the records refer to.
    base: Stamp,
    hasher: FixedState,
    /// Numbers of elements, by the hashes of their names.
    index: HashTable<u32>,
    /// Where the records are, by their numbers.
    places: Vec<Place>,
    chunks: Chunks,
    long: Vec<Box<[u8]>>,
    /// Unused indices of `long`.
    vacant: Vec<u32>,
}

impl Indexed {
    /// No records; stamps will be near `base`.
    pub(crate) fn new(hasher: &FixedState, base: Stamp) -> Self {
        Self {
            base,
            hasher: hasher.clone(),
            index: HashTable::new(),
            places: Vec::new(),
            chunks: Chunks::new(LONG),
            long: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn base(&self) -> Stamp {
        self.base
    }

    /// The record with a number.
    #[inline]
    pub(crate) fn get(&self, number: usize) -> Option<Record<'_>> {
        self.places.get(number).map(|place| Record::take(&mut self.bytes(*place)))
    }

    /// The number of a name.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(name);
        let found = self.index.find(hash, |number| self.name(*number) == name);
        found.map(|number| *number as usize)
    }

    fn name(&self, number: u32) -> &[u8] {
        Record::take(&mut self.bytes(self.places[number as usize])).name
    }

    /// What begins at a place.
    #[inline]
    fn bytes(&self, place: Place) -> &[u8] {
        match place.0.checked_sub(LONG) {
            Some(at) => &self.long[at as usize],
            None => self.chunks.bytes(place),
        }
    }

    /// Adds a record whose name is not there. Returns its number, the highest.
    pub(crate) fn push(&mut self, record: &[u8]) -> usize {
        let name = Record::take(&mut &*record).name;
        let number = u32::try_from(self.len()).expect("invariant: fewer than 2^32 elements");
        let place = self.store(record);
        self.places.push(place);
        let (places, chunks, long, hasher) = (&self.places, &self.chunks, &self.long, &self.hasher);
        self.index.insert_unique(hasher.hash_one(name), number, |number| {
            let place = places[*number as usize];
            let mut bytes = match place.0.checked_sub(LONG) {
                Some(at) => &long[at as usize],
                None => chunks.bytes(place),
            };
            hasher.hash_one(Record::take(&mut bytes).name)
        });
        number as usize
    }

    /// Puts another record of the same name in the place of one.
    pub(crate) fn replace(&mut self, number: usize, record: &[u8]) {
        let place = self.places[number];
        let length = encoded_length(self.bytes(place));
        if length == record.len() {
            let bytes = match place.0.checked_sub(LONG) {
                Some(at) => &mut self.long[at as usize],
                None => self.chunks.bytes_mut(place),
            };
            bytes[..length].copy_from_slice(record);
            return;
        }
        self.discard(place, length);
        self.places[number] = self.store(record);
        self.drain();
    }

    /// Removes a record. The last one takes its number.
    pub(crate) fn swap_remove(&mut self, number: usize) {
        let last = self.len() - 1;
        self.unindex(number);
        if number != last {
            let hash = self.hasher.hash_one(self.name(last as u32));
            let moved = self.index.find_mut(hash, |other| *other as usize == last);
            *moved.expect("invariant: every element is in the index") = number as u32;
        }
        let place = self.places.swap_remove(number);
        self.discard(place, encoded_length(self.bytes(place)));
        self.drain();
    }

    fn unindex(&mut self, number: usize) {
        let hash = self.hasher.hash_one(self.name(number as u32));
        let found = self.index.find_entry(hash, |other| *other as usize == number);
        found.expect("invariant: every element is in the index").remove();
    }

    fn store(&mut self, record: &[u8]) -> Place {
        let short = (record.len() <= RECORD_MAX).then(|| self.chunks.push([record, &[], &[]]));
        if let Some(place) = short.flatten() {
            return place;
        }
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.long.push(Box::default());
            (self.long.len() - 1) as u32
        });
        self.long[at as usize] = record.into();
        Place(LONG + at)
    }

    fn discard(&mut self, place: Place, length: usize) {
        match place.0.checked_sub(LONG) {
            None => self.chunks.remove(place, length),
            Some(at) => {
                self.long[at as usize] = Box::default();
                self.vacant.push(at);
            }
        }
    }

    /// Moves the records of a chunk that is full of gaps together.
    fn drain(&mut self) {
        let Some(chunk) = self.chunks.take_due() else { return };
        for (old, mut bytes) in chunk.entries(encoded_length) {
            let record = &bytes[..encoded_length(bytes)];
            let hash = self.hasher.hash_one(Record::take(&mut bytes).name);
            let is_it = |number: &u32| self.places[*number as usize] == old;
            // What has no number has been replaced or removed.
            let Some(&number) = self.index.find(hash, is_it) else { continue };
            let new = self.chunks.push([record, &[], &[]]);
            self.places[number as usize] =
                new.expect("invariant: a chunk with gaps fits into what pushes left");
        }
        self.chunks.release(chunk);
    }

    /// All records, by their numbers.
    pub(crate) fn records(&self) -> Records<'_> {
        Records { places: self.places.iter(), indexed: self }
    }

    /// Bytes of all chunks.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.chunks.held_bytes()
    }
}

/// Walks through all records.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    places: std::slice::Iter<'a, Place>,
    indexed: &'a Indexed,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let place = self.places.next()?;
        Some(Record::take(&mut self.indexed.bytes(*place)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

/// How long the record is that begins here, with its length.
fn encoded_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let length = crate::varint::read(&mut rest) as usize;
    bytes.len() - rest.len() + length
}

//! Where plain strings lie: key, stamp and value of each in one piece of bytes.
//!
//! ```text
//! entry := key_length:u16le value_length:u16le stamp:12 key value padding
//! ```
//! Entries are appended to chunks, and a *place* names the entry for as long as it is not moved: a
//! chunk, and a position in it, in units of eight bytes. What is overwritten with another size, or
//! removed, leaves a gap. A chunk with too many of them is *drained*: the owner moves what still
//! lives, which a look-up of its key tells, and the chunk is given back.

use quorate_proto::Stamp;

/// Key and value of an entry take at most so many bytes. Larger ones gain nothing by lying
/// together.
const ENTRY_MAX: usize = 1024;

const CHUNK_BYTES: usize = 1 << 16;
const GRANULE: usize = 8;
const GRANULES: u32 = (CHUNK_BYTES / GRANULE) as u32;
const CHUNKS_MAX: usize = (u32::MAX / GRANULES) as usize;

/// A chunk is drained when gaps take this share of it.
const GAPS_MAX: usize = CHUNK_BYTES / 3;

const HEAD: usize = 2 + 2 + Stamp::LENGTH;

const _: () = assert!(ENTRY_MAX <= u16::MAX as usize && HEAD + ENTRY_MAX < CHUNK_BYTES);

/// Where an entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

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
        padded(HEAD + self.key.len() + self.value.len())
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

fn padded(length: usize) -> usize {
    length.next_multiple_of(GRANULE)
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Bytes of entries that are no longer there.
    gaps: usize,
}

/// Plain strings of one shard.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// The chunk that is appended to.
    current: usize,
    /// Chunks that have been drained.
    vacant: Vec<usize>,
    /// Chunks to drain.
    due: Vec<usize>,
    /// Whether one is being drained.
    draining: bool,
}

impl Arena {
    /// The string at a place.
    #[inline]
    pub(crate) fn get(&self, place: Place) -> PlainString<'_> {
        PlainString::read(self.bytes(place))
    }

    /// The key of the string at a place.
    #[inline]
    pub(crate) fn key(&self, place: Place) -> &[u8] {
        self.get(place).key
    }

    fn bytes(&self, Place(place): Place) -> &[u8] {
        let (chunk, granule) = (place / GRANULES, place % GRANULES);
        &self.chunks[chunk as usize].bytes[granule as usize * GRANULE..]
    }

    /// Appends a string, which fits. `None` when the arena is full: never while a chunk is drained,
    /// for which one is kept.
    pub(crate) fn push(&mut self, string: PlainString<'_>) -> Option<Place> {
        let length = string.length();
        let has_room = |chunk: &Chunk| chunk.bytes.len() + length <= CHUNK_BYTES;
        if !self.chunks.get(self.current).is_some_and(has_room) {
            self.begin_chunk()?;
        }
        let bytes = &mut self.chunks[self.current].bytes;
        let granule = bytes.len() / GRANULE;
        let end = bytes.len() + length;
        bytes.extend_from_slice(&(string.key.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(string.value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&string.stamp.to_bytes());
        bytes.extend_from_slice(string.key);
        bytes.extend_from_slice(string.value);
        bytes.resize(end, 0);
        Some(Place(self.current as u32 * GRANULES + granule as u32))
    }

    fn begin_chunk(&mut self) -> Option<()> {
        // The one that is full was never due while it was the current one.
        let left = self.current;
        let is_last = self.vacant.is_empty() && self.chunks.len() + 1 >= CHUNKS_MAX;
        if is_last && !self.draining {
            return None;
        }
        self.current = match self.vacant.pop() {
            Some(vacant) => vacant,
            None => {
                self.chunks.push(Chunk::default());
                self.chunks.len() - 1
            }
        };
        // At once, since allocators keep room for what grows.
        self.chunks[self.current].bytes.reserve_exact(CHUNK_BYTES);
        if left != self.current {
            self.note_gaps(left, 0);
        }
        Some(())
    }

    /// Puts a new value into the entry at a place, if it takes as much room as the old one.
    pub(crate) fn overwrite(&mut self, place: Place, value: &[u8], stamp: Stamp) -> bool {
        let old = self.get(place);
        let (key_length, length) = (old.key.len(), old.length());
        if padded(HEAD + key_length + value.len()) != length {
            return false;
        }
        let Place(place) = place;
        let (chunk, start) = (place / GRANULES, (place % GRANULES) as usize * GRANULE);
        let entry = &mut self.chunks[chunk as usize].bytes[start..start + length];
        entry[2..4].copy_from_slice(&(value.len() as u16).to_le_bytes());
        entry[4..HEAD].copy_from_slice(&stamp.to_bytes());
        entry[HEAD + key_length..HEAD + key_length + value.len()].copy_from_slice(value);
        true
    }

    /// The entry at a place is no longer needed.
    pub(crate) fn remove(&mut self, place: Place) {
        let length = self.get(place).length();
        self.note_gaps((place.0 / GRANULES) as usize, length);
    }

    fn note_gaps(&mut self, index: usize, more: usize) {
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        let was_due = index != self.current && more > 0 && chunk.gaps > GAPS_MAX;
        chunk.gaps += more;
        if index != self.current && chunk.gaps > GAPS_MAX && !was_due {
            self.due.push(index);
        }
    }

    /// Takes out a chunk that is to be drained: what of it lives must be pushed again before it is
    /// [released](Arena::release).
    pub(crate) fn take_due(&mut self) -> Option<Drained> {
        let index = self.due.pop()?;
        let Chunk { bytes, .. } = std::mem::take(&mut self.chunks[index]);
        self.draining = true;
        Some(Drained { bytes, index })
    }

    /// Bytes of all chunks.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum()
    }

    /// Gives back a chunk of which nothing lives.
    pub(crate) fn release(&mut self, Drained { index, .. }: Drained) {
        self.vacant.push(index);
        self.draining = false;
    }
}

/// A chunk that is being drained.
#[derive(Debug)]
pub(crate) struct Drained {
    bytes: Vec<u8>,
    index: usize,
}

impl Drained {
    /// Every entry, where it was, those no longer there included.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Place, PlainString<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let bytes = self.bytes.get(at..).filter(|bytes| !bytes.is_empty())?;
            let entry = PlainString::read(bytes);
            let place = Place(self.index as u32 * GRANULES + (at / GRANULE) as u32);
            at += entry.length();
            Some((place, entry))
        })
    }
}

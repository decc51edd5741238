//! Where a term occurs: documents in the order of their numbers, in blocks.
//!
//! ```text
//! block    first and last document | bound of scores | heads | bytes
//! head     document less the first of the block | frequency | length of the entry
//! bytes    entry, entry, ...
//! entry    fields | positions
//! positions   for each field: its number | how many | the first | each less the one before
//! ```
//!
//! A head has 32 bits: 16 for the document, 8 each for frequency and length. If a block's documents
//! are too far apart for that, its heads have 64 bits. A frequency or length of 255 or more is
//! written before the entry. Numbers in entries are variable-length.
//!
//! Readers skip blocks by their last documents, and search a block by its heads without decoding
//! anything. A posting is inserted and removed by writing its block anew, so that nothing is left
//! of what was removed, and frequencies of documents are always exact.

use alloc::vec::Vec;
use core::mem::size_of;

use super::heads::{ANY, Heads};
use super::varint;
use crate::schema::Fields;

/// The number of a document in a partition. Numbers of removed ones are used again.
pub(crate) type DocumentId = u32;

/// Entries of a block. With more, changes cost more; with fewer, the blocks themselves do.
const ENTRIES_MAX: usize = 128;

/// Where a word is: the number of the `TEXT` field, and how many words are before it in all.
pub(crate) type Position = (u8, u32);

/// How a term occurs in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Occurrence {
    /// How often, by the weights of the fields.
    pub(crate) frequency: u32,
    /// Where, in order.
    pub(crate) positions: Vec<Position>,
    /// In which fields.
    pub(crate) fields: u128,
}

/// Where a term occurs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postings {
    blocks: Vec<Block>,
    documents: u32,
}

#[derive(Debug, Clone)]
struct Block {
    first: DocumentId,
    last: DocumentId,
    bound: Bound,
    heads: Heads,
    bytes: Vec<u8>,
}

/// From which the most follows that any of some entries adds to a score, whatever documents there
/// are: scores grow with the frequency and shrink with the length of a document. Entries of
/// frequency 1 and others are told apart, for most are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Words of the shortest document in which the term is once, at most 65,535.
    pub(crate) once: u16,
    /// Words of the shortest other document, at most 65,535.
    pub(crate) often: u16,
    /// The greatest frequency; 255 stands for any.
    pub(crate) frequency: u8,
}

impl Bound {
    /// Of no entry.
    const NONE: Bound = Bound { once: u16::MAX, often: u16::MAX, frequency: 1 };

    fn add(&mut self, frequency: u8, words: u32) {
        let words = u16::try_from(words).unwrap_or(u16::MAX);
        if frequency <= 1 {
            self.once = self.once.min(words);
        } else {
            self.often = self.often.min(words);
            self.frequency = self.frequency.max(frequency);
        }
    }

    fn merge(&mut self, other: Bound) {
        self.once = self.once.min(other.once);
        self.often = self.often.min(other.often);
        self.frequency = self.frequency.max(other.frequency);
    }
}

/// An entry of a block.
#[derive(Clone, Copy)]
struct Entry<'a> {
    document: DocumentId,
    frequency: u8,
    length: u8,
    /// With what is written before it.
    bytes: &'a [u8],
}

impl Postings {
    /// How many documents have the term.
    pub(crate) fn documents(&self) -> u32 {
        self.documents
    }

    /// Adds a document that is not there yet. `words` says how many words each document has.
    /// Returns how the size changes.
    pub(crate) fn insert(
        &mut self,
        document: DocumentId,
        occurrence: &Occurrence,
        words: &[u32],
    ) -> Size {
        self.documents += 1;
        let (frequency, length, bytes) = encoded(occurrence);
        let entry = Entry { document, frequency, length, bytes: &bytes };
        let at = self.blocks.partition_point(|block| block.last < document);
        // Most documents are newer than all others.
        if at == self.blocks.len() {
            match self.blocks.last_mut() {
                Some(last) if last.heads.len() < ENTRIES_MAX => {
                    let before = last.size();
                    last.push(entry, words);
                    return last.size() - before;
                }
                _ => {
                    let block = Block::of(&[entry], words);
                    let size = block.size();
                    self.blocks.push(block);
                    return size;
                }
            }
        }
        let block = self.blocks.remove(at);
        let mut entries = block.entries();
        let place = entries.partition_point(|other| other.document < document);
        entries.insert(place, entry);
        let size = if entries.len() > ENTRIES_MAX { ENTRIES_MAX / 2 + 1 } else { ENTRIES_MAX };
        let blocks: Vec<Block> =
            entries.chunks(size).map(|entries| Block::of(entries, words)).collect();
        let now = blocks.iter().map(Block::size).fold(Size::default(), |sum, size| sum + size);
        let size = now - block.size();
        self.blocks.splice(at..at, blocks);
        size
    }

    /// Removes a document. `words` says how many words each other one has. Returns how the size
    /// changes.
    pub(crate) fn remove(&mut self, document: DocumentId, words: &[u32]) -> Size {
        let at = self.blocks.partition_point(|block| block.last < document);
        let Some(block) = self.blocks.get(at) else { return Size::default() };
        let size = block.size();
        let mut entries = block.entries();
        let before = entries.len();
        entries.retain(|other| other.document != document);
        if entries.len() == before {
            return Size::default();
        }
        self.documents -= 1;
        if entries.is_empty() {
            self.blocks.remove(at);
            Size::default() - size
        } else {
            self.blocks[at] = Block::of(&entries, words);
            self.blocks[at].size() - size
        }
    }

    /// A reader before the first document.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { blocks: &self.blocks, at: 0, place: (0, 0) }
    }
}

/// What postings take, or how much more that becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(super) bytes: isize,
    pub(super) blocks: isize,
}

impl core::ops::Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { bytes: self.bytes + other.bytes, blocks: self.blocks + other.blocks }
    }
}

impl core::ops::Sub for Size {
    type Output = Size;

    fn sub(self, other: Size) -> Size {
        Size { bytes: self.bytes - other.bytes, blocks: self.blocks - other.blocks }
    }
}

impl core::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        *self = *self + other;
    }
}

impl Block {
    fn size(&self) -> Size {
        let bytes = size_of::<Block>() + self.heads.memory() + self.bytes.capacity();
        Size { bytes: bytes as isize, blocks: 1 }
    }

    fn of(entries: &[Entry<'_>], words: &[u32]) -> Block {
        let first = entries.first().map_or(0, |entry| entry.document);
        let (heads, bytes) = (Heads::default(), Vec::new());
        let mut block = Block { first, last: first, bound: Bound::NONE, heads, bytes };
        for &entry in entries {
            block.push(entry, words);
        }
        block
    }

    fn push(&mut self, entry: Entry<'_>, words: &[u32]) {
        let Entry { document, frequency, length, bytes } = entry;
        self.heads.push(document - self.first, frequency, length);
        self.bytes.extend_from_slice(bytes);
        self.last = document;
        self.bound.add(frequency, words.get(document as usize).copied().unwrap_or(0));
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let mut bytes = self.bytes.as_slice();
        let entry = |at| {
            let (offset, frequency, length) = self.heads.get(at);
            let (entry, rest) = bytes.split_at(size(length, bytes));
            bytes = rest;
            Entry { document: self.first + offset, frequency, length, bytes: entry }
        };
        (0..self.heads.len()).map(entry).collect()
    }
}

/// Bytes of an entry of this length in its head, with what is written before it.
fn size(length: u8, bytes: &[u8]) -> usize {
    if length < ANY {
        return usize::from(length);
    }
    let mut rest = bytes;
    let size = varint::read(&mut rest) as usize;
    size + bytes.len() - rest.len()
}

/// Frequency and length for a head, and the bytes.
fn encoded(occurrence: &Occurrence) -> (u8, u8, Vec<u8>) {
    let mut bytes = Vec::new();
    let frequency = u8::try_from(occurrence.frequency).unwrap_or(ANY);
    if frequency == ANY {
        varint::write(&mut bytes, u128::from(occurrence.frequency));
    }
    varint::write(&mut bytes, occurrence.fields);
    for in_field in occurrence.positions.chunk_by(|one, other| one.0 == other.0) {
        varint::write(&mut bytes, u128::from(in_field[0].0));
        varint::write(&mut bytes, in_field.len() as u128);
        let mut previous = 0;
        for &(_, position) in in_field {
            varint::write(&mut bytes, u128::from(position - previous));
            previous = position;
        }
    }
    let length = u8::try_from(bytes.len()).unwrap_or(ANY);
    if length < ANY {
        return (frequency, length, bytes);
    }
    let mut long = Vec::new();
    varint::write(&mut long, bytes.len() as u128);
    long.extend(bytes);
    (frequency, length, long)
}

/// Goes through the documents of a term.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader<'a> {
    /// The block that is read, and those behind it.
    blocks: &'a [Block],
    /// The entry of the block at which it is.
    at: usize,
    /// An entry of the block at or before it, and where its bytes begin.
    place: (usize, usize),
}

impl<'a> Reader<'a> {
    /// Goes on to the first document from `target` on.
    pub(crate) fn seek(&mut self, target: DocumentId) -> Option<DocumentId> {
        if self.blocks.first()?.last < target {
            let mut reach = 1;
            while self.blocks.get(reach).is_some_and(|block| block.last < target) {
                reach *= 2;
            }
            let from = reach / 2;
            let to = reach.min(self.blocks.len());
            let passed = self.blocks[from..to].partition_point(|block| block.last < target);
            self.pass(from + passed);
        }
        let block = self.blocks.first()?;
        self.at = block.heads.find(self.at, target.saturating_sub(block.first));
        Some(block.first + block.heads.offset(self.at))
    }

    /// How often the term is in this document.
    pub(crate) fn frequency(&mut self) -> u32 {
        let Some(block) = self.blocks.first() else { return 0 };
        let (_, frequency, _) = block.heads.get(self.at);
        if frequency < ANY {
            u32::from(frequency)
        } else {
            varint::read(&mut self.entry().0) as u32
        }
    }

    /// The fields in which the term is.
    pub(crate) fn fields(&mut self) -> Fields {
        let (mut bytes, is_frequent) = self.entry();
        if is_frequent {
            varint::read(&mut bytes);
        }
        Fields(varint::read(&mut bytes))
    }

    /// Where the term is in these fields.
    pub(crate) fn positions(&mut self, fields: Fields, positions: &mut Vec<Position>) {
        let (mut bytes, is_frequent) = self.entry();
        if is_frequent {
            varint::read(&mut bytes);
        }
        varint::read(&mut bytes);
        while !bytes.is_empty() {
            let field = varint::read(&mut bytes) as u8;
            let count = varint::read(&mut bytes);
            let mut position = 0;
            for _ in 0..count {
                position += varint::read(&mut bytes) as u32;
                if fields.0 & Fields::one(usize::from(field)).0 != 0 {
                    positions.push((field, position));
                }
            }
        }
    }

    /// The document at which it is, without going on.
    pub(crate) fn document(&self) -> Option<DocumentId> {
        let block = self.blocks.first()?;
        Some(block.first + block.heads.offset(self.at))
    }

    /// The last document of the block in which it is, and the bound of that block.
    pub(crate) fn block(&self) -> Option<(DocumentId, Bound)> {
        self.blocks.first().map(|block| (block.last, block.bound))
    }

    /// The bound of all blocks that have documents from where it is up to `last`.
    pub(crate) fn bound(&self, last: DocumentId) -> Bound {
        let mut bound = Bound::NONE;
        let blocks = self.blocks.iter().take_while(|block| block.first <= last);
        blocks.for_each(|block| bound.merge(block.bound));
        bound
    }

    /// How many documents there are behind the blocks that it has left.
    pub(crate) fn left(&self) -> u64 {
        self.blocks.iter().map(|block| block.heads.len() as u64).sum()
    }

    /// Goes behind the block in which it is.
    pub(crate) fn pass_block(&mut self) {
        if !self.blocks.is_empty() {
            self.pass(1);
        }
    }

    /// Tells `take` the documents from where it is up to `last`, with frequencies, 255 for any
    /// from there on; and goes behind them.
    #[inline]
    pub(crate) fn take(&mut self, last: DocumentId, mut take: impl FnMut(DocumentId, u8)) {
        while let Some(block) = self.blocks.first().filter(|block| block.first <= last) {
            let first = block.first;
            let taken = block.heads.take(self.at, last - first, |offset, frequency| {
                take(first + offset, frequency);
            });
            if taken < block.heads.len() {
                self.at = taken;
                return;
            }
            self.pass(1);
        }
    }

    fn pass(&mut self, blocks: usize) {
        self.blocks = &self.blocks[blocks..];
        (self.at, self.place) = (0, (0, 0));
    }

    /// The bytes of the entry at which it is, and whether they begin with the frequency.
    fn entry(&mut self) -> (&'a [u8], bool) {
        let Some(block) = self.blocks.first() else { return (&[], false) };
        let (mut entry, mut place) = self.place;
        if entry > self.at {
            (entry, place) = (0, 0);
        }
        while entry < self.at {
            place += size(block.heads.get(entry).2, &block.bytes[place..]);
            entry += 1;
        }
        self.place = (entry, place);
        let (_, frequency, length) = block.heads.get(entry);
        let mut bytes = &block.bytes[place..];
        if length < ANY {
            bytes = &bytes[..usize::from(length)];
        } else {
            let size = varint::read(&mut bytes) as usize;
            bytes = &bytes[..size];
        }
        (bytes, frequency == ANY)
    }
}

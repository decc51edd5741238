//! Where a term occurs: documents in the order of their numbers, in blocks.
//!
//! ```text
//! block    first and last document | bound of scores | field | heads | bytes
//! head     document less the first of the block | frequency | kind of the entry
//! bytes    entry, entry, ...
//! entry    fields | positions
//! positions   for each field: its number | how many | the first | each less the one before
//! ```
//!
//! A head has 32 bits: 16 for the document, 8 each for frequency and kind. If a block's documents
//! are too far apart for that, its heads have 64 bits. A term that is once in a document, near its
//! beginning and in the field of the block, has no entry: the kind is its position. Else the kind is
//! the length of the entry. A frequency of 255 or more and a length of 15 or more are written before
//! the entry. Numbers in entries are variable-length.
//!
//! Readers skip blocks by their last documents, and search a block by its heads without decoding
//! anything. A posting is inserted and removed by writing its block anew, so that nothing is left
//! of what was removed, and frequencies of documents are always exact.

use alloc::vec::Vec;
use core::mem::size_of;

use super::dense::Dense;
use super::heads::{self, ANY, EMPTY, Heads};
use super::varint;
use crate::schema::Fields;

/// The number of a document in a partition. Numbers of removed ones are used again.
pub(crate) type DocumentId = u32;

/// Entries of a block. With more, changes cost more; with fewer, the blocks themselves do.
const ENTRIES_MAX: usize = 128;

/// As many blocks before it is their turn heads are fetched into the caches.
const AHEAD: usize = 2;

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
    dense: Dense,
}

#[derive(Debug, Clone)]
struct Block {
    first: DocumentId,
    last: DocumentId,
    bound: Bound,
    /// That of entries which are told by their heads alone.
    field: u8,
    /// Whether an entry has its length before it.
    is_long: bool,
    heads: Heads,
    bytes: Vec<u8>,
}

/// From which the most follows that any of some entries adds to a score, whatever documents there
/// are: scores grow with the frequency and shrink with the length of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Words of the shortest document in which the term is once, twice, three times, and more
    /// often; at most 65,535.
    pub(crate) words: [u16; 4],
    /// The greatest frequency, at least 4; 255 stands for any.
    pub(crate) frequency: u8,
}

impl Bound {
    /// Of no entry.
    const NONE: Bound = Bound { words: [u16::MAX; 4], frequency: 4 };

    fn add(&mut self, frequency: u8, words: u32) {
        let words = u16::try_from(words).unwrap_or(u16::MAX);
        let kind = usize::from(frequency.clamp(1, 4)) - 1;
        self.words[kind] = self.words[kind].min(words);
        self.frequency = self.frequency.max(frequency);
    }

    fn merge(&mut self, other: Bound) {
        for (own, other) in self.words.iter_mut().zip(other.words) {
            *own = other.min(*own);
        }
        self.frequency = self.frequency.max(other.frequency);
    }
}

/// An entry of a block.
#[derive(Clone, Copy)]
struct Entry<'a> {
    document: DocumentId,
    frequency: u8,
    kind: u8,
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
        let mut size = self.insert_into_blocks(document, occurrence, words);
        let before = self.dense.memory();
        if self.dense.is_kept() {
            self.dense.insert(document);
        } else if self
            .blocks
            .last()
            .is_some_and(|last| self.dense.is_due(self.documents, last.last))
        {
            let dense = &mut self.dense;
            self.blocks.iter().for_each(|block| block.documents().for_each(|id| dense.insert(id)));
        }
        self.dense.settle(self.documents);
        size.bytes += self.dense.memory() as isize - before as isize;
        size
    }

    fn insert_into_blocks(
        &mut self,
        document: DocumentId,
        occurrence: &Occurrence,
        words: &[u32],
    ) -> Size {
        // Most documents are newer than all others.
        let is_newest = self.blocks.last().is_none_or(|last| last.last < document);
        if is_newest {
            match self.blocks.last_mut() {
                Some(last) if last.heads.len() < ENTRIES_MAX => {
                    let (frequency, kind, bytes) = encoded(occurrence, last.field);
                    let before = last.size();
                    last.push(Entry { document, frequency, kind, bytes: &bytes }, words);
                    return last.size() - before;
                }
                _ => {
                    let field = occurrence.positions.first().map_or(0, |position| position.0);
                    let (frequency, kind, bytes) = encoded(occurrence, field);
                    let entry = Entry { document, frequency, kind, bytes: &bytes };
                    let block = Block::of(&[entry], field, words);
                    let size = block.size();
                    self.blocks.push(block);
                    return size;
                }
            }
        }
        let at = self.blocks.partition_point(|block| block.last < document);
        let block = self.blocks.remove(at);
        let (frequency, kind, bytes) = encoded(occurrence, block.field);
        let mut entries = block.entries();
        let place = entries.partition_point(|other| other.document < document);
        entries.insert(place, Entry { document, frequency, kind, bytes: &bytes });
        let size = if entries.len() > ENTRIES_MAX { ENTRIES_MAX / 2 + 1 } else { ENTRIES_MAX };
        let blocks: Vec<Block> =
            entries.chunks(size).map(|entries| Block::of(entries, block.field, words)).collect();
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
        let mut size = Size::default() - size;
        if entries.is_empty() {
            self.blocks.remove(at);
        } else {
            self.blocks[at] = Block::of(&entries, block.field, words);
            size += self.blocks[at].size();
        }
        self.documents -= 1;
        size.bytes -= self.dense.memory() as isize;
        self.dense.remove(document);
        self.dense.settle(self.documents);
        size.bytes += self.dense.memory() as isize;
        size
    }

    /// A reader before the first document.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { blocks: &self.blocks, at: 0, place: (0, 0), dense: Some(&self.dense) }
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

    fn of(entries: &[Entry<'_>], field: u8, words: &[u32]) -> Block {
        let first = entries.first().map_or(0, |entry| entry.document);
        let (heads, bytes) = (Heads::default(), Vec::new());
        let mut block =
            Block { first, last: first, bound: Bound::NONE, field, is_long: false, heads, bytes };
        for &entry in entries {
            block.push(entry, words);
        }
        block
    }

    fn push(&mut self, entry: Entry<'_>, words: &[u32]) {
        let Entry { document, frequency, kind, bytes } = entry;
        self.heads.push(document - self.first, frequency, kind);
        self.bytes.extend_from_slice(bytes);
        self.is_long |= kind == ANY;
        self.last = document;
        self.bound.add(frequency, words.get(document as usize).copied().unwrap_or(0));
    }

    fn documents(&self) -> impl Iterator<Item = DocumentId> {
        (0..self.heads.len()).map(|at| self.first + self.heads.offset(at))
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let mut bytes = self.bytes.as_slice();
        let entry = |at| {
            let (offset, frequency, kind) = self.heads.get(at);
            let (entry, rest) = bytes.split_at(size(kind, bytes));
            bytes = rest;
            Entry { document: self.first + offset, frequency, kind, bytes: entry }
        };
        (0..self.heads.len()).map(entry).collect()
    }
}

/// Bytes of an entry of this kind, with what is written before it.
fn size(kind: u8, bytes: &[u8]) -> usize {
    if kind < ANY {
        return usize::from(kind.saturating_sub(EMPTY));
    }
    let mut rest = bytes;
    let size = varint::read(&mut rest) as usize;
    size + bytes.len() - rest.len()
}

/// Frequency and kind for a head, and the bytes, in a block of this field.
fn encoded(occurrence: &Occurrence, field: u8) -> (u8, u8, Vec<u8>) {
    let mut bytes = Vec::new();
    let frequency = u8::try_from(occurrence.frequency).unwrap_or(ANY);
    let is_of_block = occurrence.fields == Fields::one(usize::from(field)).0;
    if let ([(in_field, position)], true) = (occurrence.positions.as_slice(), is_of_block)
        && *position < u32::from(EMPTY)
        && *in_field == field
        && (1..ANY).contains(&frequency)
    {
        return (frequency, *position as u8, bytes);
    }
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
    if bytes.len() < usize::from(ANY - EMPTY) {
        return (frequency, EMPTY + bytes.len() as u8, bytes);
    }
    let mut long = Vec::new();
    varint::write(&mut long, bytes.len() as u128);
    long.extend(bytes);
    (frequency, ANY, long)
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
    dense: Option<&'a Dense>,
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

    /// Frequency and kind of the entry, as its head says them.
    pub(crate) fn said(&self) -> u16 {
        let Some(block) = self.blocks.first() else { return 0 };
        let (_, frequency, kind) = block.heads.get(self.at);
        u16::from_be_bytes([frequency, kind])
    }

    /// The field and position, if the entry has no bytes.
    fn only_position(&self) -> Option<Position> {
        let block = self.blocks.first()?;
        Some((block.field, heads::position(self.said())?))
    }

    /// The fields in which the term is.
    pub(crate) fn fields(&mut self) -> Fields {
        if let Some((field, _)) = self.only_position() {
            return Fields::one(usize::from(field));
        }
        let (mut bytes, is_frequent) = self.entry();
        if is_frequent {
            varint::read(&mut bytes);
        }
        Fields(varint::read(&mut bytes))
    }

    /// Where the term is in these fields.
    pub(crate) fn positions(&mut self, fields: Fields, positions: &mut Vec<Position>) {
        let is_asked = |field: u8| fields.0 & Fields::one(usize::from(field)).0 != 0;
        if let Some(position) = self.only_position() {
            positions.extend(is_asked(position.0).then_some(position));
            return;
        }
        let (mut bytes, is_frequent) = self.entry();
        if is_frequent {
            varint::read(&mut bytes);
        }
        varint::read(&mut bytes);
        while !bytes.is_empty() {
            let field = varint::read(&mut bytes) as u8;
            let count = varint::read(&mut bytes) as usize;
            let is_asked = is_asked(field);
            let mut position = 0;
            for _ in 0..count {
                position += varint::read(&mut bytes) as u32;
                if is_asked {
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

    /// The bounds of the blocks from that in which it is.
    pub(crate) fn bounds(&self) -> impl ExactSizeIterator<Item = Bound> + use<'a> {
        self.blocks.iter().map(|block| block.bound)
    }

    /// One that only goes through a block, that many blocks behind the one in which this is.
    pub(crate) fn of_block(&self, ahead: usize) -> Reader<'a> {
        Reader { blocks: &self.blocks[ahead..=ahead], at: 0, place: (0, 0), dense: None }
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

    /// Entries of the blocks that have documents from where it is up to `last`.
    pub(crate) fn entries(&self, last: DocumentId) -> usize {
        let blocks = self.blocks.iter().take_while(|block| block.first <= last);
        blocks.map(|block| block.heads.len()).sum()
    }

    /// The documents from one on, whose number is a multiple of 64, in a bit each; none if only
    /// their heads tell.
    pub(crate) fn bits(&self, document: DocumentId) -> Option<&'a [u64]> {
        self.dense?.from(document)
    }

    /// Goes behind a document.
    pub(crate) fn leave(&mut self, last: DocumentId) {
        match last.checked_add(1) {
            Some(next) => _ = self.seek(next),
            None => self.blocks = &[],
        }
    }

    /// Tells `take` the heads of the documents from where it is up to `last`, in runs: how much to
    /// add to their offsets, and they. Goes behind them.
    #[inline]
    pub(crate) fn take(&mut self, last: DocumentId, mut take: impl FnMut(DocumentId, &[u32])) {
        while let Some(block) = self.blocks.first().filter(|block| block.first <= last) {
            let first = block.first;
            if let Some(block) = self.blocks.get(AHEAD) {
                block.heads.touch();
            }
            let taken = block.heads.take(self.at, last - first, |more, heads| {
                take(first + more, heads);
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
        if block.is_long {
            for passed in entry..self.at {
                place += size(block.heads.get(passed).2, &block.bytes[place..]);
            }
        } else {
            place += block.heads.bytes(entry..self.at);
        }
        entry = self.at;
        self.place = (entry, place);
        let (_, frequency, kind) = block.heads.get(entry);
        let mut bytes = &block.bytes[place..];
        let size = if kind < ANY { size(kind, bytes) } else { varint::read(&mut bytes) as usize };
        (&bytes[..size], frequency == ANY)
    }
}

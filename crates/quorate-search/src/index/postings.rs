//! Where a term occurs: documents in the order of their numbers, compressed in blocks.
//!
//! ```text
//! block    first and last document, entries, bytes
//! bytes    entry, entry, ...
//! entry    document less the one before | length | frequency | fields | positions
//! positions   for each field: how many | the first | each less the one before
//! ```
//!
//! All numbers but a block's head are variable-length. Readers skip blocks by their heads and
//! entries by their lengths. A posting is inserted and removed by writing its block anew, so that
//! nothing is left of what was removed, and frequencies of documents are always exact.

use alloc::vec::Vec;

use super::varint;
use crate::schema::Fields;

/// The number of a document in a partition. Numbers of removed ones are used again.
pub(crate) type DocumentId = u32;

/// Entries of a block. With more, changes cost more; with fewer, heads do.
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
    entries: usize,
    bytes: Vec<u8>,
}

impl Postings {
    /// How many documents have the term.
    pub(crate) fn documents(&self) -> u32 {
        self.documents
    }

    /// Adds a document that is not there yet.
    pub(crate) fn insert(&mut self, document: DocumentId, occurrence: &Occurrence) {
        self.documents += 1;
        let entry = encoded(occurrence);
        let at = self.blocks.partition_point(|block| block.last < document);
        // Most documents are newer than all others.
        if at == self.blocks.len() {
            match self.blocks.last_mut() {
                Some(last) if last.entries < ENTRIES_MAX => last.push(document, &entry),
                _ => self.blocks.push(Block::of(&[(document, &entry)])),
            }
            return;
        }
        let block = self.blocks.remove(at);
        let mut entries: Vec<(DocumentId, &[u8])> = block.read().collect();
        let place = entries.partition_point(|&(other, _)| other < document);
        entries.insert(place, (document, &entry));
        let size = if entries.len() > ENTRIES_MAX { ENTRIES_MAX / 2 + 1 } else { ENTRIES_MAX };
        let blocks: Vec<Block> = entries.chunks(size).map(Block::of).collect();
        self.blocks.splice(at..at, blocks);
    }

    /// Removes a document.
    pub(crate) fn remove(&mut self, document: DocumentId) {
        let at = self.blocks.partition_point(|block| block.last < document);
        let Some(block) = self.blocks.get(at) else { return };
        let entries: Vec<(DocumentId, &[u8])> = block.read().collect();
        let others: Vec<(DocumentId, &[u8])> =
            entries.iter().copied().filter(|&(other, _)| other != document).collect();
        if others.len() == entries.len() {
            return;
        }
        self.documents -= 1;
        if others.is_empty() {
            self.blocks.remove(at);
        } else {
            self.blocks[at] = Block::of(&others);
        }
    }

    /// A reader before the first document.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { blocks: &self.blocks, entries: None, entry: &[] }
    }
}

impl Block {
    fn of(entries: &[(DocumentId, &[u8])]) -> Block {
        let first = entries.first().map_or(0, |&(document, _)| document);
        let mut block = Block { first, last: first, entries: 0, bytes: Vec::new() };
        for &(document, entry) in entries {
            block.push(document, entry);
        }
        block
    }

    fn push(&mut self, document: DocumentId, entry: &[u8]) {
        varint::write(&mut self.bytes, u128::from(document - self.last));
        varint::write(&mut self.bytes, entry.len() as u128);
        self.bytes.extend_from_slice(entry);
        self.last = document;
        self.entries += 1;
    }

    fn read(&self) -> Entries<'_> {
        Entries { previous: self.first, bytes: &self.bytes }
    }
}

/// The entries of a block.
#[derive(Debug, Clone)]
struct Entries<'a> {
    previous: DocumentId,
    bytes: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (DocumentId, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        self.previous += varint::read(&mut self.bytes) as u32;
        let length = varint::read(&mut self.bytes) as usize;
        let (entry, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Some((self.previous, entry))
    }
}

fn encoded(occurrence: &Occurrence) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::write(&mut bytes, u128::from(occurrence.frequency));
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
    bytes
}

/// Goes through the documents of a term.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader<'a> {
    /// The block that is read, and those behind it.
    blocks: &'a [Block],
    /// What is left of the block, if it has been begun.
    entries: Option<Entries<'a>>,
    /// The document's, without its length.
    entry: &'a [u8],
}

impl Reader<'_> {
    /// Goes on to the first document from `target` on, which is behind the one before.
    pub(crate) fn seek(&mut self, target: DocumentId) -> Option<DocumentId> {
        if self.blocks.first()?.last < target {
            let passed = self.blocks.partition_point(|block| block.last < target);
            self.blocks = &self.blocks[passed..];
            self.entries = None;
        }
        let block = self.blocks.first()?;
        let entries = self.entries.get_or_insert_with(|| block.read());
        let (document, entry) = entries.find(|&(document, _)| document >= target)?;
        self.entry = entry;
        Some(document)
    }

    /// How often the term is in this document.
    pub(crate) fn frequency(&self) -> u32 {
        varint::read(&mut &*self.entry) as u32
    }

    /// The fields in which the term is.
    pub(crate) fn fields(&self) -> Fields {
        let mut bytes = self.entry;
        varint::read(&mut bytes);
        Fields(varint::read(&mut bytes))
    }

    /// Where the term is in these fields.
    pub(crate) fn positions(&self, fields: Fields, positions: &mut Vec<Position>) {
        let mut bytes = self.entry;
        varint::read(&mut bytes);
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
}

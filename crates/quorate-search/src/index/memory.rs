//! What an index occupies, by what is kept: counted as it changes, so that to ask costs nothing.
//!
//! Bytes are those of what is stored with its share of the maps around it. Allocators add a little.

use core::mem::size_of;
use core::ops::{AddAssign, SubAssign};

use super::document::{Entry, Held};
use super::sorting::SortValue;
use super::terms::TermId;
use crate::schema::FieldId;

/// Bytes that an ordered map or set takes for each entry besides the entry, about.
pub(super) const NODE_BYTES: usize = 16;

/// Bytes of the counters in front of what is shared.
pub(super) const SHARED_BYTES: usize = 2 * size_of::<usize>();

/// Bytes by what they are for, and a few counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Documents, without their keys and values to sort by.
    pub documents: usize,
    /// Keys, and the map from keys to documents.
    pub keys: usize,
    /// Values to sort by.
    pub sortable: usize,
    /// Where terms occur.
    pub postings: usize,
    /// Terms.
    pub terms: usize,
    /// Labels and their documents.
    pub labels: usize,
    /// Numbers and places.
    pub numbers: usize,
    /// Shapes.
    pub shapes: usize,
    /// Vectors and their graphs.
    pub vectors: usize,
    /// Blocks of postings.
    pub blocks: usize,
    /// How often a document has a term.
    pub records: usize,
}

impl Memory {
    /// All bytes.
    pub fn total(&self) -> usize {
        let kept = self.documents + self.keys + self.sortable;
        let text = self.postings + self.terms;
        kept + text + self.labels + self.numbers + self.shapes + self.vectors
    }
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.keys += other.keys;
        self.sortable += other.sortable;
        self.postings += other.postings;
        self.terms += other.terms;
        self.labels += other.labels;
        self.numbers += other.numbers;
        self.shapes += other.shapes;
        self.vectors += other.vectors;
        self.blocks += other.blocks;
        self.records += other.records;
    }
}

impl SubAssign for Memory {
    fn sub_assign(&mut self, other: Self) {
        self.documents -= other.documents;
        self.keys -= other.keys;
        self.sortable -= other.sortable;
        self.postings -= other.postings;
        self.terms -= other.terms;
        self.labels -= other.labels;
        self.numbers -= other.numbers;
        self.shapes -= other.shapes;
        self.vectors -= other.vectors;
        self.blocks -= other.blocks;
        self.records -= other.records;
    }
}

/// What a document takes that is no posting: in the table of documents, and in the fields.
pub(super) fn of_entry(entry: &Entry) -> Memory {
    let text = |(_, value): &(FieldId, SortValue)| match value {
        SortValue::Number(_) => size_of::<(FieldId, SortValue)>(),
        SortValue::Text(text) => size_of::<(FieldId, SortValue)>() + text.len(),
    };
    let mut memory = Memory {
        documents: size_of::<Option<Entry>>()
            + entry.terms.len() * size_of::<TermId>()
            + size_of_val(&*entry.values)
            + entry.payload.as_ref().map_or(0, |payload| payload.len()),
        keys: entry.key.len()
            + SHARED_BYTES
            + size_of::<(usize, usize, u32)>()
            + NODE_BYTES
            + size_of::<u64>(),
        sortable: entry.sortable.iter().map(text).sum(),
        records: entry.terms.len(),
        ..Memory::default()
    };
    for (_, held) in &entry.values {
        match held {
            // Of the label itself its own map tells. In a set a number takes two bytes.
            Held::Label(_) => memory.labels += size_of::<u16>(),
            Held::Number(_) | Held::Place(_) => {
                memory.numbers += size_of::<(u64, u32)>() + NODE_BYTES;
            }
        }
    }
    memory
}

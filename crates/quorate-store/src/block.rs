//! A small collection: its records in one piece of memory, found by looking through them.
//!
//! ```text
//! block := count:u16le end:u16le base:12 record* spare
//! ```
//! Of elements with an order, the records stand in it. The block is all that most collections
//! take, so the room to spare is what an allocator gives away anyway. See [`crate::record`] for the
//! records.

use std::ops::Range;

use quorate_proto::Stamp;

use crate::record::{self, Record};

/// Most elements of a block, so that looking through it stays cheap.
pub(crate) const ELEMENTS_MAX: usize = 128;

/// Longest block in bytes: takes as many elements with names of 64 bytes.
const BYTES_MAX: usize = 10 << 10;

const HEAD: usize = 2 + 2 + Stamp::LENGTH;

const _: () = assert!(BYTES_MAX <= u16::MAX as usize, "more bytes than elements");

/// Records one behind the other. An empty block takes no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block(Box<[u8]>);

impl Block {
    /// Number of elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.number(0)
    }

    /// Where the records end.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.number(2).max(HEAD)
    }

    #[inline]
    fn number(&self, at: usize) -> usize {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
    }

    fn set_numbers(&mut self, len: usize, end: usize) {
        self.0[..2].copy_from_slice(&(len as u16).to_le_bytes());
        self.0[2..4].copy_from_slice(&(end as u16).to_le_bytes());
    }

    /// The stamp that those of the records refer to; of an empty block, the one that `first` is.
    #[inline]
    pub(crate) fn base_or(&self, first: Stamp) -> Stamp {
        if self.len() == 0 {
            return first;
        }
        let bytes = self.0[4..].first_chunk();
        bytes.map_or(first, |bytes| Stamp::from_bytes(*bytes))
    }

    /// Whether a record may take the place of what is at `at`.
    pub(crate) fn takes(&self, at: &Range<usize>, record: &[u8]) -> bool {
        self.len() < ELEMENTS_MAX + usize::from(!at.is_empty())
            && self.end() + record.len() - at.len() <= BYTES_MAX
    }

    /// The records in their order.
    #[inline]
    pub(crate) fn records(&self) -> Records<'_> {
        let rest = self.0.get(HEAD..self.end()).unwrap_or_default();
        Records { rest, left: self.len(), base: self.base_or(Stamp::ZERO) }
    }

    /// The record of a name.
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<Record<'_>> {
        record::find(self.0.get(HEAD..self.end())?, name).map(|(_, record)| record)
    }

    /// Where the record of a name is.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<(Range<usize>, Record<'_>)> {
        let (at, record) = record::find(self.0.get(HEAD..self.end())?, name)?;
        let start = HEAD + at;
        Some((start..start + record.encoded.len(), record))
    }

    /// Where the first record begins that `is_behind` holds for; the end without one.
    pub(crate) fn first_behind(&self, mut is_behind: impl FnMut(Record<'_>) -> bool) -> usize {
        let (end, mut records) = (self.end(), self.records());
        loop {
            let start = end - records.rest.len();
            if records.next().is_none_or(&mut is_behind) {
                return start;
            }
        }
    }

    /// Puts a record in the place of the one at `at`; before what begins there, if `at` is empty.
    /// An empty block takes `base` for its own.
    pub(crate) fn put(&mut self, base: Stamp, at: Range<usize>, record: &[u8]) {
        if at.len() != record.len() {
            self.make_room(base, &at, record.len());
        }
        self.0[at.start..at.start + record.len()].copy_from_slice(record);
    }

    /// Makes what is at `at` as long as a record.
    fn make_room(&mut self, base: Stamp, at: &Range<usize>, length: usize) {
        let (len, old_end) = (self.len(), self.end());
        let end = old_end - at.len() + length;
        if self.0.len() < end {
            self.set_capacity(end);
        }
        if len == 0 {
            self.0[4..HEAD].copy_from_slice(&base.to_bytes());
        }
        self.0.copy_within(at.end..old_end, at.start + length);
        self.set_numbers(len + usize::from(at.is_empty()), end);
    }

    /// Removes the record at `at`.
    pub(crate) fn remove(&mut self, at: Range<usize>) {
        let (len, old_end) = (self.len() - 1, self.end());
        if len == 0 {
            self.0 = Box::default();
            return;
        }
        let end = old_end - at.len();
        self.0.copy_within(at.end..old_end, at.start);
        self.set_numbers(len, end);
        if spaced(end) * 2 <= self.0.len() {
            self.set_capacity(end);
        }
    }

    /// Makes room for records that are about to come, so that the block does not grow with each.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        let wanted = (self.end() + bytes).min(BYTES_MAX);
        if self.0.len() < wanted {
            self.set_capacity(wanted);
        }
    }

    /// Gives back the room that is left of what was [reserved](Block::reserve).
    pub(crate) fn fit(&mut self) {
        if self.len() == 0 {
            self.0 = Box::default();
        } else if spaced(self.end()) < self.0.len() {
            self.set_capacity(self.end());
        }
    }

    fn set_capacity(&mut self, wanted: usize) {
        let kept = self.0.len().min(self.end());
        // Not by resizing: allocators leave what shrinks where it is.
        let mut bytes = Vec::with_capacity(spaced(wanted));
        bytes.extend_from_slice(&self.0[..kept]);
        bytes.resize(spaced(wanted), 0);
        self.0 = bytes.into_boxed_slice();
    }
}

/// The length that allocators give to what is `length` long: eighths of a power of two.
fn spaced(length: usize) -> usize {
    length.next_multiple_of((length.next_power_of_two() / 8).max(16))
}

/// Walks through the records of a block.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    left: usize,
    /// What their stamps refer to.
    pub(crate) base: Stamp,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(Record::take(&mut self.rest))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Records<'_> {}

//! The order of names in a large collection whose names have one that means something.
//!
//! It is a [sequence](crate::sequence) of the numbers of elements, so that the elements whose names
//! begin alike stand side by side, and the one at a position is found in O(log n). What orders its
//! elements by position gives them names that sort so.

use std::ops::Range;

use crate::{elements::Payload, indexed::Indexed, live::Order, sequence::Sequence};

/// Numbers of elements, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct ByName(Sequence<u32>);

fn name(records: &Indexed, number: u32) -> &[u8] {
    records.get(number as usize).expect("invariant: every place has an element").name
}

fn place(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: fewer than 2^32 elements")
}

impl ByName {
    /// The positions of the names that begin with a prefix.
    pub(crate) fn beginning_with(&self, records: &Indexed, prefix: &[u8]) -> Range<usize> {
        let start = self.0.partition_point(|number| name(records, number) < prefix);
        let end = self.0.partition_point(|number| {
            let name = name(records, number);
            name < prefix || name.starts_with(prefix)
        });
        start..end
    }

    /// The numbers of the elements at some positions.
    pub(crate) fn range(&self, positions: Range<usize>) -> impl Iterator<Item = usize> {
        let numbers = self.0.range(positions.start, positions.end).into_iter();
        numbers.map(|number| number as usize)
    }

    fn position(&self, records: &Indexed, number: usize) -> usize {
        let own = name(records, place(number));
        self.0.partition_point(|number| name(records, number) < own)
    }
}

impl<P: Payload> Order<P> for ByName {
    fn add(&mut self, records: &Indexed, number: usize) {
        self.0.insert(self.position(records, number), place(number));
    }

    fn remove(&mut self, records: &Indexed, number: usize) {
        self.0.remove(self.position(records, number));
    }

    fn renumber(&mut self, records: &Indexed, old: usize, new: usize) {
        self.0.replace(self.position(records, old), place(new));
    }
}

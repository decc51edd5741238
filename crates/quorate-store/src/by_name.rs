//! The order of names in a large collection whose names have one that means something.
//!
//! It is a [sequence](crate::sequence) of the numbers of elements, so that the elements whose names
//! begin alike stand side by side, and the one at a position is found in O(log n). What orders its
//! elements by position gives them names that sort so.

use std::ops::Range;

use crate::{elements::Payload, indexed::Indexed, live::Order, sequence::Sequence};

/// Positions on either side of the last change that are looked at first.
const NEAR: usize = 16;

/// Numbers of elements, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct ByName {
    order: Sequence<u32>,
    /// Where the last change was: what is written as a whole comes about in this order, so the next
    /// one is near.
    last: usize,
}

/// The name of the element with a number.
pub(crate) fn name(records: &Indexed, number: u32) -> &[u8] {
    records.get(number as usize).expect("invariant: every place has an element").name
}

fn place(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: fewer than 2^32 elements")
}

impl ByName {
    /// The positions of the names that begin with a prefix.
    pub(crate) fn beginning_with(&self, records: &Indexed, prefix: &[u8]) -> Range<usize> {
        let start = self.order.partition_point(|number| name(records, number) < prefix);
        let end = self.order.partition_point(|number| {
            let name = name(records, number);
            name < prefix || name.starts_with(prefix)
        });
        start..end
    }

    /// The numbers of the elements at some positions.
    pub(crate) fn range(&self, positions: Range<usize>) -> impl Iterator<Item = usize> {
        let numbers = self.order.range(positions.start, positions.end).into_iter();
        numbers.map(|number| number as usize)
    }

    /// The numbers of the elements at some positions, in a row.
    pub(crate) fn numbers(&self, positions: Range<usize>) -> Vec<u32> {
        self.order.range(positions.start, positions.end)
    }

    /// The position of a name, or the one where it belongs, for a change there.
    fn near(&mut self, records: &Indexed, own: &[u8]) -> usize {
        let start = self.last.saturating_sub(NEAR);
        let window = self.order.range(start, self.last + NEAR);
        let is_before = |number: &u32| name(records, *number) < own;
        let begins = start == 0 || window.first().is_some_and(is_before);
        let ends = start + window.len() == self.order.len()
            || window.last().is_some_and(|number| !is_before(number));
        self.last = match begins && ends {
            true => start + window.partition_point(is_before),
            false => self.order.partition_point(|number| is_before(&number)),
        };
        self.last
    }

    fn position(&self, records: &Indexed, number: usize) -> usize {
        let own = name(records, place(number));
        self.order.partition_point(|number| name(records, number) < own)
    }
}

impl<P: Payload> Order<P> for ByName {
    fn add(&mut self, records: &Indexed, number: usize) {
        let number = place(number);
        let position = self.near(records, name(records, number));
        self.order.insert(position, number);
    }

    fn remove(&mut self, records: &Indexed, number: usize) {
        let position = self.near(records, name(records, place(number)));
        self.order.remove(position);
    }

    fn renumber(&mut self, records: &Indexed, old: usize, new: usize) {
        self.order.replace(self.position(records, old), place(new));
    }
}

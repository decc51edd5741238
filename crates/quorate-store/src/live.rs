//! The live elements of a collection: in a [block](crate::block) while they are few and short, with
//! an [index](crate::indexed) and an order of their own when they are not.
//!
//! A collection that outgrows its block gets an index, and loses it only when a fraction of what a
//! block takes is left, or when all of it is written anew.

use std::{fmt, marker::PhantomData, ops::Range, sync::Arc};

use foldhash::fast::FixedState;
use quorate_proto::Stamp;

use crate::{
    block::{self, Block},
    digest::Digest,
    elements::{ElementOf, Payload},
    indexed::{self, Indexed},
    record::{Encoded, Record, encode},
};

/// A collection with so many elements left goes back into a block.
const BACK_MAX: usize = block::ELEMENTS_MAX / 4;

/// In which order the elements of a large collection stand, beside that of their numbers.
pub trait Order<P: Payload>: Default + Clone + fmt::Debug {
    /// Takes up the element with a number.
    fn add(&mut self, records: &Indexed, number: usize);

    /// Lets go of the element with a number.
    fn remove(&mut self, records: &Indexed, number: usize);

    /// The element `old` will get the number `new`.
    fn renumber(&mut self, records: &Indexed, old: usize, new: usize);
}

/// No order that means anything.
impl<P: Payload> Order<P> for () {
    fn add(&mut self, _: &Indexed, _: usize) {}

    fn remove(&mut self, _: &Indexed, _: usize) {}

    fn renumber(&mut self, _: &Indexed, _: usize, _: usize) {}
}

/// Live elements.
#[derive(Clone, Debug)]
pub(crate) enum Live<P: Payload> {
    Block(Block),
    /// Shared with copies until one of them changes.
    Large(Arc<Large<P>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Large<P: Payload> {
    pub(crate) records: Indexed,
    pub(crate) order: P::Order,
    /// Of the elements. To compute it for those of a block costs less than to keep it.
    digest: Option<Digest>,
    /// At least the newest stamp of the elements, and one that was of an element.
    newest: Stamp,
}

impl<P: Payload> Default for Live<P> {
    fn default() -> Self {
        Self::Block(Block::default())
    }
}

impl<P: Payload> Live<P> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Block(block) => block.len(),
            Self::Large(large) => large.records.len(),
        }
    }

    /// The element `name`.
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<ElementOf<'_, P>> {
        match self {
            Self::Block(block) => Some(block.get(name)?.element(block.base_or(Stamp::ZERO))),
            Self::Large(large) => large.element(large.records.find(name)?).map(|(_, found)| found),
        }
    }

    /// The element at `index`, `0..len()`.
    pub(crate) fn at(&self, index: usize) -> Option<(&[u8], ElementOf<'_, P>)> {
        match self {
            Self::Block(_) => self.iter().nth(index),
            Self::Large(large) => large.element(index),
        }
    }

    /// All elements.
    pub(crate) fn iter(&self) -> Iter<'_, P> {
        let (records, base) = match self {
            Self::Block(block) => {
                let records = block.records();
                let base = records.base;
                (Walk::Block(records), base)
            }
            Self::Large(large) => (Walk::Large(large.records.records()), large.records.base()),
        };
        Iter { records, base, payload: PhantomData }
    }

    /// Whether the digest of the elements is kept, and the digest, unless elements have moved since
    /// it was [kept](Live::keep).
    pub(crate) fn kept_digest(&self) -> Option<Option<Digest>> {
        match self {
            Self::Block(_) => None,
            Self::Large(large) => Some(large.digest),
        }
    }

    /// Keeps the digest of the elements where it is worth it, and that one of them has been given
    /// this stamp.
    pub(crate) fn keep(&mut self, digest: Digest, stamp: Stamp) {
        if let Self::Large(large) = self {
            let large = Arc::make_mut(large);
            large.digest = Some(digest);
            large.newest = large.newest.max(stamp);
        }
    }

    /// The newest stamp of the elements; of many, one that is as new at least, and was theirs.
    pub(crate) fn newest(&self) -> Stamp {
        match self {
            Self::Block(_) => {
                self.iter().map(|(_, element)| element.newest()).max().unwrap_or_default()
            }
            Self::Large(large) => large.newest,
        }
    }

    /// Puts in the place of the element `name` what `change` makes of it: the record that it writes,
    /// or nothing. `change` also gets the base of the record, which is `first` in a collection
    /// without elements. Returns what `change` does, `None` for no change, and whether there was an
    /// element.
    #[inline]
    pub(crate) fn update<R>(
        &mut self,
        hasher: &FixedState,
        name: &[u8],
        first: Stamp,
        change: impl FnOnce(&mut Encoded, Stamp, Option<ElementOf<'_, P>>) -> Option<R>,
    ) -> (Option<R>, bool) {
        let mut record = Encoded::new();
        let block = match self {
            Self::Block(block) => block,
            Self::Large(large) => {
                let result = Arc::make_mut(large).update(&mut record, name, change);
                if large.records.len() <= BACK_MAX {
                    self.update_all(hasher, |_, _| {});
                }
                return result;
            }
        };
        let base = block.base_or(first);
        let found = block.find(name);
        let old = found.as_ref().map(|(_, record)| record.element(base));
        let was_live = old.is_some();
        let Some(result) = change(&mut record, base, old) else { return (None, was_live) };
        let stays = old.is_some_and(|old| stays::<P>(base, old, &record));
        let mut at = found.map(|(at, _)| at);
        if let Some(at) = at.take_if(|_| !stays) {
            block.remove(at);
        }
        if !record.is_empty() && !place::<P>(block, at, base, &record) {
            self.enlarge(hasher, base).put(&record);
        }
        (Some(result), was_live)
    }

    /// Lets `change` work on every element and keeps those that are live, all written anew.
    pub(crate) fn update_all(
        &mut self,
        hasher: &FixedState,
        mut change: impl FnMut(&[u8], &mut P),
    ) {
        let (mut new, mut newest) = (Self::default(), Stamp::ZERO);
        for (name, element) in self.iter() {
            let mut payload = P::of(element);
            change(name, &mut payload);
            if payload.is_live() {
                let element = payload.element();
                newest = newest.max(element.newest());
                let base = new.base_or(element.stamp());
                let mut record = Encoded::new();
                encode(&mut record, base, name, element);
                new.push(hasher, base, &record);
            }
        }
        if let Self::Large(large) = &mut new {
            Arc::make_mut(large).newest = newest;
        }
        *self = new;
    }

    /// What the stamps of records refer to; of the first one, `first`.
    fn base_or(&self, first: Stamp) -> Stamp {
        match self {
            Self::Block(block) => block.base_or(first),
            Self::Large(large) => large.records.base(),
        }
    }

    /// Adds a record whose name is not there.
    fn push(&mut self, hasher: &FixedState, base: Stamp, record: &[u8]) {
        let fits = match self {
            Self::Block(block) => place::<P>(block, None, base, record),
            Self::Large(_) => false,
        };
        if !fits {
            self.enlarge(hasher, base).put(record);
        }
    }

    /// Makes room for elements that are about to come, about so many bytes, so that what is small
    /// does not grow with each.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        if let Self::Block(block) = self {
            block.reserve(bytes);
        }
    }

    /// Gives back the room that is left of what was [reserved](Live::reserve).
    pub(crate) fn fit(&mut self) {
        if let Self::Block(block) = self {
            block.fit();
        }
    }

    /// Puts an index over what was a block, whose records refer to `base`.
    fn enlarge(&mut self, hasher: &FixedState, base: Stamp) -> &mut Large<P> {
        let newest = self.newest();
        if let Self::Block(block) = self {
            let records = Indexed::new(hasher, base);
            let mut large = Large { records, order: P::Order::default(), digest: None, newest };
            block.records().for_each(|record| large.put(record.encoded));
            *self = Self::Large(Arc::new(large));
        }
        match self {
            Self::Large(large) => Arc::make_mut(large),
            Self::Block(_) => unreachable!("invariant: it was enlarged"),
        }
    }
}

/// The name and the element of a record.
fn named<P: Payload>(base: Stamp, mut record: &[u8]) -> (&[u8], ElementOf<'_, P>) {
    let record = Record::take(&mut record);
    (record.name, record.element(base))
}

/// Whether an element stays, and where it stands, when a record takes its place, or none.
#[inline]
fn stays<P: Payload>(base: Stamp, old: ElementOf<'_, P>, new: &[u8]) -> bool {
    !new.is_empty() && (!P::IS_ORDERED || P::keeps_place(old, named::<P>(base, new).1))
}

/// Puts a record into a block, in the place of the one at `at` or else where it belongs. Returns
/// whether it fits; if not, what was at `at` is gone.
#[inline]
fn place<P: Payload>(
    block: &mut Block,
    at: Option<Range<usize>>,
    base: Stamp,
    record: &[u8],
) -> bool {
    let at = at.unwrap_or_else(|| {
        let start = if P::IS_ORDERED {
            let new = named::<P>(base, record);
            block.first_behind(|old| P::is_before(new, (old.name, old.element(base))))
        } else {
            block.end()
        };
        start..start
    });
    if block.takes(&at, record) {
        block.put(base, at, record);
        return true;
    }
    if !at.is_empty() {
        block.remove(at);
    }
    false
}

impl<P: Payload> Large<P> {
    /// The name and the element with a number.
    fn element(&self, number: usize) -> Option<(&[u8], ElementOf<'_, P>)> {
        let record = self.records.get(number)?;
        Some((record.name, record.element(self.records.base())))
    }

    /// Adds a record whose name is not there.
    fn put(&mut self, record: &[u8]) {
        let number = self.records.push(record);
        self.order.add(&self.records, number);
    }

    /// See [`Live::update`].
    fn update<R>(
        &mut self,
        record: &mut Encoded,
        name: &[u8],
        change: impl FnOnce(&mut Encoded, Stamp, Option<ElementOf<'_, P>>) -> Option<R>,
    ) -> (Option<R>, bool) {
        let base = self.records.base();
        let Some(number) = self.records.find(name) else {
            let result = change(record, base, None);
            if !record.is_empty() {
                self.put(record);
            }
            return (result, false);
        };
        let (_, old) = self.element(number).expect("invariant: a number that was found");
        let Some(result) = change(record, base, Some(old)) else { return (None, true) };
        let stays = stays::<P>(base, old, record);
        if !stays {
            self.order.remove(&self.records, number);
        }
        if !record.is_empty() {
            self.records.replace(number, record);
            if !stays {
                self.order.add(&self.records, number);
            }
        } else {
            let last = self.records.len() - 1;
            if number != last {
                self.order.renumber(&self.records, last, number);
            }
            self.records.swap_remove(number);
        }
        (Some(result), true)
    }
}

/// Walks through live elements.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a, P> {
    records: Walk<'a>,
    base: Stamp,
    payload: PhantomData<P>,
}

#[derive(Clone, Debug)]
enum Walk<'a> {
    Block(block::Records<'a>),
    Large(indexed::Records<'a>),
}

impl<'a, P: Payload> Iterator for Iter<'a, P> {
    type Item = (&'a [u8], ElementOf<'a, P>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let record: Record<'a> = match &mut self.records {
            Walk::Block(records) => records.next(),
            Walk::Large(records) => records.next(),
        }?;
        Some((record.name, record.element(self.base)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.records {
            Walk::Block(records) => records.size_hint(),
            Walk::Large(records) => records.size_hint(),
        }
    }
}

impl<P: Payload> ExactSizeIterator for Iter<'_, P> {}

#[cfg(test)]
mod tests;

//! How an element of a collection lies in memory: name, stamp and value in one piece.
//!
//! ```text
//! record := length:varint head:varint name clock:varint [origin:u32le] [added] value
//! length := of what follows it
//! head   := 4 * length of the name, + 2 if the origin is not that of the base, + 1 with `added`
//! clock  := zigzag of the difference to the clock of the base
//! added  := head:varint contribution*          2 * their number, + 1 if there is a value
//! value  := the value of a field | score | nothing
//! varint := LEB128
//! ```
//! The *base* is a stamp of the collection, to which those of its elements are near: elements
//! written by one command differ from each other by a byte. Nothing here leaves the process.

use quorate_proto::{Origin, Stamp};
use smallvec::SmallVec;

use crate::{
    cell::{Contribution, Contributions, Element, Value},
    varint,
};

const ADDED: u64 = 1;
const OTHER_ORIGIN: u64 = 2;
const NAME_SHIFT: u32 = 2;
const HAS_VALUE: u64 = 1;

/// An encoded element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// All of it.
    pub(crate) encoded: &'a [u8],
    pub(crate) name: &'a [u8],
    flags: u64,
    /// What follows the name.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes a record off the front of `input`, which holds whole ones.
    #[inline]
    pub(crate) fn take(input: &mut &'a [u8]) -> Self {
        let whole = *input;
        let length = varint::read(input) as usize;
        let (mut record, rest) = input.split_at(length);
        *input = rest;
        let encoded = &whole[..whole.len() - rest.len()];
        let head = varint::read(&mut record);
        let (name, rest) = record.split_at((head >> NAME_SHIFT) as usize);
        Self { encoded, name, flags: head, rest }
    }

    /// The element.
    #[inline]
    pub(crate) fn element<V: Value<'a>>(self, base: Stamp) -> Element<'a, V> {
        let mut rest = self.rest;
        let clock = varint::zigzag_back(varint::read(&mut rest));
        let clock = base.clock().wrapping_add_signed(clock);
        let mut origin = base.origin();
        if self.flags & OTHER_ORIGIN != 0 {
            let (bytes, behind) = rest.split_first_chunk().expect("invariant: records are whole");
            (origin, rest) = (Origin(u32::from_le_bytes(*bytes)), behind);
        }
        let stamp = Stamp::new(clock, origin);
        if self.flags & ADDED == 0 {
            return Element::written(V::read(rest), stamp);
        }
        let head = varint::read(&mut rest);
        let (added, value) = rest.split_at((head >> 1) as usize * Contribution::LENGTH);
        let value = (head & HAS_VALUE != 0).then(|| V::read(value));
        Element::new(value, stamp, Contributions::Encoded(added))
    }
}

/// The record of a name, and where among `records` it begins.
pub(crate) fn find<'a>(records: &'a [u8], name: &[u8]) -> Option<(usize, Record<'a>)> {
    // Names that differ mostly do so at their end, so one byte tells most records that are short
    // apart from the one that is looked for: where its name would end.
    let head_length = varint::length((name.len() as u64) << NAME_SHIFT);
    let (last, last_at) = (name.last(), head_length + name.len());
    let mut rest = records;
    loop {
        let length = *rest.first()?;
        let is_short = length < 0x80;
        if !is_short || last.is_none_or(|last| rest.get(last_at) == Some(last)) {
            let mut behind = rest;
            let record = Record::take(&mut behind);
            if record.name == name {
                return Some((records.len() - rest.len(), record));
            }
            rest = behind;
        } else {
            rest = rest.get(1 + usize::from(length)..)?;
        }
    }
}

/// An encoded record. Most are short.
pub(crate) type Encoded = SmallVec<[u8; 128]>;

/// Makes `record`, which is empty, that of an element.
pub(crate) fn encode<'a, V: Value<'a>>(
    record: &mut Encoded,
    base: Stamp,
    name: &[u8],
    element: Element<'a, V>,
) {
    let (stamp, added) = (element.stamp(), element.contributions());
    let is_plain = added.is_empty() && element.register().is_some();
    let is_other = stamp.origin() != base.origin();
    let flags = if is_plain { 0 } else { ADDED } | if is_other { OTHER_ORIGIN } else { 0 };
    record.push(0);
    varint::write(record, (name.len() as u64) << NAME_SHIFT | flags);
    record.extend_from_slice(name);
    let clock = stamp.clock().wrapping_sub(base.clock()) as i64;
    varint::write(record, varint::zigzag(clock));
    if is_other {
        record.extend_from_slice(&stamp.origin().0.to_le_bytes());
    }
    if !is_plain {
        let has_value = if element.register().is_some() { HAS_VALUE } else { 0 };
        varint::write(record, (added.iter().count() as u64) << 1 | has_value);
        added.iter().for_each(|contribution| contribution.write(record));
    }
    if let Some(value) = element.register() {
        value.write(record);
    }
    prepend_length(record);
}

/// Writes the length in front of a record, which has left a byte for it: mostly enough.
fn prepend_length(record: &mut Encoded) {
    let length = record.len() - 1;
    if length < 0x80 {
        record[0] = length as u8;
    } else {
        let mut bytes = Encoded::new();
        varint::write(&mut bytes, length as u64);
        record.remove(0);
        record.insert_from_slice(0, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cell::Sum;

    fn stamp() -> impl Strategy<Value = Stamp> {
        let near = (0..9_u64).prop_map(|clock| Stamp::new((1 << 60) + clock, Origin(7)));
        let any = (any::<u64>(), any::<u32>());
        prop_oneof![near, any.prop_map(|(clock, origin)| Stamp::new(clock, Origin(origin)))]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_record_is_what_was_written(
            base in stamp(),
            stamp in stamp(),
            name in prop::collection::vec(any::<u8>(), 0..200),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..20_000)),
            added in prop::collection::vec((stamp(), any::<[u8; 16]>()), 0..4),
        ) {
            let added: Vec<Contribution> = added
                .into_iter()
                .map(|(at, sum)| Contribution { since: at, last: at, sum: Sum::from_bytes(sum) })
                .collect();
            let element =
                Element::new(value.as_deref(), stamp, Contributions::Stored(&added));
            let mut bytes = Encoded::new();
            encode(&mut bytes, base, &name, element);
            bytes.extend_from_slice(b"next");
            let mut input = &bytes[..];
            let record = Record::take(&mut input);
            prop_assert_eq!(record.name, name);
            prop_assert_eq!(record.element::<&[u8]>(base), element);
            prop_assert_eq!(input, b"next");
        }
    }

    #[test]
    fn an_element_takes_little_more_than_its_name_and_value() {
        let base = Stamp::new(1_700_000_000_000 << 16, Origin(9));
        let stamp = Stamp::new(base.clock() + 50, Origin(9));
        let element = Element::written(&[b'v'; 16][..], stamp);
        let mut record = Encoded::new();
        encode(&mut record, base, &[b'f'; 16], element);
        assert_eq!(record.len(), 16 + 16 + 3);
    }
}

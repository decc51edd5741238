//! A small sorted set in one block of bytes.
//!
//! ```text
//! member := head:u8 name clock:varint [origin:u32le] score
//! head   := length of the name, plus 0x80 when the origin is not that of the base
//! clock  := zigzag of the difference to the clock of the base
//! score  := 0:u8 double:u64le | varint of 1 + zigzag of an integer
//! varint := LEB128
//! ```
//! Members stand in the order of their scores, then of their names, and everything is found by
//! looking through them, of which there are few. A member with increments, a long name or one too
//! many needs a [table](crate::ranked).

use quorate_proto::{Origin, Stamp};

use crate::{cell::Element, score::Score};

/// Most members, and the longest name: Redis's limits for its compact encoding.
const MEMBERS_MAX: usize = 128;
const NAME_MAX: usize = 64;
const _: () = assert!(NAME_MAX < OTHER_ORIGIN as usize);

/// Set in the head of a member with an origin of its own.
const OTHER_ORIGIN: u8 = 0x80;

/// Integers below this are exact.
const INTEGER_MAX: f64 = (1_u64 << 53) as f64;

/// A block of members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    len: usize,
    /// The stamp of the first member ever, to which the others are near.
    base: Stamp,
}

impl Packed {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the block can take one more member, of this name.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        name.len() <= NAME_MAX && self.len < MEMBERS_MAX
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Element<'static, Score>> {
        self.iter().find(|(found, _)| *found == name).map(|(_, element)| element)
    }

    /// Members in their order.
    pub(crate) fn iter(&self) -> Members<'_> {
        Members { rest: &self.bytes, left: self.len, base: self.base }
    }

    /// Adds a member whose name is not there.
    pub(crate) fn insert(&mut self, name: &[u8], score: Score, stamp: Stamp) {
        if self.len == 0 {
            self.base = stamp;
        }
        let mut member = Vec::with_capacity(NAME_MAX);
        write(&mut member, self.base, name, score, stamp);
        let mut members = self.iter();
        let mut at = 0;
        while let Some((other, element)) = members.next() {
            if (element.score(), other) > (score, name) {
                break;
            }
            at = self.bytes.len() - members.rest.len();
        }
        // The block is all that most small sorted sets take, so it has no room to spare.
        self.bytes.reserve_exact(member.len());
        self.bytes.splice(at..at, member);
        self.len += 1;
    }

    /// Removes a member.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let mut members = self.iter();
        let mut start = 0;
        while let Some((other, _)) = members.next() {
            let end = self.bytes.len() - members.rest.len();
            if other == name {
                self.bytes.drain(start..end);
                self.bytes.shrink_to_fit();
                self.len -= 1;
                return;
            }
            start = end;
        }
    }
}

/// Walks through the members of a block.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    rest: &'a [u8],
    left: usize,
    base: Stamp,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Element<'static, Score>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&head, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at(usize::from(head & !OTHER_ORIGIN));
        self.rest = rest;
        self.left -= 1;
        let clock = self.base.clock().wrapping_add_signed(zigzag_back(self.varint()));
        let origin = match head & OTHER_ORIGIN {
            0 => self.base.origin(),
            _ => Origin(u32::from_le_bytes(self.array())),
        };
        let score = match self.varint() {
            0 => f64::from_bits(u64::from_le_bytes(self.array())),
            integer => zigzag_back(integer - 1) as f64,
        };
        let score = Score::new(score).expect("invariant: a score is a number");
        Some((name, Element::written(score, Stamp::new(clock, origin))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Members<'_> {}

impl Members<'_> {
    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.rest.split_first_chunk().expect("invariant: members are whole");
        self.rest = rest;
        *head
    }
}

fn write(out: &mut Vec<u8>, base: Stamp, name: &[u8], score: Score, stamp: Stamp) {
    let other = stamp.origin() != base.origin();
    out.push(name.len() as u8 | if other { OTHER_ORIGIN } else { 0 });
    out.extend_from_slice(name);
    write_varint(out, zigzag(stamp.clock().wrapping_sub(base.clock()) as i64));
    if other {
        out.extend_from_slice(&stamp.origin().0.to_le_bytes());
    }
    let value = score.value();
    if value % 1.0 == 0.0 && value.abs() < INTEGER_MAX {
        write_varint(out, 1 + zigzag(value as i64));
    } else {
        out.push(0);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small for numbers near zero, on either side.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn zigzag_back(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-3..3_i32).prop_map(f64::from),
            any::<f64>().prop_filter("a number", |value| !value.is_nan()),
            Just(f64::INFINITY),
            Just(9_007_199_254_740_992.0),
            Just(-9_007_199_254_740_991.0),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_block_is_a_sorted_map(
            steps in prop::collection::vec(
                (".{0,5}", score(), any::<u64>(), any::<u32>(), any::<bool>(), any::<bool>()),
                1..60,
            ),
        ) {
            let mut packed = Packed::default();
            let mut naive: BTreeMap<Vec<u8>, (Score, Stamp)> = BTreeMap::new();
            for (name, score, clock, origin, same_origin, removes) in steps {
                let name = name.into_bytes();
                if naive.remove(&name).is_some() {
                    packed.remove(&name);
                }
                if !removes {
                    let origin = Origin(if same_origin { 7 } else { origin });
                    let (score, stamp) = (Score::new(score).expect("a number"), Stamp::new(clock, origin));
                    packed.insert(&name, score, stamp);
                    naive.insert(name, (score, stamp));
                }
                let mut sorted: Vec<_> =
                    naive.iter().map(|(name, (score, stamp))| (*score, name.as_slice(), *stamp)).collect();
                sorted.sort_unstable();
                let found: Vec<_> = packed
                    .iter()
                    .map(|(name, element)| (element.score(), name, element.stamp()))
                    .collect();
                prop_assert_eq!(found, sorted);
                prop_assert_eq!(packed.len(), naive.len());
                prop_assert_eq!(packed.iter().len(), naive.len());
            }
            for (name, (score, stamp)) in &naive {
                prop_assert_eq!(packed.get(name), Some(Element::written(*score, *stamp)));
            }
        }
    }

    #[test]
    fn a_member_takes_little_more_than_its_name() {
        let mut packed = Packed::default();
        for number in 0..100_u64 {
            let stamp = Stamp::new((1_700_000_000_000 + number) << 16, Origin(9));
            let score = Score::new(number as f64).expect("a number");
            packed.insert(format!("member:{number:09}").as_bytes(), score, stamp);
        }
        assert!(packed.bytes.len() <= 100 * (16 + 7), "{}", packed.bytes.len());
    }
}

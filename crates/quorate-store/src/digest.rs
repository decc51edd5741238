//! Digests: incremental hashes of state.
//!
//! The digest of a state is the sum, modulo 2^128, of a keyed hash of each of its elements: adding
//! or removing an element costs two additions, the sum does not depend on order or layout, and the
//! sums of keys, slots and ranges add up. The hash is SipHash-1-3 with 128-bit output, keyed with a
//! secret of the cluster: clients choose keys, so an unkeyed sum could be made to collide.
//!
//! A part is hashed by tag, key, name and stamp, not by value: a stamp belongs to exactly one
//! write, so it stands for the value that the write stored.

use core::hash::Hasher as _;

use quorate_proto::Stamp;
use siphasher::sip128::{Hash128, Hasher128 as _, SipHasher13};

use crate::part::Part;

/// Sum of element hashes. Equal digests mean equal states.
pub type Digest = u128;

/// The secret of the cluster named `cluster`, for clusters that were given none.
pub fn secret_of(cluster: &str) -> [u8; 16] {
    let mut hasher = SipHasher13::new();
    hasher.write(cluster.as_bytes());
    hasher.finish128().as_bytes()
}

/// Hashes elements of state with the secret of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Digester {
    template: SipHasher13,
}

impl Digester {
    /// A digester keyed with `secret`; replicas must share it to compare digests.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { template: SipHasher13::new_with_key(&secret) }
    }

    /// A digester for many elements of one key.
    pub(crate) fn of_key(&self, key: &[u8]) -> KeyDigester {
        let length = (key.len() as u64).to_le_bytes();
        let mut begun = self.template;
        let mut rest = [0; REST_MAX];
        let rest_len = if key.len() <= SHORT_KEY_MAX {
            rest[..WORD].copy_from_slice(&length);
            rest[WORD..WORD + key.len()].copy_from_slice(key);
            WORD + key.len()
        } else {
            let (whole, last) = key.split_at(key.len() - key.len() % WORD);
            begun.write(&length);
            begun.write(whole);
            rest[..last.len()].copy_from_slice(last);
            last.len()
        };
        KeyDigester { begun, rest, rest_len }
    }
}

/// What SipHash takes in at a time.
const WORD: usize = 8;

/// Longest key of which nothing is taken in before the parts are.
const SHORT_KEY_MAX: usize = 40;

const REST_MAX: usize = WORD + SHORT_KEY_MAX;

/// The tag and the stamp of a part.
const HEAD: usize = 1 + Stamp::LENGTH;

/// Longest name that is hashed in one go with what is before it.
const SHORT_NAME_MAX: usize = 64;

/// Hashes elements of one key. Most keys and names are short: such are hashed in one go, since to
/// write them into a hasher piece by piece costs more than the hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyDigester {
    /// Has taken in whole words of the length and the key.
    begun: SipHasher13,
    /// The rest of them.
    rest: [u8; REST_MAX],
    rest_len: usize,
}

impl KeyDigester {
    /// The hash of one part.
    pub(crate) fn part(&self, part: &Part<'_>) -> Digest {
        #[cfg(test)]
        if cost::is_off() {
            return 0;
        }
        let mut head = [0; HEAD];
        head[0] = part.tag();
        head[1..].copy_from_slice(&part.stamp().to_bytes());
        self.hash(head, part.name_bytes()).as_u128()
    }

    /// The hash of a name, whatever it stands for. No part has the tag zero.
    pub(crate) fn name(&self, name: &[u8]) -> u64 {
        self.hash([0], name).h1
    }

    #[inline]
    fn hash<const N: usize>(&self, head: [u8; N], name: &[u8]) -> Hash128 {
        const { assert!(N <= HEAD) };
        let mut bytes = [0; REST_MAX + HEAD + SHORT_NAME_MAX];
        bytes[..REST_MAX].copy_from_slice(&self.rest);
        let start = self.rest_len + N;
        bytes[self.rest_len..start].copy_from_slice(&head);
        if name.len() <= SHORT_NAME_MAX {
            bytes[start..start + name.len()].copy_from_slice(name);
            return self.begun.hash(&bytes[..start + name.len()]);
        }
        let mut hasher = self.begun;
        hasher.write(&bytes[..start]);
        hasher.write(name);
        hasher.finish128()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "measures what things cost")]
mod cost;

#[cfg(test)]
mod tests {
    use quorate_proto::Origin;

    use super::*;
    use crate::{object::Kind, part::Body};

    /// Digests are compared between nodes of different versions.
    #[test]
    fn a_part_is_the_hash_of_its_bytes_in_one_piece() {
        let digester = Digester::new([7; 16]);
        let stamp = Stamp::new(0x0102_0304_0506_0708, Origin(0x0002_0003));
        let text: Vec<u8> = (0..=255).collect();
        for key in (0..60).map(|length| &text[..length]) {
            for name in (0..150).map(|length| &text[100..100 + length]) {
                let part = Part::element(Kind::Set, name, Body::Member(stamp));
                let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
                bytes.extend_from_slice(key);
                let mut named = bytes.clone();
                bytes.push(part.tag());
                bytes.extend_from_slice(&stamp.to_bytes());
                bytes.extend_from_slice(name);
                named.push(0);
                named.extend_from_slice(name);
                let hash = |bytes: &[u8]| SipHasher13::new_with_key(&[7; 16]).hash(bytes);
                let of_key = digester.of_key(key);
                assert_eq!(of_key.part(&part), hash(&bytes).as_u128());
                assert_eq!(of_key.name(name), hash(&named).h1);
            }
        }
    }
}

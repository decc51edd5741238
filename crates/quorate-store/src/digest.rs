//! Digests: incremental hashes of state.
//!
//! The digest of a state is the sum, modulo 2^128, of a keyed hash of each of its elements: adding
//! or removing an element costs two additions, the sum does not depend on order or layout, and the
//! sums of keys, slots and ranges add up. The hash is SipHash-1-3 with 128-bit output, keyed with a
//! secret of the cluster: clients choose keys, so an unkeyed sum could be made to collide.
//!
//! A part is hashed by tag, key, name and stamp, not by value: a stamp belongs to exactly one
//! write, so it stands for the value that the write stored.

use quorate_proto::Stamp;

use self::sip::{Sip, WORD, padded};
use crate::part::Part;

/// Sum of element hashes. Equal digests mean equal states.
pub type Digest = u128;

/// The secret of the cluster named `cluster`, for clusters that were given none.
pub fn secret_of(cluster: &str) -> [u8; 16] {
    let mut hash = Sip::new([0; 16]);
    let rest = hash.take(cluster.as_bytes());
    hash.finish(padded(rest), cluster.len()).to_le_bytes()
}

/// Hashes elements of state with the secret of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Digester {
    template: Sip,
}

impl Digester {
    /// A digester keyed with `secret`; replicas must share it to compare digests.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { template: Sip::new(secret) }
    }

    /// A digester for many elements of one key.
    pub(crate) fn of_key(&self, key: &[u8]) -> KeyDigester {
        let mut begun = self.template;
        begun.take(&(key.len() as u64).to_le_bytes());
        let rest = begun.take(key);
        let taken = WORD + key.len() - rest.len();
        KeyDigester { begun, rest: padded(rest), rest_len: rest.len(), taken }
    }
}

/// The tag and the stamp of a part.
const HEAD: usize = 1 + Stamp::LENGTH;

/// Longest name that is put together with what is before it. Nearly all are shorter.
const SHORT_NAME_MAX: usize = 64;

/// Room for that, with a word of zeros behind it.
const PUT_TOGETHER: usize = WORD + HEAD + SHORT_NAME_MAX + WORD;

/// Hashes elements of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyDigester {
    /// Has taken in whole words of the length and the key.
    begun: Sip,
    /// The rest of them.
    rest: [u8; WORD],
    rest_len: usize,
    /// Bytes that were taken in.
    taken: usize,
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
        self.hash(head, part.name_bytes())
    }

    /// The hash of a name, whatever it stands for. No part has the tag zero.
    pub(crate) fn name(&self, name: &[u8]) -> u64 {
        self.hash([0], name) as u64
    }

    #[inline]
    fn hash<const N: usize>(&self, head: [u8; N], name: &[u8]) -> Digest {
        const { assert!(N <= HEAD) };
        let mut bytes = [0; PUT_TOGETHER];
        bytes[..WORD].copy_from_slice(&self.rest);
        let start = self.rest_len + N;
        bytes[self.rest_len..start].copy_from_slice(&head);
        let is_short = name.len() <= SHORT_NAME_MAX;
        // Of a long one, as much as makes the words whole.
        let joined = if is_short { name.len() } else { SHORT_NAME_MAX - start % WORD };
        let (first, more) = name.split_at(joined);
        bytes[start..start + joined].copy_from_slice(first);
        let mut hash = self.begun;
        let whole = (start + joined) / WORD * WORD;
        hash.take(&bytes[..whole]);
        let last = if is_short {
            *bytes[whole..].first_chunk().expect("invariant: zeros follow")
        } else {
            padded(hash.take(more))
        };
        hash.finish(last, self.taken + start + name.len())
    }
}

mod sip;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "measures what things cost")]
mod cost;

#[cfg(test)]
mod tests {
    use quorate_proto::Origin;
    use siphasher::sip128::SipHasher13;

    use super::*;
    use crate::{object::Kind, part::Body};

    #[test]
    fn a_secret_of_a_name_never_changes() {
        let hash = |name: &str| SipHasher13::new().hash(name.as_bytes()).as_bytes();
        for name in ["", "quorate", "a name of more than two words"] {
            assert_eq!(secret_of(name), hash(name));
        }
    }

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

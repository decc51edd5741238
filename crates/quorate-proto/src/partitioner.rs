//! How a key gets its token and its slot.
//!
//! A *token* is a position on a ring of 2^32. There are two ways to it, one for a whole cluster and
//! for ever:
//!
//! * [`Partitioner::Slots`]: the slot is that of Redis Cluster, and the token is where it begins;
//! * [`Partitioner::Ring`]: the token is any hash of the [`hashkit`](crate::hashkit), and the slot
//!   is the part of the ring that it falls into.
//!
//! A ring is cut into as many parts as there are slots, in the order of their tokens. Each of some
//! given tokens, the *cuts*, is the last one of its part, so that whoever owns the tokens up to a
//! cut owns whole slots. Between two cuts all parts have the same size, give or take a token. The
//! parts follow from the cuts alone: members may come and go, and no key changes its slot.
//!
//! ```text
//!  0          cut          cut                                  2^32 - 1
//!  |....|....|....|....|....|......|......|......|......|......|
//!   0    1    2    3    4    5      6      7      8      9          slots
//! ```

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use crate::{
    Slot,
    hashkit::HashKind,
    limits::CUTS_MAX,
    slot::{SLOTS, hash_tag},
};

/// Tokens of a slot where the ring is cut evenly, as a power of two.
const SLOT_BITS: u32 = 32 - SLOTS.trailing_zeros();

/// How a key gets its token and its slot. A copy costs next to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Partitioner {
    /// As Redis Cluster has it.
    #[default]
    Slots,
    /// By a hash of Dynomite's, on a ring.
    Ring(Arc<TokenRing>),
}

/// A ring of tokens that is cut into slots.
#[derive(Clone)]
pub struct TokenRing {
    hash: HashKind,
    hash_tag: Option<[u8; 2]>,
    /// Ascending, each once.
    cuts: Vec<u32>,
    /// The last token of each slot, ascending.
    ends: Vec<u32>,
    /// For each value of the highest bits of a token the first slot that may hold it.
    first: Vec<u16>,
}

/// More cuts than slots allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} tokens to cut the ring at; at most {CUTS_MAX} are possible")]
pub struct TooManyCuts(pub usize);

impl Partitioner {
    /// A ring on which keys lie by `hash` of what stands between the characters of `hash_tag`, or of
    /// the whole key, and whose slots end at the `cuts`.
    pub fn ring(
        hash: HashKind,
        hash_tag: Option<[u8; 2]>,
        cuts: &[u32],
    ) -> Result<Self, TooManyCuts> {
        TokenRing::new(hash, hash_tag, cuts).map(|ring| Self::Ring(Arc::new(ring)))
    }

    /// The slot that holds `key`.
    #[inline]
    pub fn slot(&self, key: &[u8]) -> Slot {
        match self {
            Self::Slots => Slot::of_key(key),
            Self::Ring(ring) => ring.slot_of(ring.token(key)),
        }
    }

    /// The token of `key`.
    pub fn token(&self, key: &[u8]) -> u32 {
        match self {
            Self::Slots => u32::from(Slot::of_key(key).number()) << SLOT_BITS,
            Self::Ring(ring) => ring.token(key),
        }
    }

    /// What decides where `key` lies: what is in its hash tag, or the whole key.
    pub fn hashed<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Slots => hash_tag(key),
            Self::Ring(ring) => between(key, ring.hash_tag).unwrap_or(key),
        }
    }

    /// How many tokens are in `slot`.
    pub fn span(&self, slot: Slot) -> u64 {
        match self {
            Self::Slots => 1 << SLOT_BITS,
            Self::Ring(ring) => {
                let below =
                    slot.index().checked_sub(1).map(|below| u64::from(ring.ends[below]) + 1);
                u64::from(ring.end(slot)) + 1 - below.unwrap_or(0)
            }
        }
    }

    /// Of a ring.
    pub fn as_ring(&self) -> Option<&TokenRing> {
        match self {
            Self::Slots => None,
            Self::Ring(ring) => Some(ring),
        }
    }
}

impl TokenRing {
    fn new(hash: HashKind, hash_tag: Option<[u8; 2]>, cuts: &[u32]) -> Result<Self, TooManyCuts> {
        let mut cuts = cuts.to_vec();
        cuts.sort_unstable();
        cuts.dedup();
        if cuts.len() > CUTS_MAX {
            return Err(TooManyCuts(cuts.len()));
        }
        let ends = ends(&cuts);
        let first = (0..SLOTS).map(|bits| {
            let token = u32::from(bits) << SLOT_BITS;
            ends.partition_point(|end| *end < token) as u16
        });
        Ok(Self { hash, hash_tag, first: first.collect(), cuts, ends })
    }

    /// The hash function.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The characters between which stands what of a key is hashed.
    pub fn hash_tag(&self) -> Option<[u8; 2]> {
        self.hash_tag
    }

    /// The tokens at which slots end whatever else, ascending.
    pub fn cuts(&self) -> &[u32] {
        &self.cuts
    }

    /// The token of `key`.
    pub fn token(&self, key: &[u8]) -> u32 {
        self.hash.token(between(key, self.hash_tag).unwrap_or(key))
    }

    /// The slot that holds `token`.
    pub fn slot_of(&self, token: u32) -> Slot {
        let bits = (token >> SLOT_BITS) as usize;
        let from = usize::from(self.first[bits]);
        let to = self.first.get(bits + 1).map_or(self.ends.len(), |to| usize::from(*to) + 1);
        let slot = from + self.ends[from..to].partition_point(|end| *end < token);
        Slot::new(slot as u16).expect("invariant: the last slot ends with the last token")
    }

    /// The last token of `slot`.
    pub fn end(&self, slot: Slot) -> u32 {
        self.ends[slot.index()]
    }

    /// Whether a slot ends with `token`: only then can it be a member's.
    pub fn is_end(&self, token: u32) -> bool {
        self.end(self.slot_of(token)) == token
    }

    /// The last tokens of slots that are nearest to `token`: below it, if there is one, and from it on.
    pub fn nearest_ends(&self, token: u32) -> (Option<u32>, u32) {
        let slot = self.slot_of(token);
        let below = slot.index().checked_sub(1).map(|below| self.ends[below]);
        (below, self.end(slot))
    }
}

/// The last token of each slot.
fn ends(cuts: &[u32]) -> Vec<u32> {
    // Arcs between neighbouring cuts: the first and the last of their tokens.
    let mut arcs: Vec<(u64, u64)> = Vec::with_capacity(cuts.len() + 1);
    let mut next = 0;
    for last in cuts.iter().map(|cut| u64::from(*cut)).chain([u64::from(u32::MAX)]) {
        if next <= last {
            arcs.push((next, last));
        }
        next = last + 1;
    }
    // Each has a slot, and its share of the others; those that are rounded down most have one more.
    let others = u64::from(SLOTS) - arcs.len() as u64;
    let share = |(first, last): &(u64, u64)| others * (last - first + 1);
    let mut counts: Vec<u64> = arcs.iter().map(|arc| 1 + (share(arc) >> 32)).collect();
    let missing = u64::from(SLOTS) - counts.iter().sum::<u64>();
    let mut by_rest: Vec<usize> = (0..arcs.len()).collect();
    by_rest.sort_by_key(|arc| (u32::MAX - share(&arcs[*arc]) as u32, *arc));
    by_rest.iter().take(missing as usize).for_each(|arc| counts[*arc] += 1);
    let of_arc = |((first, last), count): ((u64, u64), u64)| {
        (1..=count).map(move |part| (first + (last - first + 1) * part / count - 1) as u32)
    };
    arcs.into_iter().zip(counts).flat_map(of_arc).collect()
}

/// What stands between the first of the one character and the next of the other, if both are there.
/// Unlike in Redis Cluster, nothing between them is hashed as it is.
fn between(key: &[u8], tag: Option<[u8; 2]>) -> Option<&[u8]> {
    let [open, close] = tag?;
    let begin = memchr::memchr(open, key)? + 1;
    let length = memchr::memchr(close, &key[begin..])?;
    Some(&key[begin..begin + length])
}

/// Everything else follows from these.
impl PartialEq for TokenRing {
    fn eq(&self, other: &Self) -> bool {
        let Self { hash, hash_tag, cuts, ends: _, first: _ } = self;
        (hash, hash_tag, cuts) == (&other.hash, &other.hash_tag, &other.cuts)
    }
}

impl Eq for TokenRing {}

impl fmt::Debug for TokenRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for TokenRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ring, hash {}", self.hash)?;
        if let Some(tag) = self.hash_tag {
            write!(f, ", hash tag {}{}", char::from(tag[0]), char::from(tag[1]))?;
        }
        match &self.cuts[..] {
            [] => write!(f, ", no ring tokens"),
            [one] => write!(f, ", ring token {one}"),
            [first, .., last] => {
                write!(f, ", {} ring tokens from {first} to {last}", self.cuts.len())
            }
        }
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots => f.write_str("slots"),
            Self::Ring(ring) => ring.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn ring(cuts: &[u32]) -> TokenRing {
        TokenRing::new(HashKind::Murmur, Some(*b"{}"), cuts).expect("few cuts")
    }

    #[test]
    fn without_cuts_the_parts_are_those_of_the_highest_bits() {
        let ring = ring(&[]);
        for token in [0, 1, 262_143, 262_144, 1 << 31, u32::MAX] {
            assert_eq!(u32::from(ring.slot_of(token).number()), token >> SLOT_BITS);
        }
        assert!(ring.is_end(262_143) && !ring.is_end(262_144) && ring.is_end(u32::MAX));
        assert_eq!(ring.nearest_ends(262_144), (Some(262_143), 524_287));
        assert_eq!(ring.nearest_ends(7), (None, 262_143));
    }

    #[test]
    fn slots_lie_as_in_redis_cluster_without_a_ring() {
        let slots = Partitioner::default();
        assert_eq!(slots.slot(b"foo{hash_tag}").number(), 2_515);
        assert_eq!(slots.token(b"foo"), 12_182 << 18);
        assert_eq!(slots.hashed(b"a{}b"), b"a{}b");
    }

    #[test]
    fn keys_lie_by_their_tag() {
        let partitioner = Partitioner::Ring(Arc::new(ring(&[])));
        let cases =
            [("user:{42}:name", "42"), ("{}x", ""), ("a}b{c}", "c"), ("{open", "{open"), ("", "")];
        for (key, hashed) in cases {
            assert_eq!(partitioner.hashed(key.as_bytes()), hashed.as_bytes(), "{key}");
            assert_eq!(
                partitioner.token(key.as_bytes()),
                HashKind::Murmur.token(hashed.as_bytes())
            );
        }
    }

    #[test]
    fn it_says_what_it_is() {
        let of = |cuts: &[u32]| Partitioner::Ring(Arc::new(ring(cuts))).to_string();
        assert_eq!(of(&[9, 3, 3]), "ring, hash murmur, hash tag {}, 2 ring tokens from 3 to 9");
        assert_eq!(of(&[3]), "ring, hash murmur, hash tag {}, ring token 3");
        assert_eq!(Partitioner::Slots.to_string(), "slots");
        let many: Vec<u32> = (0..=CUTS_MAX as u32).collect();
        assert_eq!(Partitioner::ring(HashKind::Md5, None, &many), Err(TooManyCuts(CUTS_MAX + 1)));
    }

    proptest! {
        #[test]
        fn every_token_has_a_slot_and_no_cut_is_inside_one(
            cuts in prop::collection::vec(prop_oneof![any::<u32>(), 0..40_u32, 4_294_967_250..=u32::MAX], 0..300),
            tokens in prop::collection::vec(any::<u32>(), 50),
        ) {
            let ring = ring(&cuts);
            prop_assert_eq!(ring.ends.len(), usize::from(SLOTS));
            prop_assert!(ring.ends.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(ring.ends.last(), Some(&u32::MAX));
            prop_assert!(cuts.iter().all(|cut| ring.is_end(*cut)));
            // No slot is larger than twice an even part.
            let largest = ring.ends.windows(2).map(|pair| pair[1] - pair[0]).max();
            prop_assert!(largest < Some(2 << SLOT_BITS));
            for token in tokens.into_iter().chain(cuts.iter().flat_map(|cut| [*cut, cut.wrapping_add(1)])) {
                let slot = ring.slot_of(token);
                let naive = ring.ends.iter().position(|end| *end >= token);
                prop_assert_eq!(Some(slot.index()), naive);
            }
        }
    }
}

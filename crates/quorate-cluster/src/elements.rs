//! Comparing large keys by their elements, so that only what is missing travels.
//!
//! ```text
//!   sums of my elements by bucket    ->  the buckets that differ, and your fingerprints in them
//!   the fingerprints that I lack     ->  their elements               merged
//!   the elements that you lack       ->  merged
//! ```
//! A bucket is the elements whose [fingerprints](crate::limits::SYNC_FINGERPRINTS_MAX) begin with
//! the same bits. There are about as many buckets as a bucket has elements: then one difference
//! among n elements costs twice eight bytes times the square root of n, 16 KB of a million, in one
//! round trip. A third level would save half of that and cost another one.
//!
//! Sums cover what is alive, like all digests, but in a bucket that differs every fingerprint is
//! told, tombstones too: a member that one node lacks may have been removed there. All
//! elements of one name share a bucket. Tombstones elsewhere do not matter, so that a node that has
//! forgotten some costs nothing. What belongs to a key as a whole (the horizon, the expiry, the
//! string) has the smallest fingerprints and is always told.
//!
//! What an answer has no room for comes next, from where it ended; no message exceeds its bound.
//! Horizons are told each time: they decide about all the rest. Keys change while they are
//! compared, so an element that was told of may be gone when it is asked for. Then what has
//! superseded it comes instead, so that whoever asks knows as much as the other one did when it
//! told.
//!
//! Fingerprints may collide and so hide a difference. Then buckets or digests differ and nothing is
//! found, and whole states are to be exchanged.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;
use quorate_proto::{
    Slot,
    message::{Cause, Message, Scope},
};

use crate::{
    chunk::{Chunk, Smallest},
    limits::{ELEMENT_BUCKETS_MAX, SYNC_FINGERPRINTS_MAX, SYNC_STATES_BYTES, WHOLE_STATE_BYTES},
};

/// First bits of a fingerprint, which the elements of one name share.
pub const NAME_BITS: u32 = 16;

/// The fingerprints of horizons are below this.
pub const HORIZONS_END: u64 = 1 << 47;

/// The sizes that decide how states travel. Only a simulation has a reason to change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a key's state up to which it travels whole.
    pub whole_state: usize,
    /// Fingerprints in one message.
    pub fingerprints: usize,
    /// Bytes of elements after which a message takes no further one.
    pub bytes: usize,
}

impl Limits {
    /// What nodes go by.
    pub const DEFAULT: Self = Self {
        whole_state: WHOLE_STATE_BYTES,
        fingerprints: SYNC_FINGERPRINTS_MAX,
        bytes: SYNC_STATES_BYTES,
    };
}

/// The elements of local keys.
pub trait Elements {
    /// The sizes that decide how states travel.
    fn element_limits(&self) -> Limits;
    /// Whether the state of a key is too large to travel whole.
    fn is_large(&self, slot: Slot, key: &[u8]) -> bool;
    /// Whether a command about a few elements of a key depends on all of them.
    fn depends_on_all(&self, slot: Slot, key: &[u8]) -> bool;
    /// About how many elements a key has.
    fn element_count(&self, slot: Slot, key: &[u8]) -> usize;
    /// The digest of a key.
    fn key_digest(&self, slot: Slot, key: &[u8], scope: Scope) -> u128;
    /// Calls `each` with the first bits of the fingerprint of every element that the scope covers,
    /// and with a digest of it.
    fn for_each_digest(&self, slot: Slot, key: &[u8], scope: Scope, each: impl FnMut(u16, u64));
    /// Calls `each` with the fingerprint of every element, tombstones included, whose first
    /// bits `wanted` picks.
    fn for_each_fingerprint(
        &self,
        slot: Slot,
        key: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    );
    /// The elements of some keys that have one of some ascending fingerprints, as an effect: of the
    /// first fingerprint, and of further ones until it has `bytes_max` bytes. Returns how many
    /// fingerprints it covers. For an element that is no longer there stands what may have
    /// superseded it: everything of its name, and the horizon.
    fn export_elements(
        &self,
        slot: Slot,
        keys: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes);
}

/// Some of the buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    chosen: Vec<bool>,
}

impl Buckets {
    fn none(count: usize) -> Self {
        Self { chosen: alloc::vec![false; count] }
    }

    /// Those in which two comparisons have not come to the same.
    fn differing(these: &[u64], those: &[u64]) -> Self {
        Self { chosen: these.iter().zip(those).map(|(a, b)| a != b).collect() }
    }

    fn numbers(&self) -> Vec<u16> {
        let chosen = self.chosen.iter().zip(0..).filter(|(chosen, _)| **chosen);
        chosen.map(|(_, number)| number).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.chosen.contains(&true)
    }

    /// Whether the elements of this name are in one of the buckets.
    pub(crate) fn holds(&self, name: u16) -> bool {
        self.chosen[bucket(name, self.chosen.len())]
    }

    /// Whether an answer about these buckets tells of this name.
    pub(crate) fn tells(&self, name: u16) -> bool {
        name == 0 || self.holds(name)
    }
}

/// The first bits of a fingerprint.
pub(crate) fn name_of(fingerprint: u64) -> u16 {
    (fingerprint >> (u64::BITS - NAME_BITS)) as u16
}

fn bucket(name: u16, count: usize) -> usize {
    usize::from(name) >> (NAME_BITS - count.ilog2())
}

/// What this node has of some keys, as told to others.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) slot: Slot,
    pub(crate) keys: Vec<Bytes>,
    scope: Scope,
    pub(crate) from: u64,
    /// The digest at that moment.
    pub(crate) digest: u128,
    sums: Vec<u64>,
    /// The same of smaller buckets, as many as there are elements if possible: where the keys
    /// change meanwhile.
    own_sums: Vec<u64>,
}

/// What another node has answered to a comparison.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) digest: u128,
    pub(crate) buckets: Buckets,
    pub(crate) theirs: Chunk,
}

impl Comparison {
    /// A comparison of keys, from a fingerprint on.
    pub(crate) fn new(
        elements: &impl Elements,
        slot: Slot,
        keys: Vec<Bytes>,
        scope: Scope,
        from: u64,
    ) -> Self {
        let count: usize = keys.iter().map(|key| elements.element_count(slot, key)).sum();
        let buckets = count.isqrt().next_power_of_two().min(ELEMENT_BUCKETS_MAX);
        let smallest = count.next_power_of_two().min(1 << NAME_BITS);
        let own_sums = sums(elements, slot, &keys, scope, smallest);
        let whole = own_sums.chunks(own_sums.len() / buckets);
        let sums = whole.map(|part| part.iter().copied().fold(0, u64::wrapping_add)).collect();
        let digest = digest(elements, slot, &keys, scope);
        Self { slot, keys, scope, from, digest, sums, own_sums }
    }

    /// What to ask the others.
    pub(crate) fn question(&self) -> Message {
        let Self { slot, keys, scope, from, sums, .. } = self;
        let (keys, sums) = (keys.clone(), sums.clone());
        Message::CompareElements { slot: *slot, scope: *scope, from: *from, keys, sums }
    }

    /// Reads an answer; `None` when it makes no sense.
    pub(crate) fn read(&self, answer: Message) -> Option<View> {
        let Message::Elements { digest, until, buckets: numbers, fingerprints } = answer else {
            return None;
        };
        let mut buckets = Buckets::none(self.sums.len());
        for number in &numbers {
            *buckets.chosen.get_mut(usize::from(*number))? = true;
        }
        let theirs = Chunk { until, fingerprints };
        let told = theirs.fingerprints.iter().all(|one| buckets.tells(name_of(*one)));
        let horizons =
            theirs.fingerprints.partition_point(|one| *one < HORIZONS_END.min(self.from));
        let rest = Chunk { until, fingerprints: theirs.fingerprints[horizons..].to_vec() };
        let ascending = theirs.fingerprints.is_sorted_by(|a, b| a < b);
        (told && ascending && rest.is_sound(self.from)).then_some(View { digest, buckets, theirs })
    }

    /// What this node has where another one differs.
    pub(crate) fn ours(&self, elements: &impl Elements, buckets: &Buckets) -> Chunk {
        chunk(elements, self.slot, &self.keys, buckets, self.from)
    }

    /// The digest of the keys now.
    pub(crate) fn digest_now(&self, elements: &impl Elements) -> u128 {
        digest(elements, self.slot, &self.keys, self.scope)
    }

    /// Where the keys have changed since.
    pub(crate) fn changed(&self, elements: &impl Elements) -> Buckets {
        if self.digest_now(elements) == self.digest {
            return Buckets::none(self.own_sums.len());
        }
        let now = sums(elements, self.slot, &self.keys, self.scope, self.own_sums.len());
        Buckets::differing(&now, &self.own_sums)
    }

    /// Whether something must differ although nothing was found, and nothing has changed here
    /// since: fingerprints collide.
    pub(crate) fn is_deceived(&self, elements: &impl Elements, view: &View) -> bool {
        view.digest != self.digest && self.digest_now(elements) == self.digest
    }
}

fn digest(elements: &impl Elements, slot: Slot, keys: &[Bytes], scope: Scope) -> u128 {
    let digests = keys.iter().map(|key| elements.key_digest(slot, key, scope));
    digests.fold(0, u128::wrapping_add)
}

fn sums(
    elements: &impl Elements,
    slot: Slot,
    keys: &[Bytes],
    scope: Scope,
    count: usize,
) -> Vec<u64> {
    let mut sums = alloc::vec![0_u64; count];
    for key in keys {
        elements.for_each_digest(slot, key, scope, |name, digest| {
            let sum = &mut sums[bucket(name, count)];
            *sum = sum.wrapping_add(digest);
        });
    }
    sums
}

fn chunk(
    elements: &impl Elements,
    slot: Slot,
    keys: &[Bytes],
    buckets: &Buckets,
    from: u64,
) -> Chunk {
    let first = name_of(from);
    let mut horizons = Vec::new();
    let mut smallest = Smallest::new(from, elements.element_limits().fingerprints);
    for key in keys {
        let wanted = |name| name == 0 || name >= first && buckets.holds(name);
        elements.for_each_fingerprint(slot, key, wanted, |one| {
            if one < HORIZONS_END.min(from) {
                horizons.push(one);
            }
            smallest.push(one);
        });
    }
    let mut chunk = smallest.finish();
    horizons.sort_unstable();
    horizons.dedup();
    chunk.fingerprints.splice(0..0, horizons);
    chunk
}

/// Answers a question about elements; `None` when the message is no such question.
pub fn answer(elements: &impl Elements, message: &Message) -> Option<Message> {
    Some(match message {
        Message::CompareElements { slot, scope, from, keys, sums: theirs } => {
            if !theirs.len().is_power_of_two() || theirs.len() > ELEMENT_BUCKETS_MAX {
                let text = format!("{} buckets of elements", theirs.len());
                return Some(malformed(text));
            }
            let ours = sums(elements, *slot, keys, *scope, theirs.len());
            let buckets = Buckets::differing(&ours, theirs);
            let Chunk { until, fingerprints } = chunk(elements, *slot, keys, &buckets, *from);
            let digest = digest(elements, *slot, keys, *scope);
            Message::Elements { digest, until, buckets: buckets.numbers(), fingerprints }
        }
        Message::AskElements { slot, keys, fingerprints } => {
            if !fingerprints.is_sorted_by(|a, b| a < b) {
                return Some(malformed(String::from("fingerprints out of order")));
            }
            let bytes_max = elements.element_limits().bytes;
            let (covered, states) = elements.export_elements(*slot, keys, fingerprints, bytes_max);
            Message::FingerprintStates { covered: covered as u32, states }
        }
        _ => return None,
    })
}

fn malformed(text: String) -> Message {
    Message::Rejected { cause: Cause::Malformed, text }
}

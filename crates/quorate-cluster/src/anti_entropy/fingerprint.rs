//! Fingerprints: what two nodes tell each other of the keys of a slot that differs.
//!
//! ```text
//!  63            32 31             0
//!  +---------------+---------------+
//!  | of the key    | of its digest |
//!  +---------------+---------------+
//! ```
//! Eight bytes stand for a key and its version. Two versions of a key have fingerprints that
//! differ in the lower half alone, so both are found, each on its side. Fingerprints may collide:
//! the digest of the slot tells whether that hid something.
//!
//! The values travel between nodes, so they never change.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use quorate_proto::Slot;

use super::Digests;
use crate::{
    chunk::{Chunk, Smallest},
    limits::{SYNC_FINGERPRINTS_MAX, SYNC_STATES_BYTES},
    random,
};

/// Bits of a fingerprint that depend on the digest.
const DIGEST_BITS: u32 = 32;

/// The fingerprint of a key with this digest.
pub fn fingerprint(key: &[u8], digest: u128) -> u64 {
    let version = mix((digest as u64) ^ mix((digest >> 64) as u64)) >> DIGEST_BITS;
    u64::from(key_part(key)) << DIGEST_BITS | version
}

/// The upper half of the fingerprints of `key`, whatever its version.
fn key_part(key: &[u8]) -> u32 {
    let (words, rest) = key.as_chunks::<8>();
    let mut hash = mix(key.len() as u64);
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    (mix(hash ^ u64::from_le_bytes(last)) >> DIGEST_BITS) as u32
}

/// Lets every bit of `value` depend on every other one: a step of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    random::mix(value.wrapping_add(random::INCREMENT))
}

/// The part of a fingerprint that depends on the key.
pub(super) fn key_of(fingerprint: u64) -> u64 {
    fingerprint >> DIGEST_BITS
}

/// The smallest fingerprints of a slot that are not below `from`, as many as one message takes.
pub(super) fn chunk(digests: &impl Digests, slot: Slot, from: u64) -> Chunk {
    chunk_of(digests, slot, from, SYNC_FINGERPRINTS_MAX)
}

fn chunk_of(digests: &impl Digests, slot: Slot, from: u64, limit: usize) -> Chunk {
    let mut smallest = Smallest::new(from, limit);
    let part = key_of(from);
    digests.for_each_key(
        slot,
        |key| u64::from(key_part(key)) >= part,
        |key, digest| smallest.push(fingerprint(key, digest)),
    );
    smallest.finish()
}

/// The keys of a slot that have one of some ascending fingerprints, ordered by them.
pub(super) fn keys(digests: &impl Digests, slot: Slot, wanted: &[u64]) -> Vec<(u64, Bytes)> {
    let mut found = Vec::new();
    if wanted.is_empty() {
        return found;
    }
    let names_key = |key: &[u8]| {
        let part = u64::from(key_part(key));
        let at = wanted.partition_point(|fingerprint| key_of(*fingerprint) < part);
        wanted.get(at).is_some_and(|fingerprint| key_of(*fingerprint) == part)
    };
    digests.for_each_key(slot, names_key, |key, digest| {
        let fingerprint = fingerprint(key, digest);
        if wanted.binary_search(&fingerprint).is_ok() {
            found.push((fingerprint, Bytes::copy_from_slice(key)));
        }
    });
    found.sort_unstable();
    found
}

/// The states of the keys with some ascending fingerprints, and how many of the fingerprints that
/// settles: as many as fit in a message, and at least one.
pub(super) fn states(digests: &impl Digests, slot: Slot, wanted: &[u64]) -> (usize, Bytes) {
    let mut states = BytesMut::new();
    for (fingerprint, key) in keys(digests, slot, wanted) {
        if states.len() >= SYNC_STATES_BYTES {
            let covered = wanted.partition_point(|other| *other < fingerprint);
            // Keys that share a fingerprint are not parted.
            if covered > 0 {
                return (covered, states.freeze());
            }
        }
        let state = digests.export_keys(slot, &[key], usize::MAX).1;
        if states.is_empty() {
            // A large one is not copied.
            states = state.into();
        } else {
            states.extend_from_slice(&state);
        }
    }
    (wanted.len(), states.freeze())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Data, *};

    #[test]
    fn fingerprints_never_change() {
        // Computed by another implementation.
        assert_eq!(fingerprint(b"", 0), 0xa706_dd2f_a706_dd2f);
        assert_eq!(fingerprint(b"key", 1), 0xd835_c7cf_08b4_fda8);
        assert_eq!(fingerprint(b"a longer key", u128::MAX), 0x2ce3_a69c_6309_143e);
    }

    #[test]
    fn versions_of_a_key_share_the_upper_half() {
        let (a, b) = (fingerprint(b"key", 1), fingerprint(b"key", 2));
        assert_ne!(a, b);
        assert_eq!(key_of(a), key_of(b));
        assert_ne!(key_of(a), key_of(fingerprint(b"yek", 1)));
        assert_ne!(key_part(b"k"), key_part(b"k\0"));
    }

    #[test]
    fn chunks_cover_every_fingerprint_once() {
        let data = Data::numbered("{tag}", 1_000);
        let slot = Slot::of_key(b"{tag}");
        let whole = chunk(&data, slot, 0);
        assert_eq!((whole.until, whole.fingerprints.len()), (u64::MAX, 1_000));
        for limit in [1, 7, 250, 999, 1_000, 1_001] {
            let (mut met, mut from) = (Vec::new(), 0);
            loop {
                let part = chunk_of(&data, slot, from, limit);
                assert!(part.fingerprints.len() <= limit && part.until >= from);
                met.extend(part.fingerprints);
                if part.until == u64::MAX {
                    break;
                }
                from = part.until + 1;
            }
            assert_eq!(met, whole.fingerprints, "limit {limit}");
        }
        let found = keys(&data, slot, &whole.fingerprints[10..20]);
        let again: Vec<u64> = found.iter().map(|(fingerprint, _)| *fingerprint).collect();
        assert_eq!(again, whole.fingerprints[10..20]);
    }
}

//! Digests: incremental hashes of state.
//!
//! The digest of a state is the sum, modulo 2^128, of a keyed hash of each of its elements: adding
//! or removing an element costs two additions, the sum does not depend on order or layout, and the
//! sums of keys, slots and ranges add up. The hash is SipHash-1-3 with 128-bit output, keyed with a
//! secret of the cluster: clients choose keys, so an unkeyed sum could be made to collide.
//!
//! A part is hashed by tag, key, name and stamp, not by value: a stamp belongs to exactly one write,
//! so it stands for the value that the write stored.

use core::hash::Hasher as _;

use quorate_proto::Stamp;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

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
        let mut hasher = self.template;
        hasher.write(&(key.len() as u64).to_le_bytes());
        hasher.write(key);
        KeyDigester { template: hasher }
    }
}

/// Hashes elements of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyDigester {
    template: SipHasher13,
}

impl KeyDigester {
    /// The hash of one part.
    pub(crate) fn part(&self, part: &Part<'_>) -> Digest {
        #[cfg(test)]
        if cost::is_off() {
            return 0;
        }
        let mut head = [0; 1 + Stamp::LENGTH];
        head[0] = part.tag();
        head[1..].copy_from_slice(&part.stamp().to_bytes());
        let mut hasher = self.template;
        hasher.write(&head);
        hasher.write(part.name_bytes());
        hasher.finish128().as_u128()
    }

    /// The hash of a name, whatever it stands for. No part has the tag zero.
    pub(crate) fn name(&self, name: &[u8]) -> u64 {
        let mut hasher = self.template;
        hasher.write(&[0]);
        hasher.write(name);
        hasher.finish128().h1
    }
}

#[cfg(test)]
mod cost;

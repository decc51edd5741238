//! Fetching keys from memory before they are used.
//!
//! A look-up follows several references, each of which the processor waits for when the data is
//! larger than its caches. What it waits for is fetched for several keys at once: each stage reads
//! the same step of all keys, with nothing in between that the next one depends on, so the waits
//! overlap. Nothing comes of it but warm caches; what is executed afterwards looks up again.

use std::{hash::BuildHasher as _, hint::black_box};

use quorate_proto::Slot;

use crate::Store;

impl Store {
    /// Keys that are worth fetching together: about as many waits as a processor has under way.
    pub const PREFETCHED_KEYS_MAX: usize = 16;

    /// Brings what look-ups of the first [`Store::PREFETCHED_KEYS_MAX`] keys will touch into the
    /// caches.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = (Slot, &'k [u8])>) {
        let mut found = [(0, Slot::default()); Self::PREFETCHED_KEYS_MAX];
        let mut count = 0;
        for (found, (slot, key)) in found.iter_mut().zip(keys) {
            *found = (self.hasher.hash_one(key), slot);
            count += 1;
        }
        let mut places = [None; Self::PREFETCHED_KEYS_MAX];
        for (place, (hash, slot)) in places.iter_mut().zip(&found[..count]) {
            *place = self.slots[slot.index()].likely_place(*hash);
        }
        let touched = places[..count]
            .iter()
            .flatten()
            .fold(0, |sum: u8, place| sum.wrapping_add(self.strings.touch(*place)));
        black_box(touched);
    }
}

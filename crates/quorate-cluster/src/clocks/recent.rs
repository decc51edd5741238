//! The newest effects of a shard by their dots, from which the questions of peers are answered.
//!
//! ```text
//!   slot 7: newest -----------------------------+
//!                                               v
//!   first -> [ slot 7 ] [ slot 9 ] [ slot 9 ] [ slot 7 ] [ slot 9 ] <- next
//!                ^---------- previous -----------'
//! ```
//! The entries of a slot are a chain from the newest one back, so that to keep an effect costs no
//! look-up, and to find those of a slot costs nothing for the others.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quorate_proto::Dot;
use smallvec::SmallVec;

use crate::limits::{CLOCKS_CHUNK_BYTES, CLOCKS_EFFECT_MAX, CLOCKS_RECENT_BYTES};

/// Numbers an entry, from 1.
pub(super) type Place = u64;

/// An effect and the writes that it holds all of.
#[derive(Debug)]
pub(super) struct Entry {
    previous: Place,
    /// Nearly always one.
    pub(super) dots: SmallVec<[Dot; 1]>,
    pub(super) effect: Bytes,
}

/// A bounded number of effects, the oldest of which are forgotten first.
#[derive(Debug)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    /// Where the next effects are copied to, one behind the other: what lies long and is left in the
    /// order in which it came must not scatter what the allocator hands out meanwhile.
    chunk: BytesMut,
    /// Of the oldest entry, or of the next one when there is none.
    first: Place,
    bytes: usize,
    /// What was there when [`Recent::age`] was called last is older than this.
    aged: Place,
}

impl Default for Recent {
    fn default() -> Self {
        Self { entries: VecDeque::new(), chunk: BytesMut::new(), first: 1, bytes: 0, aged: 1 }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let dots = if self.dots.spilled() { self.dots.len() * size_of::<Dot>() } else { 0 };
        size_of::<Self>() + dots + self.effect.len()
    }
}

impl Recent {
    /// Keeps a copy of an effect of the slot whose newest one is at `newest`, for a while. Returns
    /// the copy, unless the effect is too large to be kept.
    pub(super) fn push(
        &mut self,
        newest: &mut Place,
        dots: &[Dot],
        effect: &[u8],
    ) -> Option<&Bytes> {
        if effect.len() > CLOCKS_EFFECT_MAX {
            return None;
        }
        if self.chunk.capacity() < effect.len() {
            self.chunk = BytesMut::with_capacity(CLOCKS_CHUNK_BYTES.max(effect.len()));
        }
        self.chunk.extend_from_slice(effect);
        let effect = self.chunk.split().freeze();
        let entry = Entry { previous: *newest, dots: dots.into(), effect };
        *newest = self.next();
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.bytes > CLOCKS_RECENT_BYTES {
            self.drop_oldest();
        }
        self.entries.back().map(|entry| &entry.effect)
    }

    /// The entries of the slot whose newest one is at `newest`, the newest first.
    pub(super) fn of_slot(&self, newest: Place) -> impl Iterator<Item = &Entry> {
        let at = move |place: Place| self.entries.get(place.checked_sub(self.first)? as usize);
        core::iter::successors(at(newest), move |entry| at(entry.previous))
    }

    /// Drops what was here already when this was called the last time.
    pub(super) fn age(&mut self) {
        while self.first < self.aged {
            self.drop_oldest();
        }
        self.aged = self.next();
        // A burst is over: its memory is given back.
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Bytes that the effects take with what belongs to them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn next(&self) -> Place {
        self.first + self.entries.len() as u64
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.bytes();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quorate_proto::Origin;

    use super::*;

    fn dot(counter: u64) -> Dot {
        Dot { origin: Origin(1), counter }
    }

    fn counters(recent: &Recent, newest: Place) -> Vec<u64> {
        recent.of_slot(newest).map(|entry| entry.dots[0].counter).collect()
    }

    #[test]
    fn slots_are_found_apart_and_old_ones_go() {
        let mut recent = Recent::default();
        let (mut a, mut b) = (0, 0);
        for counter in 1..=3 {
            recent.push(&mut a, &[dot(counter)], b"a");
            recent.push(&mut b, &[dot(10 + counter)], b"b");
        }
        assert_eq!(counters(&recent, a), [3, 2, 1]);
        assert_eq!(counters(&recent, b), [13, 12, 11]);
        assert_eq!(counters(&recent, 0), [0; 0]);
        recent.age();
        recent.push(&mut a, &[dot(4)], b"");
        assert_eq!(counters(&recent, a), [4, 3, 2, 1]);
        recent.age();
        assert_eq!((counters(&recent, a), counters(&recent, b)), (alloc::vec![4], Vec::new()));
        recent.age();
        assert_eq!((recent.bytes(), recent.entries.capacity()), (0, 0));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::default();
        let mut newest = 0;
        let large = alloc::vec![0; CLOCKS_EFFECT_MAX];
        for counter in 1..=2 * (CLOCKS_RECENT_BYTES / CLOCKS_EFFECT_MAX) as u64 {
            recent.push(&mut newest, &[dot(counter)], &large);
            assert!(recent.bytes() <= CLOCKS_RECENT_BYTES);
        }
        let kept = counters(&recent, newest).len();
        assert!(kept > 1);
        let too_large = alloc::vec![0; CLOCKS_EFFECT_MAX + 1];
        recent.push(&mut newest, &[dot(1)], &too_large);
        assert_eq!(counters(&recent, newest).len(), kept);
    }
}

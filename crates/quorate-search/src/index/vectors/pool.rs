//! The nearest that a search has met so far, and what it has met at all.

use alloc::vec::Vec;

use super::Slot;

/// The nearest so far, the nearest first, each with whether its neighbours were visited.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// From the highest bit: the distance as [`ordered`], the slot, whether it was expanded. So
    /// whole entries compare like what they say.
    entries: Vec<u64>,
    capacity: usize,
    /// Before it all are expanded.
    cursor: usize,
}

impl Pool {
    /// Empties it, for that many.
    pub(super) fn reset(&mut self, capacity: usize) {
        self.entries.clear();
        self.capacity = capacity.max(1);
        self.cursor = 0;
    }

    /// Takes a slot, unless that many nearer ones are there.
    #[inline]
    pub(super) fn offer(&mut self, distance: f32, slot: Slot) {
        let entry = (u64::from(ordered(distance)) << 32) | (u64::from(slot) << 1);
        if self.entries.len() == self.capacity {
            if self.entries.last().is_some_and(|&worst| worst <= entry) {
                return;
            }
            self.entries.pop();
        }
        let place = self.entries.partition_point(|&other| other < entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }

    /// The nearest that was not expanded, which now counts as such.
    #[inline]
    pub(super) fn expand(&mut self) -> Option<Slot> {
        loop {
            let entry = self.entries.get_mut(self.cursor)?;
            self.cursor += 1;
            if *entry & 1 == 0 {
                *entry |= 1;
                return Some(slot_of(*entry));
            }
        }
    }

    /// What probably is expanded next.
    #[inline]
    pub(super) fn upcoming(&self) -> Option<Slot> {
        let open = self.entries.get(self.cursor..)?.iter().find(|&&entry| entry & 1 == 0);
        open.map(|&entry| slot_of(entry))
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == self.capacity
    }

    /// All, the nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = (f32, Slot)> {
        self.entries.iter().map(|&entry| (unordered((entry >> 32) as u32), slot_of(entry)))
    }
}

fn slot_of(entry: u64) -> Slot {
    (entry as u32) >> 1
}

/// Whole numbers in the order of numbers: negative ones have all bits turned, others the sign.
#[inline]
fn ordered(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn unordered(ordered: u32) -> f32 {
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// Slots that were met: a bit each, so that the marks of a large graph stay in the cache.
#[derive(Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// Removes all marks, for slots below `slots`.
    pub(super) fn reset(&mut self, slots: usize) {
        self.words.clear();
        self.words.resize(slots.div_ceil(64), 0);
    }

    /// Marks a slot; whether it was not marked before.
    #[inline]
    pub(super) fn mark(&mut self, slot: Slot) -> bool {
        let (word, bit) = (&mut self.words[slot as usize / 64], 1 << (slot % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_nearest_stay(
            offered in prop::collection::vec((-5i8..5, 0u32..1000), 0..40),
            capacity in 1usize..10,
        ) {
            let mut pool = Pool::default();
            pool.reset(capacity);
            let mut expected: Vec<(f32, Slot)> = Vec::new();
            let mut expanded = Vec::new();
            for (number, (distance, slot)) in offered.iter().enumerate() {
                // Each slot is met once.
                let (distance, slot) = (f32::from(*distance) / 2.0, slot * 64 + number as u32);
                pool.offer(distance, slot);
                expected.push((distance, slot));
                if number % 3 == 0 {
                    expanded.extend(pool.expand());
                }
            }
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            // Numbers are unique as far as their order goes: 0 and -0 do not both occur.
            expected.truncate(capacity);
            prop_assert_eq!(pool.nearest().collect::<Vec<_>>(), expected.clone());
            while let Some(slot) = pool.expand() {
                expanded.push(slot);
            }
            let all = expanded.len();
            expanded.sort_unstable();
            expanded.dedup();
            prop_assert_eq!(expanded.len(), all, "none is expanded twice");
            prop_assert!(expected.iter().all(|(_, slot)| expanded.contains(slot)));
        }
    }
}

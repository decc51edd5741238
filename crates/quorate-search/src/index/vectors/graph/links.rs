//! The neighbours of every vector of a graph, in rows of fixed width.
//!
//! How many layers a slot takes part in follows from its number alone, so that it is decided
//! once and for all, and equal for equal histories: one of as many as a vector has neighbours
//! is in the next layer.

use alloc::vec::Vec;
use core::hint::black_box;

use super::super::Slot;
use super::super::blocks::Blocks;

/// Layers above the lowest at most.
const LAYERS_MAX: u32 = 16;

/// Slots that memory is read by.
const SLOTS_A_LINE: usize = 16;

#[derive(Debug)]
pub(super) struct Links {
    /// Neighbours of a vector in the upper layers; twice as many in the lowest.
    neighbours: usize,
    /// Of the lowest layer: how many there are, then they.
    lowest: Blocks<Slot>,
    /// Of the upper layers, rows of the same kind, from the second layer upwards.
    upper: Vec<Slot>,
    /// Where the rows of a slot begin in `upper`.
    upper_at: Vec<u32>,
}

impl Links {
    pub(super) fn new(neighbours: usize) -> Links {
        Links {
            neighbours,
            lowest: Blocks::new(1 + 2 * neighbours),
            upper: Vec::new(),
            upper_at: Vec::new(),
        }
    }

    /// The highest layer of a slot.
    pub(super) fn top(&self, slot: Slot) -> u32 {
        let mut hash = mixed(slot);
        let neighbours = self.neighbours as u64;
        let mut layer = 0;
        while layer < LAYERS_MAX && hash.is_multiple_of(neighbours) {
            hash /= neighbours;
            layer += 1;
        }
        layer
    }

    /// Neighbours that a vector may have in a layer.
    pub(super) fn capacity(&self, layer: u32) -> usize {
        if layer == 0 { 2 * self.neighbours } else { self.neighbours }
    }

    /// Neighbours that a new vector chooses in a layer.
    pub(super) fn chosen(&self) -> usize {
        self.neighbours
    }

    /// Makes room for a slot, which is the next one.
    pub(super) fn reach(&mut self, slot: Slot) {
        self.lowest.reach(slot);
        let at = self.upper.len();
        self.upper_at.push(at as u32);
        self.upper.resize(at + self.top(slot) as usize * (1 + self.neighbours), 0);
    }

    #[inline]
    pub(super) fn of(&self, slot: Slot, layer: u32) -> &[Slot] {
        let row = self.row(slot, layer);
        &row[1..][..row[0] as usize]
    }

    /// Has the neighbours in the lowest layer brought from memory, while other work goes on.
    #[inline]
    pub(super) fn touch(&self, slot: Slot) {
        self.lowest.row(slot).iter().step_by(SLOTS_A_LINE).for_each(|&some| _ = black_box(some));
    }

    pub(super) fn set(&mut self, slot: Slot, layer: u32, neighbours: &[Slot]) {
        let row = self.row_mut(slot, layer);
        row[0] = neighbours.len() as u32;
        row[1..][..neighbours.len()].copy_from_slice(neighbours);
    }

    /// Adds a neighbour, if there is room; whether there was.
    pub(super) fn push(&mut self, slot: Slot, layer: u32, neighbour: Slot) -> bool {
        let row = self.row_mut(slot, layer);
        let count = row[0] as usize;
        let Some(place) = row.get_mut(1 + count) else { return false };
        *place = neighbour;
        row[0] += 1;
        true
    }

    pub(super) fn memory(&self) -> usize {
        let upper = self.upper.capacity() + self.upper_at.capacity();
        self.lowest.memory() + upper * size_of::<u32>()
    }

    #[inline]
    fn row(&self, slot: Slot, layer: u32) -> &[Slot] {
        if layer == 0 {
            return self.lowest.row(slot);
        }
        let width = 1 + self.neighbours;
        &self.upper[self.upper_at[slot as usize] as usize + (layer as usize - 1) * width..][..width]
    }

    fn row_mut(&mut self, slot: Slot, layer: u32) -> &mut [Slot] {
        if layer == 0 {
            return self.lowest.row_mut(slot);
        }
        let width = 1 + self.neighbours;
        let at = self.upper_at[slot as usize] as usize + (layer as usize - 1) * width;
        &mut self.upper[at..][..width]
    }
}

/// A hash of a slot (the finaliser of SplitMix64).
fn mixed(slot: Slot) -> u64 {
    let mut hash = (u64::from(slot) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_thin_out() {
        let links = Links::new(16);
        let counted = |layer| (0..160_000).filter(|&slot| links.top(slot) >= layer).count();
        assert!((9_500..10_500).contains(&counted(1)), "{}", counted(1));
        assert!((500..750).contains(&counted(2)), "{}", counted(2));
    }
}

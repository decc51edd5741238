//! Rows of one width in blocks, so that growing never copies what is there.

use alloc::vec::Vec;

use super::Slot;

/// Bytes of a block at most, unless a single row is larger.
const BLOCK_BYTES: usize = 64 << 10;

/// Rows of one width, by their slots.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    width: usize,
    /// A block has two to the power of this many rows.
    shift: u32,
    blocks: Vec<Vec<T>>,
}

impl<T: Copy + Default> Blocks<T> {
    pub(super) fn new(width: usize) -> Self {
        let row = (width * size_of::<T>()).max(1);
        Blocks { width, shift: (BLOCK_BYTES / row).max(1).ilog2(), blocks: Vec::new() }
    }

    /// Makes room for a slot and those before it.
    pub(super) fn reach(&mut self, slot: Slot) {
        let (block, end) = (self.block(slot), self.place(slot) + self.width);
        while self.blocks.len() <= block {
            // The first grows as it fills: most indexes are small.
            let rows = if self.blocks.is_empty() { 0 } else { 1 << self.shift };
            self.blocks.push(Vec::with_capacity(rows * self.width));
        }
        for former in &mut self.blocks[..block] {
            former.resize(self.width << self.shift, T::default());
        }
        let last = &mut self.blocks[block];
        last.resize(last.len().max(end), T::default());
    }

    #[inline(always)]
    pub(super) fn row(&self, slot: Slot) -> &[T] {
        &self.blocks[self.block(slot)][self.place(slot)..][..self.width]
    }

    #[inline(always)]
    pub(super) fn row_mut(&mut self, slot: Slot) -> &mut [T] {
        let (block, place) = (self.block(slot), self.place(slot));
        &mut self.blocks[block][place..][..self.width]
    }

    /// Bytes that are occupied.
    pub(super) fn memory(&self) -> usize {
        let items: usize = self.blocks.iter().map(Vec::capacity).sum();
        items * size_of::<T>() + self.blocks.capacity() * size_of::<Vec<T>>()
    }

    #[inline(always)]
    fn block(&self, slot: Slot) -> usize {
        slot as usize >> self.shift
    }

    #[inline(always)]
    fn place(&self, slot: Slot) -> usize {
        (slot as usize & ((1 << self.shift) - 1)) * self.width
    }
}

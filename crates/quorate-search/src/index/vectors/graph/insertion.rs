//! How a vector gets its neighbours.

use alloc::vec::Vec;
use core::mem::take;

use super::{Graph, Probe, Scratch, Slot, Space, State};

/// Vectors that are compared at once while neighbours are chosen.
const AT_ONCE: usize = 8;

impl Graph {
    /// Links the vector of a slot.
    pub(super) fn link(&mut self, slot: Slot, space: &Space) {
        let mut scratch = take(&mut self.scratch);
        let mut probe = space.probe_of(slot);
        let top = self.links.top(slot);
        let highest = self.entry.map_or(0, |entry| self.links.top(entry));
        let mut from: Vec<Slot> =
            self.descend(space, &probe, top, &mut scratch).into_iter().collect();
        for layer in (0..=top).rev() {
            // Above the present layers there is nobody, and it is alone.
            let mut near = Vec::new();
            if layer <= highest && !from.is_empty() {
                scratch.pool.reset(self.construction);
                self.begin(space, &probe, &from, &mut scratch);
                self.walk(space, &probe, layer, &mut scratch);
                near.extend(scratch.pool.nearest());
                from = near.iter().map(|&(_, slot)| slot).collect();
            }
            near.retain(|&(_, other)| other != slot);
            // Where all that is near was removed, the way leads over that until it is swept.
            let has_live = near.iter().any(|&(_, other)| self.is_live(other));
            let wanted = if has_live { State::Linked } else { State::Removed };
            near.retain(|&(_, other)| self.states[other as usize] == wanted);
            let chosen = self.choose(space, &near, self.links.chosen(), &mut probe, &mut scratch);
            space.load(slot, &mut probe);
            self.links.set(slot, layer, &chosen);
            for &other in &chosen {
                self.connect(space, other, slot, layer, &mut scratch);
            }
        }
        if self.states[slot as usize] == State::Tail {
            self.states[slot as usize] = State::Linked;
            self.linked += 1;
        }
        if self.entry.is_none() || top > highest {
            self.entry = Some(slot);
        }
        self.scratch = scratch;
    }

    /// Of some, the nearest first, those that are nearer to the vector than to any other that was
    /// chosen before: neighbours in all directions, not many in one. What they were compared with
    /// is in no use afterwards.
    pub(super) fn choose(
        &self,
        space: &Space,
        near: &[(f32, Slot)],
        count: usize,
        probe: &mut Probe,
        scratch: &mut Scratch,
    ) -> Vec<Slot> {
        let mut chosen: Vec<Slot> = Vec::with_capacity(count);
        let Scratch { distances, compared, .. } = scratch;
        for &(distance, slot) in near {
            if chosen.len() == count {
                break;
            }
            if !chosen.is_empty() {
                space.load(slot, probe);
            }
            let is_apart = chosen.chunks(AT_ONCE).all(|some| {
                space.coarse(probe, some, distances);
                *compared += some.len();
                distances.iter().all(|&other| other >= distance)
            });
            if is_apart {
                chosen.push(slot);
            }
        }
        chosen
    }

    /// Makes `other` a neighbour of `slot`; if it has too many, the best of them stay.
    pub(super) fn connect(
        &mut self,
        space: &Space,
        slot: Slot,
        other: Slot,
        layer: u32,
        scratch: &mut Scratch,
    ) {
        let neighbours = self.links.of(slot, layer);
        if neighbours.contains(&other) || self.links.push(slot, layer, other) {
            return;
        }
        let mut all = self.links.of(slot, layer).to_vec();
        all.push(other);
        let capacity = self.links.capacity(layer);
        let chosen = self.nearest_apart(space, slot, &all, capacity, scratch);
        self.links.set(slot, layer, &chosen);
    }

    /// Of some slots, the best neighbours for another.
    pub(super) fn nearest_apart(
        &self,
        space: &Space,
        slot: Slot,
        slots: &[Slot],
        count: usize,
        scratch: &mut Scratch,
    ) -> Vec<Slot> {
        let mut probe = space.probe_of(slot);
        space.coarse(&probe, slots, &mut scratch.distances);
        scratch.compared += slots.len();
        let mut near: Vec<(f32, Slot)> =
            scratch.distances.iter().copied().zip(slots.iter().copied()).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.choose(space, &near, count, &mut probe, scratch)
    }
}

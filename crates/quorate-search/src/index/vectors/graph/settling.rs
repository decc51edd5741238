//! How a graph that was kept goes on with the vectors that have come again.

use alloc::vec::Vec;

use super::{Graph, Slot, State};

impl Graph {
    /// Neighbours that a vector has in upper layers.
    pub(in super::super) fn neighbours(&self) -> usize {
        self.links.chosen()
    }

    /// The highest layer of a slot.
    pub(in super::super) fn top(&self, slot: Slot) -> u32 {
        self.links.top(slot)
    }

    /// Neighbours that a vector may have in a layer.
    pub(in super::super) fn capacity(&self, layer: u32) -> usize {
        self.links.capacity(layer)
    }

    /// Whether the vector of a slot is found through the graph.
    pub(in super::super) fn is_linked(&self, slot: Slot) -> bool {
        self.is_live(slot)
    }

    /// The neighbours of a vector in each layer, the lowest first, without those that were removed.
    pub(in super::super) fn layers(&self, slot: Slot) -> Vec<Vec<Slot>> {
        let layers = 0..=self.links.top(slot);
        layers.map(|layer| self.live_neighbours(slot, layer)).collect()
    }

    pub(super) fn live_neighbours(&self, slot: Slot, layer: u32) -> Vec<Slot> {
        let all = self.links.of(slot, layer).iter().copied();
        all.filter(|&other| other != slot && self.is_live(other)).collect()
    }

    /// Makes room for that many slots, which are vacant.
    pub(in super::super) fn reach_all(&mut self, slots: usize) {
        while self.states.len() < slots {
            let slot = self.states.len() as Slot;
            self.states.push(State::Vacant);
            self.links.reach(slot);
        }
    }

    /// Sets the neighbours of a vector that has not come yet.
    pub(in super::super) fn set_neighbours(&mut self, slot: Slot, layer: u32, others: &[Slot]) {
        self.links.set(slot, layer, others);
    }

    /// The vector of a slot has come. It is linked already if it is the same as it was.
    pub(in super::super) fn restore(&mut self, slot: Slot, is_same: bool) {
        let state = &mut self.states[slot as usize];
        assert_eq!(*state, State::Vacant, "invariant: a kept vector comes once");
        if is_same {
            *state = State::Linked;
            self.linked += 1;
        } else {
            *state = State::Tail;
            self.tail.insert(slot);
        }
    }

    /// All have come that will. Of the first `slots`, those that have no vector become vacant; who
    /// has lost many of its neighbours is linked again, and all are if fewer than `least` have come.
    pub(in super::super) fn settle(&mut self, slots: Slot, least: usize, vacant: &mut Vec<Slot>) {
        let mut has_lost = Vec::new();
        for slot in 0..slots {
            match self.states[slot as usize] {
                State::Linked => {}
                State::Vacant => vacant.push(slot),
                State::Tail | State::Removed | State::Leaving => {}
            }
            for layer in 0..=self.links.top(slot) {
                let before = self.links.of(slot, layer).len();
                let left = self.live_neighbours(slot, layer);
                if layer == 0 && (left.is_empty() || 2 * left.len() < before) {
                    has_lost.push(slot);
                }
                let is_live = self.is_live(slot);
                self.links.set(slot, layer, if is_live { &left } else { &[] });
            }
        }
        vacant.sort_unstable();
        vacant.dedup();
        if self.linked < least {
            self.entry = None;
            return self.begin_anew(vacant);
        }
        let linked = (0..slots).filter(|&slot| self.is_live(slot));
        self.entry = linked.max_by_key(|&slot| (self.links.top(slot), core::cmp::Reverse(slot)));
        // The entry alone needs none.
        has_lost.retain(|&slot| self.is_live(slot) && self.entry != Some(slot));
        self.orphans.extend(has_lost);
    }
}

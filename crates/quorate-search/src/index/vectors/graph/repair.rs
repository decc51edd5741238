//! How a graph gets over vectors that were removed.

use alloc::vec::Vec;
use core::mem::take;

use super::{Graph, Slot, Space, State};

/// Removed vectors at least, for a sweep to begin.
const REMOVED_MIN: usize = 32;

/// One of that many vectors is removed when a sweep begins.
const REMOVED_PART: usize = 16;

/// Vectors that a sweep looks at in one step.
const STEP: usize = 64;

/// Goes over all vectors.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The next slot to look at.
    next: Slot,
    /// Slots that will be vacant when it is over.
    leaving: Vec<Slot>,
    /// The vector of the highest layer so far.
    highest: Option<Slot>,
}

impl Graph {
    pub(super) fn is_sweep_due(&self) -> bool {
        self.gone >= REMOVED_MIN && self.gone * REMOVED_PART >= self.linked
    }

    /// Begins a sweep if one is due and none is under way. If most vectors were removed, those that
    /// are left are linked anew instead.
    pub(super) fn begin_sweep(&mut self, vacant: &mut Vec<Slot>) {
        if self.sweep.is_some() || !self.is_sweep_due() {
            return;
        }
        let mut leaving = Vec::with_capacity(self.gone);
        for (slot, state) in self.states.iter_mut().enumerate() {
            if *state == State::Removed {
                *state = State::Leaving;
                leaving.push(slot as Slot);
            }
        }
        let sweep = Sweep { next: 0, leaving, highest: None };
        if self.gone >= self.linked {
            self.entry = None;
            self.end_sweep(sweep, vacant);
        } else {
            self.sweep = Some(sweep);
        }
    }

    /// A step of the sweep, if one is under way; whether there was.
    pub(super) fn sweep(&mut self, vacant: &mut Vec<Slot>, space: &Space) -> bool {
        let Some(mut sweep) = self.sweep.take() else { return false };
        let end = (sweep.next as usize + STEP).min(self.states.len());
        let mut changed = false;
        while (sweep.next as usize) < end && !changed {
            let slot = sweep.next;
            sweep.next += 1;
            if !matches!(self.states[slot as usize], State::Linked | State::Removed) {
                continue;
            }
            let top = self.links.top(slot);
            for layer in 0..=top {
                changed |= self.relink(space, slot, layer);
            }
            if self.links.of(slot, 0).is_empty() {
                if self.is_live(slot) {
                    self.orphans.insert(slot);
                }
            } else if sweep.highest.is_none_or(|highest| top > self.links.top(highest)) {
                sweep.highest = Some(slot);
            }
        }
        if (sweep.next as usize) < self.states.len() {
            self.sweep = Some(sweep);
        } else {
            self.end_sweep(sweep, vacant);
        }
        true
    }

    /// No vector has a neighbour that leaves, but those that leave.
    fn end_sweep(&mut self, sweep: Sweep, vacant: &mut Vec<Slot>) {
        let is_lost = |entry: Slot| {
            self.states[entry as usize] == State::Leaving || self.links.of(entry, 0).is_empty()
        };
        if self.entry.is_none_or(is_lost) {
            // One that a sweep met cannot have left, for what is removed meanwhile stays.
            self.entry = sweep.highest;
        }
        self.gone -= sweep.leaving.len();
        for &slot in &sweep.leaving {
            self.states[slot as usize] = State::Vacant;
        }
        vacant.extend(sweep.leaving);
        if self.entry.is_none() {
            self.begin_anew(vacant);
        }
    }

    /// Whoever is left is linked again, one by one.
    pub(super) fn begin_anew(&mut self, vacant: &mut Vec<Slot>) {
        for (slot, state) in self.states.iter_mut().enumerate() {
            match state {
                State::Linked => {
                    *state = State::Tail;
                    self.tail.insert(slot as Slot);
                }
                State::Removed => {
                    *state = State::Vacant;
                    vacant.push(slot as Slot);
                }
                State::Vacant | State::Tail | State::Leaving => {}
            }
        }
        self.orphans.clear();
        self.linked = 0;
        self.gone = 0;
    }

    /// Gives a vector new neighbours for those that leave; whether there were any.
    fn relink(&mut self, space: &Space, slot: Slot, layer: u32) -> bool {
        let leaves = |slot: Slot| self.states[slot as usize] == State::Leaving;
        let former: Vec<Slot> = self.links.of(slot, layer).to_vec();
        if !former.iter().any(|&neighbour| leaves(neighbour)) {
            return false;
        }
        let mut found: Vec<Slot> = Vec::new();
        for &neighbour in &former {
            if leaves(neighbour) {
                found.extend(self.links.of(neighbour, layer));
            } else {
                found.push(neighbour);
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|&other| other != slot && !leaves(other));
        let mut scratch = take(&mut self.scratch);
        let capacity = self.links.capacity(layer);
        let chosen = self.nearest_apart(space, slot, &found, capacity, &mut scratch);
        self.links.set(slot, layer, &chosen);
        // Who pointed to it may have left, so it is made known to its new neighbours.
        for other in chosen.into_iter().filter(|other| !former.contains(other)) {
            self.connect(space, other, slot, layer, &mut scratch);
        }
        self.scratch = scratch;
        true
    }
}

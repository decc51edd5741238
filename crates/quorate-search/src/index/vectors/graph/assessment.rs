//! Whether coarse distances tell near from far.
//!
//! A byte a component is not enough where vectors are much nearer to each other than they are to the
//! middle, or where few components are far larger than all others. Then a graph over coarse distances
//! is one over chance. So every now and then some vectors are looked at with their neighbours: if coarse
//! distances differ from exact ones by more than a small part of what these differ by among
//! themselves, exact ones are used instead.

use alloc::vec::Vec;

use super::{Graph, Slot, Space};

/// Linked vectors when it is looked for the first time.
const FIRST: usize = 256;

/// The next time there are that many times as many.
const GROWTH: usize = 8;

/// Vectors that are looked at.
const SAMPLES: usize = 64;

/// Errors may be one of that many parts of the deviations of distances.
const ERRORS_PART: f64 = 4.0;

impl Graph {
    /// Whether coarse distances turn out to be too coarse, if it is time to look.
    pub(in super::super) fn finds_too_coarse(&mut self, space: &Space) -> bool {
        if self.linked < self.assessed_at || self.sweep.is_some() || !space.is_cheap() {
            return false;
        }
        self.assessed_at = (self.linked * GROWTH).max(FIRST);
        if self.linked < FIRST {
            return false;
        }
        let slots = self.states.len();
        let (mut errors, mut deviations) = (0.0, 0.0);
        for slot in (0..slots).step_by(slots.div_ceil(SAMPLES)) {
            let slot = slot as Slot;
            let neighbours = self.live_neighbours(slot, 0);
            if self.is_live(slot) && neighbours.len() > 1 {
                let (error, deviation) = space.deviations(slot, &neighbours);
                errors += error;
                deviations += deviation;
            }
        }
        errors * ERRORS_PART > deviations
    }

    /// All vectors are linked anew.
    pub(in super::super) fn restart(&mut self, vacant: &mut Vec<Slot>) {
        assert!(self.sweep.is_none(), "invariant: a sweep is ended by itself");
        self.entry = None;
        self.begin_anew(vacant);
    }
}

//! Repairs of large keys, one of a slot at a time.
//!
//! Everybody who reads a large key of which a replica lacks elements finds the same difference. The
//! first repairs it; the others wait for that and compare digests again, which are equal then.

use alloc::vec::Vec;

use quorate_proto::Slot;

use super::{Coordinator, Operation, Replica, stage::Phase};
use crate::time::Instant;

/// An operation: its index, and its number, which no other one has.
type Named = (usize, u64);

/// A repair that is under way.
#[derive(Debug)]
pub(super) struct Repair {
    by: Named,
    /// Who wanted to do the same.
    waiting: Vec<Named>,
}

impl Coordinator {
    /// Compares the elements of the keys of an operation with other replicas, or waits for another
    /// operation that does so on the slot.
    pub(super) fn repair_elements(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
    ) {
        let (slot, named) = (self.operations[index].slot(), self.named(index));
        let is_free = self.repairs.get(&slot).is_none_or(|repair| !self.is_repairing(repair.by));
        let repair =
            self.repairs.entry(slot).or_insert_with(|| Repair { by: named, waiting: Vec::new() });
        if is_free {
            repair.by = named;
            return self.compare_elements(now, replica, index, 0);
        }
        repair.waiting.push(named);
        self.enter(now, index, Phase::Digests);
        // Nobody is asked until the repair is over, so there is nobody to bypass.
        self.operations[index].bypass_at = None;
    }

    /// Lets those go on that have waited for repairs that are over.
    pub(super) fn end_repairs(&mut self, now: Instant, replica: &mut impl Replica) {
        while let Some(slot) = self.repair_that_is_over() {
            let waiting = self.repairs.remove(&slot).map(|repair| repair.waiting);
            for (index, number) in waiting.into_iter().flatten() {
                let is_there = |found: &Operation| found.number == number;
                if self.operations.get(index).is_some_and(is_there) {
                    self.begin_again(now, replica, index);
                }
            }
        }
    }

    fn repair_that_is_over(&self) -> Option<Slot> {
        let mut over = self.repairs.iter().filter(|(_, repair)| !self.is_repairing(repair.by));
        over.next().map(|(slot, _)| *slot)
    }

    fn named(&self, index: usize) -> Named {
        (index, self.operations[index].number)
    }

    fn is_repairing(&self, (index, number): Named) -> bool {
        let operation = self.operations.get(index).filter(|found| found.number == number);
        operation.is_some_and(Operation::exchanges_elements)
    }
}

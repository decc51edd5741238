//! Forgetting the tombstones, as soon as rounds have proved that no replica needs them.

use quorate_cluster::anti_entropy::Settled;
use quorate_proto::mutant::Mutant;
use quorate_store::Forgettable;

use super::{Storage, record::write_floors};
use crate::limits;

/// Which tombstones may go, by group.
#[derive(Debug, Default)]
pub(crate) struct Forgetting {
    settled: Vec<Settled>,
    /// The next group to look at; past the last one when nothing is left to do.
    next: usize,
}

impl Storage {
    /// Rounds have proved something: floors rise, and tombstones may go.
    ///
    /// The floors go to the log in this turn, so that a restart knows what others rely on. Before
    /// the member list is final nothing is proved: newcomers that hold nothing agree at once, and
    /// below their floors they would refute all that the cluster holds whose seats they take.
    pub(crate) fn settle(&mut self, settled: Vec<Settled>) {
        if !self.topology.sealed() && !Mutant::FloorsWhileForming.is_planted() {
            return;
        }
        let rises = settled.iter().map(|settled| (settled.group, settled.floor_ms));
        let rises: Vec<(u16, u64)> =
            rises.filter(|(group, floor_ms)| *floor_ms > self.store.floor(*group)).collect();
        if !rises.is_empty() {
            if let Some(log) = &mut self.log
                && log.reserve(limits::FLOORS_RECORD_BYTES).is_err()
            {
                return;
            }
            self.append_floors(&rises);
            rises.iter().for_each(|(group, floor_ms)| self.store.raise_floor(*group, *floor_ms));
        }
        self.forgetting = Forgetting { settled, next: 0 };
    }

    /// Drops some tombstones that may go.
    pub(crate) fn advance_forgetting(&mut self) {
        let mut left = limits::FORGOTTEN_PER_TURN_MAX;
        while let Some(settled) = self.forgetting.settled.get(self.forgetting.next) {
            let forgettable =
                Forgettable { before_epoch: settled.before_epoch, floor_ms: settled.forget_ms };
            left -= self.store.forget(settled.group, forgettable, left);
            if left == 0 {
                return;
            }
            self.forgetting.next += 1;
        }
    }

    /// Whether there are tombstones that may go.
    pub(crate) fn is_forgetting(&self) -> bool {
        self.forgetting.next < self.forgetting.settled.len()
    }

    /// Every floor, for a log whose older records are dropped.
    pub(super) fn floors(&self) -> Vec<(u16, u64)> {
        let floors = self.owned_groups().iter().map(|group| (group, self.store.floor(group)));
        floors.filter(|(_, floor_ms)| *floor_ms > 0).collect()
    }

    pub(super) fn append_floors(&mut self, floors: &[(u16, u64)]) {
        if let Some(log) = self.log.as_mut().filter(|_| !floors.is_empty()) {
            log.append(|out| write_floors(out, floors));
        }
    }
}

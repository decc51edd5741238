//! Whether the ledgers of the nodes tell of everything that live replicas lack of each other.
//!
//! Where the digests of two live replicas of a slot differ, one of them lacks something that the
//! other one holds. Some live node must say so then of one of the two: it keeps a hint for it in
//! the slot's group, has marked the group as dirty for it, has sent it an effect on the slot that
//! is not acknowledged, or has nothing that proves it to be level. That holds at any moment but for
//! the time that nodes take to notice that one of them is gone, or that it is back with less.

use std::{collections::BTreeMap, sync::Arc};

use quorate_proto::{MemberNumber, Slot};

use super::{Violation, World};
use crate::{
    history::Time,
    machine::{self, State},
    scenario::Repair,
};

/// After a process has begun or ended, silence is noticed in little more than a second, on links
/// that may be slow.
const NOTICED_WITHIN: Time = 4_000_000;

/// Whole rounds with every peer, one after the other at the longest pause.
const SETTLED_WITHIN: Time = 70_000_000;

impl World<'_> {
    /// Looks at what live replicas hold, where that is promised to be explained.
    pub(super) fn check_ledgers(&mut self) {
        let upset = self.now < self.upset + NOTICED_WITHIN
            || self.machines.iter().any(|machine| machine.state == State::Paused);
        if !self.scenario.ledger || upset {
            return;
        }
        for slot in self.slots() {
            if let Some(text) = self.unexplained(slot) {
                self.violations.push(Violation::new("ledger", text));
            }
        }
    }

    /// Runs until nobody owes anything, which must not take long once everything is equal.
    pub(super) fn settle_ledgers(&mut self) {
        let begun = self.now;
        // Where anti-entropy rounds do not work, nothing is ever proved.
        while self.scenario.repair != Repair::Hints
            && let Some(owed) = self.owed()
        {
            if self.now > begun + SETTLED_WITHIN {
                let seconds = SETTLED_WITHIN / 1_000_000;
                let text = format!("{seconds} s after all was equal: {owed}");
                return self.violations.push(Violation::new("ledger", text));
            }
            self.run_until(self.now + 1_000_000);
        }
    }

    /// What some node owes, if any does.
    fn owed(&self) -> Option<String> {
        self.machines.iter().enumerate().find_map(|(node, machine)| {
            let owed = machine.process.as_ref()?.owed()?;
            Some(format!("{} owes {owed}", machine::name(node)))
        })
    }

    /// The slots of the keys that clients use.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let keys = self.workload.keys().into_iter();
        let partitioner = self.scenario.ring(0).partitioner();
        let mut slots: Vec<Slot> =
            keys.map(|key| partitioner.slot(key.to_string().as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Why nobody can tell why live replicas of a slot differ; `None` when they do not, or somebody
    /// can.
    fn unexplained(&mut self, slot: Slot) -> Option<String> {
        let mut replicas: BTreeMap<MemberNumber, (usize, u128)> = BTreeMap::new();
        for (node, machine) in self.machines.iter_mut().enumerate() {
            let Some(process) = &mut machine.process else { continue };
            let topology = Arc::clone(process.topology());
            if topology.is_replica(slot, topology.me()) {
                replicas.insert(topology.me(), (node, process.slot_digest(slot)));
            }
        }
        let processes: Vec<_> =
            self.machines.iter().filter_map(|machine| machine.process.as_ref()).collect();
        let owed = |peer: MemberNumber| {
            let others = processes.iter().filter(|process| process.topology().me() != peer);
            others.clone().any(|process| process.owes(peer, slot))
        };
        let (mut levels, mut unowed) = (Vec::new(), Vec::new());
        for (peer, (node, digest)) in &replicas {
            levels.push(*digest);
            if !owed(*peer) {
                unowed.push((*node, *digest));
            }
        }
        // Two that nothing is owed to must be equal.
        let (first, digest) = *unowed.first()?;
        let (other, _) = *unowed.iter().find(|(_, other)| *other != digest)?;
        Some(format!(
            "{:.3} s: {} and {} differ in slot {}, and no ledger says why",
            self.now as f64 / 1e6,
            machine::name(first),
            machine::name(other),
            slot.number(),
        ))
    }
}

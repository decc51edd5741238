//! Effects on their way to another datacentre: one crossing for all of its replicas.
//!
//! ```text
//!   executor --- Relay: effect, for b and c ---> a --- Replicate ---> b
//!       ^                                        | \-- Replicate ---> c
//!       |<-- Relayed: a, b --- Relayed: c, last -/
//! ```
//! One replica there, the relay, merges the effect and sends it to the others, and tells who of
//! them has taken it. It answers for nobody: whoever is not named counts as if it was asked
//! directly and had not answered, gets the effect directly once the relay is lost, silent or at its
//! end, and a hint in the end. The relay itself keeps nothing for the others.
//!
//! Where the level counts replicas of that datacentre, each is named as soon as it has taken the
//! effect; else the relay answers once, for all of them.

use alloc::vec::Vec;
use core::time::Duration;

use quorate_proto::{MemberNumber, message::Message, mutant::Mutant};
use smallvec::SmallVec;

use super::{
    Coordinator, Replica,
    operation::Operation,
    stage::{Replication, Stage},
};
use crate::{
    limits::{RELAY_BYTES_PER_MS, RELAY_SILENCE},
    positions::Positions,
    time::Instant,
};

/// Replicas of one datacentre on their way to which an effect crosses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    /// The position of the relay.
    pub(super) relay: usize,
    /// Those that it sends the effect to.
    pub(super) others: Positions,
}

impl Operation {
    /// The crossing by the relay at `position`, if an effect is on its way there.
    fn crossing_by(&self, position: usize) -> Option<Crossing> {
        let crossings = &self.replication()?.crossings;
        crossings.iter().find(|crossing| crossing.relay == position).copied()
    }

    /// Whether a relay at `position` may still name replicas that have taken the effect.
    pub(super) fn is_relay(&self, serial: u32, position: usize) -> bool {
        self.serial == serial && self.crossing_by(position).is_some()
    }

    /// The effect goes to everybody anew.
    pub(super) fn forget_crossings(&mut self) {
        if let Stage::Replicating(replication) = &mut self.stage {
            replication.crossings.clear();
        }
    }

    /// Ends the crossing by the relay at `position`. Returns who has not taken the effect by it.
    fn end_crossing(&mut self, position: usize) -> Positions {
        let Some(Crossing { others, .. }) = self.crossing_by(position) else {
            return Positions::NONE;
        };
        if let Stage::Replicating(replication) = &mut self.stage {
            replication.crossings.retain(|crossing| crossing.relay != position);
        }
        others & self.asked
    }
}

impl Coordinator {
    /// Who of `to`, all of which are up, is reached through whom: where there are several in
    /// another datacentre, through one that is fit to merge: the same one for all writes on a slot,
    /// so that they arrive in their order.
    fn crossings(&self, index: usize, to: Positions) -> SmallVec<[Crossing; 1]> {
        let operation = &self.operations[index];
        let slot = operation.slot();
        let (replicas, fit) = (self.topology.replicas(slot), self.ready(slot) & to);
        let mut crossings = SmallVec::new();
        // What has no name, which is rare, travels directly.
        if operation.replication().is_none_or(|found| found.dot.is_none()) {
            return crossings;
        }
        let mut left: Positions =
            to.iter().filter(|position| !self.topology.is_local(replicas[*position])).collect();
        while let Some(first) = left.iter().next() {
            let datacentre = self.topology.datacentre(replicas[first]);
            let is_there = |at: &usize| self.topology.datacentre(replicas[*at]) == datacentre;
            let group: Positions = left.iter().filter(is_there).collect();
            left -= group;
            let relays = fit & group;
            if group.len() > 1 && !relays.is_empty() {
                let turn = usize::from(slot.number()) % relays.len();
                let relay = relays.iter().nth(turn).unwrap_or(first);
                crossings.push(Crossing { relay, others: group - Positions::of(relay) });
            }
        }
        crossings
    }

    /// Sends the effect to these replicas, once to each other datacentre, or keeps it for those
    /// that are down.
    pub(super) fn replicate_to(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        to: Positions,
    ) {
        let slot = self.operations[index].slot();
        let crossings = self.crossings(index, to & self.alive(slot));
        let others = crossings.iter().fold(Positions::NONE, |all, it| all | it.others);
        let relays: Positions = crossings.iter().map(|crossing| crossing.relay).collect();
        self.replicate_directly(replica, index, to - others - relays);
        for crossing in crossings {
            self.send_across(now, index, crossing);
        }
    }

    fn send_across(&mut self, now: Instant, index: usize, crossing: Crossing) {
        let operation = &self.operations[index];
        let slot = operation.slot();
        let Some(Replication { effect, dot, .. }) = operation.replication() else { return };
        let Crossing { relay, others } = crossing;
        let counted = operation.requirement.all_counted() & (others | Positions::of(relay));
        let replicas = self.topology.replicas(slot);
        let message = Message::Relay {
            slot,
            to: others.iter().map(|position| replicas[position]).collect(),
            at_once: !counted.is_empty() && !operation.requirement.is_single(),
            dots: dot.iter().copied().collect(),
            outcome: operation.outcome().filter(|_| dot.is_some()),
            effect: effect.clone(),
        };
        let silence =
            RELAY_SILENCE + Duration::from_millis(effect.len() as u64 / RELAY_BYTES_PER_MS);
        self.call(index, relay, message);
        let operation = &mut self.operations[index];
        operation.asked |= others;
        operation.tried |= others;
        if let Stage::Replicating(replication) = &mut operation.stage {
            replication.crossings.push(crossing);
        }
        let at = now + silence;
        operation.bypass_at = Some(operation.bypass_at.map_or(at, |other| other.min(at)));
        self.wake_by(at);
    }

    /// The relay at `position` names replicas that have taken the effect, itself too.
    pub(super) fn take_relayed(
        &mut self,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        (took, is_last): (Vec<MemberNumber>, bool),
    ) {
        let operation = &self.operations[index];
        let Some(Crossing { others, .. }) = operation.crossing_by(position) else { return };
        let reached = others | Positions::of(position);
        let slot = operation.slot();
        let named = took.iter().filter_map(|node| self.topology.position(slot, *node));
        let mut took = named.collect::<Positions>() & reached;
        if Mutant::RelayCountsForAll.is_planted() {
            took = reached;
        }
        let operation = &mut self.operations[index];
        operation.answered |= took & operation.asked;
        operation.asked -= took;
        if is_last {
            let left =
                operation.end_crossing(position) | (operation.asked & Positions::of(position));
            self.replicate_directly(replica, index, left);
        }
        self.count_votes(index);
    }

    /// The relay at `position` is lost or has refused: those behind it are asked directly.
    pub(super) fn relay_lost(&mut self, replica: &mut impl Replica, index: usize, position: usize) {
        let left = self.operations[index].end_crossing(position);
        self.replicate_directly(replica, index, left);
    }

    /// Relays are silent: those behind them are asked directly as well.
    pub(super) fn bypass_relays(&mut self, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        let Some(Replication { crossings, .. }) = operation.replication() else { return };
        let left = crossings.iter().fold(Positions::NONE, |all, it| all | it.others);
        // The relays may still answer, for themselves and for others.
        self.replicate_directly(replica, index, left & operation.asked);
    }
}

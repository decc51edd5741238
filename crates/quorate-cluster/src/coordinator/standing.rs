//! Which replicas of a slot are up, heard, may do what, and have yet to acknowledge what they were sent.

use quorate_proto::{Fitness, MemberNumber, Slot, Unfit};

use super::{Coordinator, Peer};
use crate::{peer_map::PeerMap, positions::Positions};

impl Coordinator {
    /// Replicas of `slot` that are up.
    pub(super) fn alive(&self, slot: Slot) -> Positions {
        self.replicas_that(slot, |peer| peer.alive)
    }

    /// Replicas of `slot` that may do their work.
    pub(super) fn ready(&self, slot: Slot) -> Positions {
        self.replicas_that(slot, |peer| peer.fitness.is_ready())
    }

    /// Replicas of `slot` whose logs take no writes.
    pub(super) fn read_only(&self, slot: Slot) -> Positions {
        self.replicas_that(slot, |peer| peer.fitness.is(Unfit::ReadOnly))
    }

    pub(super) fn replicas_that(&self, slot: Slot, are_so: impl Fn(&Peer) -> bool) -> Positions {
        let replicas = self.topology.replicas(slot).iter().enumerate();
        replicas.filter(|(_, node)| are_so(&self.peers[**node])).map(|(at, _)| at).collect()
    }

    /// What this node may do.
    pub(super) fn fitness(&self) -> Fitness {
        self.peers[self.topology.me()].fitness
    }

    /// Replicas of `slot` that are up and silent.
    pub(super) fn quiet(&self, slot: Slot) -> Positions {
        self.replicas_that(slot, |peer| peer.quiet)
    }

    /// Effects that were sent to each member and that it has not acknowledged, and their bytes.
    pub fn unacknowledged(&self) -> PeerMap<(u64, u64)> {
        let mut sums: PeerMap<(u64, u64)> =
            self.topology.nodes().map(|node| (node, (0, 0))).collect();
        for (_, operation) in &self.operations {
            let Some(found) = operation.replication() else { continue };
            let replicas = self.topology.replicas(operation.slot()).iter().zip(0..);
            let asked = replicas.filter(|(_, at)| operation.asked.contains(*at));
            for (node, _) in asked {
                let (effects, bytes) = &mut sums[*node];
                (*effects, *bytes) = (*effects + 1, *bytes + found.effect.len() as u64);
            }
        }
        sums
    }

    /// Whether an effect on `slot` was sent to `peer` that it has not acknowledged.
    pub fn is_unacknowledged(&self, peer: MemberNumber, slot: Slot) -> bool {
        let Some(position) = self.topology.position(slot, peer) else { return false };
        let mut of_slot = self.operations.iter().filter(|(_, found)| found.slot() == slot);
        of_slot.any(|(_, operation)| operation.is_effect_asked(position))
    }
}

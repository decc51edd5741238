//! Which replicas of a slot are up, heard, and may do what.

use quorate_proto::{Fitness, Slot, Unfit};

use super::{Coordinator, Peer};
use crate::positions::Positions;

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
}

//! What a simulator may look at, to judge what the outside cannot see.

use std::sync::Arc;

use quorate_cluster::{handoff::Hints as _, topology::Topology};
use quorate_proto::{Incarnation, MemberNumber, Slot};

use super::process::Process;
use crate::shard::Shard;

impl Process {
    /// Whether the member list is sealed for every shard.
    pub fn is_sealed(&self) -> bool {
        self.shards.iter().all(|shard| shard.topology().sealed())
    }

    /// Whether every shard has caught up since the start.
    pub fn is_ready(&self) -> bool {
        self.shards.iter().all(Shard::is_caught_up)
    }

    /// The topology.
    pub fn topology(&self) -> &Arc<Topology> {
        self.shards[0].topology()
    }

    /// The digest of the state of a slot.
    pub fn slot_digest(&mut self, slot: Slot) -> u128 {
        let owner = self.shards[0].storage.owner(slot);
        self.shards[usize::from(owner)].storage.store.slot_digest(slot)
    }

    /// The number of keys.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.storage.store.len()).sum()
    }

    /// Keys with marks of removals that wait to be forgotten.
    pub fn marked(&self) -> usize {
        self.shards.iter().map(|shard| shard.storage.store.marked()).sum()
    }

    /// Effects kept for a peer, and in how many groups of slots some could not be kept.
    pub fn hints(&self, peer: MemberNumber) -> (u64, u32) {
        let pending = self.shards.iter().map(|shard| shard.storage.pending(peer)).sum();
        (pending, self.shards.iter().map(|shard| shard.storage.dirty_groups(peer).len()).sum())
    }

    /// Whether something is kept for `peer`, marked, on its way or not proved that would bring it
    /// what it lacks in `slot`.
    pub fn owes(&self, peer: MemberNumber, slot: Slot) -> bool {
        let owner = self.shards[0].storage.owner(slot);
        self.shards[usize::from(owner)].owes(peer, slot)
    }

    /// What is owed to the peers, in a line; `None` when it is nothing.
    pub fn owed(&self) -> Option<String> {
        let lines = self.shards.iter().flat_map(Shard::owed);
        let text = lines.collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// Bytes of hints on disk.
    pub fn hint_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.storage.hint_bytes()).sum()
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.shards.iter().all(Shard::is_idle)
    }

    /// Requests under way, those of other nodes included.
    pub fn requests(&self) -> usize {
        self.shards.iter().map(Shard::requests).sum()
    }

    /// Whether the node knows that it may have less than it has acknowledged.
    pub fn is_incomplete(&self) -> bool {
        let shards = &self.shards;
        self.identity.is_incomplete() || shards.iter().any(|shard| shard.storage.incomplete)
    }

    /// What scrubs have found since the start: digests that were wrong, and damage on disk.
    pub fn scrub_findings(&self) -> (u64, u64) {
        let totals = self.shards.iter().map(Shard::scrub_total);
        totals.fold((0, 0), |(mismatches, damages), total| {
            (mismatches + total.mismatches, damages + total.damages)
        })
    }

    /// Whether a log has failed, so that writes are refused until a restart.
    pub fn has_failed(&self) -> bool {
        self.shards.iter().any(|shard| shard.storage.has_failed())
    }

    /// Raised at every start.
    pub fn incarnation(&self) -> Incarnation {
        let topology = self.topology();
        topology.member(topology.me()).incarnation
    }
}

//! What a simulator may look at, to judge what the outside cannot see.

use std::sync::Arc;

use quorate_cluster::{movement::Report, topology::Topology};
use quorate_proto::{Incarnation, MemberNumber, NodeId, Slot, message::View};

use super::process::Process;
use crate::{reactor::Reactor, shard::Shard};

impl Process {
    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.reactors.iter().map(Reactor::shard)
    }

    /// The shard that owns a slot.
    fn owner(&self, slot: Slot) -> usize {
        usize::from(self.reactors[0].shard().owner(slot))
    }

    /// Whether the member list is sealed for every shard.
    pub fn is_sealed(&self) -> bool {
        self.shards().all(|shard| shard.topology().sealed())
    }

    /// Whether every shard has caught up since the start.
    pub fn is_ready(&self) -> bool {
        self.shards().all(Shard::is_caught_up)
    }

    /// The topology.
    pub fn topology(&self) -> &Arc<Topology> {
        self.reactors[0].shard().topology()
    }

    /// The member list that the node goes by, which its shards may not have heard of yet.
    pub fn view(&self) -> View {
        self.control.view()
    }

    /// The member list that the node goes by, as it has told its shards.
    pub fn list(&self) -> &View {
        self.control.list()
    }

    /// The id of the node.
    pub fn id(&self) -> NodeId {
        self.control.membership.me()
    }

    /// Whether it was decided that slots stay where they are for now.
    pub fn is_paused(&self) -> bool {
        self.control.membership.decision().is_some_and(|(decision, _)| decision.is_paused)
    }

    /// Who has a vote, by the newest decision that the node knows of.
    pub fn voters(&self) -> Vec<NodeId> {
        let decision = self.control.membership.decision();
        let voters = decision.map(|(_, voters)| voters).unwrap_or_default();
        voters.iter().map(|voter| voter.member).collect()
    }

    /// What the node tells whoever drives a movement.
    pub fn report(&self) -> Report {
        let epochs = self.shards().map(|shard| shard.levels().0);
        let mut report = Report { epoch: epochs.min().unwrap_or(0), ..Report::default() };
        for shard in self.shards() {
            for (peer, groups) in shard.levels().1.iter() {
                let level = report.level.get_or_default(peer);
                *level = level.union(*groups);
            }
        }
        report
    }

    /// Slots that are here and belong to others.
    pub fn foreign_slots(&self) -> usize {
        self.shards().map(Shard::foreign_slots).sum()
    }

    /// The digest of the state of a slot.
    pub fn slot_digest(&mut self, slot: Slot) -> u128 {
        let owner = self.owner(slot);
        self.reactors[owner].shard_mut().slot_digest(slot)
    }

    /// The number of keys.
    pub fn keys(&self) -> usize {
        self.shards().map(Shard::keys).sum()
    }

    /// Keys with tombstones that wait to be forgotten.
    pub fn tombstone_keys(&self) -> usize {
        self.shards().map(Shard::tombstone_keys).sum()
    }

    /// Effects kept for a peer, and in how many groups of slots some could not be kept.
    pub fn hints(&self, peer: MemberNumber) -> (u64, u32) {
        let kept = self.shards().map(|shard| shard.hints_kept(peer));
        kept.fold((0, 0), |(hints, groups), kept| (hints + kept.0, groups + kept.1))
    }

    /// Whether something is kept for `peer`, marked, on its way or not proved that would bring it
    /// what it lacks in `slot`.
    pub fn owes(&self, peer: MemberNumber, slot: Slot) -> bool {
        self.reactors[self.owner(slot)].shard().owes(peer, slot)
    }

    /// What is owed to the peers, in a line; `None` when it is nothing.
    pub fn owed(&self) -> Option<String> {
        let lines = self.shards().flat_map(Shard::owed);
        let text = lines.collect::<Vec<_>>().join("; ");
        (!text.is_empty()).then_some(text)
    }

    /// Bytes of hints on disk.
    pub fn hint_bytes(&self) -> u64 {
        self.shards().map(Shard::hint_bytes).sum()
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.shards().all(Shard::is_idle)
    }

    /// Requests under way, those of other nodes included.
    pub fn requests(&self) -> usize {
        self.shards().map(Shard::requests).sum()
    }

    /// Whether the node knows that it may have less than it has acknowledged.
    pub fn is_incomplete(&self) -> bool {
        self.control.identity().is_incomplete() || self.shards().any(Shard::is_incomplete)
    }

    /// Whether a start after this moment would take the node for complete although one of its
    /// shards is not, or has not heard of the node's present life.
    pub fn conceals_loss(&self) -> bool {
        let identity = self.control.identity();
        let life = identity.incarnation().life;
        let misses = |shard: &Shard| shard.is_incomplete() || shard.incarnation().life != life;
        !identity.is_incomplete() && self.shards().any(misses)
    }

    /// What scrubs have found since the start: digests that were wrong, and damage on disk.
    pub fn scrub_findings(&self) -> (u64, u64) {
        let totals = self.shards().map(Shard::scrub_total);
        totals.fold((0, 0), |(mismatches, damages), total| {
            (mismatches + total.mismatches, damages + total.damages)
        })
    }

    /// Whether a log has failed, so that writes are refused until a restart.
    pub fn has_failed(&self) -> bool {
        self.shards().any(Shard::has_failed)
    }

    /// What the indexes of the shards say otherwise than the documents, a line each.
    pub fn index_faults(&mut self) -> Vec<String> {
        let shards = self.reactors.iter_mut().map(Reactor::shard_mut);
        shards.flat_map(Shard::index_faults).collect()
    }

    /// The digests of the catalogs of indexes that the shards go by, and of that of the node.
    pub fn catalog_digests(&self) -> Vec<u64> {
        let shards = self.shards().map(Shard::catalog_digest);
        shards.chain([self.control.catalog_digest()]).collect()
    }

    /// Raised at every start.
    pub fn incarnation(&self) -> Incarnation {
        let topology = self.topology();
        topology.member(topology.me()).incarnation
    }
}

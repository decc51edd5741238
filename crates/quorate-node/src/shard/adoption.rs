//! How a shard goes on by another topology: at the boundary of a turn, as a whole.

use std::sync::Arc;

use quorate_cluster::{
    peer_map::PeerMap, starting::Starting, topology::Topology, wall_clock::WallClock,
};
use quorate_proto::{Groups, Incarnation, MemberNumber, mutant::Mutant};

use super::{Now, Shard};
use crate::limits;

impl Shard {
    /// A new topology: its seal, new addresses or starts, or other members. What is known of and
    /// kept for those that stay remains.
    pub(super) fn adopt(&mut self, now: Now, topology: Arc<Topology>) {
        self.service_liveness(now);
        let before = Arc::clone(self.topology());
        let changes = topology.changes_since(&before);
        self.node.set_members(topology.len());
        for peer in &changes.left {
            self.part_from(now, *peer, &before);
        }
        self.storage.store.adopt(self.node.origin(&topology), topology.len() > 1);
        let terms = self.node.hint_terms(topology.len());
        let has_moved = self.storage.adopt(Arc::clone(&topology), terms);
        self.coordinator.adopt(now.monotonic, &mut self.storage, Arc::clone(&topology));
        for peer in &changes.joined {
            self.handoff.handle_joined(*peer);
            self.anti_entropy.handle_joined(*peer);
            self.peers.handle_joined(now.monotonic, &topology, *peer);
        }
        if has_moved {
            self.anti_entropy.handle_adopted(now.monotonic);
        }
        self.peers.set_targets(now.monotonic, &topology);
        let id = |topology: &Topology| topology.member(topology.me()).id;
        if id(&topology) != id(&before) {
            self.lose_everything(now);
        }
        if topology.sealed() && !before.sealed() {
            // Whoever is in the list may have come a moment ago.
            self.starting = Starting::default();
            self.handle_footing(now, self.founded);
        }
        // Whoever asks whether anything is left to compare is told as of this list.
        self.publish_metrics(now);
    }

    /// A node is no peer any more. What was forwarded to it waits on as long as its link stands.
    fn part_from(&mut self, now: Now, peer: MemberNumber, before: &Topology) {
        let storage = &mut self.storage;
        self.coordinator.handle_peer_left(now.monotonic, storage, peer);
        self.handoff.handle_peer_down(storage, peer);
        self.handoff.handle_left(peer);
        self.clocks.handle_peer_down(peer);
        self.anti_entropy.handle_left(peer);
        let became_ready = self.peers.handle_left(now.monotonic, peer, before.member(peer));
        self.note_ready(became_ready);
    }

    /// Which process of its node this is, as far as this shard has been told.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.topology().member(self.topology().me()).incarnation
    }

    /// This node has taken the seat of a member that it was, and has lost what that one had.
    fn lose_everything(&mut self, now: Now) {
        tracing::warn!(shard = self.id, "the other nodes fill in all that this one had");
        let topology = Arc::clone(self.topology());
        self.storage.incomplete = true;
        if !Mutant::FloorsWhileForming.is_planted() {
            self.storage.store.drop_floors();
        }
        self.peers.handle_loss(now.monotonic, &topology);
        self.clock = WallClock::new(now.monotonic, self.machine.wall_us, true);
        self.note_ready(false);
    }

    /// Slots that are others' now go once no request of before can be under way.
    pub(super) fn look_for_foreign(&mut self, now: Now) {
        let patience = self.node.settings.request_timeout * limits::FOREIGN_KEPT_REQUESTS;
        self.storage.look_for_foreign(now.monotonic, patience);
    }

    /// The epoch that this shard goes by, and with whom its groups have become level in it.
    pub(crate) fn levels(&self) -> (u64, &PeerMap<Groups>) {
        (self.topology().epoch(), self.storage.level())
    }

    /// Slots of others that are still here.
    pub(crate) fn foreign_slots(&self) -> usize {
        self.storage.foreign_slots()
    }
}

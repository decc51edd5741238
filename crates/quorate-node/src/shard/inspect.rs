//! What a simulator may look at.

use quorate_cluster::handoff::Hints as _;
use quorate_proto::{MemberNumber, Slot};

use super::Shard;
use crate::storage::ScrubTally;

impl Shard {
    /// Which shard owns a slot.
    pub(crate) fn owner(&self, slot: Slot) -> u16 {
        self.storage.owner(slot)
    }

    /// Whether this shard may answer for itself since it started.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.peers.is_ready()
    }

    /// Requests under way, those of other nodes included.
    pub(crate) fn requests(&self) -> usize {
        self.coordinator.in_flight() + self.waiting.len()
    }

    /// The digest of the state of a slot.
    pub(crate) fn slot_digest(&mut self, slot: Slot) -> u128 {
        self.storage.store.slot_digest(slot)
    }

    pub(crate) fn keys(&self) -> usize {
        self.storage.store.len()
    }

    /// Keys with tombstones that wait to be forgotten.
    pub(crate) fn tombstone_keys(&self) -> usize {
        self.storage.store.tombstone_keys()
    }

    /// Effects kept for a peer, and in how many groups of slots some could not be kept.
    pub(crate) fn hints_kept(&self, peer: MemberNumber) -> (u64, u32) {
        (self.storage.pending(peer), self.storage.dirty_groups(peer).len())
    }

    /// Bytes of hints on disk.
    pub(crate) fn hint_bytes(&self) -> u64 {
        self.storage.hint_bytes()
    }

    /// Whether the shard may have less than it has acknowledged.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.storage.incomplete
    }

    /// Whether the log has failed, so that writes are refused until a restart.
    pub(crate) fn has_failed(&self) -> bool {
        self.storage.has_failed()
    }

    /// What scrubs have come to since the start.
    pub(crate) fn scrub_total(&self) -> ScrubTally {
        self.scrub.total()
    }
}

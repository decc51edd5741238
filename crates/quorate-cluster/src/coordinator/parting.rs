//! Nodes that go: this one, which is about to stop, and members that have left.

use alloc::vec::Vec;

use quorate_proto::MemberNumber;

use super::{Coordinator, Peer, Replica, stage::Phase};
use crate::time::Instant;

impl Coordinator {
    /// This node is about to stop: what its clients write others execute, if they can; what others ask
    /// it to execute it does, since it goes on for a while.
    pub fn handle_leaving(&mut self) {
        self.is_leaving = true;
        self.following.executors_changed(None);
    }

    /// A peer is no member any more, and down as such. What was forwarded to it waits on, until it has
    /// answered, or [`Coordinator::handle_parted`].
    pub fn handle_peer_left(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
    ) {
        let waits = |phase| phase == Phase::Forwarding(peer);
        self.lose_peer(now, replica, peer, |phase| !waits(phase));
    }

    /// A former member answers nothing more.
    pub fn handle_parted(&mut self, now: Instant, replica: &mut impl Replica, peer: MemberNumber) {
        let operations = self.operations.iter();
        let waiting = operations.filter(|(_, found)| found.phase() == Phase::Forwarding(peer));
        let waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        for index in waiting {
            self.forward_lost(now, replica, index, peer);
        }
    }

    /// Whether the answer of a former member is waited for.
    pub fn awaits(&self, peer: MemberNumber) -> bool {
        self.operations.iter().any(|(_, found)| found.phase() == Phase::Forwarding(peer))
    }

    /// A peer is down, for operations in such phases.
    pub(super) fn lose_peer(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
        is_such: impl Fn(Phase) -> bool,
    ) {
        self.peers[peer] = Peer::default();
        self.following.executors_changed(None);
        self.recall_unsent(now, replica, peer);
        self.relays_without(peer);
        self.take_over_without(now, replica, peer);
        let operations = self.operations.iter();
        let waiting = operations.filter(|(_, operation)| {
            is_such(operation.phase()) && operation.waits_for(&self.topology, peer)
        });
        let waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        for index in waiting {
            self.lost_peer(now, replica, index, peer);
        }
        self.answer_all_successors();
        self.end_repairs(now, replica);
        self.start_following(now, replica);
    }
}

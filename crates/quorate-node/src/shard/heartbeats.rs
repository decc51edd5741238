//! Heartbeats: what they tell of this node, and what is done about who is heard and who is not.

use quorate_cluster::{liveness, membership::LinkId, time::Instant};
use quorate_proto::{
    MemberNumber, NodeId, Unfit,
    message::{Heartbeat, Message},
};

use super::{Now, Shard, correlation::Machine, receiving::understands_pieces};

impl Shard {
    pub(super) fn heartbeat(&self, to: MemberNumber) -> Heartbeat {
        use quorate_cluster::handoff::Hints as _;
        let dirty = u64::from(self.storage.dirty_groups(to).len());
        // What one shard cannot write, others of this node cannot for long either.
        let fitness = self.fitness();
        // To others a node that is about to stop is like one whose log takes nothing: it is asked last.
        let read_only = fitness.is(Unfit::ReadOnly) || self.node.is_read_only() || self.is_leaving;
        let fitness = fitness.with(Unfit::ReadOnly, read_only);
        // Whom this node takes for down it keeps hints for, from the next write on.
        let missed = u64::from(!self.peers.is_up(to));
        Heartbeat {
            epoch: self.topology().epoch(),
            fitness,
            hints_pending: self.storage.pending(to) + dirty + missed,
            wall_ms: self.machine.wall_ms(),
        }
    }

    /// The same to one that is no member any more: nothing is kept for it.
    pub(super) fn last_heartbeat(&self) -> Heartbeat {
        Heartbeat {
            epoch: self.topology().epoch(),
            fitness: self.fitness(),
            hints_pending: 0,
            wall_ms: self.machine.wall_ms(),
        }
    }

    /// A node is at work.
    pub(super) fn is_at_work(&mut self, at: Instant, id: NodeId) {
        if let Some(node) = self.topology().number_of(id) {
            self.peers.liveness.handle_work(at, node);
        }
    }

    /// The other end of a link takes what is sent to it, and more waits.
    pub(crate) fn link_moves(&mut self, at: Instant, link: LinkId) {
        if let Some((node, _)) = self.peers.standing(link) {
            self.peers.liveness.handle_progress(at, node);
        }
    }

    /// A node has sent a heartbeat on a link of its own: large answers on it leave in pieces if it
    /// understands that.
    pub(super) fn note_pieces(&mut self, link: LinkId, id: NodeId) {
        let pieces = understands_pieces(&self.node, id);
        if let Some((output, _)) = self.incoming_output(link) {
            output.set_in_pieces(pieces);
        }
    }

    /// A node has shown that it is alive.
    pub(super) fn heard(&mut self, at: Instant, id: NodeId) {
        if let Some(node) = self.topology().number_of(id) {
            self.peers.liveness.handle_heard(at, node);
        }
    }

    /// Tells the machines who came and who went.
    pub(super) fn service_liveness(&mut self, now: Now) {
        use liveness::Output;
        while let Some(output) = self.peers.liveness.poll_output() {
            match output {
                Output::SendHeartbeat(peer) => {
                    let beat = Message::Heartbeat(self.heartbeat(peer));
                    let pieces = understands_pieces(&self.node, self.topology().member(peer).id);
                    if let Some(link) = self.peers.outgoing.get_mut(peer) {
                        link.output.set_in_pieces(pieces);
                    }
                    self.send(peer, Machine::Link, 0, &beat);
                }
                Output::Up(peer) => {
                    tracing::info!(peer = %self.topology().member(peer).name, "peer is up");
                    let fitness = self.peers.liveness.fitness(peer);
                    self.coordinator.handle_peer_up(peer, fitness);
                    self.handoff.handle_peer_up(peer);
                    self.clocks.handle_peer_up(now.monotonic, peer);
                    self.anti_entropy.handle_peer_up(now.monotonic, peer);
                    self.peers.readiness.handle_up(peer);
                    self.sync_once_drained(now, peer);
                }
                Output::Fitness { node, before, fitness } => {
                    let peer = &self.topology().member(node).name;
                    match (before.is(Unfit::ReadOnly), fitness.is(Unfit::ReadOnly)) {
                        (false, true) => tracing::warn!(%peer, "a peer takes no writes"),
                        (true, false) => {
                            tracing::info!(%peer, "a peer takes writes again")
                        }
                        _ => {}
                    }
                    self.coordinator.handle_fitness(node, fitness);
                }
                Output::Down(peer) => {
                    tracing::warn!(peer = %self.topology().member(peer).name, "peer is down");
                    let storage = &mut self.storage;
                    self.coordinator.handle_peer_down(now.monotonic, storage, peer);
                    self.handoff.handle_peer_down(storage, peer);
                    self.clocks.handle_peer_down(peer);
                    self.anti_entropy.handle_peer_down(peer);
                    self.storage.forget_level(peer);
                    self.peers.readiness.handle_down(now.monotonic, peer);
                }
                Output::Quiet { node, is_quiet } => {
                    let storage = &mut self.storage;
                    self.coordinator.handle_quiet(now.monotonic, storage, node, is_quiet);
                }
                Output::GiveUpLink(peer) => {
                    if let Some(link) = self.peers.outgoing.remove(peer) {
                        self.peers.dialer.hang_up(now.monotonic, link.link);
                    }
                }
                Output::ClockSkew { node, ahead_ms } => {
                    let peer = &self.topology().member(node).name;
                    tracing::error!(
                        %peer,
                        ahead_ms,
                        "a peer's clock is too far from ours; its writes may be refused"
                    );
                }
                Output::ClockAgrees(node) => {
                    let peer = &self.topology().member(node).name;
                    tracing::info!(%peer, "a peer's clock agrees with ours again");
                }
            }
        }
    }
}

//! Reads: digests, merging what differs, repairing before the answer.
//!
//! The same steps, without the repair, come before a read-modify-write.

use bytes::Bytes;
use quorate_proto::{NodeIndex, Slot, message::Message};

use super::{Coordinator, Replica, Request, Requester, errors, operation::Phase};
use crate::time::Instant;

impl Coordinator {
    pub(super) fn start_read(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        request: Request,
    ) {
        let me = self.topology.me();
        let requirement = self.topology.required(request.slot, request.read_level, me);
        let holds = self.topology.is_replica(request.slot, me);
        let forwarded = matches!(requester, Requester::Peer { .. });
        let elsewhere = if holds && (requirement.answers > 1 || self.peers[me.index()].ready) {
            None
        } else {
            self.reader(request.slot, 0).filter(|_| !forwarded)
        };
        if let Some(reader) = elsewhere {
            return self.forward(now, requester, request, reader);
        }
        if !holds {
            let text = "no replica of the key's slot is up";
            return self.reply(requester, errors::unavailable(text));
        }
        if requirement.answers == 1 {
            let reply = replica.read(request.slot, &request.command, request.resp3);
            return self.reply(requester, reply);
        }
        let index = self.insert(requester, request, Phase::Digests);
        self.operations[index].requirement = requirement;
        if !requirement.is_met_by(self.alive(self.operations[index].slot)) {
            let error = self.too_few(&self.operations[index]);
            return self.finish(now, replica, index, error);
        }
        self.ask_digests(now, replica, index);
    }

    /// The nearest other replica of `slot` that is up, ready ones first, none of `tried`.
    pub(super) fn reader(&self, slot: Slot, tried: u64) -> Option<NodeIndex> {
        let candidates = || {
            let replicas = self.topology.replicas(slot).iter().enumerate();
            replicas
                .filter(move |(position, node)| {
                    tried & (1 << position) == 0
                        && !self.is_me(**node)
                        && self.peers[node.index()].alive
                })
                .map(|(_, node)| *node)
        };
        let ready = candidates().find(|node| self.peers[node.index()].ready);
        // Two replicas that are both catching up would send the read back and forth.
        let holds = self.topology.is_replica(slot, self.topology.me());
        ready.or_else(|| candidates().next().filter(|_| !holds))
    }

    /// Asks as many replicas for digests as the level still needs.
    pub(super) fn ask_digests(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        operation.enter(Phase::Digests, now);
        operation.answered = operation.own_bit();
        operation.differing = 0;
        let (slot, counted) = (operation.slot, operation.requirement.counted);
        let own = operation.own_bit() & counted;
        let needed = usize::from(operation.requirement.answers) - own.count_ones() as usize;
        if needed == 0 {
            return self.digests_agreed(now, replica, index);
        }
        let usable = self.alive(slot) & counted & !self.operations[index].tried;
        for position in positions(usable).take(needed) {
            self.ask_digest(index, position);
        }
    }

    fn ask_digest(&mut self, index: usize, position: usize) {
        let Operation { slot, command } = self.operations[index].question();
        self.call(index, position, Message::AskDigest { slot, command });
    }

    /// A replica is slow to answer: the ones that were not asked yet are asked too.
    pub(super) fn bypass_silent(&mut self, _now: Instant, index: usize) {
        let operation = &mut self.operations[index];
        operation.bypass_at = None;
        let usable = operation.requirement.counted & !operation.tried;
        let usable = usable & self.alive(self.operations[index].slot);
        for position in positions(usable) {
            self.ask_digest(index, position);
        }
    }

    pub(super) fn take_digest(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        digest: u128,
    ) {
        let operation = &mut self.operations[index];
        let own = replica.digest(operation.slot, &operation.command);
        operation.answered |= 1 << position;
        if digest != own {
            operation.differing |= 1 << position;
        }
        if !operation.requirement.is_met_by(operation.answered) {
            return;
        }
        if operation.differing == 0 {
            return self.digests_agreed(now, replica, index);
        }
        let differing = operation.differing;
        operation.enter(Phase::States, now);
        for position in positions(differing) {
            let Operation { slot, command } = self.operations[index].question();
            self.call(index, position, Message::AskStates { slot, command });
        }
    }

    /// The local state is as new as the level demands.
    fn digests_agreed(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        if self.operations[index].class.writes() {
            return self.execute(now, replica, index);
        }
        let operation = &self.operations[index];
        let reply = replica.read(operation.slot, &operation.command, operation.resp3);
        self.finish(now, replica, index, reply);
    }

    pub(super) fn take_state(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        state: &Bytes,
    ) {
        let operation = &self.operations[index];
        if let Err(rejection) = replica.merge(operation.slot, state) {
            let node = self.topology.replicas(operation.slot)[position];
            let name = &self.topology.member(node).name;
            let text = alloc::format!("the state of {name} was refused: {}", rejection.text);
            return self.finish(now, replica, index, errors::unavailable(&text));
        }
        if self.operations[index].asked != 0 {
            return;
        }
        if self.operations[index].class.writes() {
            return self.execute(now, replica, index);
        }
        self.repair(now, replica, index);
    }

    /// Sends the merged state to the replicas that differed; the read waits for them.
    fn repair(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        let differing = operation.differing;
        operation.enter(Phase::Repairing, now);
        operation.answered &= !differing;
        let (slot, own) = (operation.slot, replica.export(operation.slot, &operation.command));
        for position in positions(differing) {
            self.call(index, position, Message::Replicate { slot, effect: own.clone() });
        }
    }

    /// A repaired replica has the merged state.
    pub(super) fn repaired(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        if operation.requirement.is_met_by(operation.answered) {
            self.digests_agreed(now, replica, index);
        } else if operation.asked == 0 {
            let error = self.timed_out(operation);
            self.finish(now, replica, index, error);
        }
    }

    /// A replica that an operation waits for is down or refused.
    pub(super) fn lost_peer(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        peer: NodeIndex,
    ) {
        let operation = &mut self.operations[index];
        let Some(position) = self.topology.position(operation.slot, peer) else {
            return;
        };
        operation.asked &= !(1 << position);
        match operation.phase {
            Phase::Forwarding(_) => self.forward_lost(now, replica, index, peer),
            Phase::Replicating => self.hint_instead(replica, index, position),
            // Start over with those that are left.
            Phase::Digests | Phase::States => {
                let (slot, requirement) = (operation.slot, operation.requirement);
                if requirement.is_met_by(self.alive(slot) & !(1 << position)) {
                    // A new serial, so that late answers to the old questions are told apart.
                    self.operations[index].serial = self.new_serial();
                    self.ask_digests(now, replica, index);
                } else {
                    let error = self.too_few(&self.operations[index]);
                    self.finish(now, replica, index, error);
                }
            }
            Phase::Repairing => self.repaired(now, replica, index),
        }
    }

    /// An operation has reached its deadline.
    pub(super) fn expire(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        match self.operations[index].phase {
            Phase::Replicating => self.expire_write(replica, index),
            Phase::Forwarding(to) => self.forward_expired(now, replica, index, to),
            Phase::Digests | Phase::States | Phase::Repairing => {
                let error = self.timed_out(&self.operations[index]);
                self.finish(now, replica, index, error);
            }
        }
    }
}

/// What replicas are asked about.
struct Operation {
    slot: Slot,
    command: Bytes,
}

impl super::Operation {
    fn question(&self) -> Operation {
        Operation { slot: self.slot, command: self.command.frame().clone() }
    }
}

/// The positions whose bits are set, lowest first.
pub(super) fn positions(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let position = mask.trailing_zeros() as usize;
        mask &= mask.checked_sub(1)?;
        Some(position)
    })
}

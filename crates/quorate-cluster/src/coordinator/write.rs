//! Writes: executed once, replicated, acknowledged.

use alloc::vec::Vec;

use quorate_proto::{Level, NodeIndex, Slot, command::Class, message::Message, mutant::Mutant};

use super::{
    Coordinator, Durability, Executed, OnDurable, Replica, Request, Requester, errors,
    operation::Phase, read::positions,
};
use crate::time::Instant;

impl Coordinator {
    pub(super) fn start_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        request: Request,
    ) {
        match self.executor(request.slot, request.write_level) {
            Some(executor) if self.is_me(executor) => {
                self.coordinate_write(now, replica, requester, request);
            }
            Some(executor) => self.forward(now, requester, request, executor),
            None if self.clock_in_doubt && self.is_replica(request.slot) => {
                self.reply(requester, errors::unavailable(errors::CLOCK_IN_DOUBT));
            }
            None => {
                let error = self.too_few(request.slot, request.write_level, 0);
                self.reply(requester, error);
            }
        }
    }

    fn is_replica(&self, slot: Slot) -> bool {
        self.topology.is_replica(slot, self.topology.me())
    }

    /// The replica that executes writes on `slot`: the first in this datacentre that is up and
    /// ready, else the first there that is up, else the first anywhere that may.
    pub(super) fn executor(&self, slot: Slot, level: Level) -> Option<NodeIndex> {
        let replicas = self.topology.replicas(slot);
        let rank = |node: &NodeIndex| {
            let peer = self.peers[node.index()];
            match (peer.alive, self.topology.is_local(*node), peer.ready) {
                (false, ..) => None,
                (true, true, true) => Some(0),
                (true, true, false) => Some(1),
                (true, false, true) => Some(2),
                (true, false, false) => Some(3),
            }
        };
        replicas
            .iter()
            .filter(|node| self.may_serve(level, **node))
            .filter(|node| !(self.clock_in_doubt && self.is_me(**node)))
            .filter_map(|node| Some((rank(node)?, *node)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, node)| node)
    }

    /// Whether a request at `level` may be coordinated by `node`: the local quorum of another
    /// datacentre is not the one that was asked for.
    pub(super) fn may_serve(&self, level: Level, node: NodeIndex) -> bool {
        level != Level::LocalQuorum || self.topology.is_local(node)
    }

    /// Executes a write here, behind a read-modify-write on the same slot that is still reading.
    pub(super) fn coordinate_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        request: Request,
    ) {
        if let Some(queue) = self.held.get_mut(&request.slot) {
            let deadline = request.deadline;
            queue.push_back((requester, request));
            self.held_writes += 1;
            self.wake_by(deadline);
            return;
        }
        if self.clock_in_doubt {
            return self.reply(requester, errors::unavailable(errors::CLOCK_IN_DOUBT));
        }
        let me = self.topology.me();
        let (slot, level, class) = (request.slot, request.write_level, request.class);
        let requirement = self.topology.required(slot, level, me);
        if !requirement.is_met_by(self.alive(slot)) {
            let error = self.too_few(slot, level, 0);
            return self.reply(requester, error);
        }
        let index = self.insert(requester, request, Phase::Replicating);
        self.operations[index].requirement = requirement;
        let reads_first = class == Class::ReadModifyWrite && !Mutant::WriteBlind.is_planted();
        if reads_first && requirement.answers > 1 {
            self.operations[index].holds_slot = true;
            self.held.insert(slot, Default::default());
            self.ask_digests(now, replica, index);
        } else {
            self.execute(now, replica, index);
        }
    }

    /// Executes the operation on the local state and replicates its effect.
    pub(super) fn execute(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        self.enter(now, index, Phase::Replicating);
        let operation = &mut self.operations[index];
        operation.answered = 0;
        let slot = operation.slot;
        let executed = replica.execute(slot, &operation.command, operation.resp3);
        let Executed { reply, effect, dot, durability } = match executed {
            Ok(executed) => executed,
            Err(rejection) => {
                return self.finish(now, replica, index, errors::refused(&rejection.text));
            }
        };
        if effect.is_empty() {
            return self.answer(now, replica, index, reply);
        }
        operation.reply = Some(reply);
        operation.effect = effect;
        operation.dot = dot;
        let held = core::mem::take(&mut operation.holds_slot);
        self.replicate(replica, index);
        match durability {
            _ if Mutant::AckBeforeDurable.is_planted() => self.vote_own(index),
            Durability::Now => self.vote_own(index),
            // Its own vote is missing for ever; the others' may do.
            Durability::Never => {}
            Durability::At(sequence) => {
                let serial = self.operations[index].serial;
                self.once_durable(sequence, OnDurable::OwnVote { index, serial });
            }
        }
        if held {
            self.release(now, replica, slot);
        }
    }

    fn replicate(&mut self, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        let (slot, own) = (operation.slot, operation.own_position);
        let (dot, effect) = (operation.dot, operation.effect.clone());
        for position in (0..self.topology.replicas(slot).len()).filter(|at| *at != own) {
            let node = self.topology.replicas(slot)[position];
            if self.peers[node.index()].alive {
                let dots = dot.into_iter().collect();
                let message = Message::Replicate { slot, dots, effect: effect.clone() };
                self.call(index, position, message);
            } else {
                replica.hint(node, slot, dot, &effect);
                if Mutant::HintCounts.is_planted() {
                    self.operations[index].answered |= 1 << position;
                }
            }
        }
    }

    /// The effect is durable here.
    pub(super) fn vote_own(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        operation.durable = true;
        operation.answered |= operation.own_bit();
        self.count_votes(index);
    }

    /// The replica at `position` has taken the effect.
    pub(super) fn vote(&mut self, index: usize, position: usize) {
        self.operations[index].answered |= 1 << position;
        self.count_votes(index);
    }

    fn count_votes(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        let hasty = Mutant::AckBeforeQuorum.is_planted();
        if (hasty || operation.requirement.is_met_by(operation.answered))
            && let Some(reply) = operation.reply.take()
        {
            let requester = operation.requester;
            self.reply(requester, reply);
        }
        let operation = &self.operations[index];
        if operation.asked == 0 && operation.durable {
            let operation = self.operations.remove(index);
            if operation.reply.is_some() {
                // Nobody is left to wait for.
                let error = self.missed(&operation);
                self.reply(operation.requester, error);
            }
        }
    }

    /// The replica at `position` did not take the effect: it is kept for it.
    pub(super) fn hint_instead(
        &mut self,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
    ) {
        let operation = &mut self.operations[index];
        operation.asked &= !(1 << position);
        let node = self.topology.replicas(operation.slot)[position];
        replica.hint(node, operation.slot, operation.dot, &operation.effect);
        self.count_votes(index);
    }

    /// Ends a write at its deadline: the client hears what is known, the silent get hints.
    pub(super) fn expire_write(&mut self, replica: &mut impl Replica, index: usize) {
        if self.operations[index].reply.is_some() {
            let error = self.timed_out(&self.operations[index]);
            let operation = &mut self.operations[index];
            operation.reply = None;
            let requester = operation.requester;
            self.reply(requester, error);
        }
        let operation = self.operations.remove(index);
        for position in positions(operation.asked) {
            let node = self.topology.replicas(operation.slot)[position];
            replica.hint(node, operation.slot, operation.dot, &operation.effect);
        }
    }

    /// Lets the writes go on that waited for a read-modify-write on `slot`.
    pub(super) fn release(&mut self, now: Instant, replica: &mut impl Replica, slot: Slot) {
        let Some(mut queue) = self.held.remove(&slot) else {
            return;
        };
        while let Some((requester, request)) = queue.pop_front() {
            self.held_writes -= 1;
            self.coordinate_write(now, replica, requester, request);
            if let Some(again) = self.held.get_mut(&slot) {
                // Another one reads now: the rest stays behind it, in order.
                again.extend(queue);
                return;
            }
        }
    }

    /// Answers writes that wait behind another one beyond their deadline.
    pub(super) fn expire_held(&mut self, now: Instant) {
        let mut late = Vec::new();
        for queue in self.held.values_mut() {
            queue.retain(|(requester, request)| {
                let in_time = request.deadline > now;
                if !in_time {
                    late.push(*requester);
                }
                in_time
            });
        }
        self.held_writes -= late.len();
        for requester in late {
            let text = "the write waited too long behind another one on its slot";
            self.reply(requester, errors::unavailable(text));
        }
    }
}

//! Writes: executed once, replicated, acknowledged.

use core::task::Poll;

use bytes::Bytes;
use quorate_proto::{
    Level, MemberNumber, Slot, Unfit,
    command::Class,
    message::{Cause, Message},
    mutant::Mutant,
};

use super::{
    Attempt, Awaited, Coordinator, Durability, Executed, OnDurable, Peer, Rejection, Replica,
    Requester, errors,
    failover::begin_by,
    operation::Operation,
    stage::{Phase, Replication, Stage},
};
use crate::{positions::Positions, time::Instant};

impl Coordinator {
    /// Brings a write to its executor, behind others that it must not overtake.
    pub(super) fn start_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
    ) {
        if let Some(attempt) = self.follow(attempt) {
            self.send_write(now, replica, attempt);
        }
    }

    /// Brings a write to its executor.
    pub(super) fn send_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
    ) {
        self.pass_on(now, replica, attempt, |coordinator, attempt| {
            let (slot, level) = (attempt.request.call.slot(), attempt.request.terms.write_level);
            match coordinator.own_refusal(slot) {
                Some(refusal) => errors::rejected(&refusal),
                None => {
                    let me = coordinator.topology.me();
                    let required = coordinator.topology.required_to_write(slot, level, me);
                    coordinator.too_few(slot, (level, &required), attempt.refused)
                }
            }
        });
    }

    /// Brings a write to the next replica that may execute it. Without any it ends with an error,
    /// which nearly no write needs.
    fn pass_on(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
        error: impl FnOnce(&Self, &Attempt) -> Bytes,
    ) {
        let Attempt { ref request, refused, requester } = attempt;
        match self.executor(request.call.slot(), request.terms.write_level, refused) {
            Some(executor) if self.is_me(executor) => {
                self.coordinate_write(now, replica, attempt);
            }
            Some(executor) => self.forward(now, attempt, executor),
            None => {
                let error = error(self, &attempt);
                self.reply(requester, error);
            }
        }
    }

    /// The executor of a write has refused it, so that nothing was done: the next one is asked.
    pub(super) fn execute_elsewhere(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
        error: Bytes,
    ) {
        if Mutant::RefusalFinal.is_planted() {
            return self.reply(attempt.requester, error);
        }
        self.following.executors_changed(Some(attempt.request.call.slot()));
        if let Some(attempt) = self.follow(attempt) {
            self.pass_on(now, replica, attempt, |_, _| error);
        }
    }

    /// This node does not execute a write. Whoever has sent it asks the next replica.
    fn refuse_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        mut attempt: Attempt,
        refusal: Rejection,
    ) {
        self.note_refusal(now, attempt.request.call.slot(), refusal.cause);
        match attempt.requester {
            Requester::Peer { link, correlation, .. } => {
                self.reject(link, correlation, refusal.cause, refusal.text);
            }
            Requester::Session { .. } => {
                let own = self.topology.position(attempt.request.call.slot(), self.topology.me());
                attempt.refused |= own.into_iter().collect();
                let error = errors::rejected(&refusal);
                self.execute_elsewhere(now, replica, attempt, error);
            }
        }
    }

    /// Why this node executes no write on `slot` at the moment, if it holds it at all.
    pub(super) fn own_refusal(&self, slot: Slot) -> Option<Rejection> {
        let me = self.topology.me();
        if !self.topology.is_reader(slot, me) {
            return None;
        }
        // What there is no other replica for is tried: a small write may still fit.
        let has_others = self.topology.readers(slot).len() > 1;
        match self.fitness().may_execute() {
            Ok(()) => None,
            Err(Unfit::ReadOnly) if !has_others => None,
            Err(unfit) => {
                let text = errors::unfit(unfit).into();
                Some(Rejection { cause: unfit.into(), text })
            }
        }
    }

    /// The replica that executes writes on `slot`, none of `refused`: the first in this datacentre
    /// that is up, not silent, and ready, else the first there that is up, else the first anywhere that
    /// may. One that was drained is asked after those, and one whose log takes nothing, or that is
    /// about to stop, last.
    pub(super) fn executor(
        &self,
        slot: Slot,
        level: Level,
        refused: Positions,
    ) -> Option<MemberNumber> {
        let me = self.topology.me();
        let mut best = None;
        for (node, position) in self.topology.readers(slot).iter().zip(0..) {
            let peer = &self.peers[*node];
            let is_asked = !refused.contains(position) && self.may_serve(level, *node);
            if !peer.alive || !is_asked || *node == me && self.own_refusal(slot).is_some() {
                continue;
            }
            let is_last = peer.fitness.is(Unfit::ReadOnly) || *node == me && self.is_leaving;
            let is_drained = peer.fitness.is(Unfit::Drained);
            let is_far = !self.topology.is_local(*node);
            let rank = (is_last, is_drained, is_far, peer.quiet, !peer.fitness.is_ready());
            // Nearly always the first is as good as any.
            if rank == (false, false, false, false, false) {
                return Some(*node);
            }
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, *node));
            }
        }
        best.map(|(_, node)| node)
    }

    /// Whether a request at `level` may be coordinated by `node`: the local quorum of another
    /// datacentre is not the one that was asked for.
    pub(super) fn may_serve(&self, level: Level, node: MemberNumber) -> bool {
        !level.is_local() || self.topology.is_local(node)
    }

    /// Begins a write, which reads first if it must and nobody has read for it.
    pub(super) fn begin_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
        has_read: bool,
    ) {
        let slot = attempt.request.call.slot();
        let earlier = || self.earlier_refusal(now, slot);
        let behind = attempt.request.call.is_in_order().then(earlier).flatten();
        if let Some(refusal) = self.own_refusal(slot).or(behind) {
            return self.refuse_write(now, replica, attempt, refusal);
        }
        if begin_by(attempt.requester, &attempt.request.call).is_some_and(|by| by < now) {
            return self.refuse_write(now, replica, attempt, Rejection::late());
        }
        let Attempt { requester, request, refused } = attempt;
        let me = self.topology.me();
        let (level, class) = (request.terms.write_level, request.call.class());
        let requirement = self.topology.required_to_write(slot, level, me);
        // What there is no other replica for is tried.
        let has_others = self.topology.replicas(slot).len() > 1;
        // Those that stop with this node say the same of themselves as those whose logs take nothing.
        let is_able = |peer: &Peer| {
            let takes = !has_others || self.is_leaving || !peer.fitness.is(Unfit::ReadOnly);
            peer.alive && takes
        };
        if !requirement.is_met_by(self.replicas_that(slot, is_able)) {
            let read_only = if has_others { self.read_only(slot) } else { Positions::NONE };
            let error = self.too_few(slot, (level, &requirement), read_only);
            return self.reply(requester, error);
        }
        let reads = class == Class::ReadModifyWrite && !requirement.is_single();
        let index = self.insert(requester, request, Phase::Replicating);
        self.operations[index].requirement = requirement;
        self.operations[index].executors_refused = refused;
        if reads && !has_read && !Mutant::WriteBlind.is_planted() {
            return self.read_first(now, replica, index);
        }
        self.operations[index].is_read_by_another = reads && has_read;
        self.execute(now, replica, index);
    }

    /// The operation reads before it is executed; writes on its slot wait for it.
    fn read_first(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let me = self.topology.me();
        let operation = &mut self.operations[index];
        operation.holds_slot = true;
        let (slot, level) = (operation.slot(), operation.terms.write_level);
        operation.requirement = self.topology.required_to_read(slot, level, me);
        self.hold(slot);
        self.ask_digests(now, replica, index);
    }

    /// Executes the operation on the local state and replicates its effect.
    pub(super) fn execute(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        let slot = operation.slot();
        let by = begin_by(operation.requester, &operation.call);
        match replica.execute(self.ticket(), &operation.call, operation.terms.resp3, by) {
            Poll::Ready(executed) => self.executed(now, replica, index, executed),
            Poll::Pending => {
                self.enter(now, index, Phase::Executing);
                let operation = &mut self.operations[index];
                operation.answered = Positions::NONE;
                let serial = operation.serial;
                self.begin_change(slot, Awaited::Execution { slot, index, serial });
            }
        }
    }

    /// The replica has executed the operation, or refused to.
    pub(super) fn executed(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executed: Result<Executed, Rejection>,
    ) {
        self.enter(now, index, Phase::Replicating);
        let operation = &mut self.operations[index];
        operation.answered = Positions::NONE;
        let slot = operation.slot();
        let Executed { reply, effect, dot, durability } = match executed {
            Ok(executed) => executed,
            Err(rejection) => return self.execution_refused(now, replica, index, rejection),
        };
        if effect.is_empty() {
            // What it shows may be of a write since that reading, which too few have acknowledged.
            let is_unread = core::mem::take(&mut operation.is_read_by_another);
            if is_unread && !Mutant::ShownUnread.is_planted() {
                return self.read_first(now, replica, index);
            }
            return self.answer(now, replica, index, reply);
        }
        operation.reply = Some(reply);
        operation.stage = Stage::Replicating(Replication { effect, dot, ..Replication::default() });
        let held = core::mem::take(&mut operation.holds_slot);
        if held {
            // Until now it was that of a read.
            let level = operation.terms.write_level;
            let me = self.topology.me();
            operation.requirement = self.topology.required_to_write(slot, level, me);
        }
        self.replicate(now, replica, index);
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
            self.release(now, replica, slot, true);
        }
    }

    /// This replica does not execute a write after all: nothing was done.
    pub(super) fn execution_refused(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        refusal: Rejection,
    ) {
        // Those behind it need not read before they are refused; the shell knows better soon.
        let me = self.topology.me();
        if refusal.cause == Cause::StoreFull {
            self.peers[me].fitness = self.fitness().with(Unfit::ReadOnly, true);
        }
        let operation = self.operations.remove(index);
        let (slot, held) = (operation.slot(), operation.holds_slot);
        let (requester, refused) = (operation.requester, operation.executors_refused);
        let attempt = Attempt { requester, request: operation.into_request(0), refused };
        // It goes before those that wait behind it.
        self.refuse_write(now, replica, attempt, refusal);
        if held {
            self.release(now, replica, slot, false);
        }
    }

    /// Sends the effect to every other replica that has not acknowledged it.
    pub(super) fn replicate(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let own = self.operations[index].own();
        let all = Positions::first(self.topology.replicas(self.operations[index].slot()).len());
        self.replicate_to(now, replica, index, all - own - self.operations[index].answered);
    }

    /// Sends the effect to these replicas, or keeps it for those that are down.
    pub(super) fn replicate_directly(
        &mut self,
        replica: &mut impl Replica,
        index: usize,
        to: Positions,
    ) {
        let operation = &self.operations[index];
        let slot = operation.slot();
        let Some(Replication { effect, dot, .. }) = operation.replication() else { return };
        let (effect, dot) = (effect.clone(), *dot);
        // A write without a dot is not named, so nobody is asked about it.
        let outcome = operation.outcome().filter(|_| dot.is_some());
        for position in to.iter() {
            let node = self.topology.replicas(slot)[position];
            if self.peers[node].alive {
                let dots = dot.into_iter().collect();
                let (outcome, effect) = (outcome.clone(), effect.clone());
                let message = Message::Replicate { slot, dots, outcome, effect };
                self.call(index, position, message);
            } else {
                replica.hint(node, slot, dot, &effect);
                if Mutant::HintCounts.is_planted() {
                    self.operations[index].answered |= Positions::of(position);
                }
            }
        }
    }

    /// The effect is durable here, or what is known of it.
    pub(super) fn vote_own(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        if let Stage::Replicating(replication) = &mut operation.stage {
            replication.durable = true;
        }
        operation.answered |= operation.own();
        match operation.phase() {
            Phase::Asking(_) => self.count_outcome(index),
            _ => self.count_votes(index),
        }
    }

    /// The replica at `position` has taken the effect.
    pub(super) fn vote(&mut self, index: usize, position: usize) {
        self.operations[index].answered |= Positions::of(position);
        self.count_votes(index);
    }

    pub(super) fn count_votes(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        let hasty = Mutant::AckBeforeQuorum.is_planted();
        if (hasty || operation.requirement.is_met_by(operation.answered))
            && let Some(reply) = operation.reply.take()
        {
            let requester = operation.requester;
            self.reply(requester, reply);
        }
        let operation = &self.operations[index];
        let is_durable = operation.replication().is_some_and(|found| found.durable);
        if operation.asked.is_empty() && is_durable {
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
        operation.asked -= Positions::of(position);
        operation.stale -= Positions::of(position);
        self.hint_at(replica, &self.operations[index], position);
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
        for position in operation.asked.iter() {
            self.hint_at(replica, &operation, position);
        }
    }

    /// Keeps the effect of a write for the replica at `position`.
    fn hint_at(&self, replica: &mut impl Replica, operation: &Operation, position: usize) {
        let node = self.topology.replicas(operation.slot())[position];
        if let Some(Replication { effect, dot, .. }) = operation.replication() {
            replica.hint(node, operation.slot(), *dot, effect);
        }
    }
}

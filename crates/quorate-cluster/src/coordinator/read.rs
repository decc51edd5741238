//! Reads: digests, merging what differs, repairing before the answer.
//!
//! ```text
//!   Digests --- all equal -----------------------------------------------> answer
//!      |                                                                     ^
//!      +-- some differ --> States ----- merge them --> Repairing --- acks ---+
//!      |                                                                     |
//!      +-- in large keys --> Elements -- merge them --> Repairing --- acks --+
//! ```
//! Small states travel whole, both ways. Of large keys only those [elements](crate::elements)
//! travel that one side lacks, for one round trip more. What a command over slots is to know of the
//! replicas that differ is neither merged nor repaired: they tell it, and it becomes part of the
//! command.
//!
//! The answer belongs to one state, and every replica that the level counts holds that state or a
//! newer one: what the digest was of when the others were asked, or what was sent out as repair.
//! The same steps come before a read-modify-write, which then executes instead of answering.
//!
//! What a sync has yet to make durable is answered only after it, by every replica that is asked.
//!
//! A replica that is silent, lost or refuses is left out, as long as the others are enough.

use alloc::vec::Vec;
use core::task::Poll;

use bytes::Bytes;
use quorate_proto::{
    Level, MemberNumber, Slot, Unfit,
    command::{Call, Routing},
    message::Message,
    mutant::Mutant,
    resp::Command,
};

use super::{
    Attempt, Awaited, Coordinator, Durability, ReadRepair, Replica, Request, Requester, Ticket,
    elements::names_large,
    errors,
    gate::{Merge, Merged},
    operation::Operation,
    stage::{Compared, Phase},
    stored::Purpose,
};
use crate::{positions::Positions, time::Instant};

impl Coordinator {
    pub(super) fn start_read(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        request: Request,
    ) {
        let me = self.topology.me();
        let (slot, level) = (request.call.slot(), request.terms.read_level);
        let requirement = self.topology.required_to_read(slot, level, me);
        let holds = self.topology.is_reader(slot, me);
        let forwarded = matches!(requester, Requester::Peer { .. });
        // A node whose log takes nothing falls behind, and cannot take what others have to answer.
        // One that does not know the time cannot tell what has expired.
        let own = self.fitness();
        let in_doubt = own.is(Unfit::ClockInDoubt) && !Mutant::DoubtIgnored.is_planted();
        let caught_up = !requirement.is_single() || !own.is(Unfit::CatchingUp);
        let serves = holds && !own.is(Unfit::ReadOnly) && !in_doubt && caught_up;
        let elsewhere = if serves {
            None
        } else {
            self.reader(slot, level, Positions::NONE).filter(|_| !forwarded)
        };
        if let Some(reader) = elsewhere {
            return self.forward(
                now,
                Attempt { requester, request, refused: Positions::NONE },
                reader,
            );
        }
        if !holds {
            let error = self.too_few(slot, (level, &requirement), Positions::NONE);
            return self.reply(requester, error);
        }
        self.read_here(now, replica, requester, request);
    }

    /// Coordinates a read of a slot that this node holds.
    pub(super) fn read_here(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        requester: Requester,
        request: Request,
    ) {
        let (slot, level) = (request.call.slot(), request.terms.read_level);
        let requirement = self.topology.required_to_read(slot, level, self.topology.me());
        if requirement.is_single() {
            if let Err(unfit) = self.fitness().may_count() {
                return self.refuse_read(requester, unfit);
            }
            let reply = match replica.read(self.ticket(), &request.call, request.terms.resp3) {
                Poll::Ready(Some(reply)) => reply,
                Poll::Ready(None) => return self.refuse_read(requester, Unfit::ClockInDoubt),
                Poll::Pending => {
                    let index = self.insert(requester, request, Phase::Reading);
                    let serial = self.operations[index].serial;
                    return self.await_stored(Awaited::Reply { index, serial });
                }
            };
            if replica.durability(slot) == Durability::Now {
                return self.reply(requester, reply);
            }
            let index = self.insert(requester, request, Phase::Settled);
            return self.answer(now, replica, index, reply);
        }
        if !requirement.is_met_by(self.alive(slot)) {
            let error = self.too_few(slot, (level, &requirement), Positions::NONE);
            return self.reply(requester, error);
        }
        let index = self.insert(requester, request, Phase::Digests);
        self.operations[index].requirement = requirement;
        self.ask_digests(now, replica, index);
    }

    /// This node does not answer a read. Whoever has sent it asks the next replica.
    fn refuse_read(&mut self, requester: Requester, unfit: Unfit) {
        let (cause, text) = (unfit.into(), errors::unfit_to_read(unfit));
        match requester {
            Requester::Peer { link, correlation, .. } => {
                self.reject(link, correlation, cause, text.into());
            }
            Requester::Session { .. } => self.reply(requester, errors::unavailable(text)),
        }
    }

    /// The nearest other replica of `slot` that is up, none of `tried`, those first that are ready
    /// and keep up.
    pub(super) fn reader(
        &self,
        slot: Slot,
        level: Level,
        tried: Positions,
    ) -> Option<MemberNumber> {
        let candidates = || {
            let replicas = self.topology.readers(slot).iter().enumerate();
            replicas
                .filter(move |(position, node)| {
                    !tried.contains(*position)
                        && !self.is_me(**node)
                        && self.peers[**node].alive
                        && self.may_serve(level, **node)
                })
                .map(|(_, node)| *node)
        };
        let ready = || candidates().filter(|node| self.peers[*node].fitness.is_ready());
        let fits = || ready().filter(|node| !self.peers[*node].fitness.is(Unfit::ReadOnly));
        let fit = fits().find(|node| !self.peers[*node].quiet).or_else(|| fits().next());
        // Two replicas that are both catching up would send the read back and forth.
        let holds = self.topology.is_reader(slot, self.topology.me());
        fit.or_else(|| ready().chain(candidates()).next().filter(|_| !holds))
    }

    /// Asks as many replicas for digests as the level still needs.
    pub(super) fn ask_digests(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        if !self.look_later(now, index) {
            self.read_for_held(index);
            self.take_snapshot(now, replica, index, Purpose::Compare);
        }
    }

    /// Asks for the digests that `own_digest`, which the reply that is kept belongs to, is to be
    /// compared with.
    pub(super) fn compare_digests(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        own_digest: u128,
    ) {
        self.enter(now, index, Phase::Digests);
        let counts = self.fitness().may_count().is_ok();
        let operation = &mut self.operations[index];
        operation.answered = if counts { operation.own() } else { Positions::NONE };
        operation.compared().own_digest = own_digest;
        let (slot, requirement) = (operation.slot(), operation.requirement.clone());
        let own = operation.answered;
        if requirement.is_met_by(own) || Mutant::ReadAlone.is_planted() {
            return self.read_settled(now, replica, index);
        }
        let usable = (self.alive(slot) & requirement.all_counted()) - self.operations[index].tried;
        if !requirement.is_met_by(usable | own) {
            return self.give_up(now, replica, index);
        }
        // One that is still catching up is likely to differ, and so is one that takes no writes,
        // which could not be repaired either. One that is quiet may not answer.
        let fit = self.ready(slot) - self.read_only(slot) - self.quiet(slot);
        let mut hoped_for = own;
        for position in (usable & fit).iter().chain((usable - fit).iter()) {
            if requirement.lacks(hoped_for, position) {
                hoped_for |= Positions::of(position);
                self.ask_digest(index, position);
            }
        }
    }

    fn ask_digest(&mut self, index: usize, position: usize) {
        let (slot, command) = self.operations[index].question();
        self.call(index, position, Message::AskDigest { slot, command });
    }

    pub(super) fn take_digest(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        (digest, large): (u128, bool),
    ) {
        let operation = &mut self.operations[index];
        operation.answered |= Positions::of(position);
        let compared = operation.compared();
        compared.large |= large;
        if digest != compared.own_digest {
            compared.differing |= Positions::of(position);
            compared.other_digest = digest;
        }
        let Compared { differing, large, .. } = *compared;
        if !operation.requirement.is_met_by(operation.answered) {
            return;
        }
        if differing.is_empty() {
            return self.read_settled(now, replica, index);
        }
        if !operation.counts_itself() {
            // Who agrees with this node, which has lost data, may hold a tombstone that it lacks:
            // digests leave them out.
            operation.compared().differing = operation.answered;
        }
        if operation.is_over_slots() {
            return self.ask_states(now, index);
        }
        self.read_repairs.reads += 1;
        if large || names_large(replica, &operation.call) {
            self.repair_elements(now, replica, index);
        } else {
            self.ask_states(now, index);
        }
    }

    /// Asks those that differ for all that they have.
    pub(super) fn ask_states(&mut self, now: Instant, index: usize) {
        self.enter(now, index, Phase::States);
        for position in self.operations[index].compared().differing.iter() {
            let (slot, command) = self.operations[index].question();
            self.call(index, position, Message::AskStates { slot, command });
        }
    }

    pub(super) fn take_state(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        state: Bytes,
    ) {
        let operation = &mut self.operations[index];
        if operation.is_over_slots() {
            return self.take_told(now, replica, index, state);
        }
        // It has answered once that is merged.
        operation.asked |= Positions::of(position);
        let merged = Merged::Compare { index, serial: operation.serial, position };
        let slot = operation.slot();
        self.merge(now, replica, Merge { slot, dots: Vec::new(), effect: state, merged });
    }

    /// The state of the replica at `position` is merged, or refused.
    pub(super) fn state_merged(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
        is_taken: bool,
    ) {
        let operation = &mut self.operations[index];
        operation.asked -= Positions::of(position);
        if !is_taken {
            // A state from a clock far ahead, or a full disk here: others may do.
            return self.lost_replica(now, replica, index, position);
        }
        if operation.asked.is_empty() {
            self.take_snapshot(now, replica, index, Purpose::Repair);
        }
    }

    /// Takes what a replica that differs tells of the slots that a command is about. Once all have
    /// told, the command is executed with that.
    fn take_told(&mut self, now: Instant, replica: &mut impl Replica, index: usize, told: Bytes) {
        let operation = &mut self.operations[index];
        operation.compared().told.push(told);
        if !operation.asked.is_empty() {
            return;
        }
        let told = core::mem::take(&mut operation.compared().told);
        let words = operation.call.command().args().chain(told.iter().map(Bytes::as_ref));
        let command = Command::from_args(words.collect::<Vec<&[u8]>>());
        operation.call = Call::piece(operation.slot(), command);
        if operation.writes() {
            self.read_settled(now, replica, index);
        } else {
            self.read_local(now, replica, index);
        }
    }

    /// Sends the merged state to the replicas that lack some of it; the operation waits for them.
    pub(super) fn repair(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        merged: u128,
    ) {
        let operation = &mut self.operations[index];
        let Compared { differing, own_digest, other_digest, .. } = *operation.compared();
        let mut lacking = differing;
        if merged != own_digest {
            // Those that were equal to the local state are behind it now.
            lacking = operation.answered - operation.own();
        }
        if differing.len() == 1 && merged == other_digest {
            // The only one that differed had everything already.
            lacking -= differing;
        }
        self.begin_repairing(now, index, lacking);
        self.send_state(replica, index, lacking);
        self.repaired(now, replica, index);
    }

    /// Those that lack something are to be sent it now. They count once they have it, unless nobody
    /// waits for that. A write that reads first always does: it decides by what it has read.
    pub(super) fn begin_repairing(&mut self, now: Instant, index: usize, lacking: Positions) {
        let background =
            self.read_repair == ReadRepair::Background || Mutant::RepairInBackground.is_planted();
        let operation = &mut self.operations[index];
        if !background || operation.writes() {
            operation.answered -= lacking;
        }
        self.enter(now, index, Phase::Repairing);
    }

    fn send_state(&mut self, replica: &mut impl Replica, index: usize, to: Positions) {
        if to.is_empty() {
            return;
        }
        let operation = &mut self.operations[index];
        let (slot, serial) = (operation.slot(), operation.serial);
        let Poll::Ready(state) = replica.export(Ticket(self.next_ticket), &operation.call) else {
            operation.asked |= to;
            operation.tried |= to;
            return self.await_stored(Awaited::Repair { slot, index, serial, to });
        };
        for position in to.iter() {
            let effect = state.clone();
            let message = Message::Replicate { slot, dots: Vec::new(), outcome: None, effect };
            self.call(index, position, message);
        }
    }

    /// Goes on once enough replicas hold the merged state.
    pub(super) fn repaired(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        let exchange = operation.compared().exchange.as_deref();
        let (has_exchange, next) =
            (exchange.is_some(), exchange.and_then(|exchange| exchange.next));
        let skipped = Mutant::RepairSkipped.is_planted();
        if skipped || operation.requirement.is_met_by(operation.answered) {
            return match next {
                Some(from) => self.compare_elements(now, replica, index, from),
                None => self.read_settled(now, replica, index),
            };
        }
        if !operation.asked.is_empty() {
            return;
        }
        if has_exchange {
            return self.begin_again(now, replica, index);
        }
        let others = self.untried(index);
        if others.is_empty() {
            return self.give_up(now, replica, index);
        }
        self.send_state(replica, index, others);
    }

    /// The state that was compared or merged is where the level wants it to be.
    pub(super) fn read_settled(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        if let Some(reply) = operation.reply.take() {
            return self.answer(now, replica, index, reply);
        }
        if !operation.writes() {
            let requester = self.operations.remove(index).requester;
            return self.refuse_read(requester, Unfit::ClockInDoubt);
        }
        match self.own_refusal(self.operations[index].slot()) {
            Some(refusal) => self.execution_refused(now, replica, index, refusal),
            None if self.may_execute(index) => self.execute(now, replica, index),
            None => {}
        }
    }

    /// Replicas are slow to answer: does without them where that is possible.
    pub(super) fn bypass_silent(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &mut self.operations[index];
        operation.bypass_at = None;
        if !operation.stale.is_empty() {
            return self.ask_stale(now, replica, index);
        }
        let silent = operation.asked;
        match operation.phase() {
            Phase::Digests => {
                for position in self.untried(index).iter() {
                    self.ask_digest(index, position);
                }
            }
            Phase::Repairing if operation.compared().exchange.is_none() => {
                let others = self.untried(index);
                self.send_state(replica, index, others);
            }
            Phase::States | Phase::Elements | Phase::Repairing => {
                let refused = operation.refused | silent;
                let usable = self.alive(self.operations[index].slot()) - refused;
                if self.operations[index].requirement.is_met_by(usable) {
                    self.operations[index].refused = refused;
                    self.ask_digests(now, replica, index);
                }
            }
            Phase::Forwarding(executor) if operation.writes() => {
                self.write_bypassed(now, replica, index, executor);
            }
            Phase::Forwarding(_) => self.forward_bypassed(now, index),
            Phase::Asking(executor) => self.outcome_is_late(now, replica, index, executor),
            Phase::Replicating => self.bypass_relays(replica, index),
            Phase::Reading | Phase::Executing | Phase::Settled => {}
        }
    }

    /// A peer that an operation waits for is down.
    pub(super) fn lost_peer(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        peer: MemberNumber,
    ) {
        let operation = &self.operations[index];
        if let Phase::Forwarding(_) = operation.phase() {
            return self.forward_lost(now, replica, index, peer);
        }
        if let Phase::Asking(executor) = operation.phase() {
            // It has not denied anything.
            let position = self.topology.position(operation.slot(), peer);
            self.operations[index].asked -= position.into_iter().collect();
            return self.repeat_if_lost(now, replica, index, executor);
        }
        if let Some(position) = self.topology.position(operation.slot(), peer) {
            self.lost_replica(now, replica, index, position);
        }
    }

    /// The replica at `position` is down or has refused.
    pub(super) fn lost_replica(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        position: usize,
    ) {
        let operation = &mut self.operations[index];
        operation.asked -= Positions::of(position);
        operation.refused |= Positions::of(position);
        match operation.phase() {
            Phase::Replicating => {
                self.relay_lost(replica, index, position);
                self.hint_instead(replica, index, position);
            }
            Phase::Digests | Phase::States | Phase::Elements => {
                self.begin_again(now, replica, index);
            }
            Phase::Repairing => self.repaired(now, replica, index),
            Phase::Forwarding(_)
            | Phase::Asking(_)
            | Phase::Reading
            | Phase::Executing
            | Phase::Settled => {}
        }
    }

    /// Starts a read over with the replicas that are left.
    pub(super) fn begin_again(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let usable = self.alive(self.operations[index].slot());
        let operation = &self.operations[index];
        if operation.requirement.is_met_by(usable - operation.refused) {
            self.ask_digests(now, replica, index);
        } else {
            self.give_up(now, replica, index);
        }
    }

    /// Ends an operation that has changed nothing and cannot be done with the replicas left.
    fn give_up(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        let operation = &self.operations[index];
        let required = (operation.level(), &operation.requirement);
        let error = self.too_few(operation.slot(), required, operation.refused);
        self.finish(now, replica, index, error);
    }

    /// Replicas that count, are up and were not asked in this phase.
    fn untried(&self, index: usize) -> Positions {
        let operation = &self.operations[index];
        let settled = operation.tried | operation.answered;
        (self.alive(operation.slot()) & operation.requirement.all_counted()) - settled
    }

    /// An operation has reached its deadline.
    pub(super) fn expire(&mut self, now: Instant, replica: &mut impl Replica, index: usize) {
        match self.operations[index].phase() {
            _ if Mutant::NeverExpires.is_planted() => {
                self.operations[index].terms.deadline = Instant::NEVER;
            }
            Phase::Replicating => self.expire_write(replica, index),
            Phase::Forwarding(to) => self.forward_expired(now, replica, index, to),
            Phase::Asking(executor) => self.give_up_outcome(now, replica, index, executor),
            Phase::Reading
            | Phase::Digests
            | Phase::States
            | Phase::Elements
            | Phase::Repairing
            | Phase::Executing
            | Phase::Settled => {
                let error = self.timed_out(&self.operations[index]);
                self.finish(now, replica, index, error);
            }
        }
    }
}

impl Operation {
    /// Whether the command is about slots, and not about keys.
    fn is_over_slots(&self) -> bool {
        self.call.spec().routing == Routing::Slots
    }

    /// What replicas are asked about.
    fn question(&self) -> (Slot, Bytes) {
        (self.slot(), self.call.command().frame().clone())
    }
}

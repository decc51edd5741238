//! What became of a write whose executor cannot be heard any more.
//!
//! A write is executed once, so it is never forwarded a second time. Each has an id instead, and
//! what it was answered is remembered: by its executor, and by every replica that its effect has
//! reached. When a node loses the link to the executor it asks them all:
//!
//! ```text
//!   Forwarding --- link lost --> Asking --- as many replicas know it as the level asks --> reply
//!                                  |  \---- the executor is linked again and knows it ---> reply
//!                                  +------- OUTCOME_PATIENCE ---------------------------> UNKNOWN
//! ```
//! A replica that knows a write holds its effect, so it counts like one that has acknowledged it.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use bytes::Bytes;
use quorate_proto::{
    CallId, MemberNumber, Origin, Outcome, Slot,
    message::{Cause, Message},
    resp::reply,
};

use super::{
    CALL_SHARD_SHIFT, Coordinator, Durability, Gate, OnDurable, Replica, Requester, errors,
    operation::Operation, stage::Phase,
};
use crate::{
    limits::{OUTCOME_BYTES, OUTCOME_PATIENCE, OUTCOME_REPLY_MAX, OUTCOMES_BYTES_MAX},
    membership::LinkId,
    positions::Positions,
    time::Instant,
};

/// Replies to writes of other nodes, the newest ones.
///
/// Every shard of every node numbers its calls one after the other, and they come nearly in that
/// order: so each has a queue, at whose end nearly all are added, and in which all are found.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// By the start of a node and the upper bits of its numbers, which tell its shards apart: in the
    /// order of the numbers. None is empty.
    queues: BTreeMap<(Origin, u16), VecDeque<(u64, Bytes)>>,
    bytes: usize,
}

impl Outcomes {
    /// Remembers a reply, unless it is long.
    pub(super) fn note(&mut self, id: CallId, reply: &Bytes) {
        if !is_remembered(reply) {
            return;
        }
        let queue = self.queues.entry(queue_of(id)).or_default();
        let at = match queue.back() {
            Some((last, _)) if *last >= id.number => {
                match queue.binary_search_by_key(&id.number, |(number, _)| *number) {
                    Ok(_) => return,
                    Err(at) => at,
                }
            }
            _ => queue.len(),
        };
        // A copy, so that nothing larger is kept because of it.
        queue.insert(at, (id.number, reply::kept(reply)));
        self.bytes += OUTCOME_BYTES + reply.len();
        while self.bytes > OUTCOMES_BYTES_MAX {
            self.forget_some();
        }
    }

    pub(super) fn reply(&self, id: CallId) -> Option<&Bytes> {
        let queue = self.queues.get(&queue_of(id))?;
        let at = queue.binary_search_by_key(&id.number, |(number, _)| *number).ok()?;
        Some(&queue[at].1)
    }

    /// Forgets the oldest part of the longest queue: who asks for little is not pushed out by those
    /// who ask for much.
    fn forget_some(&mut self) {
        let longest = self.queues.iter().max_by_key(|(_, queue)| queue.len());
        let Some(name) = longest.map(|(name, _)| *name) else { return };
        let Some(queue) = self.queues.get_mut(&name) else { return };
        let count = queue.len().div_ceil(FORGOTTEN_SHARE);
        let forgotten = queue.drain(..count).map(|(_, reply)| OUTCOME_BYTES + reply.len());
        self.bytes -= forgotten.sum::<usize>();
        if queue.is_empty() {
            self.queues.remove(&name);
        }
    }
}

/// Of the longest queue this part is forgotten at once, so that it is seldom looked for.
const FORGOTTEN_SHARE: usize = 64;

fn queue_of(id: CallId) -> (Origin, u16) {
    (id.origin, (id.number >> CALL_SHARD_SHIFT) as u16)
}

fn is_remembered(reply: &Bytes) -> bool {
    reply.len() <= OUTCOME_REPLY_MAX
}

impl Operation {
    /// What replicas are to remember of a write that was executed for another node.
    pub(super) fn outcome(&self) -> Option<Box<Outcome>> {
        let Requester::Peer { call: Some(id), .. } = self.requester else { return None };
        let reply = self.reply.clone().filter(is_remembered)?;
        Some(Box::new(Outcome { id, reply }))
    }
}

impl Coordinator {
    /// The executor of a write that was forwarded is lost.
    pub(super) fn ask_outcome(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        self.enter(now, index, Phase::Asking(executor));
        let me = self.topology.me();
        let operation = &mut self.operations[index];
        let (slot, level) = (operation.slot(), operation.terms.write_level);
        operation.requirement = self.topology.required_to_write(slot, level, me);
        operation.answered = Positions::NONE;
        operation.refused = Positions::NONE;
        let gives_up_at = now + OUTCOME_PATIENCE;
        operation.bypass_at = Some(gives_up_at);
        self.wake_by(gives_up_at);
        let others = self.alive(slot) - self.operations[index].own();
        for position in others.iter() {
            self.ask_outcome_of(index, position);
        }
        self.recall_outcome(replica, index);
    }

    fn ask_outcome_of(&mut self, index: usize, position: usize) {
        let operation = &self.operations[index];
        let (slot, id) = (operation.slot(), self.call_id(operation));
        self.call(index, position, Message::AskOutcome { slot, id });
    }

    /// What this node itself knows of a write that it asks about.
    fn recall_outcome(&mut self, replica: &impl Replica, index: usize) {
        let operation = &self.operations[index];
        let Some(reply) = self.outcomes.reply(self.call_id(operation)).cloned() else { return };
        let (slot, serial) = (operation.slot(), operation.serial);
        self.operations[index].reply = Some(reply);
        match replica.durability(slot) {
            Durability::Now => self.vote_own(index),
            Durability::At(sequence) => {
                self.once_durable(sequence, OnDurable::OwnVote { index, serial });
            }
            Durability::Never => {}
        }
    }

    /// The replica at `position` knows what a write was answered.
    pub(super) fn take_outcome(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        (position, executor): (usize, MemberNumber),
        reply: Bytes,
    ) {
        let operation = &mut self.operations[index];
        if self.topology.position(operation.slot(), executor) == Some(position) {
            return self.finish(now, replica, index, reply);
        }
        operation.reply = Some(reply);
        operation.answered |= Positions::of(position);
        self.count_outcome(index);
    }

    /// Answers once enough replicas hold the effect.
    pub(super) fn count_outcome(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        if operation.requirement.is_met_by(operation.answered)
            && let Some(reply) = operation.reply.take()
        {
            let requester = self.operations.remove(index).requester;
            self.reply(requester, reply);
        }
    }

    /// The replica at `position` does not know it. The executor is the last one that may.
    pub(super) fn outcome_denied(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        (position, executor): (usize, MemberNumber),
    ) {
        let operation = &mut self.operations[index];
        operation.refused |= Positions::of(position);
        let executor_at = self.topology.position(operation.slot(), executor);
        let has_denied = executor_at.is_some_and(|at| operation.refused.contains(at));
        if has_denied && operation.asked.is_empty() {
            self.outcome_unknown(now, replica, index, executor);
        }
    }

    /// Nobody has told in time what became of a write.
    pub(super) fn give_up_outcome(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        let serial = self.operations[index].serial;
        // Its effect may have come meanwhile.
        self.recall_outcome(replica, index);
        if self.operations.get(index).is_some_and(|found| found.serial == serial) {
            self.outcome_unknown(now, replica, index, executor);
        }
    }

    /// Nobody knows what became of a write.
    pub(super) fn outcome_unknown(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        let member = self.topology.get(executor);
        let name = member.map_or("of before", |member| member.name.as_str());
        let text = alloc::format!("the link to the executor {name} was lost");
        self.finish(now, replica, index, errors::unknown(&text));
    }

    /// An executor is linked again: it is asked what became of the writes that were on their way.
    pub(super) fn ask_again(&mut self, executor: MemberNumber) {
        let operations = self.operations.iter();
        let of_it = operations.filter(|(_, found)| found.phase() == Phase::Asking(executor));
        let indices: Vec<usize> = of_it.map(|(index, _)| index).collect();
        for index in indices {
            let slot = self.operations[index].slot();
            if let Some(position) = self.topology.position(slot, executor) {
                self.ask_outcome_of(index, position);
            }
        }
    }

    /// A peer asks what became of a write. If that is under way, the answer goes to the peer once
    /// it is known.
    pub(super) fn tell_outcome(
        &mut self,
        replica: &impl Replica,
        (link, correlation): (LinkId, u64),
        slot: Slot,
        id: CallId,
    ) {
        if let Some(reply) = self.outcomes.reply(id) {
            let reply = Message::Reply(reply.clone());
            return self.respond_once_durable(replica, slot, link, correlation, reply);
        }
        let under_way = self.operations.iter_mut().map(|(_, found)| &mut found.requester);
        let held = self.gates.values_mut().flat_map(Gate::attempts_mut);
        let held = held.map(|attempt| &mut attempt.requester);
        let is_it = |asked: &&mut Requester| match asked {
            Requester::Peer { call, .. } => *call == Some(id),
            Requester::Session(_) => false,
        };
        if let Some(requester) = under_way.chain(held).find(is_it) {
            *requester = Requester::Peer { link, correlation, call: Some(id) };
            return;
        }
        let text = "the outcome of the call is not known here".into();
        self.reject(link, correlation, Cause::OutcomeUnknown, text);
    }
}

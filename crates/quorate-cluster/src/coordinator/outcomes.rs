//! What became of a write whose executor cannot be heard any more.
//!
//! A write is executed once, so it is never forwarded a second time. Each has an id instead, and
//! what it was answered is remembered: by its executor, and by every replica that its effect has
//! reached. When a node loses the link to the executor it asks them all:
//!
//! ```text
//!   Forwarding --- link lost --> Asking --- as many replicas know it as the level asks --> reply
//!                                  |  |---- the executor is linked again and knows it ---> reply
//!                                  |  \---- it has not executed it, and will not ---------> next executor
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
    failover::is_repeatable, operation::Operation, stage::Phase,
};
use crate::{
    limits::{
        OUTCOME_BYTES, OUTCOME_PATIENCE, OUTCOME_REPLY_MAX, OUTCOMES_BYTES_MAX, RETURN_PATIENCE,
    },
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
    queues: BTreeMap<(Origin, u16), VecDeque<(u64, Remembered)>>,
    bytes: usize,
    /// The greatest number of each queue that was forgotten; of some only, where there are too many.
    forgotten: BTreeMap<(Origin, u16), u64>,
    /// Whether any was ever denied.
    has_denied: bool,
}

/// What is remembered of a write.
#[derive(Debug)]
enum Remembered {
    Reply(Bytes),
    /// It was answered, with more than is kept.
    Long,
    /// It was not executed here, and will not be: its sender was told so.
    Denied,
}

impl Remembered {
    fn bytes(&self) -> usize {
        match self {
            Self::Reply(reply) => OUTCOME_BYTES + reply.len(),
            Self::Long | Self::Denied => OUTCOME_BYTES,
        }
    }
}

impl Outcomes {
    /// Remembers a reply; of a long one only that there was one.
    pub(super) fn note(&mut self, id: CallId, reply: &Bytes) {
        // A copy, so that nothing larger is kept because of it.
        let is_short = is_remembered(reply);
        let kept = if is_short { Remembered::Reply(reply::kept(reply)) } else { Remembered::Long };
        self.remember(id, kept);
    }

    fn remember(&mut self, id: CallId, kept: Remembered) {
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
        self.bytes += kept.bytes();
        queue.insert(at, (id.number, kept));
        while self.bytes > OUTCOMES_BYTES_MAX {
            self.forget_some();
        }
    }

    /// What a write was answered, if that is remembered.
    pub(super) fn reply(&self, id: CallId) -> Option<&Bytes> {
        match self.find(id)? {
            Remembered::Reply(reply) => Some(reply),
            Remembered::Long | Remembered::Denied => None,
        }
    }

    fn find(&self, id: CallId) -> Option<&Remembered> {
        let queue = self.queues.get(&queue_of(id))?;
        let at = queue.binary_search_by_key(&id.number, |(number, _)| *number).ok()?;
        Some(&queue[at].1)
    }

    /// Whether somebody was told that the write was not executed, and will not be.
    pub(super) fn is_denied(&self, id: CallId) -> bool {
        self.has_denied && matches!(self.find(id), Some(Remembered::Denied))
    }

    /// Denies a write that is not under way, if it is certain that it was not executed by this node:
    /// then it will not be. Returns whether it is.
    pub(super) fn deny(&mut self, id: CallId) -> bool {
        match self.find(id) {
            Some(Remembered::Denied) => return true,
            Some(Remembered::Reply(_) | Remembered::Long) => return false,
            None => {}
        }
        // Where an older one is remembered and none that is newer was forgotten, this one would be.
        let queue = self.queues.get(&queue_of(id));
        let oldest = queue.and_then(|queue| queue.front());
        let forgotten = self.forgotten.get(&queue_of(id));
        let is_certain = oldest.is_some_and(|(number, _)| *number < id.number)
            && forgotten.is_none_or(|number| *number < id.number)
            && self.forgotten.len() < FORGOTTEN_QUEUES_MAX;
        if is_certain {
            self.has_denied = true;
            self.remember(id, Remembered::Denied);
        }
        is_certain
    }

    /// Forgets the oldest part of the longest queue: who asks for little is not pushed out by those
    /// who ask for much.
    fn forget_some(&mut self) {
        let longest = self.queues.iter().max_by_key(|(_, queue)| queue.len());
        let Some(name) = longest.map(|(name, _)| *name) else { return };
        let Some(queue) = self.queues.get_mut(&name) else { return };
        let count = queue.len().div_ceil(FORGOTTEN_SHARE);
        let newest = count.checked_sub(1).map_or(0, |last| queue[last].0);
        if self.forgotten.len() < FORGOTTEN_QUEUES_MAX {
            let most = self.forgotten.entry(name).or_default();
            *most = newest.max(*most);
        }
        let forgotten = queue.drain(..count).map(|(_, kept)| kept.bytes());
        self.bytes -= forgotten.sum::<usize>();
        if queue.is_empty() {
            self.queues.remove(&name);
        }
    }
}

/// Of the longest queue this part is forgotten at once, so that it is seldom looked for.
const FORGOTTEN_SHARE: usize = 64;

/// Queues of which it is known what was forgotten: of so many starts of nodes that some are over. When there
/// are more, nothing is certain any more, and what is not remembered is unknown.
const FORGOTTEN_QUEUES_MAX: usize = 1 << 14;

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
        self.following.executors_changed(Some(self.operations[index].slot()));
        let me = self.topology.me();
        let operation = &mut self.operations[index];
        let (slot, level) = (operation.slot(), operation.terms.write_level);
        operation.requirement = self.topology.required_to_write(slot, level, me);
        operation.answered = Positions::NONE;
        operation.refused = Positions::NONE;
        operation.since = now;
        let look_at = if is_repeatable(&operation.call) {
            (now + RETURN_PATIENCE).max(operation.repeated_from())
        } else {
            now + OUTCOME_PATIENCE
        };
        operation.bypass_at = Some(look_at);
        self.wake_by(look_at);
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
            return self.outcome_unknown(now, replica, index, executor);
        }
        self.repeat_if_lost(now, replica, index, executor);
    }

    /// What became of a write is not known after a while.
    pub(super) fn outcome_is_late(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        index: usize,
        executor: MemberNumber,
    ) {
        let serial = self.operations[index].serial;
        self.repeat_if_lost(now, replica, index, executor);
        let Some(operation) = self.operations.get_mut(index) else { return };
        if operation.serial != serial || operation.phase() != Phase::Asking(executor) {
            return;
        }
        let ends_at = operation.since + OUTCOME_PATIENCE;
        if now < ends_at {
            operation.bypass_at = Some(ends_at);
            return self.wake_by(ends_at);
        }
        self.give_up_outcome(now, replica, index, executor);
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
            Requester::Session { .. } => false,
        };
        if let Some(Requester::Peer { link: to, correlation: by, .. }) =
            under_way.chain(held).find(is_it)
        {
            (*to, *by) = (link, correlation);
            return;
        }
        if self.outcomes.deny(id) {
            let text = "the call was not executed here, and will not be".into();
            return self.reject(link, correlation, Cause::Overloaded, text);
        }
        let text = "the outcome of the call is not known here".into();
        self.reject(link, correlation, Cause::OutcomeUnknown, text);
    }
}

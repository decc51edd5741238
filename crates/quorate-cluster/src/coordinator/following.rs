//! Writes that follow others of their connection, when another executor is chosen.
//!
//! An executor begins what one node sends it in the order in which it was sent. When the writes on a
//! slot go to another executor from now on, what is sent there would overtake what is still on its way
//! to the one before:
//!
//! ```text
//!  SET k 1; GET k ──> executor before, which reads first
//!  SET k 2; GET k ──> executor now        the first GET would show 2
//! ```
//! So what is [in order](Call::is_in_order) waits until all writes of this node's clients on its slot
//! that went elsewhere are over. They are only looked for once after each change of who may execute.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use quorate_proto::{MemberNumber, Slot, mutant::Mutant};

use super::{Attempt, Coordinator, Gate, Replica, Requester, errors, stage::Phase};
use crate::time::Instant;

/// What waits for writes before it.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Slots of which all writes that are on their way go to one executor, as far as others follow them.
    together: BTreeSet<Slot>,
    /// With the numbers of their requests, in their order. None of the queues is empty.
    waiting: BTreeMap<Slot, VecDeque<(u64, Attempt)>>,
}

impl Following {
    /// Others may execute writes from now on: of any slot, or of this one.
    pub(super) fn executors_changed(&mut self, slot: Option<Slot>) {
        match slot {
            Some(slot) => drop(self.together.remove(&slot)),
            None => self.together.clear(),
        }
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.waiting.values().flatten().map(|(_, attempt)| attempt.request.terms.deadline)
    }
}

impl Coordinator {
    /// Lets a write wait that would overtake others. Returns it if it need not.
    pub(super) fn follow(&mut self, attempt: Attempt) -> Option<Attempt> {
        let slot = attempt.request.call.slot();
        let Requester::Session { number, .. } = attempt.requester else { return Some(attempt) };
        if !attempt.request.call.is_in_order() {
            return Some(attempt);
        }
        let waiting = self.following.waiting.get(&slot);
        let place = waiting.map_or(0, |queue| queue.partition_point(|(other, _)| *other < number));
        if place == 0 && !self.overtakes(&attempt, number) {
            return Some(attempt);
        }
        self.wake_by(attempt.request.terms.deadline);
        self.waiting += 1;
        self.following.waiting.entry(slot).or_default().insert(place, (number, attempt));
        None
    }

    /// Whether writes before this one are on their way to other executors than its own.
    fn overtakes(&mut self, attempt: &Attempt, number: u64) -> bool {
        let (slot, level) = (attempt.request.call.slot(), attempt.request.terms.write_level);
        if self.following.together.contains(&slot) || Mutant::WriteOvertakes.is_planted() {
            return false;
        }
        let Some(executor) = self.executor(slot, level, attempt.refused) else { return false };
        let first = self.first_elsewhere(slot, executor);
        if first.is_none() {
            self.following.together.insert(slot);
        }
        first.is_some_and(|first| first < number)
    }

    /// The first request of a client to write to `slot` that is on its way to another executor.
    fn first_elsewhere(&self, slot: Slot, executor: MemberNumber) -> Option<u64> {
        let is_here = self.is_me(executor);
        let of_slot = self.operations.iter().map(|(_, found)| found);
        let of_slot = of_slot.filter(|found| found.slot() == slot && found.writes());
        let elsewhere = of_slot.filter(|found| match found.phase() {
            Phase::Forwarding(to) => to != executor,
            Phase::Asking(_) => true,
            _ => !is_here,
        });
        let gate = self.gates.get(&slot).filter(|_| !is_here);
        let held = gate.into_iter().flat_map(Gate::attempts).map(|held| held.requester);
        let requesters = elsewhere.map(|found| found.requester).chain(held);
        let numbers = requesters.filter_map(|requester| match requester {
            Requester::Session { number, .. } => Some(number),
            Requester::Peer { .. } => None,
        });
        numbers.min()
    }

    /// Brings those on their way that need not wait any more.
    pub(super) fn start_following(&mut self, now: Instant, replica: &mut impl Replica) {
        if self.following.waiting.is_empty() {
            return;
        }
        let slots: Vec<Slot> = self.following.waiting.keys().copied().collect();
        for slot in slots {
            while let Some(attempt) = self.next_following(slot) {
                self.waiting -= 1;
                self.send_write(now, replica, attempt);
            }
        }
    }

    fn next_following(&mut self, slot: Slot) -> Option<Attempt> {
        let mut queue = self.following.waiting.remove(&slot)?;
        let (number, first) = queue.pop_front()?;
        let next = if self.overtakes(&first, number) {
            queue.push_front((number, first));
            None
        } else {
            Some(first)
        };
        if !queue.is_empty() {
            self.following.waiting.insert(slot, queue);
        }
        next
    }

    /// Answers those that have waited beyond their deadline.
    pub(super) fn expire_following(&mut self, now: Instant) {
        let mut late = Vec::new();
        self.following.waiting.retain(|_, queue| {
            queue.retain(|(_, attempt)| {
                let in_time = attempt.request.terms.deadline > now;
                if !in_time {
                    late.push(attempt.requester);
                }
                in_time
            });
            !queue.is_empty()
        });
        self.waiting -= late.len();
        for requester in late {
            let text =
                "the write waited too long for those before it, which went to another executor";
            self.reply(requester, errors::unavailable(text));
        }
    }
}

//! The gate of a slot: what waits until something else on the slot is over.
//!
//! | what is under way | what waits |
//! |---|---|
//! | a read-modify-write that still reads | writes |
//! | the slot is taken over from others | writes |
//! | an execution that the replica answers later | writes and merges |
//! | a merge that the replica answers later | writes, merges, and looks at what is compared |
//!
//! What is pending does not show, so nothing else has to wait. But whoever compares replicas while
//! one of them merges would find them different, and repair what is about to be there; so the digests
//! that comparisons begin with, of others' reads and of own ones, wait behind merges that came before
//! them. What follows in a comparison does not, and merges do not wait for a read-modify-write, which
//! may need other nodes that wait for them.
//!
//! Writes are executed in the order in which they came. Those that read as well need not do so one
//! after the other: whatever was acknowledged before they came is found by any reading that began
//! afterwards, and once merged it stays. So a reading is also that of all who waited when it began,
//! if it is about their keys and asks as many replicas as they do. What changes something then counts
//! on its own effect, which follows those before it on the same links; what changes nothing only shows
//! what it has found, perhaps of a write that nobody else has yet, and reads after all.
//!
//! ```text
//!  1 comes, reads -------> executes; 2, 3 and 4 are held
//!     2, 3, 4 come         2 reads, for 3 and 4 too ------> executes, then 3, then 4
//!                             5 comes                       5 reads
//! ```

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{mem, task::Poll};

use bytes::Bytes;
use quorate_proto::{
    Dot, Outcome, Slot,
    command::{Call, Class, Routing},
    message::Message,
};

use super::{
    Attempt, Coordinator, Durability, Rejection, Replica,
    elements::names_large,
    errors,
    handover::TakingOver,
    stored::{Awaited, Purpose},
};
use crate::{limits::OPERATIONS_MAX, membership::LinkId, time::Instant};

/// Where there is none, nothing waits and nothing has to.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// A read-modify-write reads, or is executed after that.
    is_read: bool,
    /// The replica has yet to answer an execution or a merge.
    is_changing: bool,
    /// What it has yet to answer is a merge.
    is_merging: bool,
    /// Others may still execute writes on the slot.
    pub(super) taking_over: Option<TakingOver>,
    /// What waits is gone through at the moment.
    is_advancing: bool,
    writes: VecDeque<Held>,
    arrivals: VecDeque<Arrival>,
}

/// What waits for a change that the replica has yet to answer, in the order in which it came.
#[derive(Debug)]
enum Arrival {
    Merge(Merge),
    /// A peer asks for the digest of what this call names.
    Digest {
        link: LinkId,
        correlation: u64,
        call: Box<Call>,
    },
    /// An operation that compares replicas is to look at the local state.
    Look {
        index: usize,
        serial: u32,
    },
}

/// A write that waits.
#[derive(Debug)]
struct Held {
    attempt: Attempt,
    /// Whether the reading that is under way is its own, too, or it has read.
    is_read: bool,
}

/// An effect, or a state, of another replica.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) slot: Slot,
    pub(super) dots: Vec<Dot>,
    pub(super) effect: Bytes,
    pub(super) merged: Merged,
}

/// What follows a merge.
#[derive(Debug)]
pub(super) enum Merged {
    /// Whoever has sent it hears of it.
    Acknowledge { link: LinkId, correlation: u64, outcome: Option<Box<Outcome>> },
    /// It was passed on as well, and whoever has sent it hears of all together.
    Relayed { relay: usize, serial: u32, outcome: Option<Box<Outcome>> },
    /// The operation that has asked the replica at this position for it goes on.
    Compare { index: usize, serial: u32, position: usize },
}

impl Gate {
    /// Whether a comparison that begins now would miss what has come.
    fn hides_merges(&self) -> bool {
        self.is_merging || !self.arrivals.is_empty()
    }

    /// Whether the replica has yet to answer an execution.
    pub(super) fn is_executing(&self) -> bool {
        self.is_changing && !self.is_merging
    }

    /// When those whom the slot is taken over from are asked again.
    pub(super) fn taken_over_at(&self) -> Option<Instant> {
        self.taking_over.as_ref().map(TakingOver::due_at)
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.writes.iter().map(|held| &held.attempt)
    }

    pub(super) fn attempts_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.writes.iter_mut().map(|held| &mut held.attempt)
    }
}

impl Coordinator {
    /// Whether no more operations are taken.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= OPERATIONS_MAX
    }

    /// Makes sure that a scan comes when something is due at this moment.
    pub(super) fn wake_by(&mut self, at: Instant) {
        self.next_scan = Some(self.next_scan.map_or(at, |scan| scan.min(at)));
    }

    /// Whether a write on `slot` would have to wait.
    pub fn is_gated(&self, slot: Slot) -> bool {
        self.gates.contains_key(&slot)
    }

    /// Lets a write wait if it must; otherwise begins it.
    pub(super) fn coordinate_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
    ) {
        let slot = attempt.request.call.slot();
        self.take_over(now, slot);
        let Some(gate) = self.gates.get_mut(&slot) else {
            return self.begin_write(now, replica, attempt, false);
        };
        let deadline = attempt.request.terms.deadline;
        gate.writes.push_back(Held { attempt, is_read: false });
        self.waiting += 1;
        self.wake_by(deadline);
    }

    /// Merges what another replica has sent, once it may.
    pub(super) fn merge(&mut self, now: Instant, replica: &mut impl Replica, merge: Merge) {
        match self.gates.get_mut(&merge.slot) {
            Some(gate) if gate.is_changing => {
                gate.arrivals.push_back(Arrival::Merge(merge));
                self.waiting += 1;
            }
            _ => self.begin_merge(now, replica, merge),
        }
    }

    fn begin_merge(&mut self, now: Instant, replica: &mut impl Replica, merge: Merge) {
        let Merge { slot, dots, effect, merged } = merge;
        match replica.merge(self.ticket(), slot, dots, &effect) {
            Poll::Ready(result) => self.merged(now, replica, merged, result),
            Poll::Pending => {
                self.begin_change(slot, Awaited::Merge { slot, merged });
                self.gates.entry(slot).or_default().is_merging = true;
            }
        }
    }

    /// Tells a peer the digest of what a call names, once what has come before is merged.
    pub(super) fn tell_digest(
        &mut self,
        replica: &mut impl Replica,
        (link, correlation): (LinkId, u64),
        call: Call,
    ) {
        self.asked = self.asked.wrapping_add(1);
        let slot = call.slot();
        if let Some(gate) = self.gates.get_mut(&slot)
            && gate.hides_merges()
        {
            let call = Box::new(call);
            gate.arrivals.push_back(Arrival::Digest { link, correlation, call });
            self.waiting += 1;
            return;
        }
        self.tell_digest_now(replica, (link, correlation), &call);
    }

    fn tell_digest_now(
        &mut self,
        replica: &mut impl Replica,
        (link, correlation): (LinkId, u64),
        call: &Call,
    ) {
        let digest = replica.digest(call);
        let large = names_large(replica, call);
        let digest = Message::KeysDigest { digest, large };
        self.respond_once_durable(replica, call.slot(), link, correlation, digest);
    }

    /// Whether an operation that is about to be compared with others has to wait, because what has
    /// come is not merged yet. Then it goes on by itself.
    pub(super) fn look_later(&mut self, now: Instant, index: usize) -> bool {
        let slot = self.operations[index].slot();
        if !self.gates.get(&slot).is_some_and(Gate::hides_merges) {
            return false;
        }
        let serial = self.enter_reading(now, index);
        let gate = self.gates.entry(slot).or_default();
        gate.arrivals.push_back(Arrival::Look { index, serial });
        self.waiting += 1;
        true
    }

    /// A merge is over.
    pub(super) fn merged(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        merged: Merged,
        result: Result<Durability, Rejection>,
    ) {
        match merged {
            Merged::Acknowledge { link, correlation, outcome } => {
                self.note_outcome(&result, outcome);
                self.acknowledge(link, correlation, result);
            }
            Merged::Relayed { relay, serial, outcome } => {
                self.note_outcome(&result, outcome);
                self.relay_merged((relay, serial), result);
            }
            Merged::Compare { index, serial, position } => {
                let operation = self.operations.get(index);
                if operation.is_some_and(|found| found.is_call(serial, position)) {
                    self.state_merged(now, replica, index, position, result.is_ok());
                }
            }
        }
    }

    /// Remembers what a write was answered, now that its effect is here.
    fn note_outcome(
        &mut self,
        merged: &Result<Durability, Rejection>,
        outcome: Option<Box<Outcome>>,
    ) {
        if let (Ok(_), Some(outcome)) = (merged, outcome) {
            self.outcomes.note(outcome.id, &outcome.reply);
        }
    }

    /// A read-modify-write begins to read.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.gates.entry(slot).or_default().is_read = true;
    }

    /// The replica answers a change of `slot` later.
    pub(super) fn begin_change(&mut self, slot: Slot, awaited: Awaited) {
        let gate = self.gates.entry(slot).or_default();
        assert!(!gate.is_changing, "invariant: one change of a slot at a time");
        gate.is_changing = true;
        self.await_stored(awaited);
    }

    /// It has been answered; [`Coordinator::advance`] is to follow.
    pub(super) fn end_change(&mut self, slot: Slot) {
        let gate = self.gates.get_mut(&slot).expect("invariant: what is pending holds its gate");
        (gate.is_changing, gate.is_merging) = (false, false);
    }

    /// A read-modify-write has read. Returns whether it can be executed at once; otherwise it waits,
    /// before all others.
    pub(super) fn may_execute(&mut self, index: usize) -> bool {
        let slot = self.operations[index].slot();
        let Some(gate) = self.gates.get_mut(&slot).filter(|gate| gate.is_changing) else {
            return true;
        };
        let operation = self.operations.remove(index);
        let (requester, refused) = (operation.requester, operation.executors_refused);
        let request = operation.into_request(0);
        let deadline = request.terms.deadline;
        let attempt = Attempt { requester, request, refused };
        gate.is_read = false;
        gate.writes.push_front(Held { attempt, is_read: true });
        self.waiting += 1;
        self.wake_by(deadline);
        false
    }

    /// The operation begins to read: also for those behind it that it can read for.
    pub(super) fn read_for_held(&mut self, index: usize) {
        let operation = &self.operations[index];
        if !operation.holds_slot {
            return;
        }
        let Some(gate) = self.gates.get_mut(&operation.slot()) else { return };
        let level = operation.terms.write_level;
        for held in &mut gate.writes {
            let request = &held.attempt.request;
            held.is_read |=
                request.terms.write_level == level && covers(&operation.call, &request.call);
        }
    }

    /// A read-modify-write has been executed, or ended before: what has waited for it goes on.
    pub(super) fn release(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        slot: Slot,
        has_read: bool,
    ) {
        let Some(gate) = self.gates.get_mut(&slot) else { return };
        gate.is_read = false;
        if !has_read {
            gate.writes.iter_mut().for_each(|held| held.is_read = false);
        }
        self.advance(now, replica, slot);
    }

    /// Lets go on what need not wait any more.
    pub(super) fn advance(&mut self, now: Instant, replica: &mut impl Replica, slot: Slot) {
        let Some(gate) = self.gates.get_mut(&slot) else { return };
        if mem::replace(&mut gate.is_advancing, true) {
            return; // What this has come from goes on.
        }
        while let Some(gate) = self.gates.get_mut(&slot) {
            if gate.is_changing {
                gate.is_advancing = false;
                return;
            }
            if let Some(arrival) = gate.arrivals.pop_front() {
                self.waiting -= 1;
                self.take_arrival(now, replica, arrival);
            } else if gate.is_read || gate.taking_over.is_some() {
                gate.is_advancing = false;
                return;
            } else if let Some(Held { attempt, is_read }) = gate.writes.pop_front() {
                self.waiting -= 1;
                self.begin_write(now, replica, attempt, is_read);
            } else {
                self.gates.remove(&slot);
            }
        }
    }

    fn take_arrival(&mut self, now: Instant, replica: &mut impl Replica, arrival: Arrival) {
        match arrival {
            Arrival::Merge(merge) => self.begin_merge(now, replica, merge),
            Arrival::Digest { link, correlation, call } => {
                self.tell_digest_now(replica, (link, correlation), &call);
            }
            Arrival::Look { index, serial } if self.is_current(index, serial) => {
                self.read_for_held(index);
                self.take_snapshot(now, replica, index, Purpose::Compare);
            }
            Arrival::Look { .. } => {}
        }
    }

    /// Takes out the writes that wait on `slot`, in order. Nothing reads for them any more.
    pub(super) fn take_held(&mut self, slot: Slot, holder_ends: bool) -> Vec<Attempt> {
        let Some(gate) = self.gates.get_mut(&slot) else { return Vec::new() };
        let held = mem::take(&mut gate.writes);
        gate.is_read &= !holder_ends;
        gate.taking_over = None;
        if !gate.is_read && !gate.is_changing && gate.arrivals.is_empty() {
            self.gates.remove(&slot);
        }
        self.waiting -= held.len();
        held.into_iter().map(|held| held.attempt).collect()
    }

    /// Answers writes that wait behind another one beyond their deadline.
    pub(super) fn expire_held(&mut self, now: Instant) {
        let mut late = Vec::new();
        for gate in self.gates.values_mut() {
            gate.writes.retain(|Held { attempt, .. }| {
                let in_time = attempt.request.terms.deadline > now;
                if !in_time {
                    late.push(attempt.requester);
                }
                in_time
            });
        }
        self.waiting -= late.len();
        for requester in late {
            let text = "the write waited too long behind another one on its slot";
            self.reply(requester, errors::unavailable(text));
        }
    }
}

/// Keys of a call up to which it is compared with others.
const KEYS_COMPARED_MAX: usize = 8;

/// Whether what is read for a call is all that another one must have read.
fn covers(reading: &Call, other: &Call) -> bool {
    let is_over_few_keys = |call: &Call| {
        call.spec().routing != Routing::Slots
            && (1..=KEYS_COMPARED_MAX).contains(&call.keys().take(KEYS_COMPARED_MAX + 1).count())
    };
    other.class() == Class::ReadModifyWrite
        && is_over_few_keys(reading)
        && is_over_few_keys(other)
        && other.keys().all(|key| reading.keys().any(|read| read == key))
}

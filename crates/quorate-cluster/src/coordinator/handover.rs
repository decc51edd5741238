//! Executors that follow one another when slots get other owners.
//!
//! A node hears of a list at its own moment. So the executor of a slot by the new list and the one by
//! the list before may both be at work, and what decides by what it finds would decide twice. Therefore
//! a node that is not the executor by the list before *takes over* first:
//!
//! ```text
//!   old executor          new executor                     somebody else
//!        |                     | goes by list 8                   |
//!        |<-- taking over? ----|  writes on the slot wait         |
//!   goes by list 8             |                                  |
//!   is done with the slot      |                                  |
//!        |--- nothing here --->|  and go on                       |
//!        |<-----------------------------------------  Forward, 7 -|
//!        |---------------------------------------- stale epoch -->|  asks again, by list 8
//! ```
//! It asks everybody in its datacentre who may have executed writes on the slot, once for each slot that
//! is written to. Whoever is asked answers when it goes by that list itself, its store owes the slot no
//! execution, and the asker has acknowledged all effects on it. From then on the old executor executes
//! nothing on the slot: its own clients' writes go to the new one, and a write that was forwarded by
//! another list is taken only by the executor by the receiver's own.
//!
//! Who is down or silent is not waited for, and nobody for longer than [`HANDOVER_PATIENCE`].

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{
    CallId, MemberNumber, Slot,
    message::{Cause, Message},
    mutant::Mutant,
};
use smallvec::SmallVec;

use super::{Coordinator, Gate, Output, Replica, operation};
use crate::{
    limits::{
        HANDOVER_KEPT, HANDOVER_PATIENCE, HANDOVER_QUESTIONS_MAX, REPLICAS_MAX, STALE_EPOCH_PAUSE,
    },
    membership::LinkId,
    time::Instant,
    topology::Topology,
};

/// In the place of an operation's index: the answer is about the slot in the lower bits.
pub(super) const HANDOVER_FLAG: usize = 1 << 26;

/// The number of a call that nobody makes. Whoever asks for its outcome takes over the slot.
pub(super) const HANDOVER_CALL: u64 = u64::MAX;

/// Members that may have executed writes on a slot, in an order that stays.
type Executors = SmallVec<[MemberNumber; 3]>;

/// What this node has yet to take over, and what others take over from it.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    /// Slots of which others may be at work as executors.
    from: BTreeMap<Slot, Executors>,
    /// By then everybody goes by the newest list.
    until: Option<Instant>,
    questions: Vec<Question>,
}

/// Somebody takes over a slot, and has not been answered.
#[derive(Debug)]
struct Question {
    slot: Slot,
    asker: MemberNumber,
    /// The list by which it takes over.
    epoch: u64,
    since: Instant,
    link: LinkId,
    correlation: u64,
}

/// Whom a slot waits for.
#[derive(Debug)]
pub(super) struct TakingOver {
    serial: u32,
    /// Asked and not answered.
    asked: Executors,
    ask_at: Instant,
    ends_at: Instant,
}

impl TakingOver {
    /// When something is to be done although nobody has answered.
    pub(super) fn due_at(&self) -> Instant {
        self.ask_at.min(self.ends_at)
    }
}

/// Members beside this node that may execute writes on `slot` as long as they go by `before`, or by a
/// list between the two.
fn former_executors(before: &Topology, after: &Topology, slot: Slot) -> Executors {
    let me = after.me();
    let (former, present) = (before.readers(slot), after.readers(slot));
    let is_next = after.epoch() == before.epoch() + 1;
    let has_others = former != present && former.first() != Some(&me);
    if !present.contains(&me) || (is_next && !has_others) {
        return Executors::new();
    }
    let between = if is_next { &[][..] } else { after.replicas(slot) };
    let mut found = Executors::new();
    for node in former.iter().chain(between) {
        let is_local = after.get(*node).is_some() && after.is_local(*node);
        if *node != me && is_local && !found.contains(node) && found.len() < REPLICAS_MAX {
            found.push(*node);
        }
    }
    found
}

impl Coordinator {
    /// This node goes by another list than `before`.
    pub(super) fn note_handovers(&mut self, now: Instant, before: &Topology) {
        self.end_handovers(now);
        if !before.sealed() || before.epoch() == self.topology.epoch() {
            return;
        }
        let Handovers { from, until, .. } = &mut self.handovers;
        for slot in Slot::all() {
            for node in former_executors(before, &self.topology, slot) {
                let known = from.entry(slot).or_default();
                if !known.contains(&node) && known.len() < REPLICAS_MAX {
                    known.push(node);
                }
            }
        }
        if !from.is_empty() {
            *until = Some(now + HANDOVER_KEPT);
        }
    }

    fn end_handovers(&mut self, now: Instant) {
        if self.handovers.until.is_some_and(|until| until <= now) {
            self.handovers.from.clear();
            self.handovers.until = None;
        }
    }

    /// Lets what is to be executed on `slot` wait, if others may still be at work there.
    pub(super) fn take_over(&mut self, now: Instant, slot: Slot) {
        if self.handovers.until.is_none() || Mutant::TakenOverAtOnce.is_planted() {
            return;
        }
        self.end_handovers(now);
        let Some(former) = self.handovers.from.get(&slot) else { return };
        if self.gates.get(&slot).is_some_and(|gate| gate.taking_over.is_some()) {
            return;
        }
        let asked: Executors =
            former.iter().copied().filter(|node| self.may_be_at_work(*node)).collect();
        if asked.is_empty() {
            self.handovers.from.remove(&slot);
            return;
        }
        let serial = self.new_serial();
        let (ask_at, ends_at) = (now + STALE_EPOCH_PAUSE, now + HANDOVER_PATIENCE);
        let taking_over = TakingOver { serial, asked, ask_at, ends_at };
        self.gates.entry(slot).or_default().taking_over = Some(taking_over);
        self.wake_by(ask_at);
        self.ask_former(slot);
    }

    fn may_be_at_work(&self, node: MemberNumber) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.alive && !peer.quiet)
    }

    /// Asks those who have not answered whether they are done with `slot`.
    fn ask_former(&mut self, slot: Slot) {
        let taking_over = self.gates.get(&slot).and_then(|gate| gate.taking_over.as_ref());
        let (Some(taking_over), Some(known)) = (taking_over, self.handovers.from.get(&slot)) else {
            return;
        };
        let id = CallId { origin: self.own_origin(), number: HANDOVER_CALL };
        for (node, position) in known.iter().zip(0..) {
            if taking_over.asked.contains(node) {
                let index = HANDOVER_FLAG | slot.index();
                let correlation = operation::join_correlation(index, taking_over.serial, position);
                let message = Message::AskOutcome { slot, id };
                self.outputs.push_back(Output::Send { to: *node, correlation, message });
            }
        }
    }

    /// Somebody who may have executed writes on a slot has answered.
    pub(super) fn former_answered(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        (index, serial, position): (usize, u32, usize),
        message: &Message,
    ) {
        // Another one could not answer now, and is asked again.
        let is_done = matches!(message, Message::Rejected { cause: Cause::OutcomeUnknown, .. });
        let slot = u16::try_from(index & !HANDOVER_FLAG).ok().and_then(Slot::new);
        let Some(slot) = slot.filter(|_| is_done) else { return };
        let known = self.handovers.from.get(&slot);
        let Some(node) = known.and_then(|known| known.get(position)).copied() else { return };
        let gate = self.gates.get_mut(&slot);
        let taking_over = gate.and_then(|gate| gate.taking_over.as_mut());
        let Some(found) = taking_over.filter(|found| found.serial == serial) else { return };
        found.asked.retain(|asked| *asked != node);
        self.go_on_if_taken(now, replica, slot);
    }

    /// Nobody waits for `peer`, which is down or silent.
    pub(super) fn take_over_without(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        peer: MemberNumber,
    ) {
        let mut slots = Vec::new();
        for (slot, gate) in &mut self.gates {
            let Some(found) = &mut gate.taking_over else { continue };
            let before = found.asked.len();
            found.asked.retain(|asked| *asked != peer);
            if found.asked.len() < before {
                slots.push(*slot);
            }
        }
        for slot in slots {
            self.go_on_if_taken(now, replica, slot);
        }
    }

    /// Asks again those who have not answered, and gives up those who do not for long.
    pub(super) fn press_handovers(&mut self, now: Instant, replica: &mut impl Replica) {
        self.end_handovers(now);
        let (mut silent, mut over) = (Vec::new(), Vec::new());
        for (slot, gate) in &mut self.gates {
            match &mut gate.taking_over {
                Some(found) if found.ends_at <= now => {
                    found.asked.clear();
                    over.push(*slot);
                }
                Some(found) if found.ask_at <= now => {
                    found.ask_at = now + STALE_EPOCH_PAUSE;
                    silent.push(*slot);
                }
                _ => {}
            }
        }
        for slot in silent {
            self.ask_former(slot);
        }
        for slot in over {
            self.go_on_if_taken(now, replica, slot);
        }
        self.handovers.questions.retain(|question| question.since + HANDOVER_PATIENCE > now);
        self.answer_all_successors();
    }

    fn go_on_if_taken(&mut self, now: Instant, replica: &mut impl Replica, slot: Slot) {
        let Some(gate) = self.gates.get_mut(&slot) else { return };
        if gate.taking_over.as_ref().is_some_and(|found| found.asked.is_empty()) {
            gate.taking_over = None;
            self.handovers.from.remove(&slot);
            self.advance(now, replica, slot);
        }
    }

    /// Somebody takes over `slot` by the list of `epoch`.
    pub(super) fn hand_over(
        &mut self,
        now: Instant,
        (link, epoch, correlation): (LinkId, u64, u64),
        slot: Slot,
        id: CallId,
    ) {
        let asker = MemberNumber(id.origin.number());
        let questions = &mut self.handovers.questions;
        questions.retain(|found| found.slot != slot || found.asker != asker);
        if questions.len() >= HANDOVER_QUESTIONS_MAX {
            let text = "too many slots are taken over at once".into();
            return self.reject(link, correlation, Cause::StaleEpoch, text);
        }
        questions.push(Question { slot, asker, epoch, since: now, link, correlation });
        self.answer_successors(slot);
    }

    /// Answers those who take over `slot`, once this node is done with it.
    pub(super) fn answer_successors(&mut self, slot: Slot) {
        if self.handovers.questions.is_empty() {
            return;
        }
        let mut waiting = core::mem::take(&mut self.handovers.questions);
        waiting.retain(|question| {
            let is_done = question.slot == slot && self.is_done_with(question);
            if is_done {
                let text = "no write is under way here".into();
                self.reject(question.link, question.correlation, Cause::OutcomeUnknown, text);
            }
            !is_done
        });
        self.handovers.questions = waiting;
    }

    pub(super) fn answer_all_successors(&mut self) {
        let mut slots: Vec<Slot> =
            self.handovers.questions.iter().map(|question| question.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            self.answer_successors(slot);
        }
    }

    fn is_done_with(&self, question: &Question) -> bool {
        let is_executing = self.gates.get(&question.slot).is_some_and(Gate::is_executing);
        self.topology.epoch() >= question.epoch
            && !is_executing
            && (self.topology.get(question.asker).is_none()
                || !self.is_unacknowledged(question.asker, question.slot))
    }

    /// Whether a write that was sent here by another list is this node's to execute.
    pub(super) fn is_executor(&self, attempt: &super::Attempt) -> bool {
        let (slot, level) = (attempt.request.call.slot(), attempt.request.terms.write_level);
        self.executor(slot, level, attempt.refused) == Some(self.topology.me())
    }
}

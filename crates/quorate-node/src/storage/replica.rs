//! The storage as the local replica of its slots.

use std::task::Poll;

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Durability, Executed, Rejection, Replica, Snapshot, Stored, Ticket},
    time::Instant,
};
use quorate_log::SegmentLog;
use quorate_proto::{
    Dot, MemberNumber, Slot,
    command::{Call, Routing},
    mutant::Mutant,
    resp::{parse_integer, reply},
};
use quorate_store::Request;

use super::{Storage, beside::Wanted, slow::Task};
use crate::limits;

impl Storage {
    /// Executes a call in this moment.
    pub(crate) fn execute_now(&mut self, call: &Call, resp3: bool) -> Result<Executed, Rejection> {
        let slot = call.slot();
        self.check_may_execute(slot)?;
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let executed = self.execute_into(call, resp3, &mut reply);
        let encoded = reply::usual(&reply).unwrap_or_else(|| taken_or_copied(&mut reply));
        self.reply = reply;
        let (durability, shared_reply) = executed?;
        let mut effect = std::mem::take(&mut self.effect);
        // What is kept for peers is what they are sent now as well.
        let (dot, kept) = self.name_write(slot, &effect).unzip();
        let shared = kept.flatten().unwrap_or_else(|| taken_or_copied(&mut effect));
        give_back(&mut effect);
        self.effect = effect;
        let reply = shared_reply.unwrap_or(encoded);
        Ok(Executed { reply, effect: shared, dot, durability })
    }

    /// Names a write of this node, if other replicas need that. Returns as well the copy of a small
    /// effect that is kept.
    pub(super) fn name_write(&mut self, slot: Slot, effect: &[u8]) -> Option<(Dot, Option<Bytes>)> {
        if effect.is_empty() || self.topology.replicas(slot).len() < 2 {
            return None;
        }
        let (dot, kept) = self.knowledge.issue(slot, self.store.origin(), effect)?;
        Some((dot, kept.cloned()))
    }

    /// Notes that the writes of these names are here, all of them in one effect.
    pub(super) fn note_dots(&mut self, slot: Slot, mut dots: Vec<Dot>, effect: &Bytes) {
        // Only replicas name writes, and nobody but this process those that it makes.
        let own = self.store.origin();
        dots.retain(|dot| {
            let member = MemberNumber(dot.origin.number());
            dot.origin != own && !dot.origin.is_foreign() && self.topology.is_replica(slot, member)
        });
        if !dots.is_empty() {
            self.knowledge.note(slot, dots, effect);
        }
    }

    /// Whether this node cannot tell what a call shows, because it does not know what time it is.
    fn is_in_doubt_about(&self, call: &Call) -> bool {
        self.is_in_doubt() && self.depends_on_time(call) && !Mutant::DoubtIgnored.is_planted()
    }

    fn export_now(&mut self, call: &Call) -> Bytes {
        if slots_of(call).is_some() {
            let request = Request { call, wall_ms: self.wall_ms, resp3: false };
            return self.store.tell(request).into();
        }
        let mut states = Vec::new();
        for key in call.keys() {
            match call.elements() {
                Some(names) => self.store.export_named(call.slot(), key, names, &mut states),
                None => self.store.export(call.slot(), key, &mut states),
            }
        }
        states.into()
    }

    fn snapshot_now(&mut self, call: &Call, resp3: bool) -> Snapshot {
        Snapshot { digest: Replica::digest(self, call), reply: self.read_now(call, resp3) }
    }
}

impl Replica for Storage {
    fn execute(
        &mut self,
        ticket: Ticket,
        call: &Call,
        resp3: bool,
        by: Option<Instant>,
    ) -> Poll<Result<Executed, Rejection>> {
        if self.is_postponed(ticket, |_| Task::Execute { call: call.clone(), resp3, by }) {
            return Poll::Pending;
        }
        if self.answers_late(call) {
            return self.execute_late(ticket, call, resp3);
        }
        Poll::Ready(self.execute_now(call, resp3))
    }

    fn read(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> Poll<Option<Bytes>> {
        let read = |storage: &mut Self| Task::Tell(Stored::Reply(storage.read_now(call, resp3)));
        if self.is_postponed(ticket, read) {
            return Poll::Pending;
        }
        if self.answers_late(call) && !self.is_in_doubt_about(call) {
            self.ask(ticket, Wanted::Reply, call, resp3);
            return Poll::Pending;
        }
        if self.inquires_late(ticket, call, resp3) {
            return Poll::Pending;
        }
        Poll::Ready(self.read_now(call, resp3))
    }

    fn snapshot(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> Poll<Snapshot> {
        let look =
            |storage: &mut Self| Task::Tell(Stored::Snapshot(storage.snapshot_now(call, resp3)));
        if self.is_postponed(ticket, look) {
            return Poll::Pending;
        }
        if self.answers_late(call) && !self.is_in_doubt_about(call) {
            let digest = Replica::digest(self, call);
            self.ask(ticket, Wanted::Snapshot(digest), call, resp3);
            return Poll::Pending;
        }
        Poll::Ready(self.snapshot_now(call, resp3))
    }

    fn export(&mut self, ticket: Ticket, call: &Call) -> Poll<Bytes> {
        let export = |storage: &mut Self| Task::Tell(Stored::Exported(storage.export_now(call)));
        if self.is_postponed(ticket, export) {
            return Poll::Pending;
        }
        Poll::Ready(self.export_now(call))
    }

    fn merge(
        &mut self,
        ticket: Ticket,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Poll<Result<Durability, Rejection>> {
        let merge = |_: &mut Self| Task::Merge { slot, dots: dots.clone(), effect: effect.clone() };
        if self.is_postponed(ticket, merge) {
            return Poll::Pending;
        }
        if self.merges_late(effect) {
            return self.merge_late(ticket, slot, (dots, effect));
        }
        Poll::Ready(self.merge_now(slot, dots, effect))
    }

    fn read_now(&mut self, call: &Call, resp3: bool) -> Option<Bytes> {
        if self.is_in_doubt_about(call) {
            return None;
        }
        let mut reply = Vec::new();
        // A command that only reads needs no space, so it cannot be refused.
        let executed = self.execute_into(call, resp3, &mut reply);
        let shared_reply = executed.ok().and_then(|(_, shared_reply)| shared_reply);
        Some(shared_reply.unwrap_or_else(|| reply.into()))
    }

    fn digest(&mut self, call: &Call) -> u128 {
        let slot = call.slot();
        let keys = call.keys().map(|key| match call.elements() {
            Some(names) => self.store.elements_digest(slot, key, names),
            None => self.store.key_digest(slot, key),
        });
        let slots = slots_of(call).into_iter().flatten().map(|slot| self.store.slot_digest(slot));
        keys.chain(slots).fold(0, u128::wrapping_add)
    }

    fn merge_now(
        &mut self,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Result<Durability, Rejection> {
        let (durability, _) = self.merge_effect(slot, effect)?;
        self.note_dots(slot, dots, effect);
        Ok(durability)
    }

    fn durability(&self, slot: Slot) -> Durability {
        let synced = self.log.as_ref().map_or(0, SegmentLog::synced);
        match self.newest.get(slot.index()) {
            Some(_) if Mutant::ReadUnsynced.is_planted() => Durability::Now,
            Some(&sequence) if sequence > synced && self.has_failed() => Durability::Never,
            Some(&sequence) if sequence > synced => Durability::At(sequence),
            _ => Durability::Now,
        }
    }

    fn hint(&mut self, target: MemberNumber, slot: Slot, dot: Option<Dot>, effect: &Bytes) {
        if Mutant::HintDropped.is_planted() {
            return;
        }
        let now = (self.store.epoch(), self.wall_ms);
        self.hints.append(&self.topology, target, (slot, dot.as_slice(), effect), now);
    }
}

/// What a scratch buffer holds. A small one is kept for the next command; one that is large, and
/// mostly filled, is not copied.
fn taken_or_copied(scratch: &mut Vec<u8>) -> Bytes {
    if scratch.len() > limits::SCRATCH_KEPT_MAX && scratch.capacity() <= 2 * scratch.len() {
        return std::mem::take(scratch).into();
    }
    let copy = Bytes::copy_from_slice(scratch);
    give_back(scratch);
    copy
}

/// Drops a scratch buffer that is too large to be kept.
fn give_back(scratch: &mut Vec<u8>) {
    if scratch.capacity() > limits::OUTPUT_KEPT_MAX {
        *scratch = Vec::new();
    }
}

/// The slots that a call is about, if it is about slots.
fn slots_of(call: &Call) -> Option<impl Iterator<Item = Slot> + use<>> {
    let command = Some(call.command()).filter(|_| call.spec().routing == Routing::Slots)?;
    let number = |at: usize| u16::try_from(parse_integer(command.arg(at))?).ok();
    Some((number(1)?..=number(2)?).filter_map(Slot::new))
}

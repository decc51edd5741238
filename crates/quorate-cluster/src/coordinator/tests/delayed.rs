//! A store that answers later.

use core::{
    mem,
    ops::{Deref, DerefMut},
    task::Poll,
};

use super::*;

/// Does what it is asked some turns later: nothing shows before.
pub(super) struct Delayed {
    fake: Fake,
    turns: u32,
    asked: Vec<(u32, Ticket, Asked)>,
}

enum Asked {
    Execution(Call),
    Reply,
    Snapshot(Call),
    Export,
    Merge(Bytes),
}

impl Delayed {
    pub(super) fn new(fake: Fake, turns: u32) -> Self {
        Self { fake, turns, asked: Vec::new() }
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A turn has passed. Returns what is answered now.
    pub(super) fn turn(&mut self) -> Vec<(Ticket, Stored)> {
        self.asked.iter_mut().for_each(|(turns, ..)| *turns -= 1);
        let (due, later) =
            mem::take(&mut self.asked).into_iter().partition(|(left, ..)| *left == 0);
        self.asked = later;
        let due: Vec<(u32, Ticket, Asked)> = due;
        due.into_iter().map(|(_, ticket, asked)| (ticket, self.answer(asked))).collect()
    }

    fn answer(&mut self, asked: Asked) -> Stored {
        match asked {
            Asked::Execution(call) => Stored::Executed(self.fake.execute(&call)),
            Asked::Reply => Stored::Reply(self.fake.read()),
            Asked::Snapshot(call) => Stored::Snapshot(self.fake.snapshot(&call)),
            Asked::Export => Stored::Exported(self.fake.state()),
            Asked::Merge(effect) => Stored::Merged(self.fake.merge(&effect)),
        }
    }

    fn is_late(&mut self, ticket: Ticket, asked: impl FnOnce() -> Asked) -> bool {
        if self.turns > 0 {
            self.asked.push((self.turns, ticket, asked()));
        }
        self.turns > 0
    }
}

impl Deref for Delayed {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl DerefMut for Delayed {
    fn deref_mut(&mut self) -> &mut Fake {
        &mut self.fake
    }
}

impl Replica for Delayed {
    fn execute(
        &mut self,
        ticket: Ticket,
        call: &Call,
        _: bool,
        _: Option<Instant>,
    ) -> Poll<Result<Executed, Rejection>> {
        if self.is_late(ticket, || Asked::Execution(call.clone())) {
            return Poll::Pending;
        }
        Poll::Ready(self.fake.execute(call))
    }

    fn read(&mut self, ticket: Ticket, _: &Call, _: bool) -> Poll<Option<Bytes>> {
        if self.is_late(ticket, || Asked::Reply) {
            return Poll::Pending;
        }
        Poll::Ready(self.fake.read())
    }

    fn snapshot(&mut self, ticket: Ticket, call: &Call, _: bool) -> Poll<Snapshot> {
        if self.is_late(ticket, || Asked::Snapshot(call.clone())) {
            return Poll::Pending;
        }
        Poll::Ready(self.fake.snapshot(call))
    }

    fn export(&mut self, ticket: Ticket, _: &Call) -> Poll<Bytes> {
        if self.is_late(ticket, || Asked::Export) {
            return Poll::Pending;
        }
        Poll::Ready(self.fake.state())
    }

    fn merge(
        &mut self,
        ticket: Ticket,
        _: Slot,
        _: Vec<Dot>,
        effect: &Bytes,
    ) -> Poll<Result<Durability, Rejection>> {
        if self.is_late(ticket, || Asked::Merge(effect.clone())) {
            return Poll::Pending;
        }
        Poll::Ready(self.fake.merge(effect))
    }

    fn read_now(&mut self, _: &Call, _: bool) -> Option<Bytes> {
        self.fake.read()
    }

    fn merge_now(&mut self, _: Slot, _: Vec<Dot>, effect: &Bytes) -> Result<Durability, Rejection> {
        self.fake.merge(effect)
    }

    fn digest(&mut self, call: &Call) -> u128 {
        self.fake.digest(call)
    }

    fn durability(&self, _: Slot) -> Durability {
        self.read_durable_at.map_or(Durability::Now, Durability::At)
    }

    fn hint(&mut self, target: MemberNumber, _: Slot, _: Option<Dot>, effect: &Bytes) {
        self.fake.hints.push((target.0, effect.clone()));
    }
}

impl Elements for Delayed {
    fn depends_on_all(&self, slot: Slot, key: &[u8]) -> bool {
        self.fake.depends_on_all(slot, key)
    }

    fn element_limits(&self) -> Limits {
        self.fake.element_limits()
    }

    fn is_large(&self, slot: Slot, key: &[u8]) -> bool {
        self.fake.is_large(slot, key)
    }

    fn element_count(&self, slot: Slot, key: &[u8]) -> usize {
        self.fake.element_count(slot, key)
    }

    fn key_digest(&self, slot: Slot, key: &[u8], scope: Scope) -> u128 {
        self.fake.key_digest(slot, key, scope)
    }

    fn for_each_digest(&self, slot: Slot, key: &[u8], scope: Scope, each: impl FnMut(u16, u64)) {
        self.fake.for_each_digest(slot, key, scope, each);
    }

    fn for_each_fingerprint(
        &self,
        slot: Slot,
        key: &[u8],
        wanted: impl Fn(u16) -> bool,
        each: impl FnMut(u64),
    ) {
        self.fake.for_each_fingerprint(slot, key, wanted, each);
    }

    fn export_elements(
        &self,
        slot: Slot,
        keys: &[Bytes],
        fingerprints: &[u64],
        bytes_max: usize,
    ) -> (usize, Bytes) {
        self.fake.export_elements(slot, keys, fingerprints, bytes_max)
    }
}

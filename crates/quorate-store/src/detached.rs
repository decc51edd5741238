//! Work beside the store: a call that takes long is executed, or a large effect merged, on copies of
//! the keys that it names, and what has come of it takes their place in one moment.
//!
//! ```text
//!  Store::detach  ->  Detached  ->  execute, merge  ->  Outcome  ->  Store::attach
//!  (copies)           (anywhere, takes its time)                    (one moment)
//! ```
//! A copy of a large collection shares its elements with the store until one of them changes, so
//! neither end takes long. Whoever detaches sees to it that nothing else is written to the slot
//! meanwhile. What the store does by itself, as removing expired keys, it may do all the same: then
//! the effect is merged as one from elsewhere would be, which gives the same, only not as fast.
//!
//! The clock of the work goes on from that of the store, which catches up in the end; meanwhile it
//! may issue the same stamps. Stamps are only compared where they are of one key, and those of the
//! slot wait.

use std::collections::HashSet;

use bytes::Bytes;
use quorate_proto::{
    Slot, Stamp,
    command::{Call, Group},
    slot::SLOTS,
};

use crate::{
    Lookups, MergeError, Merged, Request, Store,
    arena::Arena,
    commands::document_work,
    delta::deltas,
    digest::Digest,
    expiry::ExpiryQueue,
    feed::Feed,
    random::Random,
    state::{KeyState, State},
    store::{Timed, export_state},
    table::SlotTable,
    tombstone::TombstoneQueue,
};

/// A small store with copies of some keys of one slot.
#[derive(Debug)]
pub struct Detached {
    store: Store,
    slot: Slot,
    copies: Vec<(Box<[u8]>, KeyState)>,
    basis: Basis,
}

/// What must not have changed for new states to take the place of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    version: Digest,
    floor_ms: u64,
}

/// What has come of a call.
#[derive(Debug)]
pub struct Outcome {
    /// The encoded reply; empty if bytes are shared.
    pub reply: Vec<u8>,
    /// The reply, if it shares its bytes with the store.
    pub shared_reply: Option<Bytes>,
    /// The effect.
    pub effect: Vec<u8>,
    slot: Slot,
    basis: Basis,
    /// That of the store when the keys were copied: new tombstones belong to it.
    epoch: u32,
    changed: Vec<(Box<[u8]>, KeyState)>,
    /// Keys with new tombstones of that epoch, the first time in it.
    reminded: Vec<Box<[u8]>>,
    dates: Dates,
    /// As new as anything that the call has dated or seen.
    newest: Stamp,
    lookups: Lookups,
    /// Keys that have expired.
    expired: u64,
    /// Where its choices have ended, so that they are not made again.
    random: Random,
}

/// What an effect says of its dates.
#[derive(Debug, Default)]
struct Dates {
    /// The oldest of anything, in milliseconds since the Unix epoch.
    oldest_ms: Option<u64>,
    /// Keys that it removes something of.
    removing: HashSet<Box<[u8]>>,
}

impl Dates {
    fn of(effect: &[u8]) -> Self {
        let mut dates = Self::default();
        for delta in deltas(effect).map_while(Result::ok) {
            let mut removes = false;
            for part in delta.parts().map_while(Result::ok) {
                let ms = part.stamp().milliseconds();
                dates.oldest_ms = Some(dates.oldest_ms.map_or(ms, |oldest| oldest.min(ms)));
                removes |= part.is_tombstone();
            }
            if removes {
                dates.removing.insert(delta.key.into());
            }
        }
        dates
    }
}

/// States that are no longer needed. To drop large ones takes a while.
#[derive(Debug)]
pub struct Discarded {
    #[expect(dead_code, reason = "what is dropped is not read")]
    states: Vec<KeyState>,
}

impl Detached {
    /// Executes a call on the copies.
    pub fn execute(mut self, request: Request<'_>) -> Outcome {
        self.fill_in();
        let (mut reply, mut effect) = (Vec::new(), Vec::new());
        let shared_reply = self.store.execute(request, &mut reply, &mut effect);
        let outcome = self.end(&effect);
        Outcome { reply, shared_reply, effect, ..outcome }
    }

    /// Merges an effect of another node into the copies, like [`Store::merge`] between
    /// [`Store::end_before`] and [`Store::sweep_merged`] if the time is known. The outcome goes to
    /// [`Store::attach_merged`].
    ///
    /// # Errors
    /// Those of [`Store::merge`], which does not merge it either.
    pub fn merge(
        mut self,
        effect: &[u8],
        wall_ms: u64,
        knows_time: bool,
    ) -> Result<(Merged, Outcome), MergeError> {
        self.fill_in();
        let (slot, store) = (self.slot, &mut self.store);
        if knows_time {
            store.end_before(slot, effect, wall_ms);
        }
        let merged = store.merge(slot, effect, wall_ms)?;
        if knows_time {
            store.sweep_merged(slot, effect, wall_ms);
        }
        let kept = match &merged {
            Merged::Whole => effect,
            Merged::Part { kept, .. } => kept,
        };
        let outcome = self.end(kept);
        Ok((merged, outcome))
    }

    /// The whole state of the copies, as an effect.
    pub fn export(self) -> Vec<u8> {
        let mut effect = Vec::new();
        for (key, state) in &self.copies {
            export_state(key, state.view(), &mut effect);
        }
        effect
    }

    /// Puts the copies into the store of the work.
    fn fill_in(&mut self) {
        self.store.slots.resize_with(usize::from(SLOTS), SlotTable::default);
        for (key, state) in std::mem::take(&mut self.copies) {
            self.store.replace(self.slot, &key, state);
        }
    }

    /// What has come of work with this effect.
    fn end(self, effect: &[u8]) -> Outcome {
        let Self { mut store, slot, basis, .. } = self;
        let mut seen = HashSet::new();
        let keys = deltas(effect).map_while(Result::ok).map(|delta| delta.key);
        let changed = keys.filter(|key| seen.insert(*key));
        let changed = changed.map(|key| (key.into(), store.take_state(slot, key))).collect();
        let group = slot.group();
        let reminders = std::iter::from_fn(|| store.tombstones.pop_before(group, u32::MAX));
        let reminded = reminders.map(|reminder| reminder.key).collect();
        let newest = store.clock.last();
        let Store { lookups, random, expired, epoch, .. } = store;
        Outcome {
            reply: Vec::new(),
            shared_reply: None,
            effect: Vec::new(),
            slot,
            basis,
            epoch,
            changed,
            reminded,
            dates: Dates::of(effect),
            newest,
            lookups,
            expired,
            random,
        }
    }
}

impl Store {
    /// How much work a call is about, in words and elements.
    pub fn work(&self, call: &Call) -> usize {
        if call.spec().group == Group::Json {
            return document_work(call, |key| self.raw_state(call.slot(), key));
        }
        let keys = call.keys().filter(|_| call.spec().is_whole());
        let states = keys.filter_map(|key| self.raw_state(call.slot(), key));
        call.words() + states.map(State::named_elements).sum::<usize>()
    }

    /// About how many bytes of what its keys hold a call may write again: one that copies, moves or
    /// combines them.
    pub fn copied_bytes(&self, call: &Call) -> usize {
        let keys = call.keys().filter(|_| call.spec().is_whole());
        let states = keys.filter_map(|key| self.raw_state(call.slot(), key));
        states.map(State::estimated_bytes).sum()
    }

    /// Copies keys of one slot.
    pub fn detach<'k>(&self, slot: Slot, keys: impl Iterator<Item = &'k [u8]>) -> Detached {
        let copies =
            keys.filter_map(|key| Some((key.into(), self.raw_state(slot, key)?.boxed_copy())));
        Detached { store: self.beside(), slot, copies: copies.collect(), basis: self.basis(slot) }
    }

    /// Puts what has come of the work in the place of what was there; or merges it, if something
    /// has happened to the slot since. Returns what is no longer needed.
    pub fn attach(&mut self, outcome: &mut Outcome, wall_ms: u64) -> Discarded {
        let slot = outcome.slot;
        self.clock.observe(outcome.newest);
        self.note_lookups(outcome.lookups);
        self.random = outcome.random.clone();
        let changed = std::mem::take(&mut outcome.changed);
        if !self.is_current(outcome) {
            self.end_before(slot, &outcome.effect, wall_ms);
            self.apply(slot, &outcome.effect);
            return Discarded { states: changed.into_iter().map(|(_, state)| state).collect() };
        }
        self.put_in_place(outcome, changed)
    }

    /// Puts what has come of a merge in the place of what was there. If something has happened to
    /// the slot since, nothing is done: the effect is to be merged into what is there now.
    pub fn attach_merged(&mut self, outcome: &mut Outcome) -> (bool, Discarded) {
        let changed = std::mem::take(&mut outcome.changed);
        if !self.is_current(outcome) {
            let states = changed.into_iter().map(|(_, state)| state).collect();
            return (false, Discarded { states });
        }
        self.clock.observe(outcome.newest);
        (true, self.put_in_place(outcome, changed))
    }

    fn put_in_place(
        &mut self,
        outcome: &Outcome,
        changed: Vec<(Box<[u8]>, KeyState)>,
    ) -> Discarded {
        let slot = outcome.slot;
        self.expired += outcome.expired;
        let is_same_epoch = self.epoch == outcome.epoch;
        if is_same_epoch {
            for key in &outcome.reminded {
                self.tombstones.push(self.epoch, slot, key);
            }
        }
        let mut states = Vec::with_capacity(changed.len());
        for (key, mut state) in changed {
            if !is_same_epoch {
                state.raise_epochs(outcome.epoch, self.epoch);
                if outcome.dates.removing.contains(&key) && state.wants_reminder(self.epoch) {
                    self.tombstones.push(self.epoch, slot, &key);
                }
            }
            states.push(self.replace(slot, &key, state));
        }
        Discarded { states }
    }

    /// Whether the work would have come to the same now: nothing has happened to the slot since the keys
    /// were copied, and nothing of it is refused for its age now that was not then.
    fn is_current(&self, outcome: &Outcome) -> bool {
        let Basis { version, floor_ms } = self.basis(outcome.slot);
        let is_newer = outcome.dates.oldest_ms.is_none_or(|oldest| oldest > floor_ms);
        version == outcome.basis.version && (floor_ms == outcome.basis.floor_ms || is_newer)
    }

    fn basis(&self, slot: Slot) -> Basis {
        Basis { version: self.slot_version(slot), floor_ms: self.floor(slot.group()) }
    }

    /// A store without keys, and for now without tables, that goes on where this one is.
    fn beside(&self) -> Self {
        Self {
            slots: Vec::new(),
            strings: Arena::default(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            digester: self.digester,
            hasher: self.hasher.clone(),
            expiry: ExpiryQueue::default(),
            tombstones: TombstoneQueue::default(),
            epoch: self.epoch,
            floors: self.floors.clone(),
            keep_removed: self.keep_removed,
            partitioner: self.partitioner.clone(),
            live: vec![0; self.live.len()],
            timed: Timed::default(),
            lookups: Lookups::default(),
            expired: 0,
            feed: Feed::default(),
        }
    }

    /// Puts a state in the place of what a key holds, which is returned.
    fn replace(&mut self, slot: Slot, key: &[u8], mut new: KeyState) -> KeyState {
        let mut spot = self.look_up(slot, key);
        self.change(slot, key, &mut spot, |state, context| {
            let before = state.view().digest(context);
            std::mem::swap(state, &mut new);
            (state.view().digest(context).wrapping_sub(before), false)
        });
        new
    }

    /// Takes what a key holds, nothing if it is not there, and leaves the counts as they are.
    fn take_state(&mut self, slot: Slot, key: &[u8]) -> KeyState {
        let spot = self.look_up(slot, key);
        match self.slots[slot.index()].state_mut(&spot) {
            Some(state) => std::mem::take(state),
            None => self.state_at(slot, &spot).map_or(KeyState::Blank, State::boxed_copy),
        }
    }
}

//! One shard's part of the data: executing commands, merging effects, digests and export.
//!
//! Guarantees:
//! * `execute` changes state only through `merge` of the effect that it returns, so a replica that
//!   merges the effect holds the same state;
//! * `merge` applies an effect whole or not at all, and any order and number of merges of the same
//!   effects gives the same state and digest.
//!
//! * what is dated below the floor of its group and is not there was removed: it is not merged.
//!
//! Durability and replication are left to the caller, who gets every effect as bytes.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use quorate_proto::{
    Origin, Partitioner, Slot, Stamp,
    mutant::Mutant,
    slot::{GROUPS, SLOTS},
};

use crate::{
    arena::Arena,
    clock::HybridClock,
    delta::{DeltaWriter, Malformed, deltas},
    digest::{Digest, Digester, KeyDigester},
    expiry::ExpiryQueue,
    feed::Feed,
    floor,
    random::Random,
    state::{Context, State},
    table::{Entry, SlotTable, Spot},
    tombstone::{Forgettable, Reminder, TombstoneQueue},
};

/// Keys looked at to estimate the size of a slot.
const SAMPLED_KEYS: usize = 4;

/// What a store needs to know at the start.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Origin of the stamps that this store issues.
    pub origin: Origin,
    /// Secret that keys the digests; equal on all nodes of a cluster.
    pub digest_secret: [u8; 16],
    /// Seed of the hash tables and of random choices.
    pub seed: u64,
    /// Whether tombstones are kept, because other replicas hold the same keys.
    pub keep_removed: bool,
}

/// Why an effect was not merged. Nothing of it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The bytes are no effect.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A key does not belong to the slot that the effect was sent for.
    #[error("key of slot {found} in an effect for slot {expected}")]
    WrongSlot {
        /// The slot named.
        expected: u16,
        /// The slot of the key.
        found: u16,
    },
    /// A stamp lies too far in the future; merging it would let it beat all later writes.
    #[error(
        "stamp {ahead_ms} ms ahead of the local clock (allowed: {})",
        crate::clock::SKEW_MAX_MS
    )]
    ClockSkew {
        /// How far ahead of the local wall clock.
        ahead_ms: u64,
    },
}

/// What became of an effect that was merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// All of it was.
    Whole,
    /// Some of it was removed here long ago.
    Part {
        /// What was merged: an effect, empty when nothing was.
        kept: Vec<u8>,
        /// Removes, where the effect comes from, what was removed here; empty when all of the rest
        /// was known.
        refutation: Vec<u8>,
    },
}

/// The data of one shard.
#[derive(Debug)]
pub struct Store {
    pub(crate) slots: Vec<SlotTable>,
    pub(crate) strings: Arena,
    pub(crate) clock: HybridClock,
    pub(crate) random: Random,
    pub(crate) digester: Digester,
    pub(crate) hasher: FixedState,
    pub(crate) expiry: ExpiryQueue,
    pub(crate) tombstones: TombstoneQueue,
    pub(crate) epoch: u32,
    /// By group: everything that is dated up to here is known, in milliseconds since the Unix
    /// epoch.
    pub(crate) floors: Vec<u64>,
    pub(crate) keep_removed: bool,
    pub(crate) partitioner: Partitioner,
    /// By group: keys with a visible value.
    pub(crate) live: Vec<usize>,
    pub(crate) timed: Timed,
    pub(crate) lookups: Lookups,
    pub(crate) expired: u64,
    pub(crate) feed: Feed,
}

/// Keys with a time to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timed {
    keys: usize,
    /// Sum of the moments at which they expire, in milliseconds since the Unix epoch.
    moments_ms: u128,
}

/// What commands that only read have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
}

impl Store {
    /// An empty store.
    pub fn new(options: StoreOptions) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(usize::from(SLOTS), SlotTable::default);
        Self {
            slots,
            strings: Arena::default(),
            clock: HybridClock::new(options.origin),
            random: Random::new(options.seed),
            digester: Digester::new(options.digest_secret),
            hasher: FixedState::with_seed(options.seed),
            expiry: ExpiryQueue::default(),
            tombstones: TombstoneQueue::default(),
            epoch: 0,
            floors: vec![0; usize::from(GROUPS)],
            keep_removed: options.keep_removed,
            partitioner: Partitioner::default(),
            live: vec![0; usize::from(GROUPS)],
            timed: Timed::default(),
            lookups: Lookups::default(),
            expired: 0,
            feed: Feed::default(),
        }
    }

    /// The same, empty as it is, with keys in the slots that `partitioner` says.
    #[must_use]
    pub fn with_partitioner(self, partitioner: Partitioner) -> Self {
        Self { partitioner, ..self }
    }

    /// Changes who issues stamps from now on, and whether tombstones are kept. For the
    /// moment at which the member list is sealed, before the first write.
    pub fn adopt(&mut self, origin: Origin, keep_removed: bool) {
        self.clock.adopt_origin(origin);
        self.keep_removed = keep_removed;
    }

    /// Who issues stamps here.
    pub fn origin(&self) -> Origin {
        self.clock.origin()
    }

    /// How keys get their slots.
    pub fn partitioner(&self) -> &Partitioner {
        &self.partitioner
    }

    /// The slot that holds `key`.
    pub fn slot_of(&self, key: &[u8]) -> Slot {
        self.partitioner.slot(key)
    }

    /// Number of keys with a visible value; keys past their expiry count until they are swept.
    pub fn len(&self) -> usize {
        self.live.iter().sum()
    }

    /// Whether no key has a visible value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots from the first to the last one given that have live keys, in order.
    pub fn occupied(&self, (first, last): (Slot, Slot)) -> impl Iterator<Item = Slot> + use<'_> {
        let groups = (first.group()..=last.group())
            .filter(|group| self.live[usize::from(*group)] > 0)
            .flat_map(Slot::of_group);
        groups
            .filter(move |slot| (first..=last).contains(slot) && self.slots[slot.index()].live > 0)
    }

    /// Number of live keys in `slot`.
    pub fn keys_in_slot(&self, slot: Slot) -> usize {
        self.slots[slot.index()].live
    }

    /// Bytes of the live keys in `slot`, from the size of a few of them.
    pub fn estimated_bytes(&self, slot: Slot) -> u64 {
        let table = &self.slots[slot.index()];
        let entries = table.iter(&self.strings).filter(|(_, state)| state.is_live());
        let (keys, bytes) =
            entries.take(SAMPLED_KEYS).fold((0, 0), |(keys, bytes), (key, state)| {
                (keys + 1, bytes + (key.len() + state.estimated_bytes()) as u64)
            });
        bytes * table.live as u64 / u64::max(keys, 1)
    }

    /// Number of keys with a visible value and a time to live; as in [`Store::len`], those past it
    /// count until they are swept.
    pub fn expiring(&self) -> usize {
        self.timed.keys
    }

    /// Whether `key` has a time to live, over or not.
    pub fn expires(&self, slot: Slot, key: &[u8]) -> bool {
        self.raw_state(slot, key).is_some_and(|state| state.expires_at().is_some())
    }

    /// Sum of the moments at which the keys of [`Store::expiring`] expire, in milliseconds since
    /// the Unix epoch.
    pub fn expiry_moments_ms(&self) -> u128 {
        self.timed.moments_ms
    }

    /// What commands that only read have found since the start, or since they were counted anew.
    pub fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// Counts lookups and expired keys anew.
    pub fn reset_counters(&mut self) {
        self.lookups = Lookups::default();
        self.expired = 0;
    }

    /// Counts what a command that only reads has found.
    pub(crate) fn note_lookups(&mut self, found: Lookups) {
        self.lookups.hits += found.hits;
        self.lookups.misses += found.misses;
    }

    /// Keys that have expired since the start, or since they were counted anew.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Digest of everything alive in `slot`.
    pub fn slot_digest(&self, slot: Slot) -> Digest {
        self.slots[slot.index()].digest
    }

    /// Digest of everything in `slot`, tombstones included.
    pub fn slot_version(&self, slot: Slot) -> Digest {
        let table = &self.slots[slot.index()];
        table.digest.wrapping_add(table.tombstones)
    }

    /// Digest of what is alive of one key; zero when nothing is.
    pub fn key_digest(&self, slot: Slot, key: &[u8]) -> Digest {
        self.raw_state(slot, key).map_or(0, |state| self.state_digest(key, state))
    }

    /// Digest of what is alive of a state of `key`.
    pub(crate) fn state_digest(&self, key: &[u8], state: State<'_>) -> Digest {
        state.digest(self.context(&self.digester.of_key(key)))
    }

    /// Every key of `slot` that `wanted` picks, with the digest of its state, tombstones
    /// included, in no particular order. The digests of other keys are not computed.
    pub fn key_versions(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = (&[u8], Digest)> {
        let entries = self.entries(slot).filter(move |(key, _)| wanted(key));
        entries.map(|(key, state)| {
            let digester = self.digester.of_key(key);
            let context = self.context(&digester);
            (key, state.digest(context).wrapping_add(state.tombstones_digest(context)))
        })
    }

    /// Appends the whole state of `key` to `effect`, as a delta.
    pub fn export(&self, slot: Slot, key: &[u8], effect: &mut Vec<u8>) {
        if let Some(state) = self.raw_state(slot, key) {
            export_state(key, state, effect);
        }
    }

    /// Calls `each` with the whole state of every key of `slot`, as an encoded delta, or as several
    /// where it takes more than about `piece_bytes`: merged in any order they make the same state.
    pub fn export_slot(&self, slot: Slot, piece_bytes: usize, each: impl FnMut(&[u8])) {
        self.export_small(slot, (piece_bytes, usize::MAX), each);
    }

    /// The same, but for keys with a string of more than `text_max` bytes: they are returned, with its
    /// length.
    pub fn export_small(
        &self,
        slot: Slot,
        (piece_bytes, text_max): (usize, usize),
        mut each: impl FnMut(&[u8]),
    ) -> Vec<(Box<[u8]>, usize)> {
        let (mut effect, mut large) = (Vec::new(), Vec::new());
        for (key, state) in self.entries(slot) {
            let text = state.text().register().map_or(0, <[u8]>::len);
            if text > text_max {
                large.push((key.into(), text));
                continue;
            }
            effect.clear();
            let mut delta = DeltaWriter::new(&mut effect, key);
            state.export(|part| {
                if delta.length() > 0 && delta.length() + part.size() > piece_bytes {
                    delta.cut(&mut each);
                }
                delta.part(part);
            });
            delta.finish();
            if !effect.is_empty() {
                each(&effect);
            }
        }
        large
    }

    /// Calls `each` with about as many bytes as [`Store::export_slot`] would give for each key of
    /// `slot`, and not fewer.
    pub fn for_each_size(&self, slot: Slot, mut each: impl FnMut(usize)) {
        for (key, state) in self.entries(slot) {
            let mut size = DeltaWriter::HEAD_MAX + key.len();
            state.export(|part| size += part.size());
            each(size);
        }
    }

    /// Merges an effect that came from another node, after checking all of it.
    pub fn merge(&mut self, slot: Slot, effect: &[u8], wall_ms: u64) -> Result<Merged, MergeError> {
        let admitted = self.admit(slot, effect, wall_ms)?;
        match &admitted {
            Merged::Whole => self.apply(slot, effect),
            Merged::Part { kept, .. } => self.apply(slot, kept),
        }
        Ok(admitted)
    }

    /// Checks all of an effect that came from another node, and tells what of it is to be merged.
    pub(crate) fn admit(
        &mut self,
        slot: Slot,
        effect: &[u8],
        wall_ms: u64,
    ) -> Result<Merged, MergeError> {
        let Checked { newest, below_floor } = self.check(slot, effect)?;
        let accepts = self.clock.accepts(newest, wall_ms) || Mutant::ClockTrusted.is_planted();
        if !accepts {
            let ahead_ms = newest.milliseconds().saturating_sub(wall_ms);
            return Err(MergeError::ClockSkew { ahead_ms });
        }
        self.clock.observe(newest);
        if !below_floor || Mutant::FloorIgnored.is_planted() {
            return Ok(Merged::Whole);
        }
        let (mut kept, mut refutation) = (Vec::new(), Vec::new());
        for delta in deltas(effect).map_while(Result::ok) {
            let state = self.raw_state(slot, delta.key);
            floor::filter(state, delta, self.floor(slot.group()), &mut kept, &mut refutation);
        }
        Ok(Merged::Part { kept, refutation })
    }

    /// Merges an effect out of this node's own log: like [`Store::merge`], but a stamp ahead of
    /// the wall clock is followed, because this node has already accepted it once, and floors do
    /// not count, because the log holds what was merged. That keys have expired in between is not
    /// in the log, and follows from the dates of what was written behind.
    pub fn recover(&mut self, slot: Slot, effect: &[u8]) -> Result<(), MergeError> {
        let checked = self.check(slot, effect)?;
        self.clock.observe(checked.newest);
        self.end_before(slot, effect, u64::MAX);
        self.apply(slot, effect);
        Ok(())
    }

    /// Removes keys that are past their expiry, at most `limit` of them, and returns how many.
    /// Every replica removes an expired key by itself and in the same way, so nothing is
    /// replicated.
    pub fn sweep_expired(&mut self, wall_ms: u64, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some((at_ms, slot, hash)) = self.expiry.first_due(wall_ms)
        {
            let is_it = |entry: &Entry| {
                entry.state.view().expires_at() == Some(at_ms)
                    && self.hasher.hash_one(&*entry.key) == hash
            };
            let table = &self.slots[slot.index()];
            let mut spot = table.look_up_boxed(hash, is_it);
            let key = table.entry(&spot).expect("invariant: every reminder has a key").key.clone();
            self.carry_out(slot, &key, &mut spot);
            removed += 1;
        }
        removed
    }

    /// Removes the keys of an effect that are past their expiry: what was added to one after its
    /// end has to show at once.
    pub fn sweep_merged(&mut self, slot: Slot, effect: &[u8], wall_ms: u64) {
        if self.expiry.first_due(wall_ms).is_none() {
            return;
        }
        for delta in deltas(effect).map_while(Result::ok) {
            let mut spot = self.look_up(slot, delta.key);
            if self.state_at(slot, &spot).is_some_and(|state| state.is_expired(wall_ms)) {
                self.carry_out(slot, delta.key, &mut spot);
            }
        }
    }

    /// How often an expiry was set since the start.
    pub fn scheduled(&self) -> u64 {
        self.expiry.scheduled()
    }

    /// Begins a new epoch and returns it. Tombstones made before belong to older ones.
    pub fn begin_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    /// The epoch that runs.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Up to when everything in a group of slots is known, in milliseconds since the Unix epoch.
    pub fn floor(&self, group: u16) -> u64 {
        self.floors[usize::from(group)]
    }

    /// Raises the floor of a group: the caller knows that everything dated up to `floor_ms` has
    /// been merged. Own stamps stay above it.
    pub fn raise_floor(&mut self, group: u16, floor_ms: u64) {
        let floor = &mut self.floors[usize::from(group)];
        *floor = floor_ms.max(*floor);
        self.clock.observe(Stamp::new(*floor << 16 | 0xffff, Origin(0)));
    }

    /// Forgets every floor: data may have been lost.
    pub fn drop_floors(&mut self) {
        self.floors.fill(0);
    }

    /// Forgets the floor of a group: this node may not hold what came below it.
    pub fn drop_floor(&mut self, group: u16) {
        self.floors[usize::from(group)] = 0;
    }

    /// Drops tombstones of a group that have served their time, looking at no more than `limit`
    /// keys. Returns at how many it has looked.
    pub fn forget(&mut self, group: u16, forgettable: Forgettable, limit: usize) -> usize {
        let mut looked_at = 0;
        while looked_at < limit
            && let Some(reminder) = self.tombstones.pop_before(group, forgettable.before_epoch)
        {
            looked_at += 1;
            let Reminder { slot, key, .. } = reminder;
            let mut spot = self.look_up(slot, &key);
            let epoch = self.epoch;
            let digester = self.digester.of_key(&key);
            let context = Context { digester: &digester, hasher: &self.hasher, epoch };
            let table = &mut self.slots[slot.index()];
            let Some(state) = table.state_mut(&spot) else { continue };
            let before = state.view().tombstones_digest(context);
            if state.forget(context, forgettable) && state.wants_reminder(epoch) {
                self.tombstones.push(epoch, slot, &key);
            }
            let change = state.view().tombstones_digest(context).wrapping_sub(before);
            table.tombstones = table.tombstones.wrapping_add(change);
            self.tidy(slot, &key, &mut spot);
        }
        looked_at
    }

    /// Keys with tombstones that wait to be forgotten; one with tombstones of several epochs
    /// counts several times.
    pub fn tombstone_keys(&self) -> usize {
        self.tombstones.len()
    }

    /// The state of `key`, expired or not.
    pub(crate) fn raw_state(&self, slot: Slot, key: &[u8]) -> Option<State<'_>> {
        self.state_at(slot, &self.look_up(slot, key))
    }

    /// Where `key` is. Whoever changes it afterwards needs no other look-up.
    #[inline]
    pub(crate) fn look_up(&self, slot: Slot, key: &[u8]) -> Spot {
        self.slots[slot.index()].look_up(&self.strings, self.hasher.hash_one(key), key)
    }

    /// The state of a key that has been looked up, expired or not.
    #[inline]
    pub(crate) fn state_at(&self, slot: Slot, spot: &Spot) -> Option<State<'_>> {
        self.slots[slot.index()].state(&self.strings, spot)
    }

    /// Every key of a slot with its state, tombstones included, in no particular order.
    pub(crate) fn entries(&self, slot: Slot) -> impl Iterator<Item = (&[u8], State<'_>)> {
        self.slots[slot.index()].iter(&self.strings)
    }

    /// Whether tombstones are kept, because other replicas hold the same keys.
    pub(crate) fn keeps_removed(&self) -> bool {
        self.keep_removed
    }

    pub(crate) fn digester(&self) -> &Digester {
        &self.digester
    }

    pub(crate) fn context<'a>(&'a self, digester: &'a KeyDigester) -> Context<'a> {
        Context { digester, hasher: &self.hasher, epoch: self.epoch }
    }

    /// Checks a whole effect.
    fn check(&self, slot: Slot, effect: &[u8]) -> Result<Checked, MergeError> {
        let floor_ms = self.floor(slot.group());
        let mut checked = Checked { newest: Stamp::ZERO, below_floor: false };
        for delta in deltas(effect) {
            let delta = delta?;
            let found = self.slot_of(delta.key);
            if found != slot {
                let (expected, found) = (slot.number(), found.number());
                return Err(MergeError::WrongSlot { expected, found });
            }
            for part in delta.parts() {
                let part = part?;
                checked.newest = checked.newest.max(part.stamp());
                checked.below_floor |= floor::is_below(&part, floor_ms);
            }
        }
        Ok(checked)
    }
}

impl Timed {
    /// A key has got another time to live, or lost its own.
    pub(crate) fn change(&mut self, before: Option<u64>, after: Option<u64>) {
        if let Some(at_ms) = before {
            self.keys -= 1;
            self.moments_ms -= u128::from(at_ms);
        }
        if let Some(at_ms) = after {
            self.keys += 1;
            self.moments_ms += u128::from(at_ms);
        }
    }
}

/// What a check of an effect tells.
struct Checked {
    newest: Stamp,
    /// Whether some of it is dated below the floor.
    below_floor: bool,
}

pub(crate) fn export_state(key: &[u8], state: State<'_>, effect: &mut Vec<u8>) {
    let mut delta = DeltaWriter::new(effect, key);
    state.export(|part| delta.part(part));
    delta.finish();
}

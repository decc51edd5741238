//! One shard's data and what makes it last: the store, its log, and the hints for other nodes.
//!
//! Everything that changes the store goes through here, so that nothing is in memory that is not on
//! its way to the log. Records are buffered and written once a turn, before any reply of the turn
//! leaves the process: what was acknowledged survives the death of the process under every policy.

mod beside;
#[cfg(test)]
mod bounds;
mod checkpoint;
mod clocks;
mod delivery;
mod digests;
mod dirty;
mod expiring;
mod forgetting;
mod hints;
mod lending;
#[cfg(test)]
mod members;
mod moving;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "measures what things cost")]
mod pulls;
mod record;
mod replica;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "measures what things cost")]
mod rounds;
mod scans;
mod scrub;
mod slow;
mod space;
mod unsettled;

use std::{cell::RefCell, io, sync::Arc};

use bytes::Bytes;
use quorate_cluster::{
    clocks::Knowledge,
    coordinator::{Durability, Rejection},
    elements,
    time::Instant,
    topology::Topology,
};
use quorate_log::{LogError, SegmentLog, Sequence, SyncJob, is_out_of_descriptors};
use quorate_proto::{
    Fitness, Groups, Slot, Unfit,
    command::{Call, Routing},
    message::{Cause, Message},
    slot::{GROUPS, SLOTS},
};
use quorate_store::{MergeError, Merged, Request, Store, delta};

use crate::{
    config::SyncPolicy,
    limits,
    repeated::Repeated,
    search::{PIECE, Search},
};
use beside::Beside;
pub(crate) use beside::{Work, Worked};
use checkpoint::Progress;
use expiring::Expiring;
use forgetting::Forgetting;
pub(crate) use hints::{HintBudget, HintQueues, HintSync, HintTerms, SyncTask};
use lending::{Lendable, Transactions};
use moving::Moving;
pub(crate) use record::{
    Effects, Record, SLOT_BYTES, TransactionRecord, write_effect, write_last_transaction,
};
use scans::Scans;
pub(crate) use scrub::{
    Outcome as ScrubOutcome, Scrub, ScrubEnded, ScrubOrder, Tally as ScrubTally, report_set_aside,
};
use slow::Slow;
use space::Space;
use unsettled::Unsettled;

/// A log record needs at most this much more than the command that caused it, for each argument.
pub(crate) const STAMPED_BYTES: usize = 64;

/// The groups of slots that a shard owns.
pub(crate) fn owned_groups(shard: u16, shards: u16) -> Groups {
    (0..GROUPS).filter(|group| group % shards == shard).collect()
}

/// What a shard stores.
#[derive(Debug)]
pub struct Storage {
    pub(crate) store: Lendable,
    /// `None` when everything is kept in memory only.
    log: Option<SegmentLog>,
    policy: SyncPolicy,
    /// By slot: the newest record, when every answer waits for its sync; empty when none does.
    newest: Vec<Sequence>,
    checkpoint: Option<Progress>,
    /// Bytes that the live data takes in the log, as last counted or written.
    live_bytes: u64,
    /// Bytes of the log since the last checkpoint when that was last counted.
    counted_at: u64,
    /// Keys when what is live was last counted or written.
    counted_keys: usize,
    checkpoint_bytes_min: u64,
    /// Wall clock when a checkpoint last found no space.
    checkpoint_given_up_ms: u64,
    hints: HintQueues,
    expiring: Expiring,
    space: Space,
    forgetting: Forgetting,
    moving: Moving,
    /// Which writes are here, by their dots.
    knowledge: Knowledge,
    element_limits: elements::Limits,
    /// Of large keys that are being compared.
    scans: RefCell<Scans>,
    pub(crate) topology: Arc<Topology>,
    shard: u16,
    shards: u16,
    /// Wall clock of this turn, in milliseconds since the Unix epoch.
    pub(crate) wall_ms: u64,
    /// What the clock of the machine shows, which never goes back.
    pub(crate) monotonic: Instant,
    reply: Vec<u8>,
    effect: Vec<u8>,
    /// Whether a sync is under way.
    syncing: bool,
    /// Everything that was written up to these moments is in the sync under way, and in the last
    /// one.
    syncing_ms: u64,
    /// A sync, and a checkpoint, that somebody has asked for.
    sync_wanted: bool,
    /// Up to which record somebody has asked for it.
    sync_wanted_upto: Sequence,
    checkpoint_wanted: bool,
    saved_ms: u64,
    /// The last sync found no descriptor: the next one waits for the second to pass.
    sync_paused: bool,
    /// When the superblock was last brought up to date.
    recorded_ms: u64,
    /// Whether acknowledged data may have been lost before the start.
    pub(crate) incomplete: bool,
    /// The last record of what came back when data was missing.
    regained: Sequence,
    /// The last record that was appended.
    appended: Sequence,
    transactions: Transactions,
    /// What the shard may do in this turn.
    fitness: Fitness,
    failure_reported: bool,
    failure_told: bool,
    /// Effects of other nodes that were not merged.
    refused_effects: Repeated,
    slow: Slow,
    beside: Beside,
    unsettled: Unsettled,
    pub(crate) search: Search,
    /// Whether there are indexes, so that changes count.
    pub(crate) indexes: bool,
}

/// What a storage is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) log: Option<SegmentLog>,
    pub(crate) policy: SyncPolicy,
    pub(crate) checkpoint_bytes_min: u64,
    pub(crate) hints: HintQueues,
    pub(crate) element_limits: elements::Limits,
    /// Words and elements from which on a call is executed beside the shard.
    pub(crate) long_call: usize,
    pub(crate) topology: Arc<Topology>,
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    pub(crate) incomplete: bool,
    /// The number of the last transaction over several shards.
    pub(crate) last_transaction: u64,
}

impl Storage {
    pub(crate) fn new(parts: Parts) -> Self {
        let synced_answers = parts.log.is_some() && parts.policy == SyncPolicy::Always;
        let recovered = parts.log.as_ref().map_or(0, SegmentLog::written);
        let mut knowledge = Knowledge::default();
        knowledge.set_current(parts.topology.origins());
        let mut storage = Self {
            store: Lendable::new(parts.store),
            log: parts.log,
            policy: parts.policy,
            // Any slot may hold what a process wrote before it was killed, and nobody has synced.
            newest: vec![recovered; if synced_answers { usize::from(SLOTS) } else { 0 }],
            checkpoint: None,
            live_bytes: 0,
            counted_keys: 0,
            counted_at: 0,
            checkpoint_bytes_min: parts.checkpoint_bytes_min,
            checkpoint_given_up_ms: 0,
            hints: parts.hints,
            expiring: Expiring::default(),
            space: Space::default(),
            forgetting: Forgetting::default(),
            moving: Moving::default(),
            knowledge,
            element_limits: parts.element_limits,
            scans: RefCell::default(),
            topology: parts.topology,
            shard: parts.shard,
            shards: parts.shards,
            wall_ms: 0,
            monotonic: Instant::ZERO,
            reply: Vec::new(),
            effect: Vec::new(),
            syncing: false,
            syncing_ms: 0,
            sync_wanted: false,
            sync_wanted_upto: 0,
            checkpoint_wanted: false,
            saved_ms: 0,
            sync_paused: false,
            recorded_ms: 0,
            incomplete: parts.incomplete,
            regained: 0,
            appended: recovered,
            transactions: Transactions::new(recovered, parts.last_transaction),
            fitness: Fitness::FIT,
            failure_reported: false,
            failure_told: false,
            refused_effects: Repeated::default(),
            slow: Slow::default(),
            unsettled: Unsettled::new(limits::VERY_LARGE_EFFECT),
            beside: Beside::new(parts.long_call),
            search: Search::default(),
            indexes: false,
        };
        storage.begin_moving();
        storage
    }

    /// How many shards this node has, and which one this is.
    pub(crate) fn position(&self) -> (u16, u16) {
        (self.shards, self.shard)
    }

    /// The shard of this node that owns `slot`.
    pub(crate) fn owner(&self, slot: Slot) -> u16 {
        slot.group() % self.shards
    }

    /// Executes a call, appending its reply to `out` unless it shares its bytes with the store:
    /// then it is returned. Returns when its effect is durable, or why nothing was done.
    pub(crate) fn execute_into(
        &mut self,
        call: &Call,
        resp3: bool,
        out: &mut Vec<u8>,
    ) -> Result<(Durability, Option<Bytes>), Rejection> {
        if call.spec().routing == Routing::Slots && call.spec().name == PIECE {
            self.answer_search(call, resp3, out);
            return Ok((Durability::Now, None));
        }
        self.effect.clear();
        if call.class().writes() {
            let room = self.reserve_for(call)?;
            // That of a large command does not grow by and by, with a copy each time.
            self.effect.reserve(if room > limits::SCRATCH_KEPT_MAX { room } else { 0 });
        }
        let request = Request { call, wall_ms: self.wall_ms, resp3 };
        let shared_reply = self.store.execute(request, out, &mut self.effect);
        self.index_changes();
        if self.effect.is_empty() {
            return Ok((Durability::Now, shared_reply));
        }
        let effect = std::mem::take(&mut self.effect);
        let durability = self.append(call.slot(), &effect);
        self.effect = effect;
        Ok((durability, shared_reply))
    }

    /// Fetches from memory what calls that are about to be executed will look up.
    pub(crate) fn prefetch<'c>(&self, calls: impl Iterator<Item = &'c Call>) {
        self.store.prefetch(calls.flat_map(|call| call.keys().map(|key| (call.slot(), key))));
    }

    /// The same for effects among messages of peers, by their first keys.
    pub(crate) fn prefetch_effects<'m>(&self, messages: impl Iterator<Item = &'m Message>) {
        self.store.prefetch(messages.filter_map(|message| {
            let Message::Replicate { slot, effect, .. } = message else { return None };
            let first = delta::deltas(effect).next()?.ok()?;
            Some((*slot, first.key))
        }));
    }

    /// Makes sure that the log can take the effect of a call.
    fn reserve_for(&mut self, call: &Call) -> Result<usize, Rejection> {
        let room = call.command().frame().len() + STAMPED_BYTES * call.words();
        self.reserve(self.room_for(call)).map(|()| room)
    }

    /// Bytes that the effect of a call takes in the log, at most.
    fn room_for(&self, call: &Call) -> usize {
        let room = call.command().frame().len() + STAMPED_BYTES * call.words();
        let copied = match call.spec().is_whole() {
            true => self.store.copied_bytes(call) + STAMPED_BYTES * self.store.work(call),
            false => 0,
        };
        room + copied
    }

    fn append(&mut self, slot: Slot, effect: &[u8]) -> Durability {
        let owner = self.owner(slot);
        assert_eq!(owner, self.shard, "invariant: a shard writes only to slots that it owns");
        let Some(log) = &mut self.log else { return Durability::Now };
        let sequence = log.append(|out| write_effect(out, slot, effect));
        self.note_appended(slot, sequence)
    }

    /// The newest record is one of this slot.
    fn note_appended(&mut self, slot: Slot, sequence: Sequence) -> Durability {
        self.appended = sequence;
        match self.newest.get_mut(slot.index()) {
            Some(newest) => {
                *newest = sequence;
                Durability::At(sequence)
            }
            None => Durability::Now,
        }
    }

    /// Merges an effect from another node. Returns when it is durable, and what removes, where it
    /// comes from, what was removed here and is forgotten.
    fn merge_effect(
        &mut self,
        slot: Slot,
        effect: &[u8],
    ) -> Result<(Durability, Vec<u8>), Rejection> {
        self.reserve(effect.len() + SLOT_BYTES)?;
        if !self.is_in_doubt() {
            self.store.end_before(slot, effect, self.wall_ms);
        }
        let merged = self.store.merge(slot, effect, self.wall_ms).map_err(|error| {
            let cause = match error {
                MergeError::ClockSkew { .. } => Cause::ClockSkew,
                _ => Cause::Malformed,
            };
            if let Some(times) = self.refused_effects.note(self.wall_ms) {
                tracing::warn!(%error, times, "effects from other nodes are refused");
            }
            Rejection { cause, text: error.to_string() }
        })?;
        if !self.is_in_doubt() {
            self.store.sweep_merged(slot, effect, self.wall_ms);
        }
        self.index_merged();
        Ok(self.append_merged(slot, effect, merged))
    }

    /// Appends what was merged of an effect of another node.
    fn append_merged(
        &mut self,
        slot: Slot,
        effect: &[u8],
        merged: Merged,
    ) -> (Durability, Vec<u8>) {
        match merged {
            Merged::Whole => (self.append(slot, effect), Vec::new()),
            Merged::Part { kept, refutation } if kept.is_empty() => (Durability::Now, refutation),
            Merged::Part { kept, refutation } => (self.append(slot, &kept), refutation),
        }
    }

    /// Hands everything appended in this turn to the operating system. After an error nothing of
    /// this turn may be acknowledged, and the log takes nothing more.
    pub(crate) fn write(&mut self) -> Result<(), LogError> {
        if let Some(log) = &mut self.log
            && log.has_unwritten()
        {
            log.write()?;
        }
        // Nothing is kept for others meanwhile.
        if !self.is_lent() {
            self.hints.write(&self.topology, self.store.epoch());
        }
        Ok(())
    }

    /// Reports that the log cannot be written, the first time.
    pub(crate) fn report_failure(&mut self, error: &LogError) {
        if !std::mem::replace(&mut self.failure_reported, true) {
            tracing::error!(%error, "the log cannot be written; writes are refused from now on");
        }
    }

    /// The sync that the policy asks for now, if any.
    pub(crate) fn due_sync(&mut self, second_passed: bool) -> Option<SyncJob> {
        let log = self.log.as_mut()?;
        let due = match self.policy {
            SyncPolicy::Always => true,
            SyncPolicy::EverySecond => second_passed,
            // Even so a checkpoint must be on disk before what it replaces is dropped.
            // So must be what came back before it counts.
            SyncPolicy::No => second_passed && (log.awaits_sync() || self.regained > log.synced()),
        };
        self.sync_paused &= !second_passed;
        if !(due || self.sync_wanted) || self.syncing || self.sync_paused || log.has_failed() {
            return None;
        }
        let record = self.wall_ms.saturating_sub(self.recorded_ms) >= 1000;
        let job = log.sync_job(record)?;
        if record {
            self.recorded_ms = self.wall_ms;
        }
        self.syncing = true;
        self.sync_wanted = false;
        self.syncing_ms = self.wall_ms;
        Some(job)
    }

    /// A sync has ended. Returns up to where the log is durable.
    pub(crate) fn sync_ended(&mut self, result: &io::Result<Sequence>) -> Sequence {
        self.syncing = false;
        let Some(log) = &mut self.log else { return 0 };
        if let Err(error) = result
            && is_out_of_descriptors(error)
        {
            tracing::warn!(%error, "the log cannot be synced now; it is tried again in a second");
            self.sync_paused = true;
        }
        log.sync_ended(result);
        if result.is_ok() {
            self.saved_ms = self.syncing_ms;
        }
        log.take_set_aside().iter().for_each(report_set_aside);
        log.synced()
    }

    /// Asks for a sync. Returns the record up to which the log must be synced then.
    pub(crate) fn want_sync(&mut self) -> Sequence {
        self.sync_wanted = self.unsynced() > 0;
        self.sync_wanted_upto = self.appended;
        self.appended
    }

    /// Asks for a checkpoint.
    pub(crate) fn want_checkpoint(&mut self) {
        self.checkpoint_wanted = self.checkpoint.is_none();
    }

    /// The last record that is known to be on disk.
    pub(crate) fn synced(&self) -> Sequence {
        self.log.as_ref().map_or(Sequence::MAX, SegmentLog::synced)
    }

    /// Whether a sync that somebody has asked for is not done.
    pub(crate) fn is_saving(&self) -> bool {
        self.sync_wanted_upto > self.synced()
    }

    /// Whether a sync is under way.
    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing
    }

    /// The last moment whose state is known to be on disk, in milliseconds since the Unix epoch;
    /// zero when none is.
    pub(crate) fn saved_ms(&self) -> u64 {
        let is_level = self.log.is_some() && self.unsynced() == 0 && !self.has_failed();
        if is_level { self.wall_ms } else { self.saved_ms }
    }

    /// Records that no sync has covered yet.
    pub(crate) fn unsynced(&self) -> u64 {
        let synced = self.log.as_ref().map_or(self.appended, SegmentLog::synced);
        self.appended.saturating_sub(synced)
    }

    /// All that was missing has come back from the other nodes.
    pub(crate) fn regain(&mut self) {
        if std::mem::take(&mut self.incomplete) {
            self.regained = self.appended;
        }
    }

    /// Whether nothing is missing, neither here nor on disk.
    pub(crate) fn has_regained(&self) -> bool {
        let synced = self.log.as_ref().map_or(Sequence::MAX, SegmentLog::synced);
        !self.incomplete && self.regained <= synced && !self.has_failed()
    }

    /// Writes and syncs everything: the end of an orderly shutdown.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        if self.has_failed() {
            return Err(LogError::Failed(io::Error::other("not everything is on disk")));
        }
        self.write()?;
        // The dirty ranges, and then the logs.
        for _ in 0..2 {
            for (sync, task) in self.hint_syncs() {
                let result = task.run();
                self.hint_sync_ended(sync, &result);
                result.map_err(LogError::Failed)?;
            }
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(job) = log.sync_job(true) {
            let result = job.run();
            log.sync_ended(&result);
            result.map_err(LogError::Failed)?;
        }
        Ok(())
    }

    /// Whether there is work to go on with in the next turn.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_checkpointing()
            || self.is_forgetting()
            || self.is_expiring()
            || self.is_discarding()
            || self.is_indexing()
    }

    /// Bytes of the log on disk.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, SegmentLog::bytes)
    }

    /// About what the data comes to in a log: as counted for the last checkpoint, with what was
    /// written since, or all of the log before there was one.
    pub(crate) fn held_bytes(&self) -> u64 {
        let since = self.log.as_ref().map_or(0, SegmentLog::bytes_since_checkpoint);
        match self.live_bytes {
            0 => self.log_bytes(),
            live => self.log_bytes().min(live + since),
        }
    }

    /// Whether a write or sync of the log failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.log.as_ref().is_some_and(SegmentLog::has_failed)
    }

    /// Whether the log has failed, since the last call that said so.
    pub(crate) fn take_failed(&mut self) -> bool {
        self.has_failed() && !std::mem::replace(&mut self.failure_told, true)
    }

    /// The groups of slots that this shard owns.
    pub(crate) fn owned_groups(&self) -> Groups {
        owned_groups(self.shard, self.shards)
    }

    /// Digest of everything that this shard holds.
    pub(crate) fn digest(&mut self) -> u128 {
        self.store.sweep_expired(self.wall_ms, usize::MAX);
        let slots = Slot::all();
        slots.fold(0, |sum: u128, slot| sum.wrapping_add(self.store.slot_digest(slot)))
    }

    /// Whether the wall clock is contradicted by those of the peers.
    fn is_in_doubt(&self) -> bool {
        self.fitness.is(Unfit::ClockInDoubt)
    }

    /// Whether a call meets keys with a time to live. One that names no keys meets all.
    fn depends_on_time(&self, call: &Call) -> bool {
        let mut names_keys = false;
        let expires = call.keys().any(|key| {
            names_keys = true;
            self.store.expires(call.slot(), key)
        });
        expires || !names_keys && self.store.expiring() > 0
    }
}

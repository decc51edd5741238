//! One shard's data and what makes it last: the store, its log, and the hints for other nodes.
//!
//! Everything that changes the store goes through here, so that nothing is in memory that is not on
//! its way to the log. Records are buffered and written once a turn, before any reply of the turn
//! leaves the process: what was acknowledged survives the death of the process under every policy.

mod forgetting;
mod record;
#[cfg(test)]
mod rounds;

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Durability, Executed, Rejection, Replica},
    handoff::{Hint, Hints},
    sync::Digests,
    topology::Topology,
};
use quorate_proto::{
    NodeIndex, Slot, command,
    message::{Cause, Scope},
    mutant::Mutant,
    resp::Command,
    slot::{GROUPS, SLOTS, SLOTS_PER_GROUP},
};
use quorate_store::{
    MergeError, Merged, Request, Store,
    disk::Disk,
    log::{Checkpoint, HintLog, HintOptions, LogError, SegmentLog, Sequence, SyncJob},
};

use crate::{config::SyncPolicy, limits};
use forgetting::Forgetting;
pub(crate) use record::Record;
use record::{SLOT_BYTES, write_effect};

/// A log record needs at most this much more than the command that caused it, for each argument.
const STAMPED_BYTES: usize = 64;

/// What a shard stores.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) store: Store,
    /// `None` when everything is kept in memory only.
    log: Option<SegmentLog>,
    policy: SyncPolicy,
    /// By slot: the newest record, when every answer waits for its sync; empty when none does.
    newest: Vec<Sequence>,
    checkpoint: Option<Progress>,
    /// Bytes that the last checkpoint wrote, together with what came meanwhile.
    checkpointed_bytes: u64,
    checkpoint_bytes_min: u64,
    hints: HintQueues,
    forgetting: Forgetting,
    pub(crate) topology: Arc<Topology>,
    shard: u16,
    shards: u16,
    /// Wall clock of this turn, in milliseconds since the Unix epoch.
    pub(crate) wall_ms: u64,
    reply: Vec<u8>,
    effect: Vec<u8>,
    /// Whether a sync is under way.
    syncing: bool,
    /// When the superblock was last brought up to date.
    recorded_ms: u64,
    /// Whether acknowledged data may have been lost before the start.
    pub(crate) incomplete: bool,
    /// Whether the wall clock is contradicted by those of the peers.
    pub(crate) clock_in_doubt: bool,
    failure_reported: bool,
}

/// A checkpoint in progress: the next slot to write.
#[derive(Debug)]
struct Progress {
    checkpoint: Checkpoint,
    next: u16,
}

/// Where the hints of a shard are kept, a log for each target.
#[derive(Debug)]
pub(crate) struct HintQueues {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// How each log is kept, but for its identity.
    options: HintOptions,
    logs: Vec<Option<HintLog>>,
    /// How often each was opened.
    openings: Vec<u32>,
    /// Targets whose log could not take a hint: only a digest round settles what they lack.
    dirty: Vec<bool>,
}

/// What a storage is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) log: Option<SegmentLog>,
    pub(crate) policy: SyncPolicy,
    pub(crate) checkpoint_bytes_min: u64,
    pub(crate) hints: HintQueues,
    pub(crate) topology: Arc<Topology>,
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    pub(crate) incomplete: bool,
}

impl Storage {
    pub(crate) fn new(parts: Parts) -> Self {
        let synced_answers = parts.log.is_some() && parts.policy == SyncPolicy::Always;
        let recovered = parts.log.as_ref().map_or(0, SegmentLog::written);
        let checkpointed_bytes = parts.log.as_ref().map_or(0, SegmentLog::bytes);
        Self {
            store: parts.store,
            log: parts.log,
            policy: parts.policy,
            // Any slot may hold what a process wrote before it was killed, and nobody has synced.
            newest: vec![recovered; if synced_answers { usize::from(SLOTS) } else { 0 }],
            checkpoint: None,
            checkpointed_bytes,
            checkpoint_bytes_min: parts.checkpoint_bytes_min,
            hints: parts.hints,
            forgetting: Forgetting::default(),
            topology: parts.topology,
            shard: parts.shard,
            shards: parts.shards,
            wall_ms: 0,
            reply: Vec::new(),
            effect: Vec::new(),
            syncing: false,
            recorded_ms: 0,
            incomplete: parts.incomplete,
            clock_in_doubt: false,
            failure_reported: false,
        }
    }

    /// The shard of this node that owns `slot`.
    pub(crate) fn owner(&self, slot: Slot) -> u16 {
        slot.group() % self.shards
    }

    /// Executes a command, appending its reply to `out`. Returns when its effect is durable, or
    /// why nothing was done.
    pub(crate) fn execute_into(
        &mut self,
        slot: Slot,
        command: &Command,
        resp3: bool,
        writes: bool,
        out: &mut Vec<u8>,
    ) -> Result<Durability, Rejection> {
        if writes {
            self.reserve(command.frame().len() + STAMPED_BYTES * command.len())?;
        }
        self.effect.clear();
        let request = Request { slot, command, wall_ms: self.wall_ms, resp3 };
        self.store.execute(request, out, &mut self.effect);
        if self.effect.is_empty() {
            return Ok(Durability::Now);
        }
        let effect = std::mem::take(&mut self.effect);
        let durability = self.append(slot, &effect);
        self.effect = effect;
        Ok(durability)
    }

    fn append(&mut self, slot: Slot, effect: &[u8]) -> Durability {
        let Some(log) = &mut self.log else { return Durability::Now };
        let sequence = log.append(|out| write_effect(out, slot, effect));
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
        let merged = self.store.merge(slot, effect, self.wall_ms).map_err(|error| {
            let cause = match error {
                MergeError::ClockSkew { .. } => Cause::ClockSkew,
                _ => Cause::Malformed,
            };
            tracing::warn!(%error, "an effect from another node was refused");
            Rejection { cause, text: error.to_string() }
        })?;
        Ok(match merged {
            Merged::Whole => (self.append(slot, effect), Vec::new()),
            Merged::Part { kept, refutation } if kept.is_empty() => (Durability::Now, refutation),
            Merged::Part { kept, refutation } => (self.append(slot, &kept), refutation),
        })
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), Rejection> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.reserve(bytes).map_err(|error| Rejection {
            cause: Cause::StoreFull,
            text: format!("the log cannot take a write: {error}"),
        })
    }

    /// Hands everything appended in this turn to the operating system. After an error nothing of
    /// this turn may be acknowledged, and the log takes nothing more.
    pub(crate) fn write(&mut self) -> Result<(), LogError> {
        if let Some(log) = &mut self.log
            && log.has_unwritten()
        {
            log.write()?;
        }
        self.hints.write();
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
            SyncPolicy::No => second_passed && log.awaits_sync(),
        };
        if !due || self.syncing || log.has_failed() {
            return None;
        }
        let record = self.wall_ms.saturating_sub(self.recorded_ms) >= 1000;
        let job = log.sync_job(record)?;
        if record {
            self.recorded_ms = self.wall_ms;
        }
        self.syncing = true;
        Some(job)
    }

    /// A sync has ended. Returns up to where the log is durable.
    pub(crate) fn sync_ended(&mut self, result: &io::Result<Sequence>) -> Sequence {
        self.syncing = false;
        let Some(log) = &mut self.log else { return 0 };
        log.sync_ended(result);
        log.synced()
    }

    /// Syncs of hint logs and their targets, once a second.
    pub(crate) fn hint_syncs(&mut self) -> Vec<(NodeIndex, SyncJob)> {
        let peers = self.topology.peers();
        let logs = &mut self.hints.logs;
        peers.filter_map(|peer| Some((peer, logs[peer.index()].as_mut()?.sync_job()?))).collect()
    }

    /// A sync of the hints for `target` has ended.
    pub(crate) fn hint_sync_ended(&mut self, target: NodeIndex, result: &io::Result<Sequence>) {
        let Some(log) = self.hints.logs.get_mut(target.index()).and_then(Option::as_mut) else {
            return;
        };
        log.sync_ended(result);
        if result.is_err() {
            self.hints.dirty[target.index()] = true;
        }
        self.hints.give_up_failed(target.index());
    }

    /// Writes and syncs everything: the end of an orderly shutdown.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        self.write()?;
        for (target, job) in self.hint_syncs() {
            let result = job.run();
            self.hint_sync_ended(target, &result);
            result.map_err(LogError::Failed)?;
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(job) = log.sync_job(true) {
            let result = job.run();
            log.sync_ended(&result);
            result.map_err(LogError::Failed)?;
        }
        Ok(())
    }

    /// Goes on with a checkpoint, or begins one when the log has grown to twice its live size.
    pub(crate) fn advance_checkpoint(&mut self) {
        let going_on = self.checkpoint.take().or_else(|| self.begin_checkpoint());
        let (Some(mut progress), Some(log)) = (going_on, &mut self.log) else { return };
        let mut keys = 0;
        let mut failed = false;
        while keys < limits::CHECKPOINT_KEYS_PER_TURN && progress.next < SLOTS && !failed {
            let Some(slot) = Slot::new(progress.next) else { break };
            self.store.export_slot(slot, |effect| {
                keys += 1;
                failed |= log.reserve(effect.len() + SLOT_BYTES).is_err();
                if !failed {
                    log.append(|out| write_effect(out, slot, effect));
                }
            });
            progress.next += 1;
        }
        if failed {
            tracing::warn!("a checkpoint was given up because the log has no space");
            return;
        }
        if progress.next < SLOTS {
            self.checkpoint = Some(progress);
            return;
        }
        if log.finish_checkpoint(progress.checkpoint).is_ok() {
            self.checkpointed_bytes = log.bytes_since_checkpoint();
        }
    }

    fn begin_checkpoint(&mut self) -> Option<Progress> {
        let log = self.log.as_mut()?;
        // What the last checkpoint wrote is live; as much again makes half of the log garbage.
        let growth = self.checkpointed_bytes.max(self.checkpoint_bytes_min);
        if log.bytes_since_checkpoint() < self.checkpointed_bytes + growth {
            return None;
        }
        log.reserve(limits::FLOORS_RECORD_BYTES).ok()?;
        let checkpoint = log.begin_checkpoint().ok()?;
        self.append_floors(&self.floors());
        Some(Progress { checkpoint, next: 0 })
    }

    /// Whether there is work to go on with in the next turn.
    pub(crate) fn is_busy(&self) -> bool {
        self.checkpoint.is_some() || self.is_forgetting()
    }

    /// Bytes of the log on disk.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, SegmentLog::bytes)
    }

    /// Whether a write or sync of the log failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.log.as_ref().is_some_and(SegmentLog::has_failed)
    }

    /// Bytes of hints on disk.
    pub(crate) fn hint_bytes(&self) -> u64 {
        self.hints.logs.iter().flatten().map(HintLog::bytes).sum()
    }

    /// The slots that this shard owns.
    pub(crate) fn owned_groups(&self) -> impl Iterator<Item = u16> + use<> {
        let (shard, shards) = (self.shard, self.shards);
        (0..GROUPS).filter(move |group| group % shards == shard)
    }

    /// Digest of everything that this shard holds.
    pub(crate) fn digest(&mut self) -> u128 {
        self.store.sweep_expired(self.wall_ms, usize::MAX);
        let slots = Slot::all();
        slots.fold(0, |sum: u128, slot| sum.wrapping_add(self.store.slot_digest(slot)))
    }

    /// A digest round with `peer` has ended: it lacks nothing that an overflow kept from it.
    pub(crate) fn clear_dirty(&mut self, peer: NodeIndex) {
        self.hints.dirty[peer.index()] = false;
    }

    /// Whether hints for `peer` could not be kept.
    pub(crate) fn is_dirty(&self, peer: NodeIndex) -> bool {
        self.hints.dirty[peer.index()]
    }

    /// Adopts the topology that was sealed, before the first write.
    pub(crate) fn adopt(&mut self, topology: Arc<Topology>, hints: HintQueues) {
        self.topology = topology;
        self.hints = hints;
    }
}

impl HintQueues {
    /// The queues below `directory`, of which those that exist are opened.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: HintOptions,
        topology: &Topology,
    ) -> io::Result<Self> {
        let mut queues = Self {
            disk: Arc::clone(&disk),
            directory: directory.clone(),
            options,
            logs: (0..topology.len()).map(|_| None).collect(),
            openings: vec![0; topology.len()],
            dirty: vec![false; topology.len()],
        };
        if topology.len() == 1 {
            return Ok(queues);
        }
        let present = disk.list_directories(&directory)?;
        // A log makes its own directory durable in this one, which may be as new.
        if let Some(parent) = directory.parent() {
            disk.sync_directory(parent)?;
        }
        for target in topology.peers() {
            if present.contains(&queues.path(topology, target)) {
                queues.open_log(topology, target)?;
            }
        }
        Ok(queues)
    }

    /// Whether anything waits for any target.
    fn is_pending(&self) -> bool {
        self.logs.iter().flatten().any(|log| log.pending() > 0)
    }

    fn path(&self, topology: &Topology, target: NodeIndex) -> PathBuf {
        self.directory.join(topology.member(target).id.to_string())
    }

    fn open_log(&mut self, topology: &Topology, target: NodeIndex) -> io::Result<()> {
        let path = self.path(topology, target);
        let log_id = topology.member(target).id.0 as u64;
        let options = HintOptions { log_id, ..self.options };
        let log = HintLog::open(Arc::clone(&self.disk), &path, options)?;
        self.logs[target.index()] = Some(log);
        self.openings[target.index()] += 1;
        self.note_lost(target);
        Ok(())
    }

    /// What is lost of the hints for `target` only a digest round brings.
    fn note_lost(&mut self, target: NodeIndex) {
        if let Some(log) = &mut self.logs[target.index()]
            && log.take_lost()
        {
            tracing::warn!("some hints were lost; a digest round will settle the rest");
            self.dirty[target.index()] = true;
        }
    }

    fn append(&mut self, topology: &Topology, target: NodeIndex, slot: Slot, effect: &[u8]) {
        if self.logs[target.index()].is_none()
            && let Err(error) = self.open_log(topology, target)
        {
            tracing::warn!(%error, "hints cannot be kept; a digest round will settle the rest");
            self.dirty[target.index()] = true;
            return;
        }
        let Some(log) = &mut self.logs[target.index()] else { return };
        let taken = log.append(|out| write_effect(out, slot, effect));
        if taken.is_err() {
            self.dirty[target.index()] = true;
        }
    }

    fn write(&mut self) {
        for index in 0..self.logs.len() {
            let Some(log) = &mut self.logs[index] else { continue };
            if let Err(error) = log.write() {
                tracing::warn!(%error, "hints cannot be kept; a digest round will settle the rest");
                self.dirty[index] = true;
                self.give_up_failed(index);
            }
        }
    }

    /// A log that has failed never gets rid of what it holds: only a digest round settles that. What
    /// is on disk is tried again when the next hint, or the next process, opens it. Without space a
    /// queue goes on with what it has.
    fn give_up_failed(&mut self, index: usize) {
        if self.logs[index].as_ref().is_some_and(HintLog::has_failed) {
            self.dirty[index] = true;
            self.logs[index] = None;
        }
    }
}

impl Replica for Storage {
    fn execute(
        &mut self,
        slot: Slot,
        command: &Command,
        resp3: bool,
    ) -> Result<Executed, Rejection> {
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        let durability = self.execute_into(slot, command, resp3, true, &mut reply);
        let encoded = Bytes::copy_from_slice(&reply);
        self.reply = reply;
        let durability = durability?;
        Ok(Executed { reply: encoded, effect: Bytes::copy_from_slice(&self.effect), durability })
    }

    fn read(&mut self, slot: Slot, command: &Command, resp3: bool) -> Bytes {
        let mut reply = Vec::new();
        // A command that only reads needs no space, so it cannot be refused.
        let _ = self.execute_into(slot, command, resp3, false, &mut reply);
        reply.into()
    }

    fn digest(&mut self, slot: Slot, command: &Command) -> u128 {
        let mut sum: u128 = 0;
        for_each_key(command, |key| {
            sum = sum.wrapping_add(self.store.key_digest(slot, key));
        });
        sum
    }

    fn export(&mut self, slot: Slot, command: &Command) -> Bytes {
        let mut states = Vec::new();
        for_each_key(command, |key| self.store.export(slot, key, &mut states));
        states.into()
    }

    fn merge(&mut self, slot: Slot, effect: &Bytes) -> Result<Durability, Rejection> {
        self.merge_effect(slot, effect).map(|(durability, _)| durability)
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

    fn hint(&mut self, target: NodeIndex, slot: Slot, effect: &Bytes) {
        if Mutant::HintDropped.is_planted() {
            return;
        }
        self.hints.append(&self.topology, target, slot, effect);
    }
}

fn for_each_key(command: &Command, mut each: impl FnMut(&[u8])) {
    let Some(spec) = command::lookup(command.name()) else { return };
    if let Ok(keys) = command::keys(spec, command) {
        keys.for_each(&mut each);
    }
}

impl Hints for Storage {
    fn pending(&self, target: NodeIndex) -> u64 {
        self.hints.logs[target.index()].as_ref().map_or(0, HintLog::pending)
    }

    fn read(&mut self, target: NodeIndex, bytes_max: usize) -> Vec<Hint> {
        let Some(log) = &mut self.hints.logs[target.index()] else { return Vec::new() };
        let batch = log.read(bytes_max).unwrap_or_else(|error| {
            tracing::warn!(%error, "hints cannot be read; they will be tried again");
            Vec::new()
        });
        self.hints.note_lost(target);
        batch
            .into_iter()
            .filter_map(|(sequence, record)| {
                let Some(Record::Effect(slot, effect)) = Record::read(&record) else {
                    return None;
                };
                Some(Hint { sequence, slot, effect: Bytes::copy_from_slice(effect) })
            })
            .collect()
    }

    fn openings(&self, target: NodeIndex) -> u32 {
        self.hints.openings[target.index()]
    }

    fn rewind(&mut self, target: NodeIndex) {
        if let Some(log) = &mut self.hints.logs[target.index()] {
            log.rewind();
        }
    }

    fn acknowledge(&mut self, target: NodeIndex, up_to: u64) {
        if let Some(log) = &mut self.hints.logs[target.index()]
            && let Err(error) = log.acknowledge(up_to)
        {
            tracing::warn!(%error, "delivered hints could not be dropped");
        }
        self.hints.give_up_failed(target.index());
    }
}

fn slots_of(group: u16) -> impl Iterator<Item = Slot> {
    let first = group * SLOTS_PER_GROUP;
    (first..first + SLOTS_PER_GROUP).filter_map(Slot::new)
}

impl Digests for Storage {
    fn groups(&self) -> Vec<u16> {
        self.owned_groups().collect()
    }

    fn scope(&self) -> Scope {
        if self.incomplete { Scope::Everything } else { Scope::Alive }
    }

    fn slot_digests(&self, group: u16, peer: NodeIndex, scope: Scope) -> Vec<(Slot, u128)> {
        slots_of(group)
            .filter_map(|slot| Some((slot, self.slot_digest(slot, peer, scope)?)))
            .collect()
    }

    fn slot_digest(&self, slot: Slot, peer: NodeIndex, scope: Scope) -> Option<u128> {
        let shared =
            [self.topology.me(), peer].iter().all(|node| self.topology.is_replica(slot, *node));
        shared.then(|| match scope {
            Scope::Alive => self.store.slot_digest(slot),
            Scope::Everything => self.store.slot_version(slot),
        })
    }

    fn for_each_key(
        &self,
        slot: Slot,
        wanted: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(&[u8], u128),
    ) {
        let keys = self.store.key_versions(slot, wanted);
        keys.for_each(|(key, digest)| each(key, digest));
    }

    fn export_keys(&self, slot: Slot, keys: &[Bytes], bytes_max: usize) -> (usize, Bytes) {
        let mut states = Vec::new();
        for (covered, key) in keys.iter().enumerate() {
            if covered > 0 && states.len() >= bytes_max {
                return (covered, states.into());
            }
            self.store.export(slot, key, &mut states);
        }
        (keys.len(), states.into())
    }

    fn merge_states(&mut self, slot: Slot, states: &Bytes) -> Option<Bytes> {
        let (_, refutation) = self.merge_effect(slot, states).ok()?;
        Some(refutation.into())
    }

    fn begin_epoch(&mut self) -> u32 {
        self.store.begin_epoch()
    }

    fn other_replicas(&self, group: u16) -> Vec<NodeIndex> {
        let me = self.topology.me();
        let replicas = slots_of(group).flat_map(|slot| self.topology.replicas(slot).iter());
        let others: BTreeSet<NodeIndex> = replicas.copied().filter(|node| *node != me).collect();
        others.into_iter().collect()
    }

    fn clock_ms(&self) -> u64 {
        let vouches = !self.incomplete && !self.clock_in_doubt && !self.hints.is_pending();
        if vouches { self.wall_ms } else { 0 }
    }

    fn floor_ms(&self, group: u16) -> u64 {
        self.store.floor(group)
    }
}

//! What is kept for other nodes: a queue of effects for each target that did not take them.
//!
//! Queues have bounds: bytes of each, bytes of all on the node, and age. What goes beyond them, is
//! lost, or cannot be written leaves a mark in the [dirty ranges](super::dirty): nothing is dropped
//! without one. Of a group that is dirty no further hints are kept, because the round that settles
//! it brings these as well.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate_cluster::{peer_map::PeerMap, topology::Topology};
use quorate_log::{HintAbout, HintLog, HintOptions, Sequence, SyncJob, disk::Disk};
use quorate_proto::{Dot, Groups, MemberNumber, Slot, mutant::Mutant};
use quorate_store::coalesce::{count_keys, newest_ms};

use super::{
    Record, Storage,
    dirty::{Dirty, SaveDirty},
    record::write_dotted,
};
use crate::limits;

/// Bytes of disk for all hints of a node, which its shards share.
#[derive(Debug)]
pub(crate) struct HintBudget {
    bytes_max: u64,
    used: AtomicU64,
}

/// How the hints of a node are kept.
#[derive(Clone, Debug)]
pub(crate) struct HintTerms {
    /// How each queue is kept, but for its identity.
    pub(crate) options: HintOptions,
    /// Hints older than this are given up.
    pub(crate) age_max_ms: u64,
    pub(crate) budget: Arc<HintBudget>,
}

/// Where the hints of a shard are kept.
#[derive(Debug)]
pub(crate) struct HintQueues {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    pub(super) terms: HintTerms,
    /// The groups of this shard.
    owned: Groups,
    queues: PeerMap<Queue>,
    pub(super) dirty: Dirty,
    /// Bytes of the budget that are this shard's.
    charged: u64,
    /// Whether queues have grown or shrunk since that was computed.
    resized: bool,
    record: Vec<u8>,
}

/// The queue for one target.
#[derive(Debug, Default)]
struct Queue {
    log: Option<HintLog>,
    /// How often the log was opened.
    openings: u32,
    /// The version of the dirty ranges that stand for hints given up last.
    given_up: u64,
}

/// What of the hints is brought to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintSync {
    /// The log for a target; `opening` counts how often it has been opened.
    Log { target: MemberNumber, opening: u32 },
    /// The dirty ranges.
    Dirty { version: u64 },
}

/// A sync to run, off the shard's thread.
#[derive(Debug)]
pub enum SyncTask {
    Log(SyncJob),
    Dirty(SaveDirty),
}

impl SyncTask {
    pub(crate) fn run(self) -> io::Result<Sequence> {
        match self {
            Self::Log(job) => job.run(),
            Self::Dirty(job) => job.run().map(|()| 0),
        }
    }
}

impl HintBudget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, used: AtomicU64::new(0) }
    }

    /// Takes `bytes` if they are left, or in any case with `always`.
    fn take(&self, bytes: u64, always: bool) -> bool {
        let grown = |used: u64| used.checked_add(bytes);
        let fits = |used: &u64| always || *used <= self.bytes_max;
        let order = Ordering::Relaxed;
        self.used.fetch_update(order, order, |used| grown(used).filter(fits)).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a queue must know of a hint's record.
fn about(record: &[u8]) -> Option<HintAbout> {
    let Some(Record::Effect { slot, effect, .. }) = Record::read(record) else { return None };
    let keys = count_keys(effect) as u64;
    Some(HintAbout { group: slot.group(), date_ms: newest_ms(effect), keys })
}

impl Storage {
    /// Syncs of what is kept for others, once a second. Hints that were given up go only once the
    /// dirty ranges that stand for them are on disk; delivered ones need not wait for that, which
    /// may take the space that they leave.
    pub(crate) fn hint_syncs(&mut self) -> Vec<(HintSync, SyncTask)> {
        let HintQueues { queues, dirty, .. } = &mut self.hints;
        let save = dirty.save_job(&self.topology);
        let save = save.map(|(version, job)| (HintSync::Dirty { version }, SyncTask::Dirty(job)));
        let syncs = self.topology.peers().filter_map(|target| {
            let Queue { log, openings, given_up } = queues.get_mut(target)?;
            let job = log.as_mut().filter(|_| *given_up <= dirty.saved())?.sync_job()?;
            Some((HintSync::Log { target, opening: *openings }, SyncTask::Log(job)))
        });
        save.into_iter().chain(syncs).collect()
    }

    /// A sync of what is kept for others has ended.
    pub(crate) fn hint_sync_ended(&mut self, sync: HintSync, result: &io::Result<Sequence>) {
        let epoch = self.store.epoch();
        let (target, opening) = match sync {
            HintSync::Dirty { version } => return self.hints.dirty.save_ended(version, result),
            HintSync::Log { target, opening } => (target, opening),
        };
        let Some(queue) = self.hints.queues.get_mut(target) else { return };
        // It may be about a log that was given up since; the one that is open knows nothing of it.
        let Some(log) = queue.log.as_mut().filter(|_| queue.openings == opening) else { return };
        log.sync_ended(result);
        self.hints.resized = true;
        self.hints.give_up_failed(target, epoch);
    }

    /// Gives up what is too old, and what nothing is left of.
    pub(crate) fn expire_hints(&mut self) {
        if self.is_in_doubt() {
            return;
        }
        let (epoch, now_ms) = (self.store.epoch(), self.wall_ms);
        for target in self.topology.peers() {
            let age_max_ms = self.hints.terms.age_max_ms;
            let Some(log) = self.hints.log_mut(target) else { continue };
            let groups = log.expire(now_ms, age_max_ms);
            if !groups.is_empty() {
                self.hints.resized = true;
                if !Mutant::ExpiryUnmarked.is_planted() {
                    self.hints.give_up(target, groups, epoch, "hints are too old");
                }
            }
        }
    }

    /// Gives up every hint for `target`. Returns how many, and how many groups are dirty now.
    pub(crate) fn drop_hints(&mut self, target: MemberNumber) -> (u64, u32) {
        let epoch = self.store.epoch();
        let dropped = self.hints.log(target).map_or(0, HintLog::pending);
        if let Some(log) = self.hints.log_mut(target) {
            let groups = log.clear();
            self.hints.resized = true;
            self.hints.give_up(target, groups, epoch, "hints are dropped");
            self.hints.give_up_failed(target, epoch);
        }
        (dropped, self.dirty_groups(target).len())
    }

    /// Bytes of hints on disk.
    pub(crate) fn hint_bytes(&self) -> u64 {
        self.hints.queues.values().filter_map(|queue| queue.log.as_ref()).map(HintLog::bytes).sum()
    }

    /// The hints for `target`, if there are any.
    pub(crate) fn hints_for(&self, target: MemberNumber) -> Option<&HintLog> {
        self.hints.log(target).filter(|log| !log.is_empty())
    }

    /// The groups in which `target` lacks something that no hint brings.
    pub(crate) fn dirty_groups(&self, target: MemberNumber) -> Groups {
        self.hints.dirty.groups(target)
    }

    /// `target` lacks something in these groups.
    #[cfg(test)]
    pub(crate) fn mark_dirty(&mut self, target: MemberNumber, groups: Groups) {
        self.hints.dirty.mark(target, groups, self.store.epoch());
    }

    /// An anti-entropy round over these groups, which began with `epoch`, has brought `target` what
    /// it lacked.
    pub(crate) fn clear_dirty(&mut self, target: MemberNumber, groups: Groups, epoch: u32) {
        // A round that was refused something settles nothing; see the planted bug.
        let epoch = if Mutant::DirtyClearedEarly.is_planted() { u32::MAX } else { epoch };
        self.hints.dirty.clear(target, groups, epoch);
    }
}

impl HintQueues {
    /// The queues below `directory`, of which those that exist are opened, for a shard that owns
    /// these groups.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        terms: HintTerms,
        topology: &Topology,
        owned: Groups,
    ) -> io::Result<Self> {
        let mut queues = Self {
            dirty: Dirty::open(Arc::clone(&disk), &directory, topology, owned)?,
            disk: Arc::clone(&disk),
            directory: directory.clone(),
            terms,
            owned,
            queues: topology.peers().map(|peer| (peer, Queue::default())).collect(),
            charged: 0,
            resized: true,
            record: Vec::new(),
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
                queues.open_log(topology, target, 0)?;
            }
        }
        queues.charge();
        Ok(queues)
    }

    /// A node has become a peer. What is there for it from before is kept.
    pub(super) fn handle_joined(&mut self, topology: &Topology, target: MemberNumber, epoch: u32) {
        self.queues.insert(target, Queue::default());
        self.dirty.handle_joined(target, topology.member(target).id, self.owned);
        let path = self.path(topology, target);
        let opened = self.disk.list_directories(&self.directory).and_then(|present| {
            if present.contains(&path) { self.open_log(topology, target, epoch) } else { Ok(()) }
        });
        if let Err(error) = opened {
            tracing::warn!(%error, "hints cannot be read");
            self.collapse(target, self.owned, epoch, "hints cannot be read");
        }
    }

    /// A node is no peer any more: nothing is kept for it. `topology` is the one that it was in.
    pub(super) fn handle_left(&mut self, topology: &Topology, target: MemberNumber) {
        self.dirty.handle_left(target);
        let Some(Queue { log: Some(_), .. }) = self.queues.remove(target) else { return };
        self.resized = true;
        if let Err(error) = self.disk.remove_directory(&self.path(topology, target)) {
            tracing::warn!(%error, "the hints for a node that has left cannot be removed");
        }
    }

    /// What `directory` holds for `target`, by groups: hints, and what was lost of them.
    pub(crate) fn groups_in(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        options: HintOptions,
    ) -> io::Result<Groups> {
        let mut log = HintLog::open(Arc::clone(disk), directory, options, about)?;
        Ok(log.take_lost().union(log.groups()))
    }

    /// Whether anything waits for any target.
    pub(super) fn is_pending(&self) -> bool {
        self.queues.values().filter_map(|queue| queue.log.as_ref()).any(|log| log.pending() > 0)
    }

    pub(super) fn log(&self, target: MemberNumber) -> Option<&HintLog> {
        self.queues.get(target)?.log.as_ref()
    }

    pub(super) fn log_mut(&mut self, target: MemberNumber) -> Option<&mut HintLog> {
        self.queues.get_mut(target)?.log.as_mut()
    }

    pub(super) fn openings(&self, target: MemberNumber) -> u32 {
        self.queues[target].openings
    }

    pub(super) fn note_resized(&mut self) {
        self.resized = true;
    }

    fn path(&self, topology: &Topology, target: MemberNumber) -> PathBuf {
        self.directory.join(topology.member(target).id.to_string())
    }

    fn open_log(
        &mut self,
        topology: &Topology,
        target: MemberNumber,
        epoch: u32,
    ) -> io::Result<()> {
        let path = self.path(topology, target);
        let log_id = topology.member(target).id.0 as u64;
        let options = HintOptions { log_id, ..self.terms.options };
        let log = HintLog::open(Arc::clone(&self.disk), &path, options, about)?;
        let queue = &mut self.queues[target];
        queue.log = Some(log);
        queue.openings += 1;
        self.resized = true;
        self.note_lost(target, epoch);
        Ok(())
    }

    /// What is lost of the hints for `target` only an anti-entropy round brings.
    pub(super) fn note_lost(&mut self, target: MemberNumber, epoch: u32) {
        let lost = self.log_mut(target).map_or(Groups::NONE, HintLog::take_lost);
        self.give_up(target, lost, epoch, "hints were lost");
    }

    /// The log for `target` gets rid of hints in these groups at its next sync.
    fn give_up(&mut self, target: MemberNumber, groups: Groups, epoch: u32, why: &str) {
        if groups.is_empty() {
            return;
        }
        self.collapse(target, groups, epoch, why);
        self.queues[target].given_up = self.dirty.version();
    }

    /// What `target` lacks in these groups no hint brings it.
    fn collapse(&mut self, target: MemberNumber, groups: Groups, epoch: u32, why: &str) {
        let groups = groups.intersection(self.owned);
        if self.dirty.mark(target, groups, epoch) {
            let groups = self.dirty.groups(target).len();
            tracing::warn!(
                target_node = target.0,
                groups,
                why,
                "anti-entropy rounds settle what hints do not bring"
            );
        }
    }

    pub(super) fn append(
        &mut self,
        topology: &Topology,
        target: MemberNumber,
        (slot, dots, effect): (Slot, &[Dot], &[u8]),
        (epoch, now_ms): (u32, u64),
    ) {
        let group = Groups::of_slot(slot);
        if self.dirty.contains(target, slot.group()) {
            self.dirty.mark(target, group, epoch);
            return;
        }
        if effect.len() > limits::VERY_LARGE_EFFECT {
            return self.collapse(target, group, epoch, "a value is too large for a hint");
        }
        if self.log(target).is_none()
            && let Err(error) = self.open_log(topology, target, epoch)
        {
            tracing::warn!(%error, "hints cannot be kept");
            return self.collapse(target, group, epoch, "hints cannot be kept");
        }
        let Self { queues, record, terms, charged, resized, .. } = self;
        let Some(log) = &mut queues[target].log else { return };
        record.clear();
        write_dotted(record, slot, dots, effect);
        let is_only = log.is_empty();
        let room = log.room_for(record.len()).ok();
        let Some(growth) = room.filter(|growth| terms.budget.take(*growth, is_only)) else {
            if !Mutant::OverflowUnmarked.is_planted() {
                self.collapse(target, group, epoch, "there is no room for more hints");
            }
            return;
        };
        (*charged, *resized) = (*charged + growth, *resized || growth > 0);
        let keys = count_keys(effect) as u64;
        log.append(HintAbout { group: slot.group(), date_ms: now_ms, keys }, record);
    }

    pub(super) fn write(&mut self, topology: &Topology, epoch: u32) {
        for target in topology.peers() {
            let Some(log) = self.log_mut(target) else { continue };
            if let Err(unwritten) = log.write() {
                tracing::warn!(error = %unwritten, "hints cannot be written");
                self.collapse(target, unwritten.groups, epoch, "hints cannot be written");
                self.give_up_failed(target, epoch);
            }
        }
        if self.resized {
            self.charge();
        }
    }

    /// A log that has failed never gets rid of what it holds: only an anti-entropy round settles
    /// that. What is on disk is tried again when the next hint, or the next process, opens it.
    /// Without space a queue goes on with what it has.
    pub(super) fn give_up_failed(&mut self, target: MemberNumber, epoch: u32) {
        let queue = &mut self.queues[target];
        if let Some(log) = queue.log.take_if(|log| log.has_failed()) {
            self.resized = true;
            self.collapse(target, log.groups(), epoch, "hints could not be written");
        }
    }

    /// Charges the budget with what the queues take on disk.
    fn charge(&mut self) {
        let logs = self.queues.values().filter_map(|queue| queue.log.as_ref());
        let bytes = logs.map(HintLog::allocated).sum();
        let budget = &self.terms.budget;
        budget.take(bytes, true);
        budget.give_back(std::mem::replace(&mut self.charged, bytes));
        self.resized = false;
    }
}

impl Drop for HintQueues {
    fn drop(&mut self) {
        self.terms.budget.give_back(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_kept_to() {
        let budget = HintBudget::new(100);
        assert!(budget.take(60, false) && budget.take(40, false));
        assert!(!budget.take(1, false));
        assert!(budget.take(30, true), "somebody's only hint");
        budget.give_back(31);
        assert!(budget.take(1, false) && !budget.take(1, false));
    }
}

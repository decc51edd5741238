//! What is kept for other nodes: a queue of effects for each target that did not take them.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use quorate_cluster::{
    handoff::{Hint, Hints},
    topology::Topology,
};
use quorate_proto::{Dot, NodeIndex, Slot};
use quorate_store::{
    disk::Disk,
    log::{HintLog, HintOptions, Sequence, SyncJob},
};

use super::{Record, Storage, record::write_dotted};

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

impl Storage {
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

    /// Bytes of hints on disk.
    pub(crate) fn hint_bytes(&self) -> u64 {
        self.hints.logs.iter().flatten().map(HintLog::bytes).sum()
    }

    /// A digest round with `peer` has ended: it lacks nothing that an overflow kept from it.
    pub(crate) fn clear_dirty(&mut self, peer: NodeIndex) {
        self.hints.dirty[peer.index()] = false;
    }

    /// Whether hints for `peer` could not be kept.
    pub(crate) fn is_dirty(&self, peer: NodeIndex) -> bool {
        self.hints.dirty[peer.index()]
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

    /// The queue for `target`, if there is one.
    pub(super) fn log(&self, target: NodeIndex) -> Option<&HintLog> {
        self.logs.get(target.index())?.as_ref()
    }

    pub(super) fn log_mut(&mut self, target: NodeIndex) -> Option<&mut HintLog> {
        self.logs.get_mut(target.index())?.as_mut()
    }

    /// Whether anything waits for any target.
    pub(super) fn is_pending(&self) -> bool {
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
    pub(super) fn note_lost(&mut self, target: NodeIndex) {
        if let Some(log) = &mut self.logs[target.index()]
            && log.take_lost()
        {
            tracing::warn!("some hints were lost; a digest round will settle the rest");
            self.dirty[target.index()] = true;
        }
    }

    pub(super) fn append(
        &mut self,
        topology: &Topology,
        target: NodeIndex,
        slot: Slot,
        dots: &[Dot],
        effect: &[u8],
    ) {
        if self.logs[target.index()].is_none()
            && let Err(error) = self.open_log(topology, target)
        {
            tracing::warn!(%error, "hints cannot be kept; a digest round will settle the rest");
            self.dirty[target.index()] = true;
            return;
        }
        let Some(log) = &mut self.logs[target.index()] else { return };
        let taken = log.append(|out| write_dotted(out, slot, dots, effect));
        if taken.is_err() {
            self.dirty[target.index()] = true;
        }
    }

    pub(super) fn write(&mut self) {
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
                let Some(Record::Effect { slot, dots, effect }) = Record::read(&record) else {
                    return None;
                };
                let dots = dots.iter().collect();
                Some(Hint { sequence, slot, dots, effect: Bytes::copy_from_slice(effect) })
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

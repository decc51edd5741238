//! Bringing the data of a node back: its logs, for as many shards as it has now.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_cluster::topology::Topology;
use quorate_store::{
    Store, StoreOptions,
    digest::secret_of,
    disk::{Disk, SimulatedDisk},
    log::{Damage, HintLog, LogOptions, SegmentLog},
};

use crate::{
    engine::StartError,
    identity::Identity,
    limits,
    node::Node,
    storage::{HintQueues, Parts, Storage, split_record},
};

/// Bytes of a log segment.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The data of every shard, ready to serve.
pub(crate) fn open(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Arc<Topology>,
) -> Result<Vec<Storage>, StartError> {
    let shards = node.settings.shards;
    let mut stores: Vec<Store> = (0..shards).map(|_| new_store(node, topology)).collect();
    let logs: Vec<Option<SegmentLog>> = if node.settings.data_dir.is_none() {
        (0..shards).map(|_| None).collect()
    } else {
        open_logs(node, identity, topology, &mut stores)?
    };
    stores
        .into_iter()
        .zip(logs)
        .zip(0..)
        .map(|((store, log), shard)| {
            let disk = Arc::clone(&node.disk);
            let hints = HintQueues::open(disk, node.hint_directory(shard), topology)
                .map_err(StartError::Io)?;
            Ok(Storage::new(Parts {
                store,
                log,
                policy: node.settings.sync,
                hints,
                topology: Arc::clone(topology),
                shard,
                shards,
            }))
        })
        .collect()
}

/// A disk in memory for a node that keeps nothing.
pub(crate) fn memory_disk() -> Arc<dyn Disk> {
    Arc::new(SimulatedDisk::new())
}

fn new_store(node: &Node, topology: &Topology) -> Store {
    let mut seed = [0; 8];
    // A seed that could be guessed would only make hash tables slower.
    let _ = getrandom::fill(&mut seed);
    Store::new(StoreOptions {
        origin: node.origin(topology),
        digest_secret: secret_of(&node.settings.cluster),
        seed: u64::from_le_bytes(seed),
        keep_removed: topology.len() > 1,
    })
}

fn log_directory(node: &Node, generation: u64, shard: u16) -> PathBuf {
    node.directory.join(format!("log-{generation}-{shard}"))
}

fn log_options(identity: &Identity, shard: u16) -> LogOptions {
    let log_id = (identity.id().0 as u64) ^ u64::from(shard);
    LogOptions { log_id, segment_bytes: SEGMENT_BYTES }
}

fn open_logs(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Topology,
    stores: &mut [Store],
) -> Result<Vec<Option<SegmentLog>>, StartError> {
    let (old_shards, shards) = (identity.shards(), node.settings.shards);
    let generation = identity.generation();
    let mut logs = Vec::new();
    let mut damages = Vec::new();
    for shard in 0..old_shards {
        let directory = log_directory(node, generation, shard);
        let options = log_options(identity, shard);
        let disk = Arc::clone(&node.disk);
        let mut unreadable = 0_u64;
        let (mut log, recovery) = SegmentLog::open(disk, &directory, options, |_, record| {
            let merged = split_record(record).is_some_and(|(slot, effect)| {
                let owner = slot.group() % shards;
                stores[usize::from(owner)].recover(slot, effect).is_ok()
            });
            unreadable += u64::from(!merged);
        })
        .map_err(StartError::Io)?;
        if recovery.records > 0 || recovery.torn_bytes > 0 {
            tracing::info!(
                shard,
                records = recovery.records,
                torn_bytes = recovery.torn_bytes,
                "recovered the log"
            );
        }
        if recovery.torn_bytes > 0 {
            tracing::warn!(
                shard,
                bytes = recovery.torn_bytes,
                "the log ended in a torn write, which was cut off; nothing synced was lost"
            );
        }
        if unreadable > 0 {
            tracing::error!(shard, unreadable, "log records hold no effects");
        }
        if let Err(error) = log.reserve(0) {
            tracing::error!(shard, %error, "writes are refused until there is space again");
        }
        damages.extend(recovery.damages);
        logs.push(Some(log));
    }
    judge_damages(node, topology, &damages)?;
    if old_shards == shards {
        return Ok(logs);
    }
    drop(logs);
    reshard(node, identity, topology, stores).map_err(StartError::Io)
}

/// A damaged log is a lie for a node alone, and a repair for one with replicas.
fn judge_damages(node: &Node, topology: &Topology, damages: &[Damage]) -> Result<(), StartError> {
    for damage in damages {
        tracing::error!("the log is damaged: {damage}");
    }
    let Some(first) = damages.first() else { return Ok(()) };
    if topology.len() > 1 {
        tracing::warn!("starting with a damaged log; the other replicas fill in what is missing");
        return Ok(());
    }
    if node.settings.accept_damaged_log {
        tracing::warn!("starting with a damaged log, as accept_damaged_log asks for");
        return Ok(());
    }
    Err(StartError::DamagedLog(first.to_string()))
}

/// Writes everything into new logs, one for each shard of now, and drops the old ones.
fn reshard(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Topology,
    stores: &[Store],
) -> io::Result<Vec<Option<SegmentLog>>> {
    let (old_shards, shards) = (identity.shards(), node.settings.shards);
    let (old, new) = (identity.generation(), identity.generation() + 1);
    tracing::info!(old_shards, shards, "the number of shards has changed; rewriting the logs");
    let mut logs = Vec::new();
    for (store, shard) in stores.iter().zip(0..) {
        let directory = log_directory(node, new, shard);
        // Left over from an attempt that was interrupted.
        node.disk.remove_directory(&directory)?;
        let disk = Arc::clone(&node.disk);
        let (mut log, _) =
            SegmentLog::open(disk, &directory, log_options(identity, shard), |_, _| {})?;
        let mut failed = None;
        for slot in quorate_proto::Slot::all() {
            store.export_slot(slot, |effect| {
                let reserved = log.reserve(effect.len() + 2);
                if let Err(error) = reserved {
                    failed.get_or_insert(error);
                    return;
                }
                log.append(|out| {
                    out.extend_from_slice(&slot.number().to_le_bytes());
                    out.extend_from_slice(effect);
                });
            });
        }
        if let Some(error) = failed {
            return Err(io::Error::other(error));
        }
        log.write().map_err(io::Error::other)?;
        if let Some(job) = log.sync_job(true) {
            let result = job.run();
            log.sync_ended(&result);
            result?;
        }
        logs.push(Some(log));
    }
    move_hints(node, topology, old_shards)?;
    identity.record_logs(shards, new)?;
    for shard in 0..old_shards {
        node.disk.remove_directory(&log_directory(node, old, shard))?;
    }
    Ok(logs)
}

/// Gives the hints of shards that are gone to the first shard: any shard can deliver them.
fn move_hints(node: &Arc<Node>, topology: &Topology, old_shards: u16) -> io::Result<()> {
    for shard in node.settings.shards..old_shards {
        let directory = node.hint_directory(shard);
        for target in topology.peers() {
            let id = topology.member(target).id;
            let (from, to) = (directory.join(id.to_string()), node.hint_directory(0));
            move_queue(node, &from, &to.join(id.to_string()), id.0 as u64)?;
        }
        node.disk.remove_directory(&directory)?;
    }
    Ok(())
}

fn move_queue(node: &Arc<Node>, from: &Path, to: &Path, id: u64) -> io::Result<()> {
    let open =
        |path: &Path| HintLog::open(Arc::clone(&node.disk), path, id, limits::HINT_BYTES_MAX);
    let parent = from.parent().unwrap_or(from);
    if !node.disk.list_directories(parent)?.iter().any(|found| found == from) {
        return Ok(());
    }
    let (mut source, mut target) = (open(from)?, open(to)?);
    loop {
        let batch = source.read(1 << 20)?;
        if batch.is_empty() {
            break;
        }
        for (_, record) in batch {
            // A full queue loses nothing: digest rounds settle what it could not take.
            let _ = target.append(|out| out.extend_from_slice(&record));
        }
        target.write().map_err(io::Error::other)?;
    }
    if source.take_lost() {
        tracing::warn!("some hints were lost; a digest round will settle the rest");
    }
    if let Some(job) = target.sync_job() {
        let result = job.run();
        target.sync_ended(&result);
        result?;
    }
    Ok(())
}

//! Bringing the data of a node back: its logs, for as many shards as it has now.

use std::{io, path::PathBuf, sync::Arc};

use quorate_cluster::{
    membership::{self, Membership},
    topology::{Topology, TopologyError},
};
use quorate_log::{
    DIRTY_FILE, Damage, DirtyRanges, HintOptions, LogError, LogOptions, Quarantine, Recovery,
    SegmentLog,
    disk::{Disk, SimulatedDisk},
    encode_dirty, read_dirty,
};
use quorate_proto::{
    Duties, Groups, NodeId, Slot,
    message::{Member, View},
    slot::GROUPS,
};
use quorate_store::{Store, StoreOptions, digest::secret_of};

use crate::{
    StartError,
    config::{SeedSource, Settings},
    identity::Identity,
    limits,
    node::{self, Node, Sizes},
    reactor::{CONTROL_SHARD, read_catalog},
    search::Search,
    shard::Now,
    storage::{
        HintQueues, Parts, Record, SLOT_BYTES, Storage, owned_groups, report_set_aside,
        write_effect,
    },
};
use transactions::{Copies, Missing};

/// What is drawn at random for a start.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Identity of the node, if it has none yet.
    pub node_id: u128,
    /// Makes hash tables hard to attack.
    pub(crate) tables: u64,
    /// What the name of this start is drawn from.
    pub start: u64,
    /// Spreads what the membership repeats.
    pub(crate) membership: u64,
    /// Makes the handshakes of links fresh.
    pub(crate) links: [u8; 32],
}

impl Seeds {
    /// Number of random bytes that seeds are made of.
    pub const BYTES: usize = 72;

    /// Seeds made of bytes that nobody can guess.
    pub fn new(random: &[u8; Self::BYTES]) -> Self {
        let (random, links) = random.split_at(Self::BYTES - 32);
        let links = links.try_into().expect("invariant: 32 bytes are left");
        let mut words = random
            .chunks_exact(8)
            .map(|word| word.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        let mut draw = || words.next().unwrap_or_default();
        Self {
            node_id: u128::from(draw()) << 64 | u128::from(draw()),
            tables: draw(),
            start: draw(),
            membership: draw(),
            links,
        }
    }
}

/// Bytes for links out of a number that the nodes of a simulation do not share.
pub(crate) fn expand(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes
}

/// Where a node starts from.
pub struct Origin {
    /// What is set.
    pub settings: Settings,
    /// Where `directory` is.
    pub disk: Arc<dyn Disk>,
    /// Holds everything durable.
    pub directory: PathBuf,
    /// Sizes on disk and of messages.
    pub sizes: Sizes,
    /// What was drawn at random.
    pub seeds: Seeds,
    /// The time of the start.
    pub now: Now,
    /// [`new_topology`], or something that remembers what it gave.
    pub make_topology: MakeTopology,
}

/// Makes the topology of a member list, seen from a member.
pub(crate) type MakeTopology = fn(&View, NodeId) -> Result<Arc<Topology>, TopologyError>;

/// The topology of `view`, seen from its member `me`.
pub fn new_topology(view: &View, me: NodeId) -> Result<Arc<Topology>, TopologyError> {
    Topology::new(view, me).map(Arc::new)
}

/// A node that has its data back and is ready to listen.
pub struct Started {
    /// What its machines share.
    pub node: Arc<Node>,
    /// Who it is.
    pub identity: Identity,
    /// What it knows of its cluster.
    pub membership: Membership,
    /// By shard.
    pub storages: Vec<Storage>,
}

/// The addresses of a node that others are told, as `host:port`.
pub struct Addresses {
    /// For clients.
    pub clients: String,
    /// For clients that ask every node for what is its own; empty when there is no such port.
    pub cluster_clients: String,
    /// For other nodes.
    pub peers: String,
}

/// Brings a node back, or founds it.
pub fn start(
    origin: Origin,
    mut identity: Identity,
    addresses: Addresses,
) -> Result<Started, StartError> {
    let Origin { settings, disk, directory, sizes, seeds, now, make_topology } = origin;
    let partitioner = settings.ring.partitioner();
    let member = Member {
        id: identity.id(),
        name: identity.name().to_owned(),
        datacentre: settings.datacentre.clone(),
        rack: settings.rack.clone(),
        tokens: settings.ring.tokens_of(&partitioner, identity.name()),
        client_address: addresses.clients,
        cluster_address: addresses.cluster_clients,
        incarnation: identity.incarnation(),
        peer_address: addresses.peers,
        duties: Duties::of_weight(if settings.witness { 0 } else { settings.weight }),
    };
    let membership = Membership::new(
        membership::Config {
            cluster: settings.cluster.clone(),
            member,
            shard: CONTROL_SHARD,
            partitioner,
            replication_factor: settings.replication_factor.clone(),
            seeds: seeds_of(&settings, true),
            sources: seeds_of(&settings, false),
            seeds_min: usize::from(settings.seeds_min),
            lineage: identity.lineage(),
            joins: settings.join,
        },
        identity.persisted(),
        now.monotonic,
        seeds.membership,
    )?;
    let topology = make_topology(&membership.view(), membership.me())?;
    let catalog = read_catalog(&*disk, &directory).map_err(StartError::Io)?;
    let node = Arc::new(Node::new(node::Parts {
        catalog: Arc::new(catalog),
        settings,
        disk,
        directory,
        sizes,
        table_seed: seeds.tables,
        links: seeds.links,
        started_ms: now.wall_ms(),
        data_may_exist: identity.persisted().is_some(),
    }));
    let storages = open(&node, &mut identity, &topology)?;
    Ok(Started { node, identity, membership, storages })
}

/// Seeds that are addresses, or those that name others.
fn seeds_of(settings: &Settings, addresses: bool) -> Vec<String> {
    let is_address =
        |seed: &str| matches!(SeedSource::parse(seed), Some(SeedSource::Address(_)) | None);
    settings.seeds.iter().filter(|seed| is_address(seed) == addresses).cloned().collect()
}

/// The data of every shard, ready to serve.
fn open(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Arc<Topology>,
) -> Result<Vec<Storage>, StartError> {
    let shards = node.settings.shards;
    let mut stores: Vec<Store> = (0..shards).map(|_| new_store(node, topology)).collect();
    let (logs, last_transaction) = if node.settings.memory {
        ((0..shards).map(|_| None).collect(), 0)
    } else {
        let mut incomplete = identity.is_incomplete();
        let opened = open_logs(node, identity, topology, &mut stores, &mut incomplete)?;
        if incomplete {
            // What was known up to them may be what is missing.
            stores.iter_mut().for_each(Store::drop_floors);
        }
        // Before anything is answered: the next start must know even if this one is cut short.
        let incomplete = incomplete && topology.len() > 1;
        if incomplete != identity.is_incomplete() {
            identity.record_incomplete(incomplete)?;
        }
        if incomplete {
            tracing::warn!("acknowledged data may be missing; the other nodes fill it in");
        }
        opened
    };
    let incomplete = identity.is_incomplete();
    stores
        .into_iter()
        .zip(logs)
        .zip(0..)
        .map(|((store, log), shard)| {
            let disk = Arc::clone(&node.disk);
            let (directory, terms) = (node.hint_directory(shard), node.hint_terms(topology.len()));
            let owned = owned_groups(shard, shards);
            let hints = HintQueues::open(disk, directory, terms, topology, owned)
                .map_err(StartError::Io)?;
            let mut storage = Storage::new(Parts {
                store,
                log,
                policy: node.settings.sync,
                checkpoint_bytes_min: node.sizes.checkpoint_min,
                hints,
                element_limits: node.sizes.elements,
                long_call: node.sizes.long_call,
                topology: Arc::clone(topology),
                shard,
                shards,
                incomplete,
                last_transaction,
            });
            storage.search = Search::new(node.catalog());
            storage.remember_graphs(node);
            storage.index_all();
            Ok(storage)
        })
        .collect()
}

/// A disk in memory for a node that keeps nothing.
pub fn memory_disk() -> Arc<dyn Disk> {
    Arc::new(SimulatedDisk::new())
}

fn new_store(node: &Node, topology: &Topology) -> Store {
    Store::new(StoreOptions {
        origin: node.origin(topology),
        digest_secret: secret_of(&node.settings.cluster),
        seed: node.table_seed,
        keep_removed: topology.len() > 1,
    })
    .with_partitioner(topology.partitioner().clone())
}

fn log_directory(node: &Node, generation: u64, shard: u16) -> PathBuf {
    node.directory.join(format!("log-{generation}-{shard}"))
}

fn log_options(node: &Node, identity: &Identity, shard: u16) -> LogOptions {
    let log_id = (identity.log_id().0 as u64) ^ u64::from(shard);
    let (segment_bytes, new_salt) = (node.sizes.segment, node.new_salt());
    LogOptions { log_id, segment_bytes, new_salt, reads_back: false }
}

/// Where damaged segments of a log go.
fn quarantine(node: &Node, generation: u64, shard: u16) -> Quarantine {
    let directory = node.directory.join("quarantine");
    Quarantine { directory, prefix: format!("log-{generation}-{shard}") }
}

/// Opens the log of a generation and a shard, and hands its records to `each`.
fn open_log(
    node: &Node,
    identity: &Identity,
    (generation, shard): (u64, u16),
    mut each: impl FnMut(&[u8]),
) -> io::Result<(SegmentLog, Recovery)> {
    let directory = log_directory(node, generation, shard);
    let (disk, options) = (Arc::clone(&node.disk), log_options(node, identity, shard));
    let (mut log, recovery) =
        SegmentLog::open(disk, &directory, options, |_, record| each(record))?;
    log.set_quarantine(quarantine(node, generation, shard));
    Ok((log, recovery))
}

/// Brings back what a record of a log holds. Returns whether it holds anything.
fn recover(stores: &mut [Store], copies: &mut Copies, log: u16, record: &[u8]) -> bool {
    let shards = stores.len();
    let owner = |group: u16| usize::from(group) % shards;
    match Record::read(record) {
        Some(Record::Effect { slot, effect, .. }) => {
            stores[owner(slot.group())].recover(slot, effect).is_ok()
        }
        Some(Record::Transactions { number, effects }) => {
            copies.note(log, number, effects);
            let mut recover = |(slot, effect): (Slot, &[u8])| {
                stores[owner(slot.group())].recover(slot, effect).is_ok()
            };
            let own = effects.iter().filter(|(slot, _)| copies.log_of(*slot) == log);
            own.filter(|part| !recover(*part)).count() == 0
        }
        Some(Record::Discarded(slots)) => {
            slots.iter().for_each(|slot| {
                stores[owner(slot.group())].discard_slot(slot);
            });
            true
        }
        Some(Record::Floors(floors)) if floors.iter().all(|(group, _)| group < GROUPS) => {
            floors.iter().for_each(|(group, floor_ms)| {
                stores[owner(group)].raise_floor(group, floor_ms);
            });
            true
        }
        _ => false,
    }
}

/// Opens the logs and recovers what is in them. Also returns the number of the last transaction over
/// several shards.
fn open_logs(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Topology,
    stores: &mut [Store],
    incomplete: &mut bool,
) -> Result<(Vec<Option<SegmentLog>>, u64), StartError> {
    let shards = node.settings.shards;
    let named = identity.logs();
    let (old_shards, generation) = named.unwrap_or((shards, 1));
    let gone = check_named(node, named)?;
    judge_damages(node, topology, &gone)?;
    if !gone.is_empty() {
        *incomplete = true;
        identity.record_incomplete(true)?;
    }
    let mut logs = Vec::new();
    let mut damages = Vec::new();
    let mut lost_records = false;
    let mut copies = Copies::new(old_shards);
    for shard in 0..old_shards {
        let mut unreadable = 0_u64;
        let (mut log, recovery) = open_log(node, identity, (generation, shard), |record| {
            unreadable += u64::from(!recover(stores, &mut copies, shard, record));
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
        lost_records |= unreadable > 0;
        if unreadable > 0 {
            tracing::error!(shard, unreadable, "log records hold no effects");
        }
        if let Err(error) = log.reserve(0) {
            tracing::error!(shard, %error, "writes are refused until there is space again");
        }
        damages.extend(recovery.damages);
        logs.push(Some(log));
    }
    *incomplete |= !damages.is_empty() || lost_records;
    let damages: Vec<String> = damages.iter().map(Damage::to_string).collect();
    judge_damages(node, topology, &damages)?;
    let mut missing = Missing::default();
    if copies.lacks_any() {
        (logs, missing) = recover_missing(node, identity, stores, &copies)?;
    }
    if named.is_none() {
        record_logs(node, identity, generation)?;
    }
    if old_shards != shards {
        let logs = reshard(node, identity, topology, stores, logs).map_err(StartError::Io)?;
        return Ok((logs, copies.last()));
    }
    for (log, shard) in logs.iter_mut().flatten().zip(0..) {
        let completed = missing.complete(&copies, shard, log);
        completed.map_err(|error| StartError::Io(io::Error::other(error)))?;
    }
    Ok((logs, copies.last()))
}

/// Opens the logs once more, and recovers from each what those of other shards lack of
/// transactions.
fn recover_missing(
    node: &Arc<Node>,
    identity: &Identity,
    stores: &mut [Store],
    copies: &Copies,
) -> Result<(Vec<Option<SegmentLog>>, Missing), StartError> {
    let (old_shards, generation) = identity.logs().unwrap_or((node.settings.shards, 1));
    let (mut missing, mut logs) = (Missing::default(), Vec::new());
    for shard in 0..old_shards {
        let opened = open_log(node, identity, (generation, shard), |record| {
            if let Some(Record::Transactions { number, effects }) = Record::read(record) {
                missing.note(copies, shard, number, effects);
            }
        });
        let (log, _) = opened.map_err(StartError::Io)?;
        logs.push(Some(log));
    }
    let shards = stores.len();
    for (slot, effect) in missing.parts() {
        let recovered = stores[usize::from(slot.group()) % shards].recover(slot, effect);
        recovered.map_err(|error| StartError::Io(io::Error::other(error)))?;
    }
    Ok((logs, missing))
}

/// Compares the logs in the directory with those of `named` shards and generation, by which they
/// are read. Returns which of these are gone, in words. Of others only those are known that a first
/// start or a change of the number of shards left when it was cut short, before its end or behind
/// it: they go.
fn check_named(node: &Node, named: Option<(u16, u64)>) -> Result<Vec<String>, StartError> {
    let (shards, generation) = named.unwrap_or((0, 0));
    let disk = &node.disk;
    let directories = disk.list_directories(&node.directory)?;
    let mut gone = Vec::new();
    for shard in 0..shards {
        let directory = log_directory(node, generation, shard);
        if !directories.contains(&directory) || disk.list(&directory)?.is_empty() {
            gone.push(format!("{} is gone", directory.display()));
        }
    }
    let is_named = |directory: &PathBuf| {
        (0..shards).any(|shard| log_directory(node, generation, shard) == *directory)
    };
    let mut left_over = Vec::new();
    for directory in directories.iter().filter(|directory| !is_named(directory)) {
        let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(numbers) = name.strip_prefix("log-") else { continue };
        let other = numbers.split_once('-').and_then(|(number, _)| number.parse::<u64>().ok());
        let is_left_over = other.is_some_and(|other| other.abs_diff(generation) == 1);
        if !is_left_over || !gone.is_empty() {
            return Err(StartError::UnnamedLog { log: name.to_owned() });
        }
        left_over.push(directory);
    }
    for directory in left_over {
        tracing::warn!(log = %directory.display(), "left over from a start that was cut short; removed");
        disk.remove_directory(directory)?;
    }
    Ok(gone)
}

/// A damaged log is a lie for a node alone, and a repair for one with replicas.
fn judge_damages(node: &Node, topology: &Topology, damages: &[String]) -> Result<(), StartError> {
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
    Err(StartError::DamagedLog(first.clone()))
}

/// Writes everything into new logs, one for each shard of now, and drops the old ones.
fn reshard(
    node: &Arc<Node>,
    identity: &mut Identity,
    topology: &Topology,
    stores: &[Store],
    old_logs: Vec<Option<SegmentLog>>,
) -> io::Result<Vec<Option<SegmentLog>>> {
    let shards = node.settings.shards;
    let (old_shards, old) = identity.logs().unwrap_or((shards, 1));
    let new = old + 1;
    tracing::info!(old_shards, shards, "the number of shards has changed; rewriting the logs");
    let mut logs = Vec::new();
    for (store, shard) in stores.iter().zip(0..) {
        // Left over from an attempt that was interrupted.
        node.disk.remove_directory(&log_directory(node, new, shard))?;
        let (mut log, _) = open_log(node, identity, (new, shard), |_| {})?;
        Slot::all()
            .try_for_each(|slot| write_slot(store, slot, &mut log))
            .and_then(|()| write_durably(&mut log))
            .map_err(io::Error::other)?;
        logs.push(Some(log));
    }
    if topology.len() > 1 {
        collapse_hints(node, topology, old_shards)?;
    }
    record_logs(node, identity, new)?;
    old_logs.into_iter().flatten().flat_map(SegmentLog::abandon).for_each(|aside| {
        report_set_aside(&aside);
    });
    for shard in 0..old_shards {
        node.disk.remove_directory(&log_directory(node, old, shard))?;
    }
    Ok(logs)
}

/// Appends all that a slot holds to a log.
fn write_slot(store: &Store, slot: Slot, log: &mut SegmentLog) -> Result<(), LogError> {
    let mut outcome = Ok(());
    store.export_slot(slot, limits::EXPORT_PIECE_BYTES, |effect| {
        if outcome.is_ok() {
            outcome = log.reserve(effect.len() + SLOT_BYTES);
        }
        if outcome.is_ok() {
            log.append(|out| write_effect(out, slot, effect));
        }
    });
    outcome
}

/// Makes all that was appended to a log durable.
fn write_durably(log: &mut SegmentLog) -> Result<(), LogError> {
    log.write()?;
    let Some(job) = log.sync_job(true) else { return Ok(()) };
    let result = job.run();
    log.sync_ended(&result);
    result.map(drop).map_err(LogError::Failed)
}

/// Names the logs of `generation`, which no loss of power takes from then on, empty ones neither.
fn record_logs(node: &Node, identity: &mut Identity, generation: u64) -> io::Result<()> {
    let shards = node.settings.shards;
    for shard in 0..shards {
        node.disk.sync_directory(&log_directory(node, generation, shard))?;
    }
    identity.record_logs(shards, generation)
}

/// Makes dirty ranges of everything that is kept for other nodes: hints stand in the queues of the
/// shards that owned their slots, and anti-entropy rounds are run by those that own them now.
fn collapse_hints(node: &Arc<Node>, topology: &Topology, old_shards: u16) -> io::Result<()> {
    let (disk, shards) = (&node.disk, node.settings.shards);
    let terms = node.hint_terms(topology.len());
    let mut ranges = DirtyRanges::new();
    for shard in 0..old_shards.max(shards) {
        let directory = node.hint_directory(shard);
        let present = disk.list_directories(&directory)?;
        let marked = read_dirty(&**disk, &directory.join(DIRTY_FILE))?;
        for target in topology.peers() {
            let id = topology.member(target).id;
            let groups = ranges.entry(id).or_default();
            let known = marked.as_ref().map(|ranges| ranges.get(&id).copied().unwrap_or_default());
            *groups = groups.union(known.unwrap_or(Groups::ALL));
            let queue = directory.join(id.to_string());
            if present.contains(&queue) {
                let options = HintOptions { log_id: id.0 as u64, ..terms.options };
                *groups = groups.union(HintQueues::groups_in(disk, &queue, options)?);
            }
        }
    }
    for shard in 0..shards {
        let owned = owned_groups(shard, shards);
        let own = ranges.iter().map(|(id, groups)| (*id, groups.intersection(owned))).collect();
        let directory = node.hint_directory(shard);
        disk.list(&directory)?;
        disk.replace(&directory.join(DIRTY_FILE), &encode_dirty(&own))?;
    }
    // Only now that the marks are there.
    for shard in 0..old_shards.max(shards) {
        for queue in disk.list_directories(&node.hint_directory(shard))? {
            disk.remove_directory(&queue)?;
        }
    }
    for shard in shards..old_shards {
        disk.remove_directory(&node.hint_directory(shard))?;
    }
    Ok(())
}

#[cfg(test)]
mod fixture;
mod transactions;

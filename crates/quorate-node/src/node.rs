//! What the shards and threads of one node share.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use quorate_cluster::{elements, gossip::Health, time::Instant, topology::Topology};
use quorate_entropy::Tally;
use quorate_log::{HintOptions, disk::Disk};
use quorate_proto::{
    Fitness, NodeId, Origin, Unfit,
    frame::PieceSizes,
    message::{Abilities, Load, Volume},
};

use crate::{
    adjustable::Adjustable,
    arriving_bytes::ArrivingBytes,
    command_bytes::CommandBytes,
    config::Settings,
    denials::Denials,
    descriptors, limits,
    search::Catalog,
    secure_link::LinkSecurity,
    shard::{Breakdown, Metrics},
    storage::{HintBudget, HintTerms},
    work::Work,
};

/// Sizes on disk and of messages. They are no settings: only a simulation has a reason to change
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a log segment.
    pub(crate) segment: u64,
    /// A log smaller than this is never checkpointed.
    pub(crate) checkpoint_min: u64,
    /// Hints kept for one target by one shard.
    pub(crate) hints_max: u64,
    /// How states travel between replicas.
    pub(crate) elements: elements::Limits,
    /// Words and elements from which on a call is executed beside the shard.
    pub(crate) long_call: usize,
    /// How large messages are cut on links.
    pub(crate) pieces: PieceSizes,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment: limits::SEGMENT_BYTES,
            checkpoint_min: limits::CHECKPOINT_BYTES_MIN,
            hints_max: limits::HINT_BYTES_MAX,
            elements: elements::Limits::DEFAULT,
            long_call: limits::LONG_CALL_MIN,
            pieces: PieceSizes::DEFAULT,
        }
    }
}

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) sizes: Sizes,
    /// Makes hash tables hard to attack.
    pub(crate) table_seed: u64,
    /// Makes the handshakes of links fresh.
    pub(crate) links: [u8; 32],
    pub(crate) started_ms: u64,
    pub(crate) data_may_exist: bool,
    pub(crate) catalog: Arc<Catalog>,
}

/// What a node says that may found no cluster yet.
pub(crate) const WAITS_FOR_SEEDS: &str = "this node has no data and does not know whether it is new: it \
     waits until it has met every node among its seeds, also those that are down. Start them. If one is \
     gone for good with all that it had, start the others without its address among their seeds";

/// What a node says whose member list is to become final, and what is to be done about it.
pub(crate) const WAITS_FOR_PROMISES: &str = "the first write needs every node that joined to confirm the \
     member list, and some have not. Start them, or look at what they wait for (quorate status). If one is \
     gone for good, or they wait for each other, and none is sealed: stop all, delete their data directories, \
     and start them with the addresses of all that are left as seeds";

/// What the membership tells the shards besides the member list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footing {
    /// Whether the node knows what data there is; until then it answers for nothing.
    pub founded: bool,
    /// Whether it is about to take the seat of the member that it was.
    pub(crate) rejoining: bool,
    /// Whether it waits to be taken into a cluster.
    pub(crate) is_candidate: bool,
    /// Whom it waits for.
    pub(crate) awaited: Vec<String>,
}

/// What the node has heard of a member, itself among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberNews {
    /// What it can do, as far as it has said.
    pub(crate) abilities: Option<Abilities>,
    /// What it has to do and to keep, likewise.
    pub(crate) load: Option<Load>,
    /// How much it holds, and how far it has come, likewise.
    pub(crate) volume: Option<Volume>,
    pub(crate) health: Health,
    /// When it has shown last that it is alive.
    pub(crate) heard: Instant,
}

/// One node: its settings and identity, and the metrics that its shards publish.
pub struct Node {
    /// What it was started with.
    pub settings: Settings,
    /// What may have been changed since the start.
    pub(crate) adjustable: Adjustable,
    /// What large commands of its clients have under way.
    pub(crate) command_bytes: CommandBytes,
    /// What large messages of other nodes have on their way to it.
    pub(crate) arriving: ArrivingBytes,
    pub(crate) disk: Arc<dyn Disk>,
    /// Where everything durable is.
    pub(crate) directory: PathBuf,
    pub(crate) sizes: Sizes,
    pub(crate) table_seed: u64,
    /// When the process started, in milliseconds since the Unix epoch.
    pub(crate) started_ms: u64,
    /// Whether this node starts with data, or with a promise that data may rest on.
    pub(crate) data_may_exist: bool,
    pub(crate) denials: Mutex<Denials>,
    /// What the reconciliation channel has done.
    pub channel: Arc<Tally>,
    /// What links to other nodes are protected by.
    pub(crate) security: Arc<LinkSecurity>,
    hint_budget: Arc<HintBudget>,
    metrics: Vec<Mutex<Metrics>>,
    breakdowns: Vec<Mutex<Breakdown>>,
    footing: Mutex<Footing>,
    /// As it was at the start.
    catalog: Arc<Catalog>,
    /// As of the last round of gossip.
    news: Mutex<BTreeMap<NodeId, MemberNews>>,
    pub(crate) work: Work,
    next_client_id: AtomicU64,
    next_slow_id: AtomicU64,
    /// Clients that are connected from outside.
    clients: AtomicU64,
    /// Bytes of replies that clients have not taken, by shard.
    client_bytes: Vec<AtomicU64>,
    /// Descriptors of the process; the greatest number without a limit.
    descriptors: AtomicU64,
    /// Members of the cluster, as far as they are known.
    members: AtomicUsize,
    /// Shards that stop and have nothing under way: a bit each.
    idle: AtomicU64,
}

const _: () = assert!(limits::SHARDS_MAX as u32 <= u64::BITS);

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        let metrics = (0..parts.settings.shards).map(|_| Mutex::default()).collect();
        let breakdowns = (0..parts.settings.shards).map(|_| Mutex::default()).collect();
        let client_bytes = (0..parts.settings.shards).map(|_| AtomicU64::new(0)).collect();
        let hint_budget = Arc::new(HintBudget::new(parts.settings.hints_bytes_max));
        let work = Work::new(parts.settings.shards);
        let secret = parts.settings.cluster_secret.clone();
        let security = LinkSecurity::new(secret, parts.settings.cluster.clone(), parts.links);
        Self {
            security: Arc::new(security),
            adjustable: Adjustable::new(&parts.settings),
            command_bytes: CommandBytes::default(),
            arriving: ArrivingBytes::default(),
            settings: parts.settings,
            disk: parts.disk,
            directory: parts.directory,
            sizes: parts.sizes,
            table_seed: parts.table_seed,
            started_ms: parts.started_ms,
            data_may_exist: parts.data_may_exist,
            denials: Mutex::default(),
            channel: Arc::default(),
            hint_budget,
            metrics,
            breakdowns,
            footing: Mutex::default(),
            catalog: parts.catalog,
            news: Mutex::default(),
            work,
            next_client_id: AtomicU64::new(1),
            next_slow_id: AtomicU64::new(0),
            clients: AtomicU64::new(0),
            client_bytes,
            descriptors: AtomicU64::new(u64::MAX),
            members: AtomicUsize::new(1),
            idle: AtomicU64::new(0),
        }
    }

    /// A number that no other client of this process has or had.
    pub(crate) fn next_client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The next number of the log of slow commands.
    pub(crate) fn next_slow_id(&self) -> u64 {
        self.next_slow_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The process has no more descriptors than this.
    pub fn limit_descriptors(&self, limit: Option<u64>) {
        self.descriptors.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Members of the cluster, as far as they are known.
    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// The cluster has these many members, whose links need descriptors: clients get those that are
    /// left, and one in any case.
    pub(crate) fn set_members(&self, count: usize) {
        if self.members.swap(count, Ordering::Relaxed) == count {
            return;
        }
        let limit = self.descriptors.load(Ordering::Relaxed);
        let wanted = self.adjustable.maxclients();
        let limit = (limit != u64::MAX).then_some(limit);
        let fitting = descriptors::fit_clients(wanted, &self.settings, count, limit);
        let fitting = fitting.unwrap_or_else(|error| {
            tracing::warn!(%error, "one client at a time is served");
            1
        });
        self.adjustable.set_maxclients(fitting);
    }

    /// Takes one of the places of clients. Returns whether there was one left.
    pub(crate) fn admit_client(&self) -> bool {
        let most = u64::from(self.adjustable.maxclients());
        let one_more = |clients: u64| (clients < most).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Gives back the place of a client that was admitted.
    pub(crate) fn release_client(&self) {
        let before = self.clients.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a client left that was never admitted");
    }

    /// Bytes of replies that clients have not taken.
    pub(crate) fn client_bytes(&self) -> u64 {
        self.client_bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn publish_client_bytes(&self, shard: u16, bytes: u64) {
        self.client_bytes[usize::from(shard)].store(bytes, Ordering::Relaxed);
    }

    /// The origin of the stamps that this process issues as a member of `topology`.
    pub(crate) fn origin(&self, topology: &Topology) -> Origin {
        let me = topology.me();
        Origin::new(me.0, topology.member(me).incarnation.start)
    }

    /// The catalog of indexes as it was at the start.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// How the node stands with its cluster.
    pub fn footing(&self) -> Footing {
        self.footing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The membership has come further. Returns whether that makes a difference.
    pub(crate) fn set_footing(&self, footing: Footing) -> bool {
        let mut known = self.footing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != footing;
        *known = footing;
        changed
    }

    /// What has been heard of the members.
    pub(crate) fn news(&self) -> BTreeMap<NodeId, MemberNews> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a member understands, as far as it has said: bits of
    /// [`features`](quorate_proto::message::features).
    pub(crate) fn features_of(&self, id: NodeId) -> u64 {
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let abilities = news.get(&id).and_then(|news| news.abilities);
        abilities.map_or(0, |abilities| abilities.features)
    }

    pub(crate) fn set_news(&self, news: impl Iterator<Item = (NodeId, MemberNews)>) {
        let news = news.collect();
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = news;
    }

    /// Where a shard keeps its hints.
    pub(crate) fn hint_directory(&self, shard: u16) -> PathBuf {
        self.directory.join(format!("hints-{shard}"))
    }

    /// How the hints of each shard are kept, for a cluster of `members`.
    pub(crate) fn hint_terms(&self, members: usize) -> HintTerms {
        let total = self.settings.hints_bytes_max;
        let queues = members as u64 * u64::from(self.settings.shards);
        let options = HintOptions {
            log_id: 0,
            bytes_max: self.sizes.hints_max.min(total),
            // A queue has a segment even when it is empty; half of all is left for those in need.
            segment_bytes_max: total / (2 * queues),
            new_salt: self.new_salt(),
        };
        let age_max_ms = u64::try_from(self.settings.hint_window.as_millis()).unwrap_or(u64::MAX);
        HintTerms { options, age_max_ms, budget: Arc::clone(&self.hint_budget) }
    }

    /// The salt of logs that are new.
    pub(crate) fn new_salt(&self) -> u32 {
        // Another part of the same secret than the one that hash tables use, which shows in
        // nothing.
        (self.table_seed >> 32) as u32
    }

    /// Publishes a shard's metrics.
    pub(crate) fn publish(&self, shard: u16, metrics: Metrics) {
        let mut published =
            self.metrics[usize::from(shard)].lock().unwrap_or_else(PoisonError::into_inner);
        *published = metrics;
    }

    /// Publishes what a shard counts by kind.
    pub(crate) fn publish_breakdown(&self, shard: u16, breakdown: Breakdown) {
        let published = &self.breakdowns[usize::from(shard)];
        *published.lock().unwrap_or_else(PoisonError::into_inner) = breakdown;
    }

    /// What all shards count by kind, as they published it last.
    pub(crate) fn breakdown(&self) -> Breakdown {
        let mut total = Breakdown::default();
        for breakdown in &self.breakdowns {
            total.add(&breakdown.lock().unwrap_or_else(PoisonError::into_inner));
        }
        total
    }

    /// A shard that stops tells whether it has anything under way. Returns whether no shard has, so
    /// that none will be asked by another one.
    pub(crate) fn note_idle(&self, shard: u16, is_idle: bool) -> bool {
        let bit = 1_u64 << shard;
        let idle = if is_idle {
            self.idle.fetch_or(bit, Ordering::AcqRel) | bit
        } else {
            self.idle.fetch_and(!bit, Ordering::AcqRel) & !bit
        };
        idle.count_ones() == u32::from(self.settings.shards)
    }

    /// Whether the log of any shard takes no writes, as far as they have published.
    pub(crate) fn is_read_only(&self) -> bool {
        let mut shards = self.metrics.iter();
        shards.any(|metrics| {
            let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
            metrics.fitness.is(Unfit::ReadOnly)
        })
    }

    /// The metrics of all shards together, each at most a moment old.
    pub fn metrics(&self) -> Metrics {
        let mut total = Metrics { fitness: Fitness::FIT, ..Metrics::default() };
        for (index, metrics) in self.metrics.iter().enumerate() {
            let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
            total.keys += metrics.keys;
            total.expiring += metrics.expiring;
            total.expiry_moments_ms += metrics.expiry_moments_ms;
            total.expired += metrics.expired;
            total.tombstone_keys += metrics.tombstone_keys;
            total.clients += metrics.clients;
            total.blocked_clients += metrics.blocked_clients;
            total.counters.add(&metrics.counters);
            total.in_flight += metrics.in_flight;
            total.read_repairs += metrics.read_repairs;
            total.read_repair_bytes += metrics.read_repair_bytes;
            total.log_bytes += metrics.log_bytes;
            total.held_bytes += metrics.held_bytes;
            total.moved_bytes += metrics.moved_bytes;
            total.rewriting |= metrics.rewriting;
            total.saving |= metrics.saving;
            total.syncing |= metrics.syncing;
            total.unsynced += metrics.unsynced;
            total.saved_ms = match index {
                0 => metrics.saved_ms,
                _ => total.saved_ms.min(metrics.saved_ms),
            };
            total.hint_bytes += metrics.hint_bytes;
            total.clocks.pulled += metrics.clocks.pulled;
            total.clocks.absent += metrics.clocks.absent;
            total.clocks.bytes += metrics.clocks.bytes;
            total.clocks.pended += metrics.clocks.pended;
            total.recent_bytes += metrics.recent_bytes;
            total.fitness = total.fitness.and(metrics.fitness);
            total.clock_contradicted |= metrics.clock_contradicted;
            total.awaited = total.awaited.max(metrics.awaited);
            total.failed |= metrics.failed;
            total.search.add(metrics.search);
            total.scrubbing |= metrics.scrubbing;
            total.scrub.add(metrics.scrub);
            total.scrubbed_ms = match index {
                0 => metrics.scrubbed_ms,
                _ => total.scrubbed_ms.min(metrics.scrubbed_ms),
            };
            total.add_peers(&metrics.peers, index == 0);
        }
        total
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("settings", &self.settings).finish_non_exhaustive()
    }
}

//! What the shards of a node tell each other.

use std::sync::Arc;

use bytes::Bytes;
use quorate_cluster::{
    anti_entropy::{Order, PeerRequest},
    membership::LinkId,
    peer_map::PeerMap,
    time::Instant,
    topology::Topology,
};
use quorate_proto::{Fitness, MemberNumber, message::Message};
use quorate_store::Store;

use super::{
    Bundle, Counters, Errand,
    client_commands::{ClientFilter, Pause},
};
use crate::{search::Catalog, storage::ScrubTally};

/// One message to a shard. Shells carry it and do not look into it.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields are the business of the shards")]
pub enum Mail {
    /// Run a command on a slot that you own, and send me the reply.
    Errand { from: u16, ticket: u64, errand: Errand },
    /// Execute a transaction over several slots, and send me the reply.
    Bundle { from: u16, ticket: u64, bundle: Box<Bundle> },
    /// Lend me your store, and make room for a record of so many bytes in your log, if of any.
    Borrow { from: u16, room: Option<usize> },
    /// Here is my store, or why you do not get it.
    Lent { from: u16, store: Result<Box<Store>, String> },
    /// Here is your store again, with the record of what was done if it has changed.
    Returned { store: Box<Store>, record: Option<Bytes> },
    /// The reply to an errand or a question.
    Reply { ticket: u64, reply: Bytes },
    /// A peer's request about a slot that you own came on a link of mine.
    PeerRequest(PeerRequest),
    /// The response to a request that came on a link of yours.
    PeerResponse { link: LinkId, correlation: u64, message: Message },
    /// The topology has changed.
    Topology { topology: Arc<Topology> },
    /// The catalog of indexes has changed.
    Catalog { catalog: Arc<Catalog> },
    /// Whether the node knows what data there is, by the topology that was told before.
    Footing { founded: bool },
    /// Tell me about yourself.
    Describe { from: u16, ticket: u64, question: Question },
}

/// What a shard can be asked about.
#[derive(Clone, Debug)]
pub enum Question {
    /// Its metrics, to be published; with what it counts by kind, when that is wanted.
    Metrics { breakdown: bool },
    /// It is to count anew.
    ResetStats,
    /// The log of slow commands.
    SlowLog(SlowLogOrder),
    /// The lines of `CLIENT LIST`.
    Clients(ClientFilter),
    /// Clients to be disconnected; who asks is so after the reply.
    Kill { filter: ClientFilter, asker: u64 },
    /// Clients wait for a while, or go on.
    Pause(Option<Pause>),
    /// A sync begins. It is answered when it is done, by the deadline at the latest, or at once.
    Save { deadline: Option<Instant> },
    /// A checkpoint begins.
    Rewrite,
    /// The digest of all its data, in hexadecimal.
    Digest,
    /// How far anti-entropy rounds have come, after starting some.
    Repair(Option<RepairOrder>),
    /// What it owes every peer, after doing something about hints.
    Ledger(Option<HintOrder>),
    /// How far the scrub has come, after starting or stopping it.
    Scrub(Option<ScrubCommand>),
}

/// What to do with the log of slow commands.
#[derive(Clone, Copy, Debug)]
pub enum SlowLogOrder {
    Show,
    Count,
    Reset,
}

/// What is to become of a scrub.
#[derive(Clone, Copy, Debug)]
pub enum ScrubCommand {
    /// A pass begins now; one that is under way begins anew.
    Start,
    /// The pass ends.
    Stop,
}

/// What to do with hints.
#[derive(Clone, Debug)]
pub enum HintOrder {
    /// Deliver those for these peers, as soon as they are up.
    Drain(Arc<[MemberNumber]>),
    /// Give up those for this peer.
    Drop(MemberNumber),
}

/// Anti-entropy rounds to start at once.
#[derive(Clone, Debug)]
pub struct RepairOrder {
    /// The peers to have one with.
    pub(crate) peers: Arc<[MemberNumber]>,
    /// What each is to do.
    pub(crate) order: Order,
}

/// Metrics that a shard publishes for the whole node.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) keys: u64,
    /// Keys with a time to live, and the sum of the moments at which they expire, in milliseconds
    /// since the Unix epoch.
    pub(crate) expiring: u64,
    pub(crate) expiry_moments_ms: u128,
    pub(crate) expired: u64,
    /// Keys with tombstones that wait to be forgotten.
    pub(crate) tombstone_keys: u64,
    pub(crate) clients: u64,
    /// Clients that wait for a time to pass.
    pub(crate) blocked_clients: u64,
    pub(crate) counters: Counters,
    pub(crate) in_flight: u64,
    /// Reads that found replicas different, and the bytes that made them equal.
    pub(crate) read_repairs: u64,
    pub(crate) read_repair_bytes: u64,
    pub(crate) log_bytes: u64,
    /// About what the data comes to, and bytes that its anti-entropy rounds have moved.
    pub(crate) held_bytes: u64,
    pub(crate) moved_bytes: u64,
    /// Whether the log is being written anew.
    pub(crate) rewriting: bool,
    /// Whether somebody waits for the log to be synced, and whether it is being synced at all; as
    /// of when it was synced last, and records since then.
    pub(crate) saving: bool,
    pub(crate) syncing: bool,
    pub(crate) saved_ms: u64,
    pub(crate) unsynced: u64,
    pub(crate) hint_bytes: u64,
    /// Of anti-entropy by clocks.
    pub(crate) clocks: quorate_cluster::clocks::Metrics,
    /// Bytes of effects kept for the questions of peers.
    pub(crate) recent_bytes: u64,
    /// What it may do.
    pub fitness: Fitness,
    /// Whether peers contradict the clock; without that one in doubt waits for a peer's.
    pub(crate) clock_contradicted: bool,
    /// Peers that data must still be compared with.
    pub(crate) awaited: u64,
    pub(crate) scrubbing: bool,
    /// When the last scrub ended, in milliseconds since the Unix epoch; zero before the first.
    pub(crate) scrubbed_ms: u64,
    /// What scrubs have come to since the start.
    pub(crate) scrub: ScrubTally,
    pub(crate) failed: bool,
    /// Of its part of the indexes.
    pub(crate) search: SearchMetrics,
    pub(crate) peers: PeerMap<PeerMetrics>,
}

/// What a shard tells of its part of the indexes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SearchMetrics {
    /// Which the whole cluster has.
    pub(crate) indexes: u64,
    pub(crate) bytes: u64,
    /// Documents that found no room in an index.
    pub(crate) refused: u64,
    /// Long queries that are answered beside it, and those that were ended early.
    pub(crate) beside: u64,
    pub(crate) stopped: u64,
}

impl SearchMetrics {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: Self) {
        self.indexes = self.indexes.max(other.indexes);
        self.bytes += other.bytes;
        self.refused += other.refused;
        self.beside += other.beside;
        self.stopped += other.stopped;
    }
}

impl Metrics {
    /// Adds what a shard says of the peers. The first shard decides whether a peer is up unless a
    /// later one contradicts it: a peer is up for the node when it is for all of its shards.
    pub(crate) fn add_peers(&mut self, shard: &PeerMap<PeerMetrics>, is_first: bool) {
        for (node, peer) in shard.iter() {
            let sum = self.peers.get_or_default(node);
            sum.up = peer.up && (sum.up || is_first);
            sum.hints += peer.hints;
            sum.hint_bytes += peer.hint_bytes;
            // Shards own different groups.
            sum.dirty_groups += peer.dirty_groups;
            sum.unverified |= peer.unverified;
            sum.unacknowledged += peer.unacknowledged;
        }
    }
}

/// What is published of one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerMetrics {
    pub(crate) up: bool,
    pub(crate) hints: u64,
    pub(crate) hint_bytes: u64,
    pub(crate) dirty_groups: u64,
    pub(crate) unverified: bool,
    pub(crate) unacknowledged: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_of_a_large_cluster_is_counted() {
        let members = quorate_cluster::limits::MEMBERS_MAX;
        let owed = |up| PeerMetrics { up, hints: 1, dirty_groups: 2, ..PeerMetrics::default() };
        let shard = |up| (0..members as u16).map(|node| (MemberNumber(node), owed(up))).collect();
        let mut total = Metrics::default();
        total.add_peers(&shard(true), true);
        total.add_peers(&shard(false), false);
        assert_eq!(total.peers.values().count(), members);
        assert!(total.peers.values().all(|peer| !peer.up && peer.hints == 2));
        let dirty: u64 = total.peers.values().map(|peer| peer.dirty_groups).sum();
        assert_eq!(dirty, 4 * members as u64);
    }
}

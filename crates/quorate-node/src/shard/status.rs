//! What a node says of itself: `QUORATE STATUS`, `LOCATE`, and metrics gathered from its shards.

use bytes::Bytes;
use quorate_cluster::{clocks::Holdings as _, gossip::Health};
use quorate_proto::resp::ReplyWriter;
use quorate_store::Lookups;

use super::{
    Counters, Metrics, Now, Shard,
    info::{self, Report},
    job::{Plan, Step, integer},
    mail::{PeerMetrics, SearchMetrics},
};
use crate::{node::MemberNews, storage::ScrubOutcome};

/// Joins the texts that all shards answer to one question.
#[derive(Debug)]
pub(super) enum Gathered {
    /// The lines of `CLIENT LIST`, in the order of the ids that they begin with.
    Clients,
    /// Numbers in hexadecimal, summed.
    Digest,
    /// Nothing: they have done what they were asked to.
    Done,
    /// Integers, summed, up to this.
    Count { most: usize },
}

impl Plan for Gathered {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let joined = match self {
            Self::Done => return Step::Done(b"+OK\r\n".to_vec()),
            Self::Count { most } => {
                let sum: i64 = replies.iter().filter_map(|reply| integer(reply)).sum();
                let most = i64::try_from(*most).unwrap_or(i64::MAX);
                return Step::Done(format!(":{}\r\n", sum.min(most)).into_bytes());
            }
            Self::Clients => {
                let lines = replies.iter().flat_map(|reply| reply.split_inclusive(|b| *b == b'\n'));
                let mut lines: Vec<&[u8]> = lines.collect();
                lines.sort_by_cached_key(|line| client_id(line));
                lines.concat()
            }
            Self::Digest => {
                let digests = replies.iter().filter_map(|reply| {
                    u128::from_str_radix(std::str::from_utf8(reply).ok()?, 16).ok()
                });
                let sum = digests.fold(0, u128::wrapping_add);
                format!("{sum:032x}").into_bytes()
            }
        };
        let mut reply = Vec::new();
        ReplyWriter::new(&mut reply, false).bulk(&joined);
        Step::Done(reply)
    }
}

/// The id at the head of a line of `CLIENT LIST`.
fn client_id(line: &[u8]) -> Option<u64> {
    let number = line.strip_prefix(b"id=")?.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

impl Shard {
    /// Publishes this shard's metrics for whoever asks the node.
    pub(super) fn publish_metrics(&self, now: Now) {
        let search = &self.storage.search;
        let (memory, refused) = search.memory();
        let mut metrics = Metrics {
            keys: self.storage.store.len() as u64,
            expiring: self.storage.store.expiring() as u64,
            expiry_moments_ms: self.storage.store.expiry_moments_ms(),
            expired: self.storage.store.expired(),
            tombstone_keys: self.storage.store.tombstone_keys() as u64,
            clients: self.sessions.len() as u64,
            blocked_clients: self.blocked_clients() as u64,
            counters: self.counters(),
            in_flight: self.coordinator.in_flight() as u64,
            read_repairs: self.coordinator.read_repairs().reads,
            read_repair_bytes: self.coordinator.read_repairs().bytes,
            log_bytes: self.storage.log_bytes(),
            held_bytes: self.storage.held_bytes(),
            moved_bytes: self.anti_entropy.moved_bytes(),
            rewriting: self.storage.is_rewriting(),
            saving: self.storage.is_saving(),
            syncing: self.storage.is_syncing(),
            saved_ms: self.storage.saved_ms(),
            unsynced: self.storage.unsynced(),
            hint_bytes: self.storage.hint_bytes(),
            clocks: self.clocks.metrics(),
            recent_bytes: self.storage.knowledge().recent_bytes() as u64,
            fitness: self.fitness(),
            clock_contradicted: self.clock.is_contradicted(),
            awaited: self.peers.awaited(self.machine.monotonic) as u64,
            failed: self.storage.has_failed(),
            scrubbing: self.scrub.outcome() == ScrubOutcome::Running,
            scrubbed_ms: self.scrub.done_ms(),
            scrub: self.scrub.total(),
            search: SearchMetrics {
                indexes: search.catalog.indexes().count() as u64,
                bytes: memory,
                refused,
                beside: search.asked(),
                stopped: search.stopped,
            },
            ..Metrics::default()
        };
        let peers = self.debts(now).map(|(peer, debt)| {
            let metrics = PeerMetrics {
                up: debt.down == 0,
                hints: debt.hints,
                hint_bytes: debt.hint_bytes,
                dirty_groups: debt.dirty_groups(),
                unverified: debt.unverified > 0,
                unacknowledged: debt.unacknowledged,
            };
            (peer, metrics)
        });
        metrics.peers = peers.collect();
        self.node.publish(self.id, metrics);
    }

    fn blocked_clients(&self) -> usize {
        self.sessions.iter().filter(|(_, session)| session.is_blocked).count()
    }

    fn counters(&self) -> Counters {
        let Lookups { hits, misses } = self.storage.store.lookups();
        Counters { keyspace_hits: hits, keyspace_misses: misses, ..self.stats.counters }
    }

    /// `QUORATE STATUS`
    pub(super) fn status(&self, now: Now, writer: &mut ReplyWriter<'_>) {
        self.publish_metrics(now);
        let topology = self.topology();
        let report = Report::new(&self.node, topology, now.wall_ms());
        writer.map(info::status_len() + 1);
        info::write_status(&report, writer);
        let news = self.node.news();
        writer.text("members");
        writer.array(topology.len());
        for node in topology.nodes() {
            let member = topology.member(node);
            let metrics = report.metrics.peers.get(node).copied().unwrap_or_default();
            let state = match (node == topology.me(), metrics.up) {
                (true, _) => "self",
                (false, true) => "up",
                (false, false) => "down",
            };
            writer.map(10 + NEWS);
            for (name, value) in [
                ("name", &member.name),
                ("client_address", &member.client_address),
                ("cluster_address", &member.cluster_address),
                ("peer_address", &member.peer_address),
                ("dc", &member.datacentre),
                ("rack", &member.rack),
            ] {
                writer.text(name);
                writer.text(value);
            }
            writer.text("state");
            writer.text(state);
            for (name, value) in [
                ("hints_pending", metrics.hints),
                ("dirty_groups", metrics.dirty_groups),
                ("unverified", u64::from(metrics.unverified)),
            ] {
                writer.text(name);
                writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
            }
            write_news(now, news.get(&member.id), writer);
        }
    }

    /// `QUORATE LOCATE key`
    pub(super) fn locate(&self, writer: &mut ReplyWriter<'_>, key: &[u8]) {
        let slot = self.partitioner().slot(key);
        let topology = self.topology();
        let replicas = topology.replicas(slot);
        writer.map(3);
        writer.text("slot");
        writer.integer(i64::from(slot.number()));
        writer.text("replicas");
        writer.array(replicas.len());
        replicas.iter().for_each(|node| writer.text(&topology.member(*node).name));
        writer.text("token");
        writer.integer(i64::from(self.partitioner().token(key)));
    }
}

/// Figures of a member that come from its news.
const NEWS: usize = 8;

/// What has been heard of a member; nothing is -1.
fn write_news(now: Now, news: Option<&MemberNews>, writer: &mut ReplyWriter<'_>) {
    let health = news.map_or("unknown", |news| match news.health {
        Health::Up => "up",
        Health::Suspected { .. } => "suspected",
        Health::Down { .. } => "down",
    });
    writer.text("gossip");
    writer.text(health);
    let abilities = news.and_then(|news| news.abilities);
    let load = news.and_then(|news| news.load);
    let age = news.map(|news| now.monotonic.since(news.heard).as_millis() as u64);
    for (name, value) in [
        ("news_age_ms", age),
        ("protocol", abilities.map(|abilities| abilities.protocol.into())),
        ("shards", abilities.map(|abilities| abilities.shards.into())),
        ("commands_per_second", load.map(|load| load.commands_per_second)),
        ("hint_bytes", load.map(|load| load.hint_bytes)),
        ("log_bytes", load.map(|load| load.log_bytes)),
        ("memory_bytes", load.map(|load| load.memory_bytes)),
    ] {
        writer.text(name);
        writer.integer(value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX)));
    }
}

//! One row for every setting.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::{
    ConfigError, Settings,
    value::{Shape, Value},
};
use crate::limits;

/// A setting: its names, what it means, and where its value lies.
pub struct Setting {
    /// Its key in a file, in a section behind a dot.
    pub key: &'static str,
    /// What its value is called in a usage line, such as `HOST:PORT`.
    pub placeholder: &'static str,
    /// What holds when nothing is said.
    pub default: &'static str,
    /// What it is for, in a sentence without a full stop.
    pub help: &'static str,
    /// What a number may be, in the unit of the setting.
    pub(super) range: RangeInclusive<u64>,
    of: fn(&Settings) -> &dyn Value,
    of_mut: fn(&mut Settings) -> &mut dyn Value,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    /// The row of a key.
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its name as a flag, without the hyphens in front: that of one value, for a list.
    pub fn flag(&self) -> String {
        let flag = self.key.replace(['_', '.'], "-");
        match self.shape() {
            Shape::One | Shape::OneOrNamed | Shape::Flag => flag,
            Shape::Many | Shape::Sections(_) => flag.trim_end_matches('s').to_owned(),
        }
    }

    /// How it is written.
    pub fn shape(&self) -> Shape {
        (self.of)(&Settings::default()).shape()
    }

    /// Its value, as it would be given; those of a list with spaces between.
    pub fn show(&self, settings: &Settings) -> String {
        (self.of)(settings).show(self)
    }

    /// Takes what was given, or adds it to a list.
    pub(super) fn read(&self, settings: &mut Settings, text: &str) -> Result<(), ConfigError> {
        let value = (self.of_mut)(settings);
        if value.read(text, self) && value.wrong(self).is_none() {
            return Ok(());
        }
        Err(ConfigError::new(self.key, text, value.allowed(self)))
    }

    pub(super) fn check(&self, settings: &Settings) -> Result<(), ConfigError> {
        let value = (self.of)(settings);
        match value.wrong(self) {
            Some(wrong) => Err(ConfigError::new(self.key, wrong, value.allowed(self))),
            None => Ok(()),
        }
    }

    /// The unit of a duration that is given without one, and of its range: that which the key ends
    /// with.
    pub(super) fn unit(&self) -> (&'static str, Duration) {
        if self.key.ends_with("_ms") {
            ("milliseconds", Duration::from_millis(1))
        } else {
            ("seconds", Duration::from_secs(1))
        }
    }

    const fn within(mut self, least: u64, most: u64) -> Self {
        self.range = RangeInclusive::new(least, most);
        self
    }
}

macro_rules! setting {
    ($key:literal, $($field:ident).+, $placeholder:literal, $default:literal, $help:literal) => {
        Setting {
            key: $key,
            placeholder: $placeholder,
            default: $default,
            help: $help,
            range: RangeInclusive::new(0, u64::MAX),
            of: |settings| &settings.$($field).+,
            of_mut: |settings| &mut settings.$($field).+,
        }
    };
}

/// Every setting, in the order in which they are shown.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    setting!("listen", listen, "HOST:PORT", "127.0.0.1:6379", "Address to listen on for clients"),
    setting!("peer_listen", peer_listen, "HOST:PORT", "host of listen, its port + 10000", "Address to listen on for other nodes"),
    setting!("cluster_listen", cluster_listen, "HOST:PORT", "host of listen, its port + 5000", "Address to listen on for cluster clients, who ask every node; none: they are sent to listen"),
    setting!("advertise", advertise, "HOST", "host of listen", "Host that other nodes and cluster clients are told; needed when listening on every address"),
    setting!("seeds", seeds, "HOST:PORT", "none", "Peer addresses of all other nodes of the cluster, or who names them: dns://HOST:PORT, srv://NAME, txt://NAME, http://HOST:PORT/PATH, file:/PATH"),
    setting!("seeds_min", seeds_min, "N", "0", "Other nodes that must have been named before a node without data may found a cluster").within(0, quorate_cluster::limits::SEEDS_MAX as u64),
    setting!("seeds_interval_seconds", seeds_interval, "SECONDS", "30", "How often those who name seeds are asked again").within(1, limits::SEEDS_INTERVAL_MAX_SECONDS),
    setting!("join", join, "", "false", "Found nothing, and wait to be taken into the cluster of the seeds (quorate join)"),
    setting!("cluster", cluster, "NAME", "quorate", "Name of the cluster, equal on all nodes"),
    setting!("cluster_secret_file", cluster_secret_file, "FILE", "none", "File with the secret that every node of the cluster has: only who has it too is let in"),
    setting!("name", name, "NAME", "made from the node's id", "Name of the node, unique in the cluster"),
    setting!("dc", datacentre, "NAME", "dc1", "Datacentre of the node; fixed once there is data"),
    setting!("rack", rack, "NAME", "rack1", "Rack of the node; fixed once there is data"),
    setting!("rf", replication_factor, "N", "3", "Replicas of every key in each datacentre, capped by its nodes; or dc1:3,dc2:2: a number for each; equal on all nodes").within(1, limits::RF_MAX as u64),
    setting!("weight", weight, "N", "100", "Share of the replicas of its datacentre that a new node gets, beside those of the others; later: quorate weight").within(0, quorate_proto::duties::WEIGHT_MAX as u64),
    setting!("witness", witness, "", "false", "Come without data, as weight 0: to have a vote, in a third place beside two datacentres"),
    setting!("partitioner", ring.kind, "KIND", "slots", "How keys get their slots: slots (as in Redis Cluster), ring (by tokens, as in Dynomite); equal on all nodes, fixed once there is data"),
    setting!("hash", ring.hash, "NAME", "murmur", "Hash function of the ring; equal on all nodes, fixed once there is data"),
    setting!("hash_tag", ring.hash_tag, "XY", "none", "Two characters between which stands what of a key the ring hashes; equal on all nodes, fixed once there is data"),
    setting!("tokens", ring.tokens, "TOKENS", "generate:64", "Tokens of the node on the ring, with commas between; or generate:N: that many, made from its name; fixed once there is data"),
    setting!("ring_tokens", ring.cuts, "TOKENS", "none", "Tokens that slots of the ring end at: those given to any node that it is made with; equal on all nodes, fixed once there is data"),
    setting!("data_dir", data_dir, "DIR", "./quorate-data", "Directory of the data"),
    setting!("memory", memory, "", "false", "Keep everything in memory; nothing survives a restart"),
    setting!("sync", sync, "POLICY", "everysec", "When a write is safe on disk: always (before it is acknowledged), everysec, no"),
    setting!("shards", shards, "N", "one per processor", "Threads that own data; may change between starts").within(1, limits::SHARDS_MAX as u64),
    setting!("read_level", read_level, "LEVEL", "LOCAL_QUORUM", "Level of reads: ONE, LOCAL_ONE, LOCAL_QUORUM, QUORUM, EACH_QUORUM, ALL"),
    setting!("write_level", write_level, "LEVEL", "LOCAL_QUORUM", "Level of writes: ONE, LOCAL_ONE, LOCAL_QUORUM, QUORUM, EACH_QUORUM, ALL"),
    setting!("levels", levels, "PREFIX,READ,WRITE", "none", "Levels of reads and writes for keys that begin with a prefix, on connections that have not set their own"),
    setting!("read_repair", read_repair, "WHEN", "blocking", "When reads repair replicas that are behind: blocking (before they answer), background"),
    setting!("max_value_size", max_value_size, "BYTES", "512mb", "Largest value; larger ones are refused before they are sent").within(1024, limits::VALUE_SIZE_DEFAULT),
    setting!("maxclients", maxclients, "N", "10000", "Clients connected at a time; fewer when the limit on open files is too low").within(1, limits::CLIENTS_MAX as u64),
    setting!("command_bytes_max", command_bytes_max, "BYTES", "768mb", "Large commands that clients of a node may have under way; one beyond that is refused before it begins; 0: any"),
    setting!("client_output_max", client_output_max, "BYTES", "1gb", "Replies that a client may leave unread before it is disconnected; 0: any"),
    setting!("clients_output_max", clients_output_max, "BYTES", "2gb", "Replies that all clients may leave unread before the slowest are disconnected; 0: any"),
    setting!("request_timeout_ms", request_timeout, "MS", "5000", "Time within which every request is answered; large ones get a second more for each 16 MiB, or 65,536 words, up to four times as long").within(10, limits::REQUEST_TIMEOUT_MAX_MS),
    setting!("gc_grace_seconds", gc_grace, "SECONDS", "900", "How long tombstones are kept at least; they also stay until every replica has confirmed the removal").within(0, limits::GC_GRACE_MAX_SECONDS),
    setting!("scrub_interval_seconds", scrub_interval, "SECONDS", "604800", "How often a node checks its digests and its disk again; 0: never").within(0, limits::SCRUB_INTERVAL_MAX_SECONDS),
    setting!("scrub_bytes_per_second", scrub_bytes_per_second, "BYTES", "8mb", "What reading the disk again may take of it, for the whole node").within(limits::SCRUB_BYTES_PER_SECOND_MIN, limits::SCRUB_BYTES_PER_SECOND_MAX),
    setting!("movement_bytes_per_second", movement_bytes_per_second, "BYTES", "16mb", "What slots on their way to other members may take of a node that serves clients; one that serves none goes up to 16 times as fast").within(limits::MOVEMENT_BYTES_PER_SECOND_MIN, limits::MOVEMENT_BYTES_PER_SECOND_MAX),
    setting!("hints_bytes_max", hints_bytes_max, "BYTES", "4gb", "Disk for hints for other nodes, all together").within(limits::HINTS_BYTES_MIN, limits::HINTS_BYTES_MAX),
    setting!("hint_window_seconds", hint_window, "SECONDS", "10800", "How long hints are kept for a node that is down").within(1, limits::HINT_WINDOW_MAX_SECONDS),
    setting!("accept_damaged_log", accept_damaged_log, "", "false", "Start a lone node although its log is damaged, with what is readable of it"),
    setting!("entropy.listen", channel.listen, "HOST:PORT", "none", "Address where snapshots are received and merged into this node"),
    setting!("entropy.key_file", channel.key_file, "FILE", "none", "File with the pre-shared key: 16 bytes, or PEM"),
    setting!("entropy.iv_file", channel.iv_file, "FILE", "none", "File with the pre-shared initialisation vector: 16 bytes, or PEM"),
    setting!("entropy.protocol", channel.protocol, "PROTOCOL", "v2", "What senders may speak: v2, classic, any"),
    setting!("entropy.plain", channel.plain, "", "false", "Take plaintext too, with protocol classic or any"),
    setting!("entropy.connections", channel.connections_max, "N", "32", "Senders served at a time").within(1, limits::ENTROPY_CONNECTIONS_MAX as u64),
    setting!("entropy.timeout_seconds", channel.timeout, "SECONDS", "30", "What the other side may take for its next 64 KiB").within(1, limits::ENTROPY_TIMEOUT_MAX_SECONDS),
    setting!("entropy.peers", channel.peers, "ENDPOINT[,NODE]", "none", "Receivers that are kept up to date, always over version 2, and the client address of each one's node when that is in the same cluster: then digests of both are compared"),
    setting!("entropy.recon_interval_seconds", channel.recon_interval, "SECONDS", "300", "Time between two comparisons with the receivers").within(1, limits::RECON_INTERVAL_MAX_SECONDS),
];

//! Where settings come from: a file, and flags that override it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use quorate::{
    Config, Settings,
    config::{Amount, EntropyPeer, EntropySection},
};

mod file;

pub(crate) use file::File;

/// Settings of a node as flags. Each overrides the key of the same name in the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Flags {
    /// YAML file with the same keys as these flags, in snake_case
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:6379]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where other nodes connect [default: the host of --listen, its port + 10000]
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// Where clients of Redis Cluster connect, who ask every node; or none
    /// [default: the host of --listen, its port + 5000]
    #[arg(long, value_name = "HOST:PORT")]
    cluster_listen: Option<String>,
    /// Host that other nodes and cluster clients are told [default: the one listened on]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Peer address of another node of the cluster; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    seed: Vec<String>,
    /// Name of the cluster [default: quorate]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Name of this node, unique in the cluster [default: made from its identity]
    #[arg(long)]
    name: Option<String>,
    /// Datacentre of this node [default: dc1]
    #[arg(long)]
    dc: Option<String>,
    /// Rack of this node [default: rack1]
    #[arg(long)]
    rack: Option<String>,
    /// Replicas of every key in each datacentre [default: 3, or the number of nodes if fewer]
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    rf: Option<Amount>,
    /// Directory of the durable data [default: ./quorate-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// When a write is safe on disk: always, everysec, no [default: everysec]
    #[arg(long, value_name = "POLICY")]
    sync: Option<String>,
    /// Keep everything in memory; nothing survives a restart
    #[arg(long)]
    memory: bool,
    /// Threads that own data [default: one per processor]
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    shards: Option<Amount>,
    /// Level of reads: ONE, LOCAL_QUORUM, QUORUM, ALL [default: LOCAL_QUORUM]
    #[arg(long, value_name = "LEVEL")]
    read_level: Option<String>,
    /// Level of writes: ONE, LOCAL_QUORUM, QUORUM, ALL [default: LOCAL_QUORUM]
    #[arg(long, value_name = "LEVEL")]
    write_level: Option<String>,
    /// When reads repair replicas that are behind: blocking (before they answer), background
    /// [default: blocking]
    #[arg(long, value_name = "WHEN")]
    read_repair: Option<String>,
    /// Largest value accepted, in bytes or with a unit such as 64mb [default: 512mb]
    #[arg(long, allow_negative_numbers = true, value_name = "BYTES")]
    max_value_size: Option<Amount>,
    /// Clients that may be connected at a time [default: 10000, or what the limit on open files
    /// leaves]
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    maxclients: Option<Amount>,
    /// Time within which every request is answered, in milliseconds or with a unit such as 5s
    /// [default: 5000]
    #[arg(long, allow_negative_numbers = true, value_name = "MS")]
    request_timeout_ms: Option<Amount>,
    /// How long marks of removals are kept at least, in seconds or with a unit such as 15m
    /// [default: 900]
    #[arg(long, allow_negative_numbers = true, value_name = "SECONDS")]
    gc_grace_seconds: Option<Amount>,
    /// How often digests and disk are checked again, in seconds or with a unit such as 7d; 0 for
    /// never [default: 604800, 7 days]
    #[arg(long, allow_negative_numbers = true, value_name = "SECONDS")]
    scrub_interval_seconds: Option<Amount>,
    /// What reading the disk again may take of it a second, in bytes or with a unit such as 8mb
    /// [default: 8388608]
    #[arg(long, allow_negative_numbers = true, value_name = "BYTES")]
    scrub_bytes_per_second: Option<Amount>,
    /// Disk for hints for other nodes, all together, in bytes or with a unit such as 4gb
    /// [default: 4294967296]
    #[arg(long, allow_negative_numbers = true, value_name = "BYTES")]
    hints_bytes_max: Option<Amount>,
    /// How long hints are kept for a node that is down, in seconds or with a unit such as 3h
    /// [default: 10800]
    #[arg(long, allow_negative_numbers = true, value_name = "SECONDS")]
    hint_window_seconds: Option<Amount>,
    /// Start although the log is damaged, with what can still be read
    #[arg(long)]
    accept_damaged_log: bool,
    #[command(flatten)]
    entropy: EntropyFlags,
}

/// The section `entropy` of the file as flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Reconciliation channel")]
struct EntropyFlags {
    /// Where snapshots are received and merged into this node [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    entropy_listen: Option<String>,
    /// File with the pre-shared key: 16 bytes, or PEM
    #[arg(long, value_name = "FILE")]
    entropy_key_file: Option<PathBuf>,
    /// File with the pre-shared initialisation vector: 16 bytes, or PEM
    #[arg(long, value_name = "FILE")]
    entropy_iv_file: Option<PathBuf>,
    /// What senders may speak: v2, classic, any [default: v2]
    #[arg(long, value_name = "PROTOCOL")]
    entropy_protocol: Option<String>,
    /// A receiver to keep up to date, and the client address of its node when that is in this
    /// cluster; may be given several times
    #[arg(long, value_name = "HOST:PORT[,NODE]")]
    entropy_peer: Vec<String>,
    /// Time between two comparisons with the peers of the channel, in seconds or with a unit such as
    /// 5m [default: 300]
    #[arg(long, allow_negative_numbers = true, value_name = "SECONDS")]
    recon_interval_seconds: Option<Amount>,
}

impl EntropyFlags {
    /// The file's section with the flags on top; `None` when neither says anything.
    fn section(self, file: Option<EntropySection>) -> Option<EntropySection> {
        let none = file.is_none();
        let file = file.unwrap_or_default();
        let peers = self.entropy_peer.iter().map(|text| match text.split_once(',') {
            Some((endpoint, node)) => {
                EntropyPeer { endpoint: endpoint.into(), node: Some(node.into()) }
            }
            None => EntropyPeer { endpoint: text.clone(), node: None },
        });
        let section = EntropySection {
            listen: self.entropy_listen.or(file.listen),
            key_file: self.entropy_key_file.or(file.key_file),
            iv_file: self.entropy_iv_file.or(file.iv_file),
            protocol: self.entropy_protocol.or(file.protocol),
            peers: if self.entropy_peer.is_empty() { file.peers } else { peers.collect() },
            recon_interval_seconds: self.recon_interval_seconds.or(file.recon_interval_seconds),
            plain: file.plain,
            connections: file.connections,
            timeout_seconds: file.timeout_seconds,
        };
        (!none || section != EntropySection::default()).then_some(section)
    }
}

impl Flags {
    /// The checked settings of the file with the flags on top.
    pub(crate) fn settings(self) -> Result<Settings> {
        let file = self.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let config = self.over(file.config.clone());
        config.validate().map_err(|errors| anyhow::anyhow!(file.explain(&errors)))
    }

    fn over(self, file: Config) -> Config {
        Config {
            listen: self.listen.or(file.listen),
            peer_listen: self.peer_listen.or(file.peer_listen),
            cluster_listen: self.cluster_listen.or(file.cluster_listen),
            advertise: self.advertise.or(file.advertise),
            seeds: if self.seed.is_empty() { file.seeds } else { self.seed },
            cluster: self.cluster.or(file.cluster),
            name: self.name.or(file.name),
            dc: self.dc.or(file.dc),
            rack: self.rack.or(file.rack),
            rf: self.rf.or(file.rf),
            data_dir: self.data_dir.or(file.data_dir),
            sync: self.sync.or(file.sync),
            memory: self.memory || file.memory,
            shards: self.shards.or(file.shards),
            read_level: self.read_level.or(file.read_level),
            write_level: self.write_level.or(file.write_level),
            read_repair: self.read_repair.or(file.read_repair),
            max_value_size: self.max_value_size.or(file.max_value_size),
            maxclients: self.maxclients.or(file.maxclients),
            request_timeout_ms: self.request_timeout_ms.or(file.request_timeout_ms),
            gc_grace_seconds: self.gc_grace_seconds.or(file.gc_grace_seconds),
            scrub_interval_seconds: self.scrub_interval_seconds.or(file.scrub_interval_seconds),
            scrub_bytes_per_second: self.scrub_bytes_per_second.or(file.scrub_bytes_per_second),
            hints_bytes_max: self.hints_bytes_max.or(file.hints_bytes_max),
            hint_window_seconds: self.hint_window_seconds.or(file.hint_window_seconds),
            accept_damaged_log: self.accept_damaged_log || file.accept_damaged_log,
            entropy: self.entropy.section(file.entropy),
        }
    }
}

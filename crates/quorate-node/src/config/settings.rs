//! The settings of a node, and how they must fit together.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use quorate_proto::{Level, ReplicationFactor};

use super::{
    ChannelSettings, ConfigError, ConfigErrors, LevelRule, ReadRepair, RingSettings, SETTINGS,
    Setting,
};
use crate::{limits, secure_link::ClusterSecret};

const DEFAULT_DATA_DIR: &str = "./quorate-data";

/// When a write counts as safe on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged. Writes of one moment share one sync.
    Always,
    /// Within a second. Survives the death of the process at once, of the machine within a second.
    #[default]
    EverySecond,
    /// When the operating system sees fit. Survives the death of the process.
    No,
}

impl SyncPolicy {
    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::No => "no",
        }
    }
}

impl FromStr for SyncPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Always, Self::EverySecond, Self::No]
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or(())
    }
}

/// Where clients of Redis Cluster connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterListen {
    /// At the host of `listen`, its port + 5000.
    #[default]
    Derived,
    /// Nowhere of their own: they are sent to `listen`.
    Nowhere,
    /// Here.
    At(SocketAddr),
}

/// Everything that can be said about a node. The default is a durable node on loopback, alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Where clients connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where other nodes connect; `None`: at the host of `listen`, its port + 10000.
    pub peer_listen: Option<SocketAddr>,
    /// Where cluster clients connect: they are sent there, and see on each node what it is
    /// responsible for.
    pub cluster_listen: ClusterListen,
    /// Host that others are told, when it is not the one listened on.
    pub advertise: Option<String>,
    /// Peer addresses of other nodes, `host:port`, not looked up yet, and who names further ones;
    /// see [`SeedSource`](super::SeedSource).
    pub seeds: Vec<String>,
    /// How many other nodes must have been named before a node without data may found a cluster.
    pub seeds_min: u16,
    /// How often those who name seeds are asked again.
    pub seeds_interval: Duration,
    /// Whether the node waits to be taken into the cluster that its seeds belong to, instead of
    /// founding one with them. Counts for nothing once it is a member.
    pub join: bool,
    /// Name of the cluster.
    pub cluster: String,
    /// File with the secret of the cluster.
    pub cluster_secret_file: Option<PathBuf>,
    /// The secret itself, when it does not come from a file.
    pub cluster_secret: Option<ClusterSecret>,
    /// Name of this node, when it was given.
    pub name: Option<String>,
    /// Datacentre of this node.
    pub datacentre: String,
    /// Rack of this node.
    pub rack: String,
    /// Replicas of every key in each datacentre, capped by its number of nodes.
    pub replication_factor: ReplicationFactor,
    /// Share of the replicas of its datacentre that this node asks for while it is new; from when it
    /// is a member the member list says.
    pub weight: u16,
    /// Whether it is to hold nothing, as with a weight of 0.
    pub witness: bool,
    /// How keys get their slots.
    pub ring: RingSettings,
    /// Directory of the durable data; `None`: `./quorate-data`.
    pub data_dir: Option<PathBuf>,
    /// Keep everything in memory only; nothing survives a restart.
    pub memory: bool,
    /// When a write is safe on disk.
    pub sync: SyncPolicy,
    /// Number of shards, each a thread.
    pub shards: u16,
    /// Level of reads.
    pub read_level: Level,
    /// Level of writes.
    pub write_level: Level,
    /// Levels for keys with certain prefixes, on connections that have not set their own.
    pub levels: Vec<LevelRule>,
    /// When a read brings replicas up to date that it found behind.
    pub read_repair: ReadRepair,
    /// Largest value accepted, in bytes.
    pub max_value_size: usize,
    /// Clients that may be connected at a time.
    pub maxclients: u32,
    /// Bytes of large commands that clients may have under way; zero for any.
    pub command_bytes_max: u64,
    /// Bytes of replies that a client may leave unread before it is disconnected; zero for any.
    pub client_output_max: u64,
    /// Bytes of replies that all clients together may leave unread before those that hold most are
    /// disconnected; zero for any.
    pub clients_output_max: u64,
    /// Time within which every request is answered.
    pub request_timeout: Duration,
    /// How long tombstones are kept at least.
    pub gc_grace: Duration,
    /// How often digests are computed again and the disk is read again; `None` for never.
    pub scrub_interval: Option<Duration>,
    /// What reading the disk again may take of it.
    pub scrub_bytes_per_second: u64,
    /// What slots on their way may take of this node while it serves clients, in bytes a second.
    pub movement_bytes_per_second: u64,
    /// Bytes of disk that hints for other nodes may take, all together.
    pub hints_bytes_max: u64,
    /// How long hints are kept.
    pub hint_window: Duration,
    /// Start although the log is damaged.
    pub accept_damaged_log: bool,
    /// The reconciliation channel.
    pub channel: ChannelSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 6379)),
            peer_listen: None,
            cluster_listen: ClusterListen::Derived,
            advertise: None,
            seeds: Vec::new(),
            seeds_min: 0,
            seeds_interval: Duration::from_secs(limits::SEEDS_INTERVAL_DEFAULT_SECONDS),
            join: false,
            cluster: "quorate".into(),
            cluster_secret_file: None,
            cluster_secret: None,
            name: None,
            datacentre: "dc1".into(),
            rack: "rack1".into(),
            replication_factor: 3.into(),
            weight: quorate_proto::duties::WEIGHT_DEFAULT,
            witness: false,
            ring: RingSettings::default(),
            data_dir: None,
            memory: false,
            sync: SyncPolicy::default(),
            shards: cores(),
            read_level: Level::default(),
            write_level: Level::default(),
            levels: Vec::new(),
            read_repair: ReadRepair::default(),
            max_value_size: limits::VALUE_SIZE_DEFAULT as usize,
            maxclients: limits::CLIENTS_DEFAULT,
            command_bytes_max: limits::COMMAND_BYTES_DEFAULT,
            client_output_max: limits::CLIENT_OUTPUT_DEFAULT,
            clients_output_max: limits::CLIENTS_OUTPUT_DEFAULT,
            request_timeout: Duration::from_millis(limits::REQUEST_TIMEOUT_DEFAULT_MS),
            gc_grace: Duration::from_secs(limits::GC_GRACE_DEFAULT_SECONDS),
            scrub_interval: Some(Duration::from_secs(limits::SCRUB_INTERVAL_DEFAULT_SECONDS)),
            scrub_bytes_per_second: limits::SCRUB_BYTES_PER_SECOND_DEFAULT,
            movement_bytes_per_second: limits::MOVEMENT_BYTES_PER_SECOND_DEFAULT,
            hints_bytes_max: limits::HINTS_BYTES_DEFAULT,
            hint_window: Duration::from_secs(limits::HINT_WINDOW_DEFAULT_SECONDS),
            accept_damaged_log: false,
            channel: ChannelSettings::default(),
        }
    }
}

impl Settings {
    /// A node that keeps everything in memory, and listens on free ports of loopback.
    pub fn in_memory() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { memory: true, listen, ..Self::default() }
    }

    /// The defaults with what is given as texts on top: for each, its setting and what was said. Of
    /// settings that are lists there may be several.
    ///
    /// # Errors
    /// Everything that is not allowed, by [`Settings::validate`] too.
    pub fn read(given: &[(&'static Setting, String)]) -> Result<Self, ConfigErrors> {
        let mut settings = Self::default();
        let mut errors: Vec<ConfigError> = given
            .iter()
            .filter_map(|(setting, text)| setting.read(&mut settings, text).err())
            .collect();
        if let Err(ConfigErrors(others)) = settings.validate() {
            for error in others {
                if errors.iter().all(|known| known.key != error.key) {
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() { Ok(settings) } else { Err(ConfigErrors(errors)) }
    }

    /// Checks every value, and whether they fit together.
    ///
    /// # Errors
    /// Everything that is not allowed.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors: Vec<_> =
            SETTINGS.iter().filter_map(|setting| setting.check(self).err()).collect();
        errors.extend(self.peer_address().err());
        errors.extend(self.cluster_address().err());
        errors.extend(self.check_advertised().err());
        errors.extend(self.check_addresses().err());
        if self.memory && self.data_dir.is_some() {
            let allowed = "a directory, or memory: true, not both";
            errors.push(ConfigError::new("data_dir", "with memory: true", allowed));
        }
        errors.extend(self.check_factor().err());
        self.ring.check(&mut errors);
        errors.extend(self.load_secret().err());
        self.channel.check(&mut errors);
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }

    /// The secret of the cluster, from wherever it comes; `None` for a cluster that is open.
    ///
    /// # Errors
    /// The file is not what is allowed, or there is another secret besides.
    pub fn load_secret(&self) -> Result<Option<ClusterSecret>, ConfigError> {
        let Some(path) = &self.cluster_secret_file else { return Ok(self.cluster_secret.clone()) };
        let loaded = ClusterSecret::load(path)
            .map_err(|error| ConfigError::new("cluster_secret_file", path.display(), error))?;
        match &self.cluster_secret {
            Some(given) if *given != loaded => {
                let allowed = "one secret, from a file or from the environment";
                Err(ConfigError::new("cluster_secret_file", path.display(), allowed))
            }
            _ => Ok(Some(loaded)),
        }
    }

    /// Where the durable data lies; `None` when everything is in memory.
    pub fn durable_dir(&self) -> Option<&Path> {
        let directory = self.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
        (!self.memory).then_some(directory)
    }

    /// The reconciliation channel; `None` when the node has no part in one.
    pub fn channel(&self) -> Option<&ChannelSettings> {
        Some(&self.channel).filter(|channel| channel.is_used())
    }

    /// Where other nodes connect.
    ///
    /// # Errors
    /// There is no port so far above that of `listen`.
    pub fn peer_address(&self) -> Result<SocketAddr, ConfigError> {
        let derived = || self.above("peer_listen", limits::PEER_PORT_OFFSET, "an address");
        self.peer_listen.map_or_else(derived, Ok)
    }

    /// Where cluster clients connect; `None` for nowhere of their own.
    ///
    /// # Errors
    /// There is no port so far above that of `listen`.
    pub fn cluster_address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let offset = limits::CLUSTER_PORT_OFFSET;
        match self.cluster_listen {
            ClusterListen::Derived => {
                self.above("cluster_listen", offset, "an address or none").map(Some)
            }
            ClusterListen::Nowhere => Ok(None),
            ClusterListen::At(address) => Ok(Some(address)),
        }
    }

    /// The address whose port stands `offset` above that of `listen`.
    fn above(
        &self,
        key: &'static str,
        offset: u16,
        allowed: &str,
    ) -> Result<SocketAddr, ConfigError> {
        let port = match self.listen.port() {
            0 => Some(0),
            port => port.checked_add(offset),
        };
        port.map(|port| SocketAddr::new(self.listen.ip(), port)).ok_or_else(|| {
            let why = format!("{allowed}, because the port of listen + {offset} is above 65535");
            ConfigError::new(key, "(none)", why)
        })
    }

    /// No two of the addresses to listen on may be one. Port 0 stands for any that is free.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let addresses = [
            ("listen", Some(self.listen)),
            ("peer_listen", self.peer_address().ok()),
            ("cluster_listen", self.cluster_address().ok().flatten()),
        ];
        for (position, (key, address)) in addresses.iter().enumerate() {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            let earlier = addresses[..position].iter().find(|(_, other)| *other == Some(address));
            if let Some((other, _)) = earlier {
                let allowed = format!("an address other than that of {other}");
                return Err(ConfigError::new(key, address, allowed));
            }
        }
        Ok(())
    }

    /// There must be a number of replicas for the datacentre of this node, unless it is to hold nothing.
    fn check_factor(&self) -> Result<(), ConfigError> {
        if self.witness || self.weight == 0 {
            return Ok(());
        }
        let (factor, datacentre) = (&self.replication_factor, &self.datacentre);
        let allowed =
            || format!("a number for each datacentre, that of this node ({datacentre}) too");
        factor.of(datacentre).map(|_| ()).ok_or_else(|| ConfigError::new("rf", factor, allowed()))
    }

    fn check_advertised(&self) -> Result<(), ConfigError> {
        let told =
            [Some(self.listen), self.peer_address().ok(), self.cluster_address().ok().flatten()];
        let anywhere = told.iter().flatten().any(|address| address.ip().is_unspecified());
        if !anywhere || self.advertise.is_some() {
            return Ok(());
        }
        let allowed = "a host name or address, because listening on every address leaves open \
                       which one to tell others";
        Err(ConfigError::new("advertise", "(none)", allowed))
    }
}

fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX).min(limits::SHARDS_MAX)
}

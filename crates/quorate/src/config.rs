//! Configuration: what the operator writes, and the settings it is checked into.
//!
//! [`Config`] is plain data, one field a key, everything optional. [`Config::validate`] turns it
//! into [`Settings`], in which every value is present and allowed, or says for each wrong key what
//! was given and what is allowed.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

pub use quorate_cluster::coordinator::ReadRepair;
use quorate_proto::Level;
use serde::Deserialize;

use crate::limits;

mod amount;
mod entropy;

pub use amount::Amount;
pub use entropy::{EntropyPeer, EntropySection, EntropySettings};

/// Everything that can be configured, as written in a file or given by flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port` where clients connect. Default `127.0.0.1:6379`.
    pub listen: Option<String>,
    /// `host:port` where other nodes connect. Default: the host of `listen`, its port + 10000.
    pub peer_listen: Option<String>,
    /// `host:port` where clients connect that speak to Redis Cluster, or `none`. Default: the host of
    /// `listen`, its port + 5000.
    pub cluster_listen: Option<String>,
    /// Host that other nodes and cluster clients are told. Default: the host listened on.
    pub advertise: Option<String>,
    /// `host:port` of the peer address of other nodes of the cluster.
    pub seeds: Vec<String>,
    /// Name of the cluster. Default `quorate`.
    pub cluster: Option<String>,
    /// Name of this node, unique in the cluster. Default: made from its identity.
    pub name: Option<String>,
    /// Datacentre of this node. Default `dc1`.
    pub dc: Option<String>,
    /// Rack of this node. Default `rack1`.
    pub rack: Option<String>,
    /// Replicas of every key in each datacentre. Default 3, or the number of nodes if fewer.
    pub rf: Option<Amount>,
    /// Directory of the durable data. Default `./quorate-data`.
    pub data_dir: Option<PathBuf>,
    /// When a write is safe on disk: `always`, `everysec` (default) or `no`.
    pub sync: Option<String>,
    /// Keep everything in memory only; nothing survives a restart. Default false.
    pub memory: bool,
    /// Threads that own data. Default: one per processor this process may use.
    pub shards: Option<Amount>,
    /// Level of reads. Default `LOCAL_QUORUM`.
    pub read_level: Option<String>,
    /// Level of writes. Default `LOCAL_QUORUM`.
    pub write_level: Option<String>,
    /// When a read brings replicas up to date that it found behind: `blocking` (default), before it
    /// answers, or `background`, afterwards.
    pub read_repair: Option<String>,
    /// Largest value accepted, in bytes or with a unit (`64mb`). Default 512 MiB.
    pub max_value_size: Option<Amount>,
    /// Clients that may be connected at a time. Default 10000, or what the limit on open files leaves.
    pub maxclients: Option<Amount>,
    /// Time within which every request is answered, in milliseconds or with a unit (`5s`).
    /// Default 5000.
    pub request_timeout_ms: Option<Amount>,
    /// How long marks of removals are kept at least, in seconds. They also stay until every replica
    /// has confirmed the removal. Default 900.
    pub gc_grace_seconds: Option<Amount>,
    /// How often digests are computed again and the disk is read again, in seconds; 0 for never.
    /// Default 604800 (7 days).
    pub scrub_interval_seconds: Option<Amount>,
    /// What reading the disk again may take of it, in bytes a second. Default 8388608 (8 MiB).
    pub scrub_bytes_per_second: Option<Amount>,
    /// Bytes of disk that hints for other nodes may take, all together. Default 4294967296 (4 GiB).
    pub hints_bytes_max: Option<Amount>,
    /// How long hints are kept for a node that is down, in seconds. Default 10800 (3 hours).
    pub hint_window_seconds: Option<Amount>,
    /// Start although the log is damaged, with what can still be read. Default false.
    pub accept_damaged_log: bool,
    /// The reconciliation channel of this node. Default: none.
    pub entropy: Option<EntropySection>,
}

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

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where other nodes connect.
    pub peer_listen: SocketAddr,
    /// Where cluster clients connect: they are sent there, and see on each node what it is responsible
    /// for. Without it they are sent to `listen`.
    pub cluster_listen: Option<SocketAddr>,
    /// Host that others are told, when it is not the one listened on.
    pub advertise: Option<String>,
    /// Peer addresses of other nodes, `host:port`, not looked up yet.
    pub seeds: Vec<String>,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node, when it was given.
    pub name: Option<String>,
    /// Datacentre of this node.
    pub datacentre: String,
    /// Rack of this node.
    pub rack: String,
    /// Replicas of every key in each datacentre, capped by its number of nodes.
    pub replication_factor: u16,
    /// Directory of the durable data; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// When a write is safe on disk.
    pub sync: SyncPolicy,
    /// Number of shards.
    pub shards: u16,
    /// Level of reads.
    pub read_level: Level,
    /// Level of writes.
    pub write_level: Level,
    /// When a read brings replicas up to date that it found behind.
    pub read_repair: ReadRepair,
    /// Largest value accepted, in bytes.
    pub max_value_size: usize,
    /// Clients that may be connected at a time.
    pub maxclients: u32,
    /// Time within which every request is answered.
    pub request_timeout: Duration,
    /// How long marks of removals are kept at least.
    pub gc_grace: Duration,
    /// How often digests are computed again and the disk is read again; `None` for never.
    pub scrub_interval: Option<Duration>,
    /// What reading the disk again may take of it.
    pub scrub_bytes_per_second: u64,
    /// Bytes of disk that hints for other nodes may take, all together.
    pub hints_bytes_max: u64,
    /// How long hints are kept.
    pub hint_window: Duration,
    /// Start although the log is damaged.
    pub accept_damaged_log: bool,
    /// The reconciliation channel; `None` when the node has none.
    pub entropy: Option<EntropySettings>,
}

/// One wrong key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: '{}' is not allowed; allowed: {}", self.key, self.value, self.allowed)
    }
}

/// Every wrong key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl Config {
    /// Checks every key and fills in the defaults.
    pub fn validate(&self) -> Result<Settings, ConfigErrors> {
        let mut check = Check::default();
        let listen = check.address("listen", self.listen.as_deref().unwrap_or(DEFAULT_LISTEN));
        let peer_listen = match &self.peer_listen {
            Some(text) => check.address("peer_listen", text),
            None => {
                let offset = limits::PEER_PORT_OFFSET;
                check.derived("peer_listen", listen, offset, "an address")
            }
        };
        let cluster_listen = match self.cluster_listen.as_deref() {
            Some(NONE) => None,
            Some(text) => Some(check.address("cluster_listen", text)),
            None => {
                let offset = limits::CLUSTER_PORT_OFFSET;
                Some(check.derived("cluster_listen", listen, offset, "an address or none"))
            }
        };
        let seeds = self.seeds.iter().map(|seed| check.endpoint("seeds", seed)).collect();
        let settings = Settings {
            listen,
            peer_listen,
            cluster_listen,
            advertise: self.advertise.as_ref().map(|host| check.word("advertise", host)),
            seeds,
            cluster: check.word("cluster", self.cluster.as_deref().unwrap_or("quorate")),
            name: self.name.as_ref().map(|name| check.word("name", name)),
            datacentre: check.word("dc", self.dc.as_deref().unwrap_or("dc1")),
            rack: check.word("rack", self.rack.as_deref().unwrap_or("rack1")),
            replication_factor: check.count("rf", self.rf.as_ref(), 3, 1..=limits::RF_MAX),
            data_dir: (!self.memory)
                .then(|| self.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))),
            sync: check.parsed("sync", self.sync.as_deref(), "always, everysec, no"),
            shards: check.count("shards", self.shards.as_ref(), cores(), 1..=limits::SHARDS_MAX),
            read_level: check.parsed("read_level", self.read_level.as_deref(), LEVELS),
            write_level: check.parsed("write_level", self.write_level.as_deref(), LEVELS),
            read_repair: check.parsed(
                "read_repair",
                self.read_repair.as_deref(),
                "blocking, background",
            ),
            max_value_size: check.size(
                "max_value_size",
                self.max_value_size.as_ref(),
                limits::VALUE_SIZE_DEFAULT,
                1024..=limits::VALUE_SIZE_DEFAULT,
            ) as usize,
            maxclients: check.count(
                "maxclients",
                self.maxclients.as_ref(),
                limits::CLIENTS_DEFAULT,
                1..=limits::CLIENTS_MAX,
            ),
            request_timeout: check.duration(
                "request_timeout_ms",
                self.request_timeout_ms.as_ref(),
                limits::REQUEST_TIMEOUT_DEFAULT_MS,
                10..=limits::REQUEST_TIMEOUT_MAX_MS,
            ),
            gc_grace: check.duration(
                "gc_grace_seconds",
                self.gc_grace_seconds.as_ref(),
                limits::GC_GRACE_DEFAULT_SECONDS,
                0..=limits::GC_GRACE_MAX_SECONDS,
            ),
            scrub_interval: Some(check.duration(
                "scrub_interval_seconds",
                self.scrub_interval_seconds.as_ref(),
                limits::SCRUB_INTERVAL_DEFAULT_SECONDS,
                0..=limits::SCRUB_INTERVAL_MAX_SECONDS,
            ))
            .filter(|interval| !interval.is_zero()),
            scrub_bytes_per_second: check.size(
                "scrub_bytes_per_second",
                self.scrub_bytes_per_second.as_ref(),
                limits::SCRUB_BYTES_PER_SECOND_DEFAULT,
                limits::SCRUB_BYTES_PER_SECOND_MIN..=limits::SCRUB_BYTES_PER_SECOND_MAX,
            ),
            hints_bytes_max: check.size(
                "hints_bytes_max",
                self.hints_bytes_max.as_ref(),
                limits::HINTS_BYTES_DEFAULT,
                limits::HINTS_BYTES_MIN..=limits::HINTS_BYTES_MAX,
            ),
            hint_window: check.duration(
                "hint_window_seconds",
                self.hint_window_seconds.as_ref(),
                limits::HINT_WINDOW_DEFAULT_SECONDS,
                1..=limits::HINT_WINDOW_MAX_SECONDS,
            ),
            accept_damaged_log: self.accept_damaged_log,
            entropy: self.entropy.as_ref().map(|section| section.check(&mut check)),
        };
        check.unadvertised(&settings);
        if self.memory && self.data_dir.is_some() {
            check.wrong("data_dir", "with memory: true", "a directory, or memory: true, not both");
        }
        if check.errors.is_empty() { Ok(settings) } else { Err(ConfigErrors(check.errors)) }
    }
}

/// Collects what is wrong; every check gives a stand-in value, so that all keys are looked at.
#[derive(Default)]
struct Check {
    errors: Vec<ConfigError>,
}

impl Check {
    fn wrong(&mut self, key: &'static str, value: impl ToString, allowed: impl ToString) {
        let (value, allowed) = (value.to_string(), allowed.to_string());
        self.errors.push(ConfigError { key, value, allowed });
    }

    fn address(&mut self, key: &'static str, text: &str) -> SocketAddr {
        use std::net::ToSocketAddrs as _;
        match text.to_socket_addrs().ok().and_then(|mut found| found.next()) {
            Some(address) => address,
            None => {
                self.wrong(key, text, "host:port with a host that resolves and a port 0-65535");
                SocketAddr::from(([127, 0, 0, 1], 0))
            }
        }
    }

    /// An address that another process listens on. It is looked up when it is needed, and again when
    /// that fails.
    fn endpoint(&mut self, key: &'static str, text: &str) -> String {
        if !is_endpoint(text) {
            self.wrong(key, text, "host:port with a port 1-65535");
        }
        text.to_owned()
    }

    /// The default of an address whose port stands `offset` above that of `listen`.
    fn derived(
        &mut self,
        key: &'static str,
        listen: SocketAddr,
        offset: u16,
        allowed: &str,
    ) -> SocketAddr {
        let port = match listen.port() {
            0 => Some(0),
            port => port.checked_add(offset),
        };
        let Some(port) = port else {
            let why = format!("{allowed}, because the port of listen + {offset} is above 65535");
            self.wrong(key, "(none)", why);
            return listen;
        };
        SocketAddr::new(listen.ip(), port)
    }

    fn word(&mut self, key: &'static str, text: &str) -> String {
        let fine = !text.is_empty()
            && text.len() <= limits::NAME_LENGTH_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fine {
            self.wrong(key, text, "1 to 128 printable ASCII characters without spaces");
        }
        text.to_owned()
    }

    fn count<N: Copy + PartialOrd + fmt::Display + TryFrom<u64>>(
        &mut self,
        key: &'static str,
        given: Option<&Amount>,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let Some(amount) = given else { return default };
        let value = amount.count().and_then(|count| N::try_from(count).ok());
        value.filter(|value| range.contains(value)).unwrap_or_else(|| {
            self.wrong(key, amount, format_args!("{} to {}", range.start(), range.end()));
            default
        })
    }

    fn size(
        &mut self,
        key: &'static str,
        given: Option<&Amount>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(amount) = given else { return default };
        amount.bytes().filter(|bytes| range.contains(bytes)).unwrap_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let allowed =
                format!("{least} to {most} bytes, also with a unit such as 64kb, 512mb, 4gb");
            self.wrong(key, amount, allowed);
            default
        })
    }

    /// A duration. The end of `key` names the unit of the default, of the range, and of a number
    /// without a unit.
    fn duration(
        &mut self,
        key: &'static str,
        given: Option<&Amount>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        let (unit, of): (_, fn(u64) -> Duration) = if key.ends_with("_ms") {
            ("milliseconds", Duration::from_millis)
        } else {
            ("seconds", Duration::from_secs)
        };
        let Some(amount) = given else { return of(default) };
        let (least, most) = (*range.start(), *range.end());
        let fits = |duration: &Duration| (of(least)..=of(most)).contains(duration);
        amount.duration(of(1)).filter(fits).unwrap_or_else(|| {
            let allowed = format!(
                "{least} to {most} {unit}, also with a unit such as 100ms, 5s, 10m, 2h, 7d"
            );
            self.wrong(key, amount, allowed);
            of(default)
        })
    }

    fn parsed<T: FromStr + Default>(
        &mut self,
        key: &'static str,
        text: Option<&str>,
        allowed: &str,
    ) -> T {
        let Some(text) = text else { return T::default() };
        text.parse().unwrap_or_else(|_| {
            self.wrong(key, text, allowed);
            T::default()
        })
    }

    fn unadvertised(&mut self, settings: &Settings) {
        let told = [Some(settings.listen), Some(settings.peer_listen), settings.cluster_listen];
        let anywhere = told.iter().flatten().any(|address| address.ip().is_unspecified());
        if anywhere && settings.advertise.is_none() {
            self.wrong(
                "advertise",
                "(none)",
                "a host name or address, because listening on every address leaves open which one to tell others",
            );
        }
    }
}

/// Whether this can be the address of a listening process.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX).min(limits::SHARDS_MAX)
}

const DEFAULT_LISTEN: &str = "127.0.0.1:6379";
const DEFAULT_DATA_DIR: &str = "./quorate-data";
const NONE: &str = "none";
const LEVELS: &str = "ONE, LOCAL_QUORUM, QUORUM, ALL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_a_durable_node_on_loopback() {
        let settings = Config::default().validate().expect("defaults are allowed");
        assert_eq!(settings.listen, "127.0.0.1:6379".parse().expect("address"));
        assert_eq!(settings.peer_listen.port(), 16_379);
        assert_eq!(settings.cluster_listen.map(|address| address.port()), Some(11_379));
        assert_eq!(settings.data_dir, Some(PathBuf::from("./quorate-data")));
        assert_eq!(settings.sync, SyncPolicy::EverySecond);
        assert_eq!(settings.read_level, Level::LocalQuorum);
    }

    #[test]
    fn every_wrong_key_is_named_with_value_and_allowed() {
        let config = Config {
            listen: Some("nowhere".into()),
            sync: Some("sometimes".into()),
            rf: Some(Amount::from(0_u16)),
            read_level: Some("most".into()),
            name: Some("two words".into()),
            ..Config::default()
        };
        let ConfigErrors(errors) = config.validate().expect_err("five keys are wrong");
        let keys: Vec<_> = errors.iter().map(|error| error.key).collect();
        assert_eq!(keys, ["listen", "name", "rf", "sync", "read_level"]);
        assert_eq!(
            errors[3].to_string(),
            "sync: 'sometimes' is not allowed; allowed: always, everysec, no"
        );
    }

    #[test]
    fn ports_that_are_not_given_stand_above_that_of_listen() {
        let config = |listen: &str, cluster_listen: Option<&str>| Config {
            listen: Some(listen.into()),
            peer_listen: Some("127.0.0.1:1".into()),
            cluster_listen: cluster_listen.map(Into::into),
            ..Config::default()
        };
        let port = |config: Config| {
            config.validate().map(|settings| settings.cluster_listen.map(|address| address.port()))
        };
        assert_eq!(port(config("127.0.0.1:60535", None)), Ok(Some(65_535)));
        assert_eq!(port(config("127.0.0.1:0", None)), Ok(Some(0)));
        assert_eq!(port(config("127.0.0.1:60536", Some("none"))), Ok(None));
        assert_eq!(port(config("127.0.0.1:60536", Some("127.0.0.1:9"))), Ok(Some(9)));
        let error = port(config("127.0.0.1:60536", None)).expect_err("beyond what ports are");
        assert_eq!(
            error.to_string(),
            "cluster_listen: '(none)' is not allowed; allowed: an address or none, because the \
             port of listen + 5000 is above 65535"
        );
    }

    #[test]
    fn seeds_need_not_resolve_at_the_start() {
        let seeds = |text: &str| {
            let config = Config { seeds: vec![text.into()], ..Config::default() };
            config.validate().map(|settings| settings.seeds)
        };
        assert_eq!(seeds("node.invalid:16379"), Ok(vec!["node.invalid:16379".to_owned()]));
        for wrong in ["node", "node:", "node:0", ":1", "node:65536", "two words:1"] {
            let error = seeds(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with(&format!("seeds: '{wrong}' is not allowed")), "{error}");
        }
    }

    #[test]
    fn listening_everywhere_needs_an_address_to_advertise() {
        let config = Config { listen: Some("0.0.0.0:7000".into()), ..Config::default() };
        let error = config.validate().expect_err("nothing to advertise");
        assert!(error.to_string().starts_with("advertise:"), "{error}");
    }
}

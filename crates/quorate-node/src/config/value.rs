//! The kinds of values that settings have: how each is read, shown and checked.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use quorate_entropy::{Protocol, ReconPeer};
use quorate_proto::{Level, ReplicationFactor, hashkit::HashKind, limits::TOKENS_MAX};

use super::{
    ClusterListen, HashTag, LevelRule, PartitionerKind, ReadRepair, SeedSource, Setting,
    SyncPolicy, number,
    ring::{GENERATE, TokenList, Tokens},
    seeds::is_endpoint,
};
use crate::limits;

/// How a value is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text or a number.
    One,
    /// `true` or `false`; as a flag on the command line, without a value.
    Flag,
    /// A text or a number, or a section of several, each with a name of its own choice; as a flag,
    /// `name:value,name:value`.
    OneOrNamed,
    /// A list of texts; as a flag, given several times.
    Many,
    /// A list of sections with these keys, of which the later ones may be missing; as a flag, their
    /// values joined by commas.
    Sections(&'static [&'static str]),
}

/// A value of the settings.
pub(super) trait Value {
    fn shape(&self) -> Shape {
        Shape::One
    }

    /// Takes what was given, or adds it to a list, unless it cannot be understood.
    fn read(&mut self, text: &str, setting: &Setting) -> bool;

    fn show(&self, setting: &Setting) -> String;

    /// What of it is not allowed.
    fn wrong(&self, _: &Setting) -> Option<String> {
        None
    }

    fn allowed(&self, setting: &Setting) -> String;
}

const ADDRESS: &str = "host:port with a host that resolves and a port 0-65535";

fn address(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

impl Value for SocketAddr {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        address(text).is_some_and(|found| {
            *self = found;
            true
        })
    }

    fn show(&self, _: &Setting) -> String {
        self.to_string()
    }

    fn allowed(&self, _: &Setting) -> String {
        ADDRESS.into()
    }
}

impl Value for Option<SocketAddr> {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        *self = address(text);
        self.is_some()
    }

    fn show(&self, _: &Setting) -> String {
        self.map(|address| address.to_string()).unwrap_or_default()
    }

    fn allowed(&self, _: &Setting) -> String {
        ADDRESS.into()
    }
}

impl Value for ClusterListen {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        *self = if text == "none" { Self::Nowhere } else { address(text).map_or(*self, Self::At) };
        matches!(self, Self::Nowhere | Self::At(_))
    }

    fn show(&self, _: &Setting) -> String {
        match self {
            Self::Derived => String::new(),
            Self::Nowhere => "none".into(),
            Self::At(address) => address.to_string(),
        }
    }

    fn allowed(&self, _: &Setting) -> String {
        format!("none, or {ADDRESS}")
    }
}

/// A name of something.
impl Value for String {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        text.clone_into(self);
        true
    }

    fn show(&self, _: &Setting) -> String {
        self.clone()
    }

    fn wrong(&self, _: &Setting) -> Option<String> {
        let fits = (1..=limits::NAME_LENGTH_MAX).contains(&self.len());
        let is_word = fits && self.bytes().all(|byte| byte.is_ascii_graphic());
        (!is_word).then(|| self.clone())
    }

    fn allowed(&self, _: &Setting) -> String {
        format!("1 to {} printable ASCII characters without spaces", limits::NAME_LENGTH_MAX)
    }
}

impl Value for Option<String> {
    fn read(&mut self, text: &str, setting: &Setting) -> bool {
        self.get_or_insert_default().read(text, setting)
    }

    fn show(&self, _: &Setting) -> String {
        self.clone().unwrap_or_default()
    }

    fn wrong(&self, setting: &Setting) -> Option<String> {
        self.as_ref()?.wrong(setting)
    }

    fn allowed(&self, setting: &Setting) -> String {
        String::new().allowed(setting)
    }
}

/// Seeds: addresses of other nodes, and who names them.
impl Value for Vec<String> {
    fn shape(&self) -> Shape {
        Shape::Many
    }

    fn read(&mut self, text: &str, _: &Setting) -> bool {
        let is_fine = SeedSource::parse(text).is_some();
        self.extend(is_fine.then(|| text.to_owned()));
        is_fine
    }

    fn show(&self, _: &Setting) -> String {
        self.join(" ")
    }

    fn wrong(&self, _: &Setting) -> Option<String> {
        self.iter().find(|text| SeedSource::parse(text).is_none()).cloned()
    }

    fn allowed(&self, _: &Setting) -> String {
        "host:port with a port 1-65535, dns://HOST:PORT, srv://NAME, txt://NAME, \
         http://HOST:PORT/PATH, file:/PATH"
            .into()
    }
}

fn has_endpoints(ReconPeer { endpoint, node }: &ReconPeer) -> bool {
    is_endpoint(endpoint) && node.as_deref().is_none_or(is_endpoint)
}

fn show_peer(ReconPeer { endpoint, node }: &ReconPeer) -> String {
    node.as_ref().map_or_else(|| endpoint.clone(), |node| format!("{endpoint},{node}"))
}

impl Value for Vec<ReconPeer> {
    fn shape(&self) -> Shape {
        Shape::Sections(&["endpoint", "node"])
    }

    fn read(&mut self, text: &str, _: &Setting) -> bool {
        let (endpoint, node) =
            text.split_once(',').map_or((text, None), |(endpoint, node)| (endpoint, Some(node)));
        let peer = ReconPeer { endpoint: endpoint.into(), node: node.map(Into::into) };
        let is_fine = has_endpoints(&peer);
        self.extend(is_fine.then_some(peer));
        is_fine
    }

    fn show(&self, _: &Setting) -> String {
        self.iter().map(show_peer).collect::<Vec<_>>().join(" ")
    }

    fn wrong(&self, _: &Setting) -> Option<String> {
        if self.len() > limits::ENTROPY_PEERS_MAX {
            return Some(format!("{} peers", self.len()));
        }
        self.iter().find(|peer| !has_endpoints(peer)).map(show_peer)
    }

    fn allowed(&self, _: &Setting) -> String {
        let most = limits::ENTROPY_PEERS_MAX;
        format!("endpoint and node host:port with a port 1-65535, at most {most} peers")
    }
}

impl Value for Vec<LevelRule> {
    fn shape(&self) -> Shape {
        Shape::Sections(&["prefix", "read", "write"])
    }

    fn read(&mut self, text: &str, _: &Setting) -> bool {
        let rule = LevelRule::parse(text);
        let is_fine = rule.is_some();
        self.extend(rule);
        is_fine
    }

    fn show(&self, _: &Setting) -> String {
        self.iter().map(LevelRule::show).collect::<Vec<_>>().join(" ")
    }

    fn wrong(&self, _: &Setting) -> Option<String> {
        if self.len() > limits::LEVEL_RULES_MAX {
            return Some(format!("{} rules", self.len()));
        }
        let is_again = |(at, rule): &(usize, &LevelRule)| {
            self[..*at].iter().any(|before| before.prefix == rule.prefix)
        };
        let again = self.iter().enumerate().find(is_again);
        again.map(|(_, rule)| format!("{}, a second rule for the prefix", rule.show()))
    }

    fn allowed(&self, _: &Setting) -> String {
        let most = limits::LEVEL_RULES_MAX;
        format!("a prefix, a level of reads and one of writes ({LEVELS}), at most {most} rules")
    }
}

impl Value for Option<PathBuf> {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        *self = Some(text.into());
        !text.is_empty()
    }

    fn show(&self, _: &Setting) -> String {
        self.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn allowed(&self, _: &Setting) -> String {
        "a path".into()
    }
}

impl Value for bool {
    fn shape(&self) -> Shape {
        Shape::Flag
    }

    fn read(&mut self, text: &str, _: &Setting) -> bool {
        *self = text.eq_ignore_ascii_case("true");
        *self || text.eq_ignore_ascii_case("false")
    }

    fn show(&self, _: &Setting) -> String {
        self.to_string()
    }

    fn allowed(&self, _: &Setting) -> String {
        "true, false".into()
    }
}

/// Of types whose values have names.
macro_rules! choice {
    ($($type:ty: $names:expr),+ $(,)?) => { $(
        impl Value for $type {
            fn read(&mut self, text: &str, _: &Setting) -> bool {
                text.parse().is_ok_and(|value| {
                    *self = value;
                    true
                })
            }

            fn show(&self, _: &Setting) -> String {
                self.name().to_owned()
            }

            fn allowed(&self, _: &Setting) -> String {
                $names.to_owned()
            }
        }
    )+ };
}

const LEVELS: &str = "ONE, LOCAL_ONE, LOCAL_QUORUM, QUORUM, EACH_QUORUM, ALL";

choice! {
    SyncPolicy: "always, everysec, no",
    Level: LEVELS,
    ReadRepair: "blocking, background",
    Protocol: "v2, classic, any",
    PartitionerKind: "slots, ring",
    HashKind: "one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, \
               jenkins, murmur3, murmur3_32",
}

/// Of the types of the ring, which may have any value that can be read.
macro_rules! of_ring {
    ($($type:ty: $allowed:expr),+ $(,)?) => { $(
        impl Value for $type {
            fn read(&mut self, text: &str, _: &Setting) -> bool {
                text.parse().is_ok_and(|value| {
                    *self = value;
                    true
                })
            }

            fn show(&self, _: &Setting) -> String {
                <$type>::show(self)
            }

            fn allowed(&self, _: &Setting) -> String {
                $allowed
            }
        }
    )+ };
}

of_ring! {
    Tokens: format!(
        "1 to {TOKENS_MAX} numbers up to {} with commas between, or {GENERATE} and how many", u32::MAX
    ),
    TokenList: format!("numbers up to {} with commas between", u32::MAX),
}

impl Value for HashTag {
    fn read(&mut self, text: &str, _: &Setting) -> bool {
        text.parse().is_ok_and(|value| {
            *self = value;
            true
        })
    }

    fn show(&self, _: &Setting) -> String {
        HashTag::show(*self)
    }

    fn allowed(&self, _: &Setting) -> String {
        "two printable ASCII characters".into()
    }
}

/// Of whole numbers that are read by a function, within the range of their setting.
macro_rules! numbers {
    ($($type:ty: $read:path, $allowed:path),+ $(,)?) => { $(
        impl Value for $type {
            fn read(&mut self, text: &str, _: &Setting) -> bool {
                $read(text).and_then(|number| number.try_into().ok()).is_some_and(|number| {
                    *self = number;
                    true
                })
            }

            fn show(&self, _: &Setting) -> String {
                self.to_string()
            }

            fn wrong(&self, setting: &Setting) -> Option<String> {
                let fits = u64::try_from(*self).is_ok_and(|number| setting.range.contains(&number));
                (!fits).then(|| self.to_string())
            }

            fn allowed(&self, setting: &Setting) -> String {
                $allowed(&setting.range)
            }
        }
    )+ };
}

numbers! {
    u16: number::count, counts,
    u32: number::count, counts,
    u64: number::bytes, sizes,
    usize: number::bytes, sizes,
}

fn counts(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", range.start(), range.end())
}

fn sizes(range: &RangeInclusive<u64>) -> String {
    format!("{} bytes, also with a unit such as 64kb, 512mb, 4gb", counts(range))
}

/// A number, or one for each datacentre.
impl Value for ReplicationFactor {
    fn shape(&self) -> Shape {
        Shape::OneOrNamed
    }

    fn read(&mut self, text: &str, _: &Setting) -> bool {
        text.parse().is_ok_and(|factor| {
            *self = factor;
            true
        })
    }

    fn show(&self, _: &Setting) -> String {
        self.to_string()
    }

    fn wrong(&self, setting: &Setting) -> Option<String> {
        let is_written = match self {
            Self::Everywhere(_) => true,
            Self::ByDatacentre(_) => self.to_string().parse().as_ref() == Ok(self),
        };
        let fits = self.numbers().all(|factor| setting.range.contains(&u64::from(factor)));
        (!is_written || !fits).then(|| self.to_string())
    }

    fn allowed(&self, setting: &Setting) -> String {
        format!("{}, or one for each datacentre, such as dc1:3,dc2:2", counts(&setting.range))
    }
}

impl Value for Duration {
    fn read(&mut self, text: &str, setting: &Setting) -> bool {
        number::duration(text, setting.unit().1).is_some_and(|duration| {
            *self = duration;
            true
        })
    }

    fn show(&self, setting: &Setting) -> String {
        let (ms, unit_ms) = (self.as_millis(), setting.unit().1.as_millis());
        if ms % unit_ms == 0 { (ms / unit_ms).to_string() } else { format!("{ms}ms") }
    }

    fn wrong(&self, setting: &Setting) -> Option<String> {
        let unit = setting.unit().1;
        let bound = |count: &u64| unit.saturating_mul(u32::try_from(*count).unwrap_or(u32::MAX));
        let fits = (bound(setting.range.start())..=bound(setting.range.end())).contains(self);
        (!fits).then(|| self.show(setting))
    }

    fn allowed(&self, setting: &Setting) -> String {
        let (range, unit) = (counts(&setting.range), setting.unit().0);
        format!("{range} {unit}, also with a unit such as 100ms, 5s, 10m, 2h, 7d")
    }
}

/// A duration, or none: zero.
impl Value for Option<Duration> {
    fn read(&mut self, text: &str, setting: &Setting) -> bool {
        let mut duration = Duration::ZERO;
        let is_read = duration.read(text, setting);
        *self = Some(duration).filter(|duration| !duration.is_zero());
        is_read
    }

    fn show(&self, setting: &Setting) -> String {
        self.unwrap_or_default().show(setting)
    }

    fn wrong(&self, setting: &Setting) -> Option<String> {
        self.unwrap_or_default().wrong(setting)
    }

    fn allowed(&self, setting: &Setting) -> String {
        Duration::ZERO.allowed(setting)
    }
}

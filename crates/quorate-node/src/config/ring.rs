//! Where keys lie: how they get their slots, and which tokens this node has on a ring.

use std::str::FromStr;

use quorate_cluster::token_ring;
use quorate_proto::{Partitioner, hashkit::HashKind, limits::TOKENS_MAX};

use super::ConfigError;
use crate::limits;

/// The settings of the ring. The default is none: keys lie as in Redis Cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSettings {
    /// Which way from a key to its slot. Everything else counts for a ring alone.
    pub kind: PartitionerKind,
    /// The hash function.
    pub hash: HashKind,
    /// The characters between which stands what of a key is hashed.
    pub hash_tag: HashTag,
    /// The tokens of this node.
    pub tokens: Tokens,
    /// The tokens at which slots end whatever else: those of all nodes that the ring is made with.
    pub cuts: TokenList,
}

impl Default for RingSettings {
    fn default() -> Self {
        Self {
            kind: PartitionerKind::default(),
            hash: HashKind::Murmur,
            hash_tag: HashTag::default(),
            tokens: Tokens::default(),
            cuts: TokenList::default(),
        }
    }
}

/// The ways from a key to its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionerKind {
    /// As Redis Cluster has it.
    #[default]
    Slots,
    /// By tokens, as Dynomite has it.
    Ring,
}

impl PartitionerKind {
    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::Ring => "ring",
        }
    }
}

impl FromStr for PartitionerKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Slots, Self::Ring].into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

/// Two characters, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTag(pub Option<[u8; 2]>);

impl FromStr for HashTag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let tag = <[u8; 2]>::try_from(text.as_bytes()).map_err(|_| ())?;
        if tag.iter().all(u8::is_ascii_graphic) { Ok(Self(Some(tag))) } else { Err(()) }
    }
}

/// Tokens, written with commas between, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenList(pub Vec<u32>);

impl FromStr for TokenList {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers = text.split(',').map(|number| number.trim().parse::<u32>().map_err(|_| ()));
        let mut tokens: Vec<u32> = numbers.collect::<Result<_, ()>>()?;
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens))
    }
}

impl TokenList {
    pub(super) fn show(&self) -> String {
        self.0.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }
}

/// The tokens of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// So many, made from the name of the node.
    Generated(u16),
    /// These.
    Given(TokenList),
}

impl Default for Tokens {
    fn default() -> Self {
        Self::Generated(limits::TOKENS_DEFAULT)
    }
}

/// What stands before the number of tokens to be made.
pub(super) const GENERATE: &str = "generate:";

impl FromStr for Tokens {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix(GENERATE) {
            Some(count) => {
                let count = count
                    .parse()
                    .ok()
                    .filter(|count| (1..=TOKENS_MAX).contains(&usize::from(*count)));
                count.map(Self::Generated).ok_or(())
            }
            None => {
                let given: TokenList = text.parse()?;
                if given.0.len() <= TOKENS_MAX { Ok(Self::Given(given)) } else { Err(()) }
            }
        }
    }
}

impl RingSettings {
    /// How keys get their slots.
    ///
    /// # Panics
    /// When there are more tokens to end slots at than [`Settings::validate`](super::Settings::validate)
    /// allows.
    pub fn partitioner(&self) -> Partitioner {
        match self.kind {
            PartitionerKind::Slots => Partitioner::Slots,
            PartitionerKind::Ring => Partitioner::ring(self.hash, self.hash_tag.0, &self.cuts.0)
                .expect("invariant: settings are checked before they are used"),
        }
    }

    /// The tokens of the node that is called `name`; none without a ring.
    pub fn tokens_of(&self, partitioner: &Partitioner, name: &str) -> Vec<u32> {
        let Some(ring) = partitioner.as_ring() else { return Vec::new() };
        match &self.tokens {
            Tokens::Generated(count) => token_ring::generated(ring, name, *count),
            Tokens::Given(tokens) => tokens.0.clone(),
        }
    }

    /// Whether they fit together.
    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        if self.kind == PartitionerKind::Slots {
            let default = Self::default();
            let set = [
                ("hash", self.hash == default.hash, self.hash.name().to_owned()),
                ("hash_tag", self.hash_tag == default.hash_tag, self.hash_tag.show()),
                ("tokens", self.tokens == default.tokens, self.tokens.show()),
                ("ring_tokens", self.cuts == default.cuts, self.cuts.show()),
            ];
            let stray = set.into_iter().filter(|(_, is_default, _)| !is_default);
            let allowed = "only with partitioner: ring";
            errors.extend(stray.map(|(key, _, value)| ConfigError::new(key, value, allowed)));
            return;
        }
        let partitioner = match Partitioner::ring(self.hash, self.hash_tag.0, &self.cuts.0) {
            Ok(partitioner) => partitioner,
            Err(error) => {
                let count = format!("{} tokens", self.cuts.0.len());
                return errors.push(ConfigError::new("ring_tokens", count, error));
            }
        };
        if let (Tokens::Given(tokens), Some(ring)) = (&self.tokens, partitioner.as_ring())
            && let Err(error) = token_ring::check_tokens(ring, "this node", &tokens.0)
        {
            let allowed = format!("tokens that end a slot: {error}");
            errors.push(ConfigError::new("tokens", tokens.show(), allowed));
        }
    }
}

impl HashTag {
    pub(super) fn show(self) -> String {
        self.0.map(|tag| tag.map(char::from).iter().collect()).unwrap_or_default()
    }
}

impl Tokens {
    pub(super) fn show(&self) -> String {
        match self {
            Self::Generated(count) => format!("{GENERATE}{count}"),
            Self::Given(tokens) => tokens.show(),
        }
    }
}

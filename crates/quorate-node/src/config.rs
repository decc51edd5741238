//! Configuration: what the operator or the embedder says about a node.
//!
//! [`Settings`] is plain data with a default for everything. [`SETTINGS`] has one row for each of
//! its values; from it come the keys of the file, the flags, `CONFIG GET`, the reference in the
//! book, and the check of what is allowed.

use std::fmt;

pub use quorate_cluster::coordinator::ReadRepair;

mod channel;
mod levels;
mod number;
mod ring;
mod rows;
mod seeds;
mod settings;
mod value;

#[cfg(test)]
mod tests;

pub use channel::ChannelSettings;
pub use levels::LevelRule;
pub(crate) use levels::{levels_for, levels_for_all};
pub use ring::{HashTag, PartitionerKind, RingSettings, TokenList, Tokens};
pub use rows::{SETTINGS, Setting};
pub use seeds::{Record, SeedSource, listed};
pub use settings::{ClusterListen, Settings, SyncPolicy};
pub use value::Shape;

/// One wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl ConfigError {
    fn new(key: &'static str, value: impl ToString, allowed: impl ToString) -> Self {
        Self { key, value: value.to_string(), allowed: allowed.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: '{}' is not allowed; allowed: {}", self.key, self.value, self.allowed)
    }
}

/// Every wrong value of a configuration, never none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

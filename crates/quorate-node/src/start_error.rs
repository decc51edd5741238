//! Why a node does not start.

use std::{io, net::SocketAddr};

use quorate_cluster::{membership, topology::TopologyError};
use quorate_entropy::EntropyError;

use crate::{
    config::{ConfigError, ConfigErrors},
    descriptors,
    identity::DataDirectoryError,
};

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Keys of the configuration are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// The configuration does not fit the cluster that the data belongs to.
    #[error(transparent)]
    Membership(#[from] membership::StartError),
    /// The member list in the data directory is impossible.
    #[error("the member list in the data directory is impossible: {0}")]
    Topology(#[from] TopologyError),
    /// The address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {error}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// Records of the log are lost and no replica has them.
    #[error(
        "the log is damaged and no other replica can fill in what is missing: {0}; \
         accept_damaged_log: true starts with what can still be read"
    )]
    DamagedLog(String),
    /// The data directory holds a log that its identity does not name.
    #[error(
        "the data directory holds {log}, which its node.json does not name; nothing was changed. If \
         node.json is older than the log, put the newer one back. Otherwise move {log} away"
    )]
    UnnamedLog {
        /// The name of its directory.
        log: String,
    },
    /// The reconciliation channel.
    #[error("entropy: {0}")]
    Entropy(#[from] EntropyError),
    /// There are too few descriptors for the node and one client.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    /// Anything else that the operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(ConfigErrors(vec![error]))
    }
}

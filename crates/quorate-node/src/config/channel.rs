//! The section `entropy`: the reconciliation channel of a node.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_entropy::{
    DEFAULT_CONNECTIONS_MAX, DEFAULT_RECON_INTERVAL, EntropyConfig, EntropyIv, EntropyKey,
    EntropyResult, Patience, Protocol, ReconPeer,
};

use super::ConfigError;

/// What part a node has in the reconciliation channel. The default: none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSettings {
    /// Where snapshots are received and merged into this node's store.
    pub listen: Option<SocketAddr>,
    /// File with the pre-shared key. Needed to receive or to send.
    pub key_file: Option<PathBuf>,
    /// File with the pre-shared initialisation vector. Needed to receive or to send.
    pub iv_file: Option<PathBuf>,
    /// What senders may speak.
    pub protocol: Protocol,
    /// Whether plaintext is taken too.
    pub plain: bool,
    /// Senders served at a time.
    pub connections_max: u32,
    /// What the other side may take for its next 64 KiB.
    pub timeout: Duration,
    /// Receivers that are kept up to date.
    pub peers: Vec<ReconPeer>,
    /// Time between two comparisons with the peers.
    pub recon_interval: Duration,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            listen: None,
            key_file: None,
            iv_file: None,
            protocol: Protocol::V2,
            plain: false,
            connections_max: DEFAULT_CONNECTIONS_MAX as u32,
            timeout: Patience::default().idle,
            peers: Vec::new(),
            recon_interval: DEFAULT_RECON_INTERVAL,
        }
    }
}

impl ChannelSettings {
    /// Whether the node receives or sends.
    pub(super) fn is_used(&self) -> bool {
        self.listen.is_some() || !self.peers.is_empty()
    }

    /// How its values fit together.
    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        if self.plain && self.protocol == Protocol::V2 {
            let allowed = "false, or true with protocol: classic or any";
            errors.push(ConfigError::new("entropy.plain", true, allowed));
        }
        if self.is_used() {
            let key = |path: &Path| EntropyKey::load(path).map(drop);
            errors.extend(check_secret("entropy.key_file", self.key_file.as_deref(), key).err());
            let iv = |path: &Path| EntropyIv::load(path).map(drop);
            errors.extend(check_secret("entropy.iv_file", self.iv_file.as_deref(), iv).err());
        } else if self.key_file.is_some() || self.iv_file.is_some() {
            let allowed = "listen, to receive, or peers, to send, or both";
            errors.push(ConfigError::new("entropy", "without listen and peers", allowed));
        }
    }

    /// Settings of the node's receiver.
    pub fn receiving(&self) -> EntropyConfig {
        let (patience, idle) = (Patience::default(), self.timeout);
        EntropyConfig {
            key_file: self.key_file.clone().unwrap_or_default(),
            iv_file: self.iv_file.clone().unwrap_or_default(),
            encrypt: !self.plain,
            protocol: self.protocol,
            patience: Patience { idle, handshake: patience.handshake.min(idle), ..patience },
            connections_max: self.connections_max as usize,
            ..EntropyConfig::default()
        }
    }

    /// Settings of the node's driver, which knows version 2 only: the classic protocol does not
    /// tell whether anything was applied.
    pub fn sending(&self) -> EntropyConfig {
        EntropyConfig { protocol: Protocol::V2, encrypt: true, ..self.receiving() }
    }
}

fn check_secret(
    key: &'static str,
    path: Option<&Path>,
    load: impl Fn(&Path) -> EntropyResult<()>,
) -> Result<(), ConfigError> {
    const ALLOWED: &str = "a file with 16 bytes, or a PEM block with as many";
    let Some(path) = path else { return Err(ConfigError::new(key, "(none)", ALLOWED)) };
    load(path)
        .map_err(|error| ConfigError::new(key, path.display(), format_args!("{ALLOWED} ({error})")))
}

//! The section `entropy`: the reconciliation channel of a node.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Amount, Check, is_endpoint};
use crate::{
    entropy::{
        DEFAULT_CONNECTIONS_MAX, DEFAULT_RECON_INTERVAL, EntropyConfig, EntropyIv, EntropyKey,
        Patience, Protocol, ReconPeer,
    },
    limits,
};

/// What can be configured about the channel, as written in a file or given by flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntropySection {
    /// `host:port` where snapshots are received and merged into this node's store. Default: none
    /// are received.
    pub listen: Option<String>,
    /// File with the pre-shared key. Needed.
    pub key_file: Option<PathBuf>,
    /// File with the pre-shared initialisation vector. Needed.
    pub iv_file: Option<PathBuf>,
    /// What senders may speak: `v2` (default), `classic`, `any`.
    pub protocol: Option<String>,
    /// Take plaintext too, with `protocol: classic` or `any`. Default false.
    pub plain: bool,
    /// Senders served at a time. Default 32.
    pub connections: Option<Amount>,
    /// Seconds that the other side may take for its next 64 KiB. Default 30.
    pub timeout_seconds: Option<Amount>,
    /// Receivers that are kept up to date with what this node has. Default: none.
    pub peers: Vec<EntropyPeer>,
    /// Seconds between two comparisons with the peers. Default 300.
    pub recon_interval_seconds: Option<Amount>,
}

/// One receiver that is kept up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntropyPeer {
    /// `host:port` where its channel listens.
    pub endpoint: String,
    /// `host:port` where its node listens for clients, when that is in the same cluster and can be
    /// reached: then digests of both are compared.
    pub node: Option<String>,
}

/// The checked section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntropySettings {
    /// Where snapshots are received.
    pub listen: Option<SocketAddr>,
    /// File with the pre-shared key.
    pub key_file: PathBuf,
    /// File with the pre-shared initialisation vector.
    pub iv_file: PathBuf,
    /// What senders may speak.
    pub protocol: Protocol,
    /// Whether plaintext is taken too.
    pub plain: bool,
    /// Senders served at a time.
    pub connections_max: usize,
    /// What the other side may take for its next 64 KiB.
    pub timeout: Duration,
    /// Receivers that are kept up to date.
    pub peers: Vec<ReconPeer>,
    /// Time between two comparisons with the peers.
    pub recon_interval: Duration,
}

impl EntropySettings {
    /// Settings of the node's receiver.
    pub(crate) fn receiving(&self) -> EntropyConfig {
        let (patience, idle) = (Patience::default(), self.timeout);
        EntropyConfig {
            key_file: self.key_file.clone(),
            iv_file: self.iv_file.clone(),
            encrypt: !self.plain,
            protocol: self.protocol,
            patience: Patience { idle, handshake: patience.handshake.min(idle), ..patience },
            connections_max: self.connections_max,
            ..EntropyConfig::default()
        }
    }

    /// Settings of the node's driver, which knows version 2 only: the classic protocol does not
    /// tell whether anything was applied.
    pub(crate) fn sending(&self) -> EntropyConfig {
        EntropyConfig { protocol: Protocol::V2, encrypt: true, ..self.receiving() }
    }
}

impl EntropySection {
    pub(super) fn check(&self, check: &mut Check) -> EntropySettings {
        let listen = self.listen.as_ref().map(|text| check.address("entropy.listen", text));
        if listen.is_none() && self.peers.is_empty() {
            check.wrong(
                "entropy",
                "without listen and peers",
                "listen, to receive, or peers, to send, or both",
            );
        }
        let protocol =
            check.parsed("entropy.protocol", self.protocol.as_deref(), "v2, classic, any");
        if self.plain && protocol == Protocol::V2 {
            let allowed = "false, or true with protocol: classic or any";
            check.wrong("entropy.plain", true, allowed);
        }
        EntropySettings {
            listen,
            key_file: check_secret(check, "entropy.key_file", self.key_file.as_ref(), |path| {
                EntropyKey::load(path).map(drop)
            }),
            iv_file: check_secret(check, "entropy.iv_file", self.iv_file.as_ref(), |path| {
                EntropyIv::load(path).map(drop)
            }),
            protocol,
            plain: self.plain,
            connections_max: check.count(
                "entropy.connections",
                self.connections.as_ref(),
                DEFAULT_CONNECTIONS_MAX as u32,
                1..=limits::ENTROPY_CONNECTIONS_MAX,
            ) as usize,
            timeout: check.duration(
                "entropy.timeout_seconds",
                self.timeout_seconds.as_ref(),
                Patience::default().idle.as_secs(),
                1..=limits::ENTROPY_TIMEOUT_MAX_SECONDS,
            ),
            peers: self.check_peers(check),
            recon_interval: check.duration(
                "entropy.recon_interval_seconds",
                self.recon_interval_seconds.as_ref(),
                DEFAULT_RECON_INTERVAL.as_secs(),
                1..=limits::RECON_INTERVAL_MAX_SECONDS,
            ),
        }
    }

    fn check_peers(&self, check: &mut Check) -> Vec<ReconPeer> {
        if self.peers.len() > limits::ENTROPY_PEERS_MAX {
            let allowed = format!("at most {} peers", limits::ENTROPY_PEERS_MAX);
            check.wrong("entropy.peers", format!("{} peers", self.peers.len()), allowed);
        }
        let mut peers = Vec::new();
        for EntropyPeer { endpoint, node } in &self.peers {
            // Not resolved: a peer whose name is unknown now may be known in the next cycle.
            let node_key = "entropy.peers.node";
            for (key, text) in
                [("entropy.peers.endpoint", Some(endpoint)), (node_key, node.as_ref())]
            {
                if let Some(text) = text.filter(|text| !is_endpoint(text)) {
                    check.wrong(key, text, "host:port with a port 1-65535");
                }
            }
            peers.push(ReconPeer { endpoint: endpoint.clone(), node: node.clone() });
        }
        peers
    }
}

fn check_secret(
    check: &mut Check,
    key: &'static str,
    path: Option<&PathBuf>,
    load: impl Fn(&std::path::Path) -> crate::entropy::EntropyResult<()>,
) -> PathBuf {
    const ALLOWED: &str = "a file with 16 bytes, or a PEM block with as many";
    let Some(path) = path else {
        check.wrong(key, "(none)", ALLOWED);
        return PathBuf::new();
    };
    if let Err(error) = load(path) {
        check.wrong(key, path.display(), format_args!("{ALLOWED} ({error})"));
    }
    path.clone()
}

#[cfg(test)]
mod tests {
    use super::super::{Amount, Config};
    use super::*;

    fn vector(name: &str) -> Option<PathBuf> {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/entropy-vectors");
        Some(directory.join(name))
    }

    fn section() -> EntropySection {
        EntropySection {
            listen: Some("127.0.0.1:8105".into()),
            key_file: vector("key"),
            iv_file: vector("iv"),
            ..EntropySection::default()
        }
    }

    fn check(section: EntropySection) -> Result<EntropySettings, Vec<String>> {
        let config = Config { entropy: Some(section), ..Config::default() };
        match config.validate() {
            Ok(settings) => Ok(settings.entropy.expect("given")),
            Err(errors) => Err(errors.0.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_defaults_are_those_documented() {
        assert_eq!(Config::default().validate().expect("allowed").entropy, None);
        let settings = check(section()).expect("allowed");
        assert_eq!(settings.protocol, Protocol::V2);
        assert_eq!(settings.recon_interval, Duration::from_secs(300));
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(settings.connections_max, 32);
        assert!(settings.receiving().validate().is_ok() && settings.sending().validate().is_ok());
        let lenient = EntropySection { protocol: Some("any".into()), plain: true, ..section() };
        let settings = check(lenient).expect("allowed");
        assert!(settings.receiving().validate().is_ok() && settings.sending().validate().is_ok());
        assert!(settings.sending().encrypt && !settings.receiving().encrypt);
    }

    #[test]
    fn every_wrong_key_is_named_with_value_and_allowed() {
        type Change = fn(&mut EntropySection);
        let peer = |endpoint: &str| EntropyPeer { endpoint: endpoint.into(), node: None };
        let cases: [(Change, &str); 12] = [
            (|s| s.listen = None, "entropy: 'without listen and peers' is not allowed; allowed: "),
            (|s| s.listen = Some("x".into()), "entropy.listen: 'x' is not allowed; allowed: host"),
            (|s| s.key_file = None, "entropy.key_file: '(none)' is not allowed; allowed: a file"),
            (|s| s.iv_file = Some("/none".into()), "entropy.iv_file: '/none' is not allowed"),
            (
                |s| s.protocol = Some("v3".into()),
                "entropy.protocol: 'v3' is not allowed; allowed: v2, classic, any",
            ),
            (|s| s.plain = true, "entropy.plain: 'true' is not allowed; allowed: false, or true"),
            (
                |s| s.connections = Some(Amount::from(0_u64)),
                "entropy.connections: '0' is not allowed; allowed: 1 to",
            ),
            (
                |s| s.connections = Some(Amount::from(5000_u64)),
                "entropy.connections: '5000' is not allowed; ",
            ),
            (
                |s| s.timeout_seconds = Some(Amount::from(0_u64)),
                "entropy.timeout_seconds: '0' is not allowed; allowed: 1 to 86400",
            ),
            (
                |s| s.recon_interval_seconds = Some(Amount::from(0_u64)),
                "entropy.recon_interval_seconds: '0' is not allowed; allowed: 1 to 86400",
            ),
            (
                |s| s.recon_interval_seconds = Some(Amount::from(86_401_u64)),
                "entropy.recon_interval_seconds: '86401' is not allowed; allowed: 1 to 86400",
            ),
            (
                |s| s.protocol = Some("V2".into()),
                "entropy.protocol: 'V2' is not allowed; allowed: v2, classic, any",
            ),
        ];
        for (change, text) in cases {
            let mut section = section();
            change(&mut section);
            let errors = check(section).expect_err(text);
            assert!(errors.len() == 1 && errors[0].starts_with(text), "{errors:?}: {text}");
        }
        for wrong in ["", "host", ":8105", "host:0", "host:65536", "ho st:1"] {
            let errors = check(EntropySection { peers: vec![peer(wrong)], ..section() });
            let text =
                format!("entropy.peers.endpoint: '{wrong}' is not allowed; allowed: host:port");
            assert!(errors.expect_err(wrong)[0].starts_with(&text), "{wrong}");
            let with_node = EntropyPeer { node: Some(wrong.into()), ..peer("host:1") };
            let errors = check(EntropySection { peers: vec![with_node], ..section() });
            assert!(errors.expect_err(wrong)[0].starts_with("entropy.peers.node: '"), "{wrong}");
        }
        let many = EntropySection { peers: vec![peer("h:1"); 300], ..section() };
        assert!(check(many).expect_err("too many")[0].starts_with("entropy.peers: '300 peers'"));
    }
}

//! Keeping other nodes up to date: compares digests slot by slot, and ships the slots that differ.
//!
//! For what anti-entropy inside a cluster does not reach: a node of another cluster, or one behind
//! a link on which only this channel is open. One driver brings a peer what its own node has; for
//! both directions, each side runs one.
//!
//! With the client address of the peer's node, and when both belong to one cluster, digests of both
//! are compared. Otherwise (stamps of another cluster have other digests) a slot counts as
//! different when it has changed since the peer last acknowledged it.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    EntropyConfig, EntropyMaterial, EntropyResult, EntropySender, NodeSource, Sent, error::config,
};

/// Time between two cycles by default (`recon_interval_seconds: 300`).
pub const DEFAULT_RECON_INTERVAL: Duration = Duration::from_secs(300);

/// A receiver that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconPeer {
    /// `host:port` of the receiver, which merges into its node.
    pub endpoint: String,
    /// Client address of that node, when it is in the same cluster and can be reached.
    pub node: Option<String>,
}

/// What one cycle did for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Slots whose digests were equal or had not changed.
    pub slots_equal: usize,
    /// Slots that were shipped.
    pub slots_shipped: usize,
    /// Bytes that were shipped.
    pub bytes: u64,
}

/// What one cycle did.
#[derive(Debug)]
pub struct ReconCycle {
    /// For each peer, in the order given. A peer that failed is tried again in the next cycle.
    pub outcomes: Vec<EntropyResult<Reconciled>>,
}

impl ReconCycle {
    /// Peers that lack nothing now: something was compared, and shipped where it differed.
    pub fn repaired(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.is_ok()).count()
    }
}

/// Brings peers what the node has that they lack, again and again.
#[derive(Debug)]
pub struct EntropyDriver {
    config: EntropyConfig,
    material: EntropyMaterial,
    source: NodeSource,
    peers: Vec<(ReconPeer, Option<Vec<u128>>)>,
    interval: Duration,
}

/// Ends a running driver when it is dropped.
#[derive(Debug)]
pub struct DriverHandle {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl EntropyDriver {
    /// A driver for the node that `source` reads. `config` holds for every peer but for its
    /// `peer_endpoint`. Reads the secret.
    ///
    /// # Errors
    /// `Config` and `KeyMaterial`. Only version 2 will do: the classic protocol does not tell
    /// whether anything was applied.
    pub fn new(
        config: EntropyConfig,
        source: NodeSource,
        peers: Vec<ReconPeer>,
    ) -> EntropyResult<Self> {
        if !config.protocol.v2() {
            return Err(super::error::config("protocol classic; allowed for a driver: version 2"));
        }
        let material = config.load_material()?;
        let peers = peers.into_iter().map(|peer| (peer, None)).collect();
        Ok(Self { config, material, source, peers, interval: DEFAULT_RECON_INTERVAL })
    }

    /// Another time between two cycles.
    ///
    /// # Errors
    /// `Config` when it is zero.
    pub fn interval(mut self, interval: Duration) -> EntropyResult<Self> {
        if interval.is_zero() {
            return Err(config("recon_interval_seconds 0; allowed: 1 and more"));
        }
        self.interval = interval;
        Ok(self)
    }

    /// Goes through all peers once.
    pub fn cycle(&mut self) -> ReconCycle {
        let Self { config, material, source, peers, .. } = self;
        let outcomes = peers.iter_mut().map(|(peer, acknowledged)| {
            reconcile_with_peer(config, material, source, peer, acknowledged)
        });
        ReconCycle { outcomes: outcomes.collect() }
    }

    /// Runs cycles on this thread until the process ends, and reports each.
    pub fn run(mut self, mut report: impl FnMut(&ReconCycle)) {
        loop {
            report(&self.cycle());
            thread::sleep(self.interval);
        }
    }

    /// Runs cycles on a thread of its own; outcomes are logged.
    ///
    /// # Errors
    /// `Io` when there is no thread for it.
    pub fn start(mut self) -> EntropyResult<DriverHandle> {
        let (sender, stop) = mpsc::channel::<()>();
        let name = "quorate-recon".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || {
            loop {
                let cycle = self.cycle();
                for ((peer, _), outcome) in self.peers.iter().zip(&cycle.outcomes) {
                    let peer = &peer.endpoint;
                    match outcome {
                        Ok(done) => tracing::info!(peer, ?done, "reconciled"),
                        Err(error) => tracing::warn!(peer, %error, "not reconciled"),
                    }
                }
                if stop.recv_timeout(self.interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(DriverHandle { running: Some((sender, thread)) })
    }
}

impl Drop for DriverHandle {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.running.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// Compares the node with one peer and ships what differs. `acknowledged` holds the digests of what
/// the peer has acknowledged so far, and is brought up to date; `None` before the first time.
///
/// # Errors
/// Any. What was acknowledged before stays so; the next call compares again.
pub fn reconcile_with_peer(
    config: &EntropyConfig,
    material: &EntropyMaterial,
    source: &NodeSource,
    peer: &ReconPeer,
    acknowledged: &mut Option<Vec<u128>>,
) -> EntropyResult<Reconciled> {
    // Taken before the states are: what changes in between differs again the next time.
    let ours = source.digests()?;
    let theirs = match &peer.node {
        Some(node) => Some(NodeSource::new(node).digests()?),
        None => acknowledged.clone(),
    };
    // An empty slot has digest 0, and nothing to ship.
    let theirs = theirs.unwrap_or_else(|| vec![0; ours.len()]);
    let differs = |slot: usize| ours.get(slot) != theirs.get(slot);
    let shipped = (0..ours.len()).filter(|slot| differs(*slot)).count();
    let mut outcome =
        Reconciled { slots_equal: ours.len() - shipped, slots_shipped: shipped, bytes: 0 };
    if shipped > 0 {
        let some = Arc::new(source.only(|slot| differs(slot.index())));
        let config = EntropyConfig { peer_endpoint: peer.endpoint.clone(), ..config.clone() };
        let sender = EntropySender::with_material(config, material.clone(), some)?;
        let Sent { bytes, .. } = sender.run()?;
        outcome.bytes = bytes;
    }
    *acknowledged = Some(ours);
    Ok(outcome)
}

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
    time::{Duration, Instant},
};

use super::{
    EntropyConfig, EntropyMaterial, EntropyResult, EntropySender, NodeSource, Sent,
    connections::Connections, error::config,
};

/// Time between two cycles by default (`recon_interval_seconds: 300`).
pub const DEFAULT_RECON_INTERVAL: Duration = Duration::from_secs(300);

/// How often a driver that waits for its node looks whether it is ready.
const READY_INTERVAL: Duration = Duration::from_millis(250);

/// A receiver that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconPeer {
    /// `host:port` of the receiver, which merges into its node.
    pub endpoint: String,
    /// Client address of that node, when it is in the same cluster and can be reached.
    pub node: Option<String>,
}

/// What one cycle did for one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    connections: Connections,
}

/// Ends a running driver when it is dropped: a transfer under way is broken off.
#[derive(Debug)]
pub struct DriverHandle {
    running: Option<(Sender<()>, JoinHandle<()>)>,
    connections: Connections,
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
        let material = config.load_material()?;
        Self::with_material(config, material, source, peers)
    }

    /// A driver with a secret that does not come from files.
    ///
    /// # Errors
    /// `Config`.
    pub fn with_material(
        config: EntropyConfig,
        material: EntropyMaterial,
        source: NodeSource,
        peers: Vec<ReconPeer>,
    ) -> EntropyResult<Self> {
        config.validate()?;
        if !config.protocol.v2() {
            return Err(super::error::config("protocol classic; allowed for a driver: version 2"));
        }
        let peers = peers.into_iter().map(|peer| (peer, None)).collect();
        let (interval, connections) = (DEFAULT_RECON_INTERVAL, Connections::default());
        Ok(Self { config, material, source, peers, interval, connections })
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
        let Self { config, material, source, peers, connections, .. } = self;
        let outcomes = peers.iter_mut().map(|(peer, acknowledged)| {
            reconcile(config, material, source, peer, acknowledged, connections)
        });
        ReconCycle { outcomes: outcomes.collect() }
    }

    /// The peers, in the order of the outcomes.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &ReconPeer> {
        self.peers.iter().map(|(peer, _)| peer)
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
    pub fn start(self) -> EntropyResult<DriverHandle> {
        self.start_when(|| true, |_, _| {})
    }

    /// As [`EntropyDriver::start`], from when `ready` says so on, and reports each cycle.
    pub fn start_when(
        mut self,
        ready: impl Fn() -> bool + Send + 'static,
        mut report: impl FnMut(&ReconCycle, Duration) + Send + 'static,
    ) -> EntropyResult<DriverHandle> {
        let (sender, stop) = mpsc::channel::<()>();
        let connections = self.connections.clone();
        let name = "quorate-recon".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let stopped = |pause| stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            while !ready() {
                if stopped(READY_INTERVAL) {
                    return;
                }
            }
            loop {
                let began = Instant::now();
                let cycle = self.cycle();
                if self.connections.is_closed() {
                    return;
                }
                for (peer, outcome) in self.peers().zip(&cycle.outcomes) {
                    let peer = &peer.endpoint;
                    match outcome {
                        Ok(Reconciled { slots_equal, slots_shipped, bytes }) => {
                            tracing::info!(peer, slots_equal, slots_shipped, bytes, "reconciled");
                        }
                        Err(error) => tracing::warn!(peer, %error, "not reconciled"),
                    }
                }
                report(&cycle, began.elapsed());
                if stopped(self.interval) {
                    return;
                }
            }
        })?;
        Ok(DriverHandle { running: Some((sender, thread)), connections })
    }
}

impl DriverHandle {
    /// Whether the driver is still running. It ends by itself only by a bug.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, thread)| !thread.is_finished())
    }
}

impl Drop for DriverHandle {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.running.take() {
            self.connections.break_off();
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
    reconcile(config, material, source, peer, acknowledged, &Connections::default())
}

fn reconcile(
    config: &EntropyConfig,
    material: &EntropyMaterial,
    source: &NodeSource,
    peer: &ReconPeer,
    acknowledged: &mut Option<Vec<u128>>,
    connections: &Connections,
) -> EntropyResult<Reconciled> {
    // Taken before the states are: what changes in between differs again the next time.
    let ours = source.digests()?;
    let theirs = match &peer.node {
        Some(node) => Some(NodeSource::new(node).among(connections).digests()?),
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
        let Sent { bytes, .. } = sender.among(connections).run()?;
        outcome.bytes = bytes;
    }
    *acknowledged = Some(ours);
    Ok(outcome)
}

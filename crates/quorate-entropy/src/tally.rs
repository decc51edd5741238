//! What a node's part in the channel has come to, for `INFO`.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{ReconCycle, Reconciled};

/// Counts what a receiver and a driver have done since they were started.
#[derive(Debug, Default)]
pub struct Tally {
    applied: AtomicU64,
    refused: AtomicU64,
    bytes_applied: AtomicU64,
    cycles: Mutex<Cycles>,
}

/// What the cycles of a driver have come to.
#[derive(Clone, Debug, Default)]
pub struct Cycles {
    /// Cycles so far.
    pub count: u64,
    /// When the last one ended, in milliseconds since the Unix epoch.
    pub last_ended_ms: u64,
    /// How long it took.
    pub last_took: Duration,
    /// Bytes shipped in all cycles.
    pub bytes: u64,
    /// Slots shipped in all cycles.
    pub slots_shipped: u64,
    /// Failures in all cycles.
    pub failures: u64,
    /// For each peer, in the order of the configuration.
    pub peers: Vec<PeerTally>,
}

/// What the cycles have come to for one peer.
#[derive(Clone, Debug, Default)]
pub struct PeerTally {
    /// What the last cycle did; zeros when it failed.
    pub last: Reconciled,
    /// Failures in all cycles.
    pub failures: u64,
    /// Why the last cycle failed; empty when it did not.
    pub last_error: String,
}

impl Tally {
    pub(crate) fn applied(&self, bytes: u64) {
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.bytes_applied.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Snapshots applied, snapshots refused, and bytes of those applied.
    pub fn received(&self) -> [u64; 3] {
        [&self.applied, &self.refused, &self.bytes_applied].map(|each| each.load(Ordering::Relaxed))
    }

    /// The cycles so far.
    pub fn cycles(&self) -> Cycles {
        self.cycles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a cycle that has just ended.
    pub fn add(&self, cycle: &ReconCycle, took: Duration, ended_ms: u64) {
        let mut sum = self.cycles.lock().unwrap_or_else(PoisonError::into_inner);
        sum.count += 1;
        (sum.last_took, sum.last_ended_ms) = (took, ended_ms);
        sum.peers.resize_with(cycle.outcomes.len(), PeerTally::default);
        for (place, outcome) in cycle.outcomes.iter().enumerate() {
            let (last, failed, last_error) = match outcome {
                Ok(done) => (*done, 0, String::new()),
                Err(error) => (Reconciled::default(), 1, error.to_string()),
            };
            sum.bytes += last.bytes;
            sum.slots_shipped += last.slots_shipped as u64;
            sum.failures += failed;
            let failures = sum.peers[place].failures + failed;
            sum.peers[place] = PeerTally { last, failures, last_error };
        }
    }
}

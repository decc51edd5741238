//! Who is at work: shards of this node whose turn takes long, and other nodes that say so of theirs.
//!
//! A shard in a long turn answers nobody. The control, which is a thread of its own, sees it here
//! and tells the other nodes, so that they do not take this one for dead.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate_cluster::{limits::WORK_TOLD_AFTER, time::Instant};
use quorate_proto::NodeId;

/// Between two turns.
const IDLE: u64 = u64::MAX;

/// Turns of this node's shards, and when others have told of theirs.
#[derive(Debug)]
pub(crate) struct Work {
    /// By shard: when its turn began, in microseconds of the monotonic clock.
    turns: Vec<AtomicU64>,
    peers: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Work {
    pub(crate) fn new(shards: u16) -> Self {
        let turns = (0..shards).map(|_| AtomicU64::new(IDLE)).collect();
        Self { turns, peers: Mutex::default() }
    }

    /// A turn of a shard begins.
    pub(crate) fn begin(&self, shard: u16, now: Instant) {
        self.turns[usize::from(shard)].store(now.as_micros(), Ordering::Relaxed);
    }

    /// A turn of a shard has ended.
    pub(crate) fn end(&self, shard: u16) {
        self.turns[usize::from(shard)].store(IDLE, Ordering::Relaxed);
    }

    /// Whether a turn takes so long that others are to be told.
    pub(crate) fn takes_long(&self, now: Instant) -> bool {
        let began = self.turns.iter().map(|turn| turn.load(Ordering::Relaxed)).min();
        let began = began.filter(|began| *began != IDLE).map(Instant::from_micros);
        began.is_some_and(|began| now.since(began) >= WORK_TOLD_AFTER)
    }

    /// Another node is at work.
    pub(crate) fn note_peer(&self, peer: NodeId, now: Instant) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, now);
    }

    /// When other nodes were at work last, as far as they have told it.
    pub(crate) fn of_peers(&self) -> BTreeMap<NodeId, Instant> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_that_take_long_are_told() {
        let work = Work::new(2);
        let at = Instant::from_millis;
        assert!(!work.takes_long(at(1_000)));
        work.begin(1, at(1_000));
        assert!(!work.takes_long(at(1_099)));
        assert!(work.takes_long(at(1_100)));
        work.begin(0, at(1_090));
        work.end(1);
        assert!(!work.takes_long(at(1_100)));
    }
}

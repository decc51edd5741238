//! How far a transfer has got.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts plaintext bytes that have moved. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far, over all transfers that share the meter.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

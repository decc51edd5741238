//! Bytes of large messages that arrive in pieces, of all links of a node together.
//!
//! As many may arrive at a time as clients may have under way (`command_bytes_max`), or one,
//! however large. What is beyond waits at its sender, and nothing else with it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What one link has of them, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct ArrivingBytes {
    sum: Arc<AtomicU64>,
    own: u64,
}

impl ArrivingBytes {
    /// What another link has.
    pub(crate) fn another(&self) -> Self {
        Self { sum: Arc::clone(&self.sum), own: 0 }
    }

    /// Makes room for so many bytes, if there are `most` at most with them, or no others. Zero is no bound.
    pub(crate) fn admit(&mut self, bytes: usize, most: u64) -> bool {
        let bytes = bytes as u64;
        let fits = |sum: u64| {
            let is_admitted = most == 0 || sum == 0 || sum.saturating_add(bytes) <= most;
            is_admitted.then_some(sum.saturating_add(bytes))
        };
        let admitted = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if admitted {
            self.own += bytes;
        }
        admitted
    }

    /// Of the bytes for which room was made so many are left.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let gone = self.own.saturating_sub(bytes as u64);
        self.own -= gone;
        self.sum.fetch_sub(gone, Ordering::Relaxed);
    }
}

impl Drop for ArrivingBytes {
    fn drop(&mut self) {
        self.keep(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_beside_others_waits_until_they_have_come() {
        let node = ArrivingBytes::default();
        let (mut one, mut other) = (node.another(), node.another());
        assert!(one.admit(60, 100) && !other.admit(41, 100) && other.admit(40, 100));
        one.keep(10);
        assert!(one.admit(50, 100) && !one.admit(1, 100) && one.admit(1, 0));
        drop(one);
        assert!(!other.admit(61, 100));
        other.keep(0);
        assert!(other.admit(1_000, 100), "alone it may be of any size");
        drop(other);
        assert_eq!(node.sum.load(Ordering::Relaxed), 0);
    }
}

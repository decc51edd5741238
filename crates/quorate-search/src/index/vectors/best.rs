//! The nearest documents by exact distances.

use alloc::vec::Vec;

use super::super::postings::DocumentId;

/// The nearest documents, and those that are as far as the last of them.
#[derive(Debug)]
pub(super) struct Best {
    count: usize,
    found: Vec<(f64, DocumentId)>,
    /// Nothing further away is needed.
    bound: f64,
    /// How many may be kept until they are put in order.
    room: usize,
}

impl Best {
    /// Room at least.
    const ROOM_MIN: usize = 64;

    pub(super) fn new(count: usize) -> Best {
        let room = count.saturating_mul(2).max(Best::ROOM_MIN);
        Best { count, found: Vec::new(), bound: f64::INFINITY, room }
    }

    /// Takes a document at a distance; it may be offered at several.
    pub(super) fn offer(&mut self, distance: f64, document: DocumentId) {
        if distance.total_cmp(&self.bound).is_gt() && self.bound < f64::INFINITY {
            return;
        }
        self.found.push((distance, document));
        if self.found.len() >= self.room {
            self.prune();
            self.room = (self.found.len() * 2).max(self.room);
        }
    }

    /// How many documents of those that were asked for there are.
    pub(super) fn count(&mut self) -> usize {
        self.prune();
        self.found.len().min(self.count)
    }

    /// They, the nearest first, with those that are as far as the last.
    pub(super) fn into_sorted(mut self) -> Vec<(f64, DocumentId)> {
        self.prune();
        self.found
    }

    /// Of each document the nearest; of these the nearest.
    fn prune(&mut self) {
        self.found.sort_unstable_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0)));
        self.found.dedup_by_key(|(_, document)| *document);
        self.found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if let Some((last, _)) = self.count.checked_sub(1).and_then(|last| self.found.get(last)) {
            let last = *last;
            self.bound = last;
            let kept =
                self.found.partition_point(|(distance, _)| distance.total_cmp(&last).is_le());
            self.found.truncate(kept);
        }
    }
}

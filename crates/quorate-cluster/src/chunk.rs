//! Fingerprints in ascending order, as many as one message takes at a time.

use alloc::vec::Vec;

/// Fingerprints within a range, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The last fingerprint of the range.
    pub(crate) until: u64,
    pub(crate) fingerprints: Vec<u64>,
}

impl Chunk {
    /// Whether a peer may have sent this for a range that begins at `from`.
    pub(crate) fn is_sound(&self, from: u64) -> bool {
        let ascending = self.fingerprints.is_sorted_by(|a, b| a < b);
        let within = self.fingerprints.iter().all(|one| (from..=self.until).contains(one));
        ascending && within && self.until >= from
    }
}

/// Gathers the smallest fingerprints that are not below one. However many there are, only a few
/// times what is wanted is kept.
#[derive(Debug)]
pub(crate) struct Smallest {
    from: u64,
    until: u64,
    limit: usize,
    found: Vec<u64>,
}

impl Smallest {
    pub(crate) fn new(from: u64, limit: usize) -> Self {
        Self { from, until: u64::MAX, limit, found: Vec::new() }
    }

    pub(crate) fn push(&mut self, fingerprint: u64) {
        if (self.from..=self.until).contains(&fingerprint) {
            self.found.push(fingerprint);
        }
        if self.found.len() >= 4 * self.limit {
            self.cut();
        }
    }

    pub(crate) fn finish(mut self) -> Chunk {
        if self.found.len() > self.limit {
            self.cut();
        }
        self.found.sort_unstable();
        self.found.dedup();
        Chunk { until: self.until, fingerprints: self.found }
    }

    /// Drops all but the `limit` smallest.
    fn cut(&mut self) {
        let (_, last, _) = self.found.select_nth_unstable(self.limit - 1);
        self.until = self.until.min(*last);
        self.found.truncate(self.limit);
    }
}

/// What `these` have and `those` lack, up to and including `until`. Both are ascending.
pub(crate) fn only_in(these: &[u64], those: &[u64], until: u64) -> Vec<u64> {
    let here = &these[..these.partition_point(|one| *one <= until)];
    here.iter().copied().filter(|one| those.binary_search(one).is_err()).collect()
}

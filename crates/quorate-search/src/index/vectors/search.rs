//! How the nearest vectors, and those within a distance, are searched for.
//!
//! If a filter counts, one of three ways is taken by how many documents it leaves:
//!
//! * few: they are compared one by one (**scan**);
//! * some: the graph is followed from one that counts to the next, through those that do not
//!   (**in the graph**);
//! * most: the graph is followed as if there were no filter, a little further, and what does not
//!   count is left out (**afterwards**).
//!
//! What the graph does not find, because those that count lie apart, is found by a scan.

use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::best::Best;
use super::graph::{Graph, Scratch};
use super::space::Probe;
use super::{Slot, Vectors};
use crate::index::DocumentId;
use crate::query::VectorOptions;

/// Vectors that a scan is estimated to compare in the time in which a filtered walk through the graph
/// looks whether one counts, and compares one.
const SCANNED_A_LOOK: f64 = 0.05;
const SCANNED_A_STEP: f64 = 0.3;

/// With a filter that leaves this part of all or more, it is applied afterwards.
const AFTERWARDS: f64 = 0.7;

/// Vectors that are compared at once in a scan.
const AT_ONCE: usize = 64;

/// Candidates of a graph whose exact distances are looked at, besides twice those asked for.
const LOOKED_AT: usize = 16;

/// A vector that those of a field are compared with.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    vectors: &'a Vectors,
    probe: Probe,
}

impl Vectors {
    /// To compare vectors with one of that many bytes.
    pub(crate) fn compared(&self, bytes: &[u8]) -> Compared<'_> {
        Compared { vectors: self, probe: self.space.probe(bytes) }
    }
}

/// What is asked of the nearest.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    count: usize,
    /// The documents that count, if not all.
    among: Option<&'a RoaringBitmap>,
    candidates: usize,
}

/// What a walk through the graph is estimated to take if a part of all vectors counts.
#[derive(Debug, Clone, Copy)]
struct Walked {
    /// Vectors that a scan compares in the time for one candidate.
    scanned: f64,
    /// Candidates for one that is asked for: where few neighbours and few of theirs count, there are
    /// fewer ways to the nearest, and more of them must be tried.
    wider: f64,
}

impl Walked {
    fn new(graph: &Graph, part: f64) -> Walked {
        let neighbours = graph.capacity(0) as f64;
        let reached = neighbours * (neighbours + 1.0);
        let looks = reached.min(neighbours / part);
        let steps = neighbours.min(reached * part);
        let scanned = looks * SCANNED_A_LOOK + steps * SCANNED_A_STEP;
        Walked { scanned, wider: neighbours / steps }
    }

    /// Vectors that a scan compares in the time for that many candidates.
    fn scanned(self, candidates: usize) -> u64 {
        (self.scanned * candidates as f64) as u64
    }

    fn candidates(self, asked: usize) -> usize {
        (self.wider * asked as f64) as usize
    }
}

impl Compared<'_> {
    /// The distance of a document: that of the nearest of its vectors, if it has any.
    pub(crate) fn distance(&self, document: DocumentId) -> Option<f64> {
        let slots: Vec<Slot> = self.vectors.slots(document).collect();
        let mut distances = Vec::new();
        self.vectors.space.exact(&self.probe, &slots, &mut distances);
        distances.into_iter().min_by(f64::total_cmp)
    }

    /// The `count` nearest documents, of some or of all, the nearest first, and those that are as
    /// far away as the last of them.
    pub(crate) fn nearest(
        &self,
        count: u64,
        among: Option<&RoaringBitmap>,
        options: &VectorOptions,
    ) -> Vec<(f64, DocumentId)> {
        let vectors = self.vectors;
        let there = vectors.documents.len();
        let counting = among.map_or(there, |among| among.intersection_len(&vectors.documents));
        let count = count.min(counting);
        if count == 0 {
            return Vec::new();
        }
        let batch = options.batch_size.filter(|_| options.in_batches == Some(true)).unwrap_or(0);
        let candidates = options.candidates.unwrap_or(vectors.defaults.candidates);
        // More than there are find no more.
        let candidates = candidates.max(count).max(batch).min(there);
        let (count, candidates) = (count as usize, candidates as usize);
        let mut asked = Asked { count, among, candidates };
        let Some(graph) = vectors.graph.as_ref().filter(|graph| graph.linked() > 0) else {
            return self.scan(asked);
        };
        let part = counting as f64 / there as f64;
        let is_brute = among.is_some() && options.in_batches == Some(false);
        let walked = Walked::new(graph, part);
        if is_brute || counting <= walked.scanned(walked.candidates(candidates)) {
            return self.scan(asked);
        }
        let afterwards = options.in_batches == Some(true) || part >= AFTERWARDS;
        if among.is_some() && !afterwards {
            asked.candidates = walked.candidates(candidates);
        }
        loop {
            let found = self.follow(graph, asked, afterwards, part);
            if let Some(found) = found {
                return found;
            }
            asked.candidates *= 2;
            if walked.scanned(asked.candidates) >= counting {
                return self.scan(asked);
            }
        }
    }

    /// What is found by the graph, if it is enough.
    fn follow(
        &self,
        graph: &Graph,
        asked: Asked<'_>,
        afterwards: bool,
        part: f64,
    ) -> Option<Vec<(f64, DocumentId)>> {
        let vectors = self.vectors;
        let Asked { count, among, candidates } = asked;
        let mut scratch = Scratch::default();
        let accepts = |slot: Slot| {
            let owner = vectors.owners[slot as usize];
            // No document has the number that stands for none.
            owner != super::NONE && among.is_none_or(|among| among.contains(owner))
        };
        if among.is_some() && !afterwards {
            graph.search_among(&vectors.space, &self.probe, candidates, accepts, &mut scratch);
            // What lies apart is reached in part only.
            if !scratch.pool.is_full() {
                return None;
            }
        } else {
            let candidates = (candidates as f64 / part) as usize;
            graph.search(&vectors.space, &self.probe, candidates, &mut scratch);
        }
        let mut best = Best::new(count);
        let found = scratch.pool.nearest().map(|(_, slot)| slot).filter(|slot| accepts(*slot));
        let looked_at =
            if vectors.space.is_quantised() { usize::MAX } else { 2 * count + LOOKED_AT };
        self.offer(found.take(looked_at), &mut best);
        self.offer(graph.unlinked().filter(|slot| accepts(*slot)), &mut best);
        (best.count() == count).then(|| best.into_sorted())
    }

    /// What is found by comparing all that count.
    fn scan(&self, asked: Asked<'_>) -> Vec<(f64, DocumentId)> {
        let vectors = self.vectors;
        let mut best = Best::new(asked.count);
        match asked.among {
            Some(among) => {
                self.offer(among.iter().flat_map(|id| vectors.slots(id)), &mut best);
            }
            None => {
                let slots = 0..vectors.owners.len() as Slot;
                self.offer(slots.filter(|slot| vectors.owner(*slot).is_some()), &mut best);
            }
        }
        best.into_sorted()
    }

    fn offer(&self, slots: impl Iterator<Item = Slot>, best: &mut Best) {
        self.exact(slots, |slot, distance| {
            if let Some(owner) = self.vectors.owner(slot) {
                best.offer(distance, owner);
            }
        });
    }

    /// The exact distances of some slots.
    fn exact(&self, mut slots: impl Iterator<Item = Slot>, mut take: impl FnMut(Slot, f64)) {
        let mut batch = Vec::with_capacity(AT_ONCE);
        let mut distances = Vec::with_capacity(AT_ONCE);
        loop {
            batch.clear();
            batch.extend(slots.by_ref().take(AT_ONCE));
            if batch.is_empty() {
                return;
            }
            self.vectors.space.exact(&self.probe, &batch, &mut distances);
            batch.iter().zip(&distances).for_each(|(&slot, &distance)| take(slot, distance));
        }
    }

    /// The documents within a distance.
    pub(crate) fn within(&self, radius: f64, options: &VectorOptions) -> RoaringBitmap {
        let vectors = self.vectors;
        let mut found = RoaringBitmap::new();
        let mut take = |slot: Slot, distance: f64| {
            if let Some(owner) = vectors.owner(slot).filter(|_| distance <= radius) {
                found.insert(owner);
            }
        };
        let all = 0..vectors.owners.len() as Slot;
        let Some(graph) = vectors.graph.as_ref().filter(|graph| graph.linked() > 0) else {
            self.exact(all.filter(|slot| vectors.owner(*slot).is_some()), take);
            return found;
        };
        let candidates = options.candidates.unwrap_or(vectors.defaults.candidates);
        let candidates = candidates.min(vectors.owners.len() as u64) as usize;
        let epsilon = options.epsilon.unwrap_or(vectors.defaults.epsilon);
        let mut scratch = Scratch::default();
        graph.search(&vectors.space, &self.probe, candidates, &mut scratch);
        let mut near: Vec<Slot> = scratch.pool.nearest().map(|(_, slot)| slot).collect();
        let wider = radius * (1.0 + epsilon);
        graph.spread(&vectors.space, &self.probe, wider, &mut scratch, |slot| near.push(slot));
        self.exact(near.into_iter().chain(graph.unlinked()), &mut take);
        found
    }
}

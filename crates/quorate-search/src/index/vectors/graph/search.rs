//! Following a graph.

use super::{Graph, Probe, Scratch, Slot, Space};

/// Candidates of the unfiltered search that finds where a filtered one begins.
const SEEDS: usize = 8;

impl Graph {
    /// Leaves in the pool of `scratch` the `candidates` nearest of the graph, as far as they are
    /// found, and what was removed among them.
    pub(in super::super) fn search(
        &self,
        space: &Space,
        probe: &Probe,
        candidates: usize,
        scratch: &mut Scratch,
    ) {
        // What was removed takes its share of the places.
        let share = candidates.saturating_mul(self.gone) / self.linked.max(1);
        self.seek(space, probe, candidates.saturating_add(share), scratch);
    }

    /// As [`Graph::search`], of those that `accepts` lets through: goes from one to the next
    /// through those that it does not.
    pub(in super::super) fn search_among(
        &self,
        space: &Space,
        probe: &Probe,
        candidates: usize,
        accepts: impl Fn(Slot) -> bool,
        scratch: &mut Scratch,
    ) {
        self.seek(space, probe, SEEDS, scratch);
        let seeds: alloc::vec::Vec<Slot> = scratch.pool.nearest().map(|(_, slot)| slot).collect();
        scratch.pool.reset(candidates.min(self.states.len()));
        scratch.marks.reset(self.states.len());
        scratch.passed.reset(self.states.len());
        for &seed in &seeds {
            scratch.batch.clear();
            if accepts(seed) && scratch.marks.mark(seed) {
                scratch.batch.push(seed);
            }
            self.gather(seed, &accepts, scratch);
            self.offer(space, probe, scratch);
        }
        while let Some(slot) = scratch.pool.expand() {
            scratch.batch.clear();
            self.gather(slot, &accepts, scratch);
            self.offer(space, probe, scratch);
        }
    }

    /// The `candidates` nearest in the lowest layer.
    fn seek(&self, space: &Space, probe: &Probe, candidates: usize, scratch: &mut Scratch) {
        scratch.pool.reset(candidates.min(self.states.len()));
        let Some(entry) = self.descend(space, probe, 0, scratch) else { return };
        self.begin(space, probe, &[entry], scratch);
        self.walk(space, probe, 0, scratch);
    }

    /// From the entry down to a layer, always to the nearest.
    pub(super) fn descend(
        &self,
        space: &Space,
        probe: &Probe,
        layer: u32,
        scratch: &mut Scratch,
    ) -> Option<Slot> {
        let mut at = self.entry?;
        let Scratch { distances, compared, .. } = scratch;
        space.coarse(probe, &[at], distances);
        let mut nearest = distances[0];
        for layer in (layer + 1..=self.links.top(at)).rev() {
            loop {
                let neighbours = self.links.of(at, layer);
                space.coarse(probe, neighbours, distances);
                *compared += neighbours.len();
                let found = neighbours.iter().zip(distances.iter());
                let Some((&slot, &distance)) = found.min_by(|a, b| a.1.total_cmp(b.1)) else {
                    break;
                };
                if distance.total_cmp(&nearest).is_ge() {
                    break;
                }
                (at, nearest) = (slot, distance);
            }
        }
        Some(at)
    }

    /// Begins a walk at some slots, with an empty pool.
    pub(super) fn begin(
        &self,
        space: &Space,
        probe: &Probe,
        slots: &[Slot],
        scratch: &mut Scratch,
    ) {
        scratch.marks.reset(self.states.len());
        scratch.batch.clear();
        for &slot in slots {
            if scratch.marks.mark(slot) {
                scratch.batch.push(slot);
            }
        }
        self.offer(space, probe, scratch);
    }

    /// Goes from neighbour to neighbour until there is none left that is nearer than what the pool
    /// has.
    pub(super) fn walk(&self, space: &Space, probe: &Probe, layer: u32, scratch: &mut Scratch) {
        while let Some(slot) = scratch.pool.expand() {
            if let Some(next) = scratch.pool.upcoming().filter(|_| layer == 0) {
                self.links.touch(next);
            }
            let Scratch { batch, marks, .. } = scratch;
            let neighbours = self.links.of(slot, layer);
            // Without a branch, which would be as likely as not.
            batch.resize(neighbours.len(), 0);
            let mut count = 0;
            for &neighbour in neighbours {
                batch[count] = neighbour;
                count += usize::from(marks.mark(neighbour));
            }
            batch.truncate(count);
            self.offer(space, probe, scratch);
        }
    }

    /// From slots that are there already, to all whose exact distance is within `radius`; what
    /// they are is told to `take`.
    pub(in super::super) fn spread(
        &self,
        space: &Space,
        probe: &Probe,
        radius: f64,
        scratch: &mut Scratch,
        mut take: impl FnMut(Slot),
    ) {
        let mut batch: alloc::vec::Vec<Slot> =
            scratch.pool.nearest().map(|(_, slot)| slot).collect();
        scratch.marks.reset(self.states.len());
        batch.iter().for_each(|&slot| _ = scratch.marks.mark(slot));
        let mut distances = alloc::vec::Vec::new();
        let mut open: alloc::vec::Vec<Slot> = alloc::vec::Vec::new();
        let mut near = |batch: &[Slot], open: &mut alloc::vec::Vec<Slot>| {
            space.exact(probe, batch, &mut distances);
            let found = batch.iter().zip(&distances);
            open.extend(found.filter(|(_, distance)| **distance <= radius).map(|(slot, _)| *slot));
        };
        near(&batch, &mut open);
        while let Some(slot) = open.pop() {
            take(slot);
            batch.clear();
            let neighbours = self.links.of(slot, 0).iter().copied();
            batch.extend(neighbours.filter(|&neighbour| scratch.marks.mark(neighbour)));
            near(&batch, &mut open);
        }
    }

    /// Collects neighbours that are accepted and were not met; through neighbours that are not
    /// accepted theirs, until there are enough.
    fn gather(&self, slot: Slot, accepts: &impl Fn(Slot) -> bool, scratch: &mut Scratch) {
        let neighbours = self.links.of(slot, 0);
        let enough = self.links.capacity(0);
        for &neighbour in neighbours {
            if accepts(neighbour) && scratch.marks.mark(neighbour) {
                scratch.batch.push(neighbour);
            }
        }
        for &neighbour in neighbours {
            if scratch.batch.len() >= enough {
                return;
            }
            if accepts(neighbour) || !scratch.passed.mark(neighbour) {
                continue;
            }
            for &further in self.links.of(neighbour, 0) {
                if accepts(further) && scratch.marks.mark(further) {
                    scratch.batch.push(further);
                }
            }
        }
    }

    fn offer(&self, space: &Space, probe: &Probe, scratch: &mut Scratch) {
        let Scratch { pool, batch, distances, compared, .. } = scratch;
        space.coarse(probe, batch, distances);
        *compared += batch.len();
        for (&slot, &distance) in batch.iter().zip(distances.iter()) {
            pool.offer(distance, slot);
        }
    }
}

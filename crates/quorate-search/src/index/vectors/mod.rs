//! The vectors of a `VECTOR` field.
//!
//! They are compared one by one (`FLAT`), or a graph over them is followed (`HNSW`, `SVS-VAMANA`),
//! by coarse distances if these are cheaper; what is found is ordered by exact ones. See [`graph`]
//! for how vectors come into it and leave it, [`search`] for how a query is planned.

mod best;
mod blocks;
mod codes;
mod distance;
mod fixed;
mod graph;
mod kept;
mod pool;
mod products;
mod search;
mod space;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use self::distance::{Brain, Component, Half};
use self::graph::Graph;
use self::kept::Remembered;
use self::space::{Coarse, Space};
use super::postings::DocumentId;
use crate::schema::{Algorithm, Element, Vector};

pub(crate) use search::Compared;

/// Where a vector is. Below 2^31: a search keeps a bit beside it.
type Slot = u32;

const SLOTS_MAX: usize = 1 << 31;

/// In place of a slot or of a document: none.
const NONE: u32 = u32::MAX;

/// Vectors and the documents that have them.
#[derive(Debug)]
pub(crate) struct Vectors {
    space: Space,
    graph: Option<Graph>,
    defaults: Defaults,
    /// Whose the vectors are, by their slots.
    owners: Vec<DocumentId>,
    /// The next vector of the same document, by slots.
    following: Vec<Slot>,
    /// The first vector of a document, by documents.
    first: Vec<Slot>,
    /// Slots that can be used again.
    vacant: Vec<Slot>,
    /// Those that have vectors.
    documents: RoaringBitmap,
    /// A graph from before, as long as its documents come in again.
    remembered: Option<Remembered>,
}

/// What the schema says about searches.
#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    candidates: u64,
    epsilon: f64,
}

impl Vectors {
    pub(super) fn new(vector: &Vector) -> Vectors {
        let (coarse, graph, defaults) = match &vector.algorithm {
            Algorithm::Flat(_) => (Coarse::Whole, None, Defaults::default()),
            Algorithm::Hnsw(hnsw) => (
                Coarse::Cheap,
                Some(Graph::new(hnsw.neighbours, hnsw.construction_candidates)),
                Defaults { candidates: hnsw.search_candidates, epsilon: hnsw.epsilon },
            ),
            // Its degree is that of the lowest layer.
            Algorithm::Vamana(vamana) => (
                if vamana.compression.is_some() { Coarse::Codes } else { Coarse::Cheap },
                Some(Graph::new(vamana.degree.div_ceil(2), vamana.construction_candidates)),
                Defaults { candidates: vamana.search_candidates, epsilon: vamana.epsilon },
            ),
        };
        let dimensions = vector.dimensions as usize;
        Vectors {
            space: Space::new(vector.element, dimensions, vector.metric, coarse),
            graph,
            defaults,
            owners: Vec::new(),
            following: Vec::new(),
            first: Vec::new(),
            vacant: Vec::new(),
            documents: RoaringBitmap::new(),
            remembered: None,
        }
    }

    /// Gives a document a vector, besides those that it has. The bytes are as many as the schema
    /// says. It is found at once, and not in the graph yet.
    pub(super) fn insert(&mut self, bytes: &[u8], document: DocumentId, key: &[u8]) {
        let former = self.remembered.as_mut().and_then(|remembered| remembered.next(key));
        let former_slot = former.map(|(slot, _)| slot);
        let slot = former_slot.or_else(|| self.vacant.pop()).unwrap_or_else(|| {
            assert!(self.owners.len() < SLOTS_MAX, "invariant: fewer vectors than slots");
            self.owners.push(NONE);
            self.following.push(NONE);
            (self.owners.len() - 1) as Slot
        });
        let documents = self.first.len().max(document as usize + 1);
        self.first.resize(documents, NONE);
        self.owners[slot as usize] = document;
        self.following[slot as usize] = self.first[document as usize];
        self.first[document as usize] = slot;
        self.documents.insert(document);
        self.space.set(slot, bytes);
        let Some(graph) = &mut self.graph else { return };
        match former {
            Some((_, fingerprint)) => {
                graph.restore(slot, self.space.fingerprint(slot) == fingerprint)
            }
            None => graph.insert(slot),
        }
    }

    /// Removes the vectors of a document, which are not found any more.
    pub(super) fn remove(&mut self, document: DocumentId) {
        if !self.documents.remove(document) {
            return;
        }
        let mut slot = core::mem::replace(&mut self.first[document as usize], NONE);
        while slot != NONE {
            self.owners[slot as usize] = NONE;
            let following = core::mem::replace(&mut self.following[slot as usize], NONE);
            if self.graph.as_mut().is_none_or(|graph| graph.remove(slot)) {
                self.vacant.push(slot);
            }
            slot = following;
        }
    }

    /// Works on the graph for as long as it takes to compare about that many vectors; whether there
    /// is more to do.
    pub(super) fn advance(&mut self, budget: usize) -> bool {
        let Some(graph) = &mut self.graph else { return false };
        if self.remembered.is_some() {
            // Neighbours may lead to vectors that have not come.
            return true;
        }
        if graph.finds_too_coarse(&self.space) {
            self.space.make_exact();
            graph.restart(&mut self.vacant);
        }
        graph.advance(&self.space, budget, &mut self.vacant)
    }

    /// How many vectors are compared with another to find the nearest: all, or about as many as a
    /// graph leads to.
    pub(crate) fn compared_at_most(&self, graph_steps: u64) -> u64 {
        let all = self.documents.len();
        if self.graph.is_some() { all.min(graph_steps) } else { all }
    }

    /// Components of a vector.
    pub(crate) fn dimensions(&self) -> u64 {
        self.space.dimensions() as u64
    }

    /// Bytes that are occupied.
    pub(super) fn memory(&self) -> usize {
        let places = self.owners.capacity() + self.following.capacity() + self.first.capacity();
        let places = (places + self.vacant.capacity()) * size_of::<u32>();
        let graph = self.graph.as_ref().map_or(0, Graph::memory);
        // Of a set a number takes two bytes, or each possible one a bit.
        let documents = (2 * self.documents.len() as usize).min(self.first.len() / 8);
        self.space.memory() + graph + places + documents
    }

    /// The slots of a document's vectors.
    fn slots(&self, document: DocumentId) -> impl Iterator<Item = Slot> {
        let first = self.first.get(document as usize).copied();
        let is_there = |slot: &Slot| *slot != NONE;
        let following = move |slot: &Slot| Some(self.following[*slot as usize]).filter(is_there);
        core::iter::successors(first.filter(is_there), following)
    }

    /// The document whose vector is in a slot, unless it was removed.
    fn owner(&self, slot: Slot) -> Option<DocumentId> {
        Some(self.owners[slot as usize]).filter(|owner| *owner != NONE)
    }
}

/// The bytes of a vector of these numbers.
pub(super) fn bytes_of(numbers: &[f64], element: Element) -> Vec<u8> {
    let mut bytes = vec![];
    for &number in numbers {
        match element {
            Element::Float32 => bytes.extend((number as f32).to_le_bytes()),
            Element::Float64 => bytes.extend(number.to_le_bytes()),
            Element::Float16 => bytes.extend(Half::of(number).bits().to_le_bytes()),
            Element::Bfloat16 => bytes.extend(Brain::of(number).bits().to_le_bytes()),
            Element::Int8 => bytes.extend(i8::of(number).to_le_bytes()),
            Element::Uint8 => bytes.extend(u8::of(number).to_le_bytes()),
        }
    }
    bytes
}

//! The graph of a field, kept from one run to the next.
//!
//! To link a vector takes most of the time in which an index is made anew. So the neighbours of all
//! linked vectors are written down, with the keys of their documents and a fingerprint of each vector.
//! As the documents come in again, a vector that is the same takes its former slot and has its former
//! neighbours; any other is linked as always. A graph decides how fast and how well the nearest are
//! found, never which documents there are: what is kept may be old, and is a hint at most.
//!
//! ```text
//! graph      neighbours | slots | list of linked
//! linked     slot | key bytes | fingerprint: 8 bytes | for each layer, the lowest first: list of slots
//! ```

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use roaring::RoaringBitmap;

use super::{NONE, SLOTS_MAX, Slot, Vectors};
use crate::index::postings::DocumentId;
use crate::wire::{Malformed, Reader, Writer};

/// Slots of a kept graph may be that many times as many as its vectors, and a few more.
const SLOTS_A_VECTOR: usize = 16;
const SLOTS_SPARE: usize = 4096;

/// One of that many vectors may be missing or another one: else all are linked anew.
const MISSING_PART: usize = 8;

/// Bytes of a linked vector at least: slot, key, fingerprint and a layer.
const LINKED_BYTES_MIN: usize = 11;

/// The vectors that a graph was kept of, until their documents have come.
#[derive(Debug)]
pub(super) struct Remembered {
    /// By the keys of documents, the vectors that have not come: their slots and fingerprints.
    awaited: BTreeMap<Box<[u8]>, VecDeque<(Slot, u64)>>,
    count: usize,
    slots: Slot,
}

impl Remembered {
    /// The next vector of a document.
    pub(super) fn next(&mut self, key: &[u8]) -> Option<(Slot, u64)> {
        self.awaited.get_mut(key)?.pop_front()
    }
}

impl Vectors {
    /// Whether there is one.
    pub(crate) fn has_graph(&self) -> bool {
        self.graph.is_some()
    }

    /// Writes the graph down, if there is one with vectors in it.
    pub(crate) fn write_graph<'k>(
        &self,
        writer: &mut Writer,
        key: impl Fn(DocumentId) -> &'k [u8],
    ) -> bool {
        let Some(graph) = self.graph.as_ref().filter(|graph| graph.linked() > 0) else {
            return false;
        };
        writer.number(graph.neighbours() as u64);
        writer.number(self.owners.len() as u64);
        // Those of one document in the order in which it has them.
        let documents = self.documents.iter();
        let each = documents.flat_map(|document| {
            let mut slots: Vec<Slot> = self.slots(document).collect();
            slots.reverse();
            slots.into_iter().map(move |slot| (document, slot))
        });
        let linked: Vec<(DocumentId, Slot)> =
            each.filter(|(_, slot)| graph.is_linked(*slot)).collect();
        writer.list(linked.into_iter(), |writer, (document, slot)| {
            writer.number(slot.into());
            writer.bytes(key(document));
            writer.whole(self.space.fingerprint(slot));
            for layer in graph.layers(slot) {
                writer.list(layer.into_iter(), |writer, other| writer.number(other.into()));
            }
        });
        true
    }

    /// Takes a graph that was written down, before any vector comes. If it is not whole, or that of
    /// another field, nothing is different.
    pub(crate) fn remember_graph(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let neighbours = reader.number()?;
        let slots = usize::try_from(reader.number()?).map_err(|_| Malformed::Invalid("slots"))?;
        let mut linked = Vec::new();
        let count = reader.count(LINKED_BYTES_MIN)?;
        if slots > (count * SLOTS_A_VECTOR + SLOTS_SPARE).min(SLOTS_MAX) {
            return Err(Malformed::Invalid("slots"));
        }
        let Some(graph) = self.graph.as_mut().filter(|_| self.owners.is_empty()) else {
            return Err(Malformed::Invalid("graph"));
        };
        if neighbours != graph.neighbours() as u64 {
            return Err(Malformed::Invalid("neighbours"));
        }
        let mut seen = RoaringBitmap::new();
        let slot_of = |number: u64| {
            let slot = Slot::try_from(number).ok().filter(|slot| (*slot as usize) < slots);
            slot.ok_or(Malformed::Invalid("slot"))
        };
        for _ in 0..count {
            let slot = slot_of(reader.number()?)?;
            if !seen.insert(slot) {
                return Err(Malformed::Invalid("slot"));
            }
            let key = reader.bytes()?;
            let fingerprint = reader.whole()?;
            let mut layers = Vec::new();
            for layer in 0..=graph.top(slot) {
                let others = reader.count(1)?;
                if others > graph.capacity(layer) {
                    return Err(Malformed::Invalid("neighbours"));
                }
                let others = (0..others).map(|_| slot_of(reader.number()?));
                layers.push(others.collect::<Result<Vec<Slot>, Malformed>>()?);
            }
            linked.push((slot, key, fingerprint, layers));
        }
        let mut remembered = Remembered { awaited: BTreeMap::new(), count, slots: slots as Slot };
        graph.reach_all(slots);
        self.owners.resize(slots, NONE);
        self.following.resize(slots, NONE);
        for (slot, key, fingerprint, layers) in linked {
            for (layer, others) in layers.iter().enumerate() {
                graph.set_neighbours(slot, layer as u32, others);
            }
            remembered.awaited.entry(key.into()).or_default().push_back((slot, fingerprint));
        }
        self.remembered = Some(remembered);
        Ok(())
    }

    /// The documents that were there have come: what did not come is forgotten. Returns how many
    /// vectors have their former neighbours.
    pub(crate) fn settle_graph(&mut self) -> usize {
        let Some(remembered) = self.remembered.take() else { return 0 };
        let Some(graph) = &mut self.graph else { return 0 };
        let least = remembered.count - remembered.count / MISSING_PART;
        graph.settle(remembered.slots, least, &mut self.vacant);
        // Its neighbours were chosen by exact distances then, if they had to be.
        if graph.finds_too_coarse(&self.space) {
            self.space.make_exact();
        }
        graph.linked()
    }
}

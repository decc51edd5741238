//! A graph of layers in which every vector has near ones as neighbours, so that the nearest of all
//! are found by going from neighbour to neighbour (HNSW: Malkov and Yashunin, 2016).
//!
//! A new vector first is in the **tail**, which is compared whole; [`Graph::advance`] moves vectors
//! from there into the graph. A vector that is removed first is only marked: it is passed through
//! but not found. When enough are marked, a **sweep** goes over all vectors, gives those that have
//! marked neighbours new ones (from the neighbours of these), and then frees the slots (as
//! FreshDiskANN consolidates: Singh and others, 2021). Both are done in turns that their caller
//! bounds, so neither a write nor a removal ever waits for the graph.
//!
//! ```text
//!          insert         advance           remove         sweep begins       sweep ends
//! vacant -------> tail ---------> linked --------> removed ----------> leaving -------> vacant
//!                   \-- remove --> vacant
//! ```

mod assessment;
mod insertion;
mod links;
mod repair;
mod search;
mod settling;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Slot;
use super::pool::{Marks, Pool};
use super::space::{Probe, Space};

use links::Links;
use repair::Sweep;

/// Neighbours that a vector has at least and at most, whatever the schema says.
const NEIGHBOURS: core::ops::RangeInclusive<u64> = 2..=512;

/// Candidates at least and at most, while a vector is linked.
const CONSTRUCTION: core::ops::RangeInclusive<u64> = 1..=4096;

/// Steps of a sweep for one vector that is linked.
const SWEPT_A_LINK: usize = 16;

/// A graph over the vectors of a space.
#[derive(Debug)]
pub(super) struct Graph {
    links: Links,
    states: Vec<State>,
    /// Where searches begin: a vector of the highest layer.
    entry: Option<Slot>,
    tail: BTreeSet<Slot>,
    /// Linked vectors that a sweep left without neighbours: they are linked again.
    orphans: BTreeSet<Slot>,
    linked: usize,
    /// Removed or leaving.
    gone: usize,
    sweep: Option<Sweep>,
    /// Linked vectors when coarse distances are assessed the next time.
    assessed_at: usize,
    /// Candidates while a vector is linked.
    construction: usize,
    scratch: Scratch,
}

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Vacant,
    Tail,
    Linked,
    Removed,
    Leaving,
}

/// What searches work with.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) pool: Pool,
    marks: Marks,
    /// Slots that do not pass a filter and whose neighbours were visited.
    passed: Marks,
    batch: Vec<Slot>,
    distances: Vec<f32>,
    /// Vectors that were compared.
    pub(super) compared: usize,
}

impl Graph {
    /// A graph without vectors, of the schema's `M` and `EF_CONSTRUCTION`.
    pub(super) fn new(neighbours: u64, construction: u64) -> Graph {
        let neighbours = neighbours.clamp(*NEIGHBOURS.start(), *NEIGHBOURS.end()) as usize;
        let construction = construction.clamp(*CONSTRUCTION.start(), *CONSTRUCTION.end());
        Graph {
            links: Links::new(neighbours),
            states: Vec::new(),
            entry: None,
            tail: BTreeSet::new(),
            orphans: BTreeSet::new(),
            linked: 0,
            gone: 0,
            sweep: None,
            assessed_at: 0,
            construction: construction as usize,
            scratch: Scratch::default(),
        }
    }

    /// Notes a vector, which is in a slot that was vacant or is the next one.
    pub(super) fn insert(&mut self, slot: Slot) {
        if slot as usize == self.states.len() {
            self.states.push(State::Vacant);
            self.links.reach(slot);
        }
        let state = &mut self.states[slot as usize];
        assert_eq!(*state, State::Vacant, "invariant: slots are used again when they are vacant");
        *state = State::Tail;
        self.tail.insert(slot);
    }

    /// Notes that a vector is not there any more; whether its slot is vacant now.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        let state = &mut self.states[slot as usize];
        if *state == State::Tail {
            *state = State::Vacant;
            self.tail.remove(&slot);
            return true;
        }
        assert_eq!(*state, State::Linked, "invariant: vectors are removed once");
        *state = State::Removed;
        self.orphans.remove(&slot);
        self.linked -= 1;
        self.gone += 1;
        false
    }

    /// Works for as long as it takes to compare about that many vectors: moves the tail into the
    /// graph, and sweeps. Slots that become vacant are added to `vacant`. Returns whether
    /// there is more to do.
    pub(super) fn advance(&mut self, space: &Space, budget: usize, vacant: &mut Vec<Slot>) -> bool {
        let mut left = budget;
        let mut step: usize = 0;
        while left > 0 {
            let before = self.scratch.compared;
            self.begin_sweep(vacant);
            let swept = self.sweep(vacant, space);
            // By turns, so that neither keeps the other from being done.
            step += 1;
            if !swept || step.is_multiple_of(SWEPT_A_LINK) {
                let linked = self.link_next(space);
                if !swept && !linked {
                    break;
                }
            }
            left = left.saturating_sub((self.scratch.compared - before).max(1));
        }
        let unlinked = !self.tail.is_empty() || !self.orphans.is_empty();
        unlinked || self.sweep.is_some() || self.is_sweep_due()
    }

    /// Links a vector that is not in the graph, or not really; whether there was one.
    fn link_next(&mut self, space: &Space) -> bool {
        let Some(slot) = self.orphans.pop_first().or_else(|| self.tail.pop_first()) else {
            return false;
        };
        self.link(slot, space);
        true
    }

    /// The vectors that are not found through the graph.
    pub(super) fn unlinked(&self) -> impl Iterator<Item = Slot> {
        self.tail.iter().chain(&self.orphans).copied()
    }

    /// Vectors that are found through the graph.
    pub(super) fn linked(&self) -> usize {
        self.linked
    }

    /// Bytes that are occupied.
    pub(super) fn memory(&self) -> usize {
        // A node of the tree has room for 11 slots, and is half full or more.
        let tail = self.tail.len() * 2 * size_of::<Slot>();
        self.links.memory() + self.states.capacity() + tail
    }

    fn is_live(&self, slot: Slot) -> bool {
        self.states[slot as usize] == State::Linked
    }
}

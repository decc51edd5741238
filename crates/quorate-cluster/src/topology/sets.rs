//! The distinct replica sets of a topology.

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{MemberNumber, ownership::Ownership, slot::SLOTS};

use super::{Seat, owners::Piece};
use crate::{peer_map::PeerMap, positions::Positions};

/// The members that have a part in some slots, in order of preference: first those that serve
/// clients, and of each kind those of this node's datacentre first, then those of the other
/// datacentres in the order of their names, starting after its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplicaSet {
    pub(super) nodes: Vec<MemberNumber>,
    /// How many of them, from the first, serve clients.
    pub(super) readers: u8,
    /// The owners that the slots have; all of those that stay.
    pub(super) old: Positions,
    /// Those that the slots go to, as long as both take writes.
    pub(super) new: Positions,
    /// For each datacentre which positions in `nodes` are in it.
    pub(super) in_datacentre: Vec<Positions>,
}

/// The distinct replica sets, each with a number, in the order of the slots.
pub(super) struct Sets<'a> {
    members: &'a PeerMap<Seat>,
    /// The datacentre that comes first.
    home: u8,
    known: BTreeMap<ReplicaSet, u16>,
    /// For each slot a position in `sets`.
    pub(super) set_of_slot: Vec<u16>,
    pub(super) sets: Vec<ReplicaSet>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(members: &'a PeerMap<Seat>, home: u8) -> Self {
        let set_of_slot = Vec::with_capacity(usize::from(SLOTS));
        Self { members, home, known: BTreeMap::new(), set_of_slot, sets: Vec::new() }
    }

    pub(super) fn give(&mut self, ownership: &Ownership) {
        for piece in Piece::all(ownership) {
            let set = self.set_of(&piece);
            let number = *self.known.entry(set).or_insert_with_key(|set| {
                self.sets.push(set.clone());
                (self.sets.len() - 1) as u16
            });
            self.set_of_slot.resize(piece.last.index() + 1, number);
        }
    }

    fn set_of(&self, piece: &Piece<'_>) -> ReplicaSet {
        let (mut nodes, readers) = piece.nodes();
        let (serving, others) = nodes.split_at_mut(readers);
        let distance = |node: &MemberNumber| self.datacentre(*node).wrapping_sub(self.home);
        serving.sort_by_key(distance);
        others.sort_by_key(distance);
        let of = |owners: &[MemberNumber]| -> Positions {
            let found = nodes.iter().enumerate().filter(|(_, node)| owners.contains(node));
            found.map(|(position, _)| position).collect()
        };
        let is_under_way = piece.moves() && piece.phase.is_under_way();
        let (old, new) = if is_under_way {
            (of(piece.old), of(piece.new))
        } else {
            (Positions::first(nodes.len()), Positions::NONE)
        };
        let highest = self.members.values().map(|seat| seat.datacentre).max().unwrap_or(0);
        let mut in_datacentre = alloc::vec![Positions::NONE; usize::from(highest) + 1];
        for (position, node) in nodes.iter().enumerate() {
            in_datacentre[usize::from(self.datacentre(*node))] |= Positions::of(position);
        }
        ReplicaSet { nodes, readers: readers as u8, old, new, in_datacentre }
    }

    fn datacentre(&self, node: MemberNumber) -> u8 {
        self.members[node].datacentre
    }
}

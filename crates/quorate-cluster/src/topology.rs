//! The members of this moment and who holds what, as one immutable value.
//!
//! A node rebuilds its topology whenever its [`View`] changes and hands the new value to every
//! shard. Two nodes with the same member list agree on the replicas of every slot and, inside a
//! datacentre, on their order. Everything on the data path is a lookup in a table made here.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use quorate_proto::{
    Incarnation, Level, MemberNumber, NodeId, Origin, Slot,
    message::{Member, View},
    slot::SLOTS,
};

use crate::{
    limits::{MEMBERS_MAX, REPLICAS_MAX},
    ring::{Placement, Replication, RingMember, place},
};

/// A member list with its placement, seen from one of its members.
#[derive(Clone, Debug)]
pub struct Topology {
    me: MemberNumber,
    epoch: u64,
    sealed: bool,
    replication_factor: u16,
    /// Sorted by id: a [`MemberNumber`] is a position here.
    members: Vec<Member>,
    /// The datacentre of each member, as a position in `datacentre_names`.
    datacentres: Vec<u8>,
    /// Sorted.
    datacentre_names: Vec<String>,
    /// For each slot a position in `sets`.
    set_of_slot: Vec<u16>,
    /// The distinct replica sets.
    sets: Vec<ReplicaSet>,
}

/// The members that hold some slots, in order of preference: those of this node's datacentre
/// first, then those of the other datacentres in the order of their names, starting after its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReplicaSet {
    nodes: Vec<MemberNumber>,
    /// For each datacentre which positions in `nodes` are in it, one bit each.
    in_datacentre: Vec<u64>,
}

/// How many replicas of a slot must answer, and which of them count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Answers needed. At least one, at most the number of replicas that count.
    pub answers: u8,
    /// One bit for each position in [`Topology::replicas`]: whether its answer counts.
    pub counted: u64,
}

impl Requirement {
    /// Whether the replicas whose positions are set in `answered` are enough.
    pub const fn is_met_by(self, answered: u64) -> bool {
        (answered & self.counted).count_ones() >= self.answers as u32
    }
}

/// Neighbouring slots with the same replicas in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange<'a> {
    /// The first slot.
    pub first: Slot,
    /// The last slot; it belongs to the range.
    pub last: Slot,
    /// The replicas, in order of preference.
    pub replicas: &'a [MemberNumber],
}

/// Why a view is not a topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The node asking is not in the list.
    #[error("node {0} is not in the member list")]
    NotMember(NodeId),
    /// Two members have the same identity.
    #[error("node {0} is in the member list twice")]
    Twice(NodeId),
    /// More members than a cluster may have.
    #[error("{0} members; at most {MEMBERS_MAX} are possible")]
    TooManyMembers(usize),
    /// More replicas than a cluster may have.
    #[error("{0} replicas of every slot; at most {REPLICAS_MAX} over all datacentres are possible")]
    TooManyReplicas(usize),
    /// No replicas at all.
    #[error("the replication factor is 0; at least 1 is needed")]
    NoReplicas,
}

impl Topology {
    /// The topology of `view`, seen from its member `me`.
    pub fn new(view: &View, me: NodeId) -> Result<Self, TopologyError> {
        check(view)?;
        let mut members = view.members.clone();
        members.sort_by_key(|member| member.id);
        let position = |id: NodeId| {
            let found = members.binary_search_by_key(&id, |member| member.id);
            found.ok().map(|position| MemberNumber(position as u16))
        };
        let me = position(me).ok_or(TopologyError::NotMember(me))?;

        let mut names: Vec<String> = members.iter().map(|m| m.datacentre.clone()).collect();
        names.sort();
        names.dedup();
        // There are no more datacentres than replicas, so eight bits are enough.
        let datacentres: Vec<u8> = members
            .iter()
            .map(|member| names.partition_point(|name| *name < member.datacentre) as u8)
            .collect();

        let ring: Vec<RingMember> = members.iter().map(RingMember::from).collect();
        let placement = place(&ring, &Replication::everywhere(view.replication_factor));
        let positions: BTreeMap<NodeId, MemberNumber> = members
            .iter()
            .zip(0..)
            .map(|(member, index)| (member.id, MemberNumber(index)))
            .collect();
        let home = usize::from(datacentres[me.index()]);
        let (set_of_slot, sets) = intern(&placement, &names, home, &positions, &datacentres);
        Ok(Self {
            me,
            epoch: view.epoch,
            sealed: view.sealed,
            replication_factor: view.replication_factor,
            members,
            datacentres,
            datacentre_names: names,
            set_of_slot,
            sets,
        })
    }

    /// The topology of `view` without placing every slot again; `None` when its members are others, or
    /// in other places.
    pub fn updated(&self, view: &View) -> Option<Self> {
        let mut members = view.members.clone();
        members.sort_by_key(|member| member.id);
        let same = |ours: &Member, theirs: &Member| {
            (ours.id, &ours.datacentre, &ours.rack) == (theirs.id, &theirs.datacentre, &theirs.rack)
        };
        let fits = self.replication_factor == view.replication_factor
            && self.members.len() == members.len()
            && self.members.iter().zip(&members).all(|(ours, theirs)| same(ours, theirs));
        let (epoch, sealed) = (view.epoch, view.sealed);
        fits.then(|| Self { epoch, sealed, members, ..self.clone() })
    }

    /// This node.
    pub fn me(&self) -> MemberNumber {
        self.me
    }

    /// Version of the member list.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the member list is final.
    pub fn sealed(&self) -> bool {
        self.sealed
    }

    /// Replicas of every slot in each datacentre, as configured: there are fewer in a datacentre
    /// with fewer members.
    pub fn replication_factor(&self) -> u16 {
        self.replication_factor
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members: never.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All members, ordered by number.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The numbers of all members.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = MemberNumber> + use<> {
        (0..self.members.len() as u16).map(MemberNumber)
    }

    /// The numbers of all members but this node.
    pub fn peers(&self) -> impl Iterator<Item = MemberNumber> + use<> {
        let me = self.me;
        self.nodes().filter(move |&node| node != me)
    }

    /// The member with the number `node`.
    ///
    /// # Panics
    /// When no member of this topology has the number.
    pub fn member(&self, node: MemberNumber) -> &Member {
        &self.members[node.index()]
    }

    /// The origins of each member's present start, and of the one before.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        self.nodes().flat_map(|node| {
            let Incarnation { start, previous, .. } = self.member(node).incarnation;
            [start, previous].map(|start| Origin::new(node.0, start))
        })
    }

    /// The number of the member `id`.
    pub fn number_of(&self, id: NodeId) -> Option<MemberNumber> {
        let found = self.members.binary_search_by_key(&id, |member| member.id);
        found.ok().map(|position| MemberNumber(position as u16))
    }

    /// The datacentre of `node`, as a number to compare.
    pub fn datacentre(&self, node: MemberNumber) -> u8 {
        self.datacentres[node.index()]
    }

    /// The name of a datacentre by its number.
    pub fn datacentre_name(&self, datacentre: u8) -> &str {
        &self.datacentre_names[usize::from(datacentre)]
    }

    /// Whether `node` is in this node's datacentre.
    pub fn is_local(&self, node: MemberNumber) -> bool {
        self.datacentre(node) == self.datacentre(self.me)
    }

    /// The members that hold `slot`, in order of preference: this datacentre's first.
    pub fn replicas(&self, slot: Slot) -> &[MemberNumber] {
        &self.set(slot).nodes
    }

    /// Whether `node` holds `slot`.
    pub fn is_replica(&self, slot: Slot, node: MemberNumber) -> bool {
        self.replicas(slot).contains(&node)
    }

    /// Whether this node and `peer` both hold `slot`.
    pub fn is_shared(&self, slot: Slot, peer: MemberNumber) -> bool {
        self.is_replica(slot, self.me()) && self.is_replica(slot, peer)
    }

    /// The place of `node` in [`Topology::replicas`] of `slot`.
    pub fn position(&self, slot: Slot, node: MemberNumber) -> Option<usize> {
        self.replicas(slot).iter().position(|&replica| replica == node)
    }

    /// What `level` demands of the replicas of `slot` when a node in the datacentre of
    /// `coordinator` coordinates.
    pub fn required(&self, slot: Slot, level: Level, coordinator: MemberNumber) -> Requirement {
        let set = self.set(slot);
        let replicas = set.nodes.len() as u8;
        let all = u64::MAX >> (REPLICAS_MAX - set.nodes.len());
        match level {
            Level::One => Requirement { answers: 1, counted: all },
            Level::All => Requirement { answers: replicas, counted: all },
            Level::Quorum => Requirement { answers: majority(replicas), counted: all },
            Level::LocalQuorum => {
                let local = set.in_datacentre[usize::from(self.datacentre(coordinator))];
                Requirement { answers: majority(local.count_ones() as u8), counted: local }
            }
        }
    }

    /// All slots as the fewest ranges of neighbours with the same replicas in the same order.
    pub fn ranges(&self) -> impl Iterator<Item = SlotRange<'_>> {
        let mut slots = Slot::all().peekable();
        core::iter::from_fn(move || {
            let first = slots.next()?;
            let like =
                |slot: &Slot| self.set_of_slot[slot.index()] == self.set_of_slot[first.index()];
            let mut last = first;
            while let Some(slot) = slots.next_if(like) {
                last = slot;
            }
            Some(SlotRange { first, last, replicas: self.replicas(first) })
        })
    }

    /// The view that this topology was made of, its members sorted.
    pub fn view(&self) -> View {
        View {
            epoch: self.epoch,
            sealed: self.sealed,
            replication_factor: self.replication_factor,
            members: self.members.clone(),
        }
    }

    fn set(&self, slot: Slot) -> &ReplicaSet {
        &self.sets[usize::from(self.set_of_slot[slot.index()])]
    }
}

/// Whether `view` is within the bounds of a topology and names no member twice.
pub fn check(view: &View) -> Result<(), TopologyError> {
    if view.members.len() > MEMBERS_MAX {
        return Err(TopologyError::TooManyMembers(view.members.len()));
    }
    if view.replication_factor == 0 {
        return Err(TopologyError::NoReplicas);
    }
    let mut ids: Vec<NodeId> = view.members.iter().map(|member| member.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TopologyError::Twice(pair[0]));
    }
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for member in &view.members {
        *sizes.entry(&member.datacentre).or_default() += 1;
    }
    let factor = usize::from(view.replication_factor);
    let replicas: usize = sizes.values().map(|&size| size.min(factor)).sum();
    if replicas > REPLICAS_MAX {
        return Err(TopologyError::TooManyReplicas(replicas));
    }
    Ok(())
}

/// Gives each distinct replica set a number, in the order of the slots.
fn intern(
    placement: &Placement,
    names: &[String],
    home: usize,
    positions: &BTreeMap<NodeId, MemberNumber>,
    datacentres: &[u8],
) -> (Vec<u16>, Vec<ReplicaSet>) {
    let mut numbers: BTreeMap<Vec<MemberNumber>, u16> = BTreeMap::new();
    let mut sets = Vec::new();
    let mut set_of_slot = Vec::with_capacity(usize::from(SLOTS));
    for slot in Slot::all() {
        let nearest_first = names[home..].iter().chain(&names[..home]);
        let nodes: Vec<MemberNumber> = nearest_first
            .flat_map(|name| placement.replicas(name, slot))
            .map(|id| positions[&id])
            .collect();
        let number = *numbers.entry(nodes).or_insert_with_key(|nodes| {
            let mut in_datacentre = alloc::vec![0; names.len()];
            for (position, node) in nodes.iter().enumerate() {
                in_datacentre[usize::from(datacentres[node.index()])] |= 1 << position;
            }
            sets.push(ReplicaSet { nodes: nodes.clone(), in_datacentre });
            (sets.len() - 1) as u16
        });
        set_of_slot.push(number);
    }
    (set_of_slot, sets)
}

const fn majority(of: u8) -> u8 {
    of / 2 + 1
}

#[cfg(test)]
mod tests;

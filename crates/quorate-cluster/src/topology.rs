//! The members of this moment and who holds what, as one immutable value.
//!
//! A node rebuilds its topology whenever its [`View`] changes and hands the new value to every
//! shard. Two nodes with the same member list agree on the replicas of every slot and, inside a
//! datacentre, on their order. Everything on the data path is a lookup in a table made here.

use alloc::{boxed::Box, string::String, vec::Vec};

use core::cmp::Ordering;

use quorate_proto::{
    Groups, Incarnation, Level, MemberNumber, NodeId, Numbers, Origin, Partitioner,
    ReplicationFactor, Slot,
    message::{Member, View},
    mutant::Mutant,
    ownership::{Ownership, Phase},
};

use crate::{peer_map::PeerMap, positions::Positions};
use owners::Piece;
use sets::{ReplicaSet, Sets};

mod check;
mod owners;
mod requirement;
mod sets;

pub use check::{TopologyError, check};
pub use owners::{of_placement, placed};
pub use requirement::Requirement;
use requirement::Votes;

/// A member list with its placement, seen from one of its members.
#[derive(Clone, Debug)]
pub struct Topology {
    me: MemberNumber,
    epoch: u64,
    sealed: bool,
    partitioner: Partitioner,
    replication_factor: ReplicationFactor,
    members: PeerMap<Seat>,
    /// While the list is not final, those that it would be sealed with.
    numbers: Numbers,
    /// `None` while it follows from the members.
    ownership: Option<Box<Ownership>>,
    /// Sorted.
    datacentre_names: Vec<String>,
    /// For each slot a position in `sets`.
    set_of_slot: Vec<u16>,
    /// The distinct replica sets.
    sets: Vec<ReplicaSet>,
}

/// A member in its place.
#[derive(Clone, Debug)]
struct Seat {
    member: Member,
    /// Its datacentre, as a position in the names.
    datacentre: u8,
}

/// The peers that tell one topology from an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerChanges {
    /// No peers any more, by the numbers that they had.
    pub left: Vec<MemberNumber>,
    /// Peers now.
    pub joined: Vec<MemberNumber>,
}

impl PeerChanges {
    /// Whether the peers are the same.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.joined.is_empty()
    }
}

/// Neighbouring slots with the same replicas in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange<'a> {
    /// The first slot.
    pub first: Slot,
    /// The last slot; it belongs to the range.
    pub last: Slot,
    /// The replicas that serve clients, in order of preference.
    pub replicas: &'a [MemberNumber],
}

impl Topology {
    /// The topology of `view`, seen from its member `me`.
    pub fn new(view: &View, me: NodeId) -> Result<Self, TopologyError> {
        check(view)?;
        let numbers = if view.sealed {
            view.numbers.clone()
        } else {
            Numbers::of_first(view.members.iter().map(|member| member.id))?
        };
        let me = numbers.of(me).ok_or(TopologyError::NotMember(me))?;

        let mut names: Vec<String> = view.members.iter().map(|m| m.datacentre.clone()).collect();
        names.sort();
        names.dedup();
        let members = seats(view, &numbers, &names);
        let mut sets = Sets::new(&members, members[me].datacentre);
        match &view.ownership {
            Some(ownership) => sets.give(ownership),
            None => sets.give(&Ownership { owners: placed(view, &numbers), movement: None }),
        }
        let Sets { set_of_slot, sets, .. } = sets;
        Ok(Self {
            me,
            epoch: view.epoch,
            sealed: view.sealed,
            partitioner: view.partitioner.clone(),
            replication_factor: view.replication_factor.clone(),
            members,
            numbers,
            ownership: view.ownership.clone(),
            datacentre_names: names,
            set_of_slot,
            sets,
        })
    }

    /// The topology of `view` without placing every slot again; `None` when its members are others,
    /// or in other places.
    pub fn updated(&self, view: &View) -> Option<Self> {
        let same_place = |theirs: &Member| {
            self.number_of(theirs.id).is_some_and(|number| {
                let ours = self.member(number);
                (&ours.datacentre, &ours.rack, &ours.tokens, ours.duties.weight)
                    == (&theirs.datacentre, &theirs.rack, &theirs.tokens, theirs.duties.weight)
            })
        };
        let fits = self.replication_factor == view.replication_factor
            && self.partitioner == view.partitioner
            && self.len() == view.members.len()
            && view.members.iter().all(same_place)
            && (!view.sealed || view.numbers == self.numbers)
            && view.ownership == self.ownership;
        let members = || seats(view, &self.numbers, &self.datacentre_names);
        let (epoch, sealed) = (view.epoch, view.sealed);
        fits.then(|| Self { epoch, sealed, members: members(), ..self.clone() })
    }

    /// The topology after `member` has become one. The numbers of the others stay.
    pub fn with_member(&self, member: Member) -> Result<Self, TopologyError> {
        let mut view = self.next_view();
        view.numbers.give(member.id)?;
        view.members.push(member);
        Self::new(&view, self.member(self.me).id)
    }

    /// The topology after the member `id` has left. Its number is not given again.
    pub fn without_member(&self, id: NodeId) -> Result<Self, TopologyError> {
        let mut view = self.next_view();
        view.numbers.retire(id).ok_or(TopologyError::NotMember(id))?;
        view.members.retain(|member| member.id != id);
        Self::new(&view, self.member(self.me).id)
    }

    /// This view as the next one: to be changed.
    fn next_view(&self) -> View {
        View { epoch: self.epoch + 1, sealed: true, numbers: self.numbers.clone(), ..self.view() }
    }

    /// Which peers have come and gone since an earlier topology. A number that has another member
    /// now, as may be while the list is not final, has done both.
    pub fn changes_since(&self, before: &Self) -> PeerChanges {
        let is_peer_of = |topology: &Self, node: MemberNumber, id: NodeId| {
            node != topology.me && topology.get(node).is_some_and(|member| member.id == id)
        };
        let missing_in = |ours: &Self, theirs: &Self| {
            let peers = ours.peers();
            peers.filter(|node| !is_peer_of(theirs, *node, ours.member(*node).id)).collect()
        };
        PeerChanges { left: missing_in(before, self), joined: missing_in(self, before) }
    }

    /// This node.
    pub fn me(&self) -> MemberNumber {
        self.me
    }

    /// Version of the member list.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether what a node asks that goes by the topology of `epoch` is answered: by the same one,
    /// or, as slots move, by the one before or behind it. In between no slot moves by more than a
    /// phase, so whatever level the one meets, the other one counts on. A list that is not final
    /// has no neighbours.
    pub fn accepts(&self, epoch: u64) -> bool {
        match epoch.cmp(&self.epoch) {
            Ordering::Equal => true,
            Ordering::Greater => self.sealed && epoch - self.epoch == 1,
            Ordering::Less => self.ownership.is_some() && self.epoch - epoch == 1,
        }
    }

    /// Whether the member list is final.
    pub fn sealed(&self) -> bool {
        self.sealed
    }

    /// How keys get their slots.
    pub fn partitioner(&self) -> &Partitioner {
        &self.partitioner
    }

    /// Replicas of every slot in each datacentre, as configured: there are fewer in a datacentre
    /// with fewer members.
    pub fn replication_factor(&self) -> &ReplicationFactor {
        &self.replication_factor
    }

    /// Replicas of every slot in this node's datacentre, as configured; none are in one of witnesses.
    pub fn local_factor(&self) -> u16 {
        self.replication_factor.of(&self.member(self.me).datacentre).unwrap_or(0)
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.numbers.iter().len()
    }

    /// Whether there are no members: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All members, by number.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|seat| &seat.member)
    }

    /// The numbers of all members, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = MemberNumber> + use<'_> {
        self.members.members()
    }

    /// The numbers of all members but this node, ascending.
    pub fn peers(&self) -> impl Iterator<Item = MemberNumber> + use<'_> {
        self.nodes().filter(|node| *node != self.me)
    }

    /// The member with the number `node`.
    ///
    /// # Panics
    /// When no member of this topology has the number.
    pub fn member(&self, node: MemberNumber) -> &Member {
        &self.members[node].member
    }

    /// The member with the number `node`, if there is one now.
    pub fn get(&self, node: MemberNumber) -> Option<&Member> {
        self.members.get(node).map(|seat| &seat.member)
    }

    /// Which member has which number.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
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
        self.numbers.of(id)
    }

    /// The datacentre of `node`, as a number to compare.
    pub fn datacentre(&self, node: MemberNumber) -> u8 {
        self.members[node].datacentre
    }

    /// Number of datacentres.
    pub fn datacentres(&self) -> usize {
        self.datacentre_names.len()
    }

    /// The name of a datacentre by its number.
    pub fn datacentre_name(&self, datacentre: u8) -> &str {
        &self.datacentre_names[usize::from(datacentre)]
    }

    /// Whether `node` is in this node's datacentre.
    pub fn is_local(&self, node: MemberNumber) -> bool {
        self.datacentre(node) == self.datacentre(self.me)
    }

    /// Who holds which slots, where that is agreed on.
    pub fn ownership(&self) -> Option<&Ownership> {
        self.ownership.as_deref()
    }

    /// Whether slots are on their way to other members.
    pub fn is_moving(&self) -> bool {
        self.ownership().is_some_and(|ownership| ownership.movement.is_some())
    }

    /// Whether `node` is to hold nothing in the end, and is no member any more then.
    pub fn is_leaving(&self, node: MemberNumber) -> bool {
        let movement = self.ownership().and_then(|ownership| ownership.movement.as_ref());
        movement.is_some_and(|movement| movement.leaving.contains(&node))
    }

    /// The members that hold `slot` and take its writes, in order of preference: first those that
    /// serve clients, of these and of the others this datacentre's first.
    pub fn replicas(&self, slot: Slot) -> &[MemberNumber] {
        &self.set(slot).nodes
    }

    /// Those that serve clients. The others are being filled.
    pub fn readers(&self, slot: Slot) -> &[MemberNumber] {
        let set = self.set(slot);
        &set.nodes[..usize::from(set.readers)]
    }

    /// Whether anybody in this node's datacentre serves clients with `slot`.
    pub fn has_local_reader(&self, slot: Slot) -> bool {
        // Those of this datacentre come first.
        self.readers(slot).first().is_some_and(|node| self.is_local(*node))
    }

    /// Whether `node` serves clients with `slot`.
    pub fn is_reader(&self, slot: Slot, node: MemberNumber) -> bool {
        self.readers(slot).contains(&node)
    }

    /// Whether `slot` has the same replicas in the same order, with the same parts in it, as in
    /// another topology.
    pub fn has_same_owners(&self, other: &Self, slot: Slot) -> bool {
        let (ours, theirs) = (self.set(slot), other.set(slot));
        (&ours.nodes, ours.readers, ours.old, ours.new)
            == (&theirs.nodes, theirs.readers, theirs.old, theirs.new)
    }

    /// How far a slot that goes to other members has come; `None` of one that stays.
    pub fn phase(&self, slot: Slot) -> Option<Phase> {
        let piece = Piece::at(self.ownership.as_deref()?, slot);
        piece.moves().then_some(piece.phase)
    }

    /// With whom this node is to make which groups level, so that slots that are under way may move
    /// on: each new owner with each old one. Of two that are both the lower number sees to it.
    pub fn to_be_level(&self) -> PeerMap<Groups> {
        let mut found: PeerMap<Groups> = PeerMap::new();
        let Some(ownership) = self.ownership.as_deref() else { return found };
        let mut next = 0;
        for piece in Piece::all(ownership) {
            let slots = next..=piece.last.number();
            next = piece.last.number() + 1;
            let is_new = piece.new.contains(&self.me);
            if !piece.moves() || !piece.phase.is_under_way() || !is_new {
                continue;
            }
            let groups: Groups = slots.filter_map(Slot::new).map(Slot::group).collect();
            let is_mine = |peer: &&MemberNumber| {
                let is_both = piece.new.contains(peer) && piece.old.contains(&self.me);
                **peer != self.me && (!is_both || self.me < **peer)
            };
            for peer in piece.old.iter().filter(is_mine) {
                let before = found.get(*peer).copied().unwrap_or_default();
                found.insert(*peer, before.union(groups));
            }
        }
        found
    }

    /// Whether `slot` is on its way to this node, which did not hold it before.
    pub fn is_newcomer(&self, slot: Slot) -> bool {
        let Some(ownership) = self.ownership.as_deref() else { return false };
        let piece = Piece::at(ownership, slot);
        piece.moves() && piece.new.contains(&self.me) && !piece.old.contains(&self.me)
    }

    /// Whether `slot` is on its way from this node, which is asked for it until it has moved.
    pub fn is_departing(&self, slot: Slot) -> bool {
        let Some(ownership) = self.ownership.as_deref() else { return false };
        let piece = Piece::at(ownership, slot);
        piece.phase == Phase::Joint && !piece.new.contains(&self.me)
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

    /// What `level` demands of a write to `slot` when a node in the datacentre of `coordinator`
    /// coordinates. That of a slot that moves must meet it among those that hold it, and among
    /// those that it goes to.
    pub fn required_to_write(
        &self,
        slot: Slot,
        level: Level,
        coordinator: MemberNumber,
    ) -> Requirement {
        let set = self.set(slot);
        if Mutant::FillingCountsNew.is_planted() && !set.new.is_empty() {
            return Requirement::all_of(self.votes(set, level, coordinator, set.new));
        }
        let old = self.votes(set, level, coordinator, set.old);
        if set.new.is_empty() {
            return Requirement::all_of(old);
        }
        Requirement::all_of(old.chain(self.votes(set, level, coordinator, set.new)))
    }

    /// The same of a read. Only those that serve clients are asked; as long as both do, one answer
    /// of either is enough where one is, else the level is met among each.
    pub fn required_to_read(
        &self,
        slot: Slot,
        level: Level,
        coordinator: MemberNumber,
    ) -> Requirement {
        let set = self.set(slot);
        let are_joint = !set.new.is_empty() && usize::from(set.readers) == set.nodes.len();
        match level {
            Level::One => Requirement::of(1, Positions::first(usize::from(set.readers))),
            Level::LocalOne => {
                let readers = Positions::first(usize::from(set.readers));
                let local = readers & self.local_to(set, coordinator);
                Requirement::of(1, if local.is_empty() { readers } else { local })
            }
            _ if are_joint => self.required_to_write(slot, level, coordinator),
            _ => Requirement::all_of(self.votes(set, level, coordinator, set.old)),
        }
    }

    /// How many answers `level` demands among `owners`, and whose count.
    fn votes<'a>(
        &self,
        set: &'a ReplicaSet,
        level: Level,
        coordinator: MemberNumber,
        owners: Positions,
    ) -> impl Iterator<Item = Votes> + use<'a> {
        let majority_of =
            |counted: Positions| Votes { answers: majority(counted.len() as u8), counted };
        let one_of = |counted| Votes { answers: 1, counted };
        // Where nobody in the datacentre holds the slot, all are as near.
        let local = match self.local_to(set, coordinator) & owners {
            Positions::NONE => owners,
            local => local,
        };
        let single = match level {
            Level::One => Some(one_of(owners)),
            Level::LocalOne => Some(one_of(local)),
            Level::LocalQuorum => Some(majority_of(local)),
            Level::Quorum => Some(majority_of(owners)),
            Level::All => Some(Votes { answers: owners.len() as u8, counted: owners }),
            Level::EachQuorum if Mutant::EachQuorumAnywhere.is_planted() => {
                Some(majority_of(owners))
            }
            Level::EachQuorum => None,
        };
        let datacentres: &[Positions] = if single.is_none() { &set.in_datacentre } else { &[] };
        let owned = datacentres.iter().map(move |datacentre| *datacentre & owners);
        single.into_iter().chain(owned.filter(|owned| !owned.is_empty()).map(majority_of))
    }

    /// Those of a set that are in the datacentre of `node`.
    fn local_to(&self, set: &ReplicaSet, node: MemberNumber) -> Positions {
        set.in_datacentre[usize::from(self.datacentre(node))]
    }

    /// All slots as the fewest ranges of neighbours with the same replicas in the same order.
    pub fn ranges(&self) -> impl Iterator<Item = SlotRange<'_>> {
        let mut slots = Slot::all();
        self.set_of_slot.chunk_by(PartialEq::eq).filter_map(move |alike| {
            let first = slots.next()?;
            let last = if alike.len() > 1 { slots.nth(alike.len() - 2)? } else { first };
            Some(SlotRange { first, last, replicas: self.readers(first) })
        })
    }

    /// The view that this topology was made of, its members sorted.
    pub fn view(&self) -> View {
        View {
            epoch: self.epoch,
            sealed: self.sealed,
            partitioner: self.partitioner.clone(),
            replication_factor: self.replication_factor.clone(),
            members: self.numbers.iter().map(|(_, node)| self.member(node).clone()).collect(),
            numbers: if self.sealed { self.numbers.clone() } else { Numbers::default() },
            ownership: self.ownership.clone(),
        }
    }

    fn set(&self, slot: Slot) -> &ReplicaSet {
        &self.sets[usize::from(self.set_of_slot[slot.index()])]
    }
}

/// The members of `view` in their places, of datacentres with these sorted names.
fn seats(view: &View, numbers: &Numbers, names: &[String]) -> PeerMap<Seat> {
    let seat = |member: &Member| {
        let number = numbers.of(member.id).expect("invariant: every member has a number");
        // `check` has seen to it that eight bits are enough.
        let datacentre = names.partition_point(|name| *name < member.datacentre) as u8;
        (number, Seat { member: member.clone(), datacentre })
    };
    view.members.iter().map(seat).collect()
}

const fn majority(of: u8) -> u8 {
    of / 2 + 1
}

#[cfg(test)]
mod tests;

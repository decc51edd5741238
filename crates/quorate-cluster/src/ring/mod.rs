//! Placement: which members hold a replica of which slot.
//!
//! Each datacentre places all slots by itself, over its own members. Placement is a pure function
//! of the members (and, for a change, of the placement before it), so every node computes the same
//! one and nothing about it needs to be agreed on beyond the member list.
//!
//! Guaranteed for every datacentre:
//! * a slot has as many replicas as the replication factor asks for, or one on every member when
//!   there are fewer; always on distinct members;
//! * replicas spread over racks as evenly as the racks' sizes allow: distinct racks when there are
//!   at least as many racks as replicas, else no rack holds a second replica of a slot before
//!   every rack holds a first one, and so on;
//! * within what that allows, every member holds replicas in proportion to its weight, give or take
//!   one, and comes first for slots in that proportion, members of one weight equally often, give or
//!   take one. None holds a slot twice: what one could only have in that way goes to the others.
//!   Racks of unequal sizes can
//!   make this infeasible: a rack that must hold a replica of every slot shares it among however
//!   few members it has. Then the load is as even as the racks allow;
//! * [`Placement::add`] and [`Placement::remove`] move few replicas more than balance needs: for
//!   racks of one size at most a twentieth and one slot group more than the fewest possible. Between
//!   two members that both stay they move a slot only when the member that joins or leaves cannot
//!   take or give it itself, because other members that hold the slot stand in the way. After many
//!   changes, or with racks of unequal sizes, that happens more often: the tests allow half as much
//!   again, a quarter is the most that was seen. A rack that comes or goes while there are fewer
//!   racks than replicas moves what spreading over racks demands.
//!
//! How close a change comes to the fewest moves depends on how evenly members are paired, so
//! members that share few slots as yet are put together first. Neighbouring slots share their
//! replica set where possible, which keeps the list of slot ranges that clients read short.

mod assignment;
mod primaries;
mod quotas;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use quorate_proto::{Duties, NodeId, ReplicationFactor, Slot, message::Member, slot::SLOTS};

use assignment::{Assignment, VACANT};

/// What placement needs to know of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingMember {
    /// Identity.
    pub id: NodeId,
    /// Datacentre.
    pub datacentre: String,
    /// Rack inside the datacentre.
    pub rack: String,
    /// Its share. One without any holds nothing.
    pub duties: Duties,
}

impl From<&Member> for RingMember {
    fn from(member: &Member) -> Self {
        let Member { id, datacentre, rack, duties, .. } = member.clone();
        Self { id, datacentre, rack, duties }
    }
}

/// The replica sets of all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    factor: ReplicationFactor,
    datacentres: BTreeMap<String, DatacentreRing>,
}

/// Why a change of members was not carried out. The placement is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The member to add is in the placement.
    #[error("node {0} is a member already")]
    AlreadyMember(NodeId),
    /// The member to remove is not in the placement.
    #[error("node {0} is not a member")]
    NotMember(NodeId),
}

/// Places all slots over `members` from scratch. The order of `members` has no influence; of two
/// members with one id the first in their order by datacentre and rack counts.
pub fn place<'a>(
    members: impl IntoIterator<Item = &'a RingMember>,
    factor: &ReplicationFactor,
) -> Placement {
    let mut sorted: Vec<&RingMember> = members.into_iter().collect();
    sorted.sort();
    sorted.dedup_by_key(|member| member.id);

    // Witnesses that have met nobody else yet know of no better place: such a list becomes never final.
    let has_holder = sorted.iter().any(|member| member.duties.holds_data());
    let mut by_datacentre: BTreeMap<&str, Vec<RingMember>> = BTreeMap::new();
    for member in sorted.into_iter().filter(|it| it.duties.holds_data() || !has_holder) {
        by_datacentre.entry(&member.datacentre).or_default().push(member.clone());
    }
    let datacentres = by_datacentre
        .into_iter()
        .map(|(name, members)| {
            let ring = DatacentreRing::new(members, in_datacentre(factor, name), None);
            (name.into(), ring)
        })
        .collect();
    Placement { factor: factor.clone(), datacentres }
}

impl Placement {
    /// Names of the datacentres, sorted.
    pub fn datacentres(&self) -> impl Iterator<Item = &str> {
        self.datacentres.keys().map(String::as_str)
    }

    /// Members, sorted by datacentre, then by id.
    pub fn members(&self) -> impl Iterator<Item = &RingMember> {
        self.datacentres.values().flat_map(|ring| &ring.members)
    }

    /// The members of `datacentre` that hold `slot`, in order of preference. The first one is
    /// called the slot's primary there.
    pub fn replicas(&self, datacentre: &str, slot: Slot) -> impl Iterator<Item = NodeId> {
        let ring = self.datacentres.get(datacentre);
        ring.into_iter().flat_map(move |ring| ring.replicas(slot))
    }

    /// Places the slots over one more member.
    pub fn add(&mut self, member: RingMember) -> Result<(), RingError> {
        if self.members().any(|known| known.id == member.id) {
            return Err(RingError::AlreadyMember(member.id));
        }
        let members: Vec<RingMember> = self.members().cloned().chain([member]).collect();
        *self = self.moved(&members, &self.factor);
        Ok(())
    }

    /// Places the slots over one member less.
    pub fn remove(&mut self, id: NodeId) -> Result<(), RingError> {
        if self.members().all(|member| member.id != id) {
            return Err(RingError::NotMember(id));
        }
        let members: Vec<RingMember> =
            self.members().filter(|member| member.id != id).cloned().collect();
        *self = self.moved(&members, &self.factor);
        Ok(())
    }

    /// Places the slots over other members, or in another number of replicas, staying as close to
    /// this placement as the guarantees allow.
    #[must_use]
    pub fn moved(&self, members: &[RingMember], factor: &ReplicationFactor) -> Self {
        let mut by_datacentre: BTreeMap<&str, Vec<RingMember>> = BTreeMap::new();
        for member in members.iter().filter(|member| member.duties.holds_data()) {
            by_datacentre.entry(&member.datacentre).or_default().push(member.clone());
        }
        let datacentres = by_datacentre.into_iter().map(|(name, mut members)| {
            members.sort_by_key(|member| member.id);
            let before = self.datacentres.get(name);
            let width = in_datacentre(factor, name);
            let is_same = |ring: &&DatacentreRing| {
                let is_as_wide = ring.width == usize::from(width).min(members.len());
                ring.members == members && is_as_wide && ring.is_settled()
            };
            let ring = match before.filter(is_same) {
                Some(same) => same.clone(),
                None => DatacentreRing::new(members, width, before),
            };
            (name.into(), ring)
        });
        Self { factor: factor.clone(), datacentres: datacentres.collect() }
    }

    /// A placement that was agreed on: `owners` holds each slot, some of `members`. Where a slot
    /// has fewer owners than others in a datacentre, places are vacant until they are
    /// [moved](Self::moved).
    pub fn agreed(members: &[RingMember], owners: impl Fn(Slot) -> Vec<NodeId>) -> Self {
        let mut by_datacentre: BTreeMap<&str, Vec<RingMember>> = BTreeMap::new();
        for member in members {
            by_datacentre.entry(&member.datacentre).or_default().push(member.clone());
        }
        let of_slot: Vec<Vec<NodeId>> = Slot::all().map(owners).collect();
        let datacentres = by_datacentre.into_iter().filter_map(|(name, mut members)| {
            members.sort_by_key(|member| member.id);
            Some((name.into(), DatacentreRing::agreed(members, &of_slot)?))
        });
        Self { factor: 1.into(), datacentres: datacentres.collect() }
    }
}

/// Replicas in `datacentre`: at least one.
pub(crate) fn in_datacentre(factor: &ReplicationFactor, datacentre: &str) -> u16 {
    factor.of(datacentre).unwrap_or(1).max(1)
}

/// The placement inside one datacentre.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DatacentreRing {
    /// Sorted by id. Positions in this list stand for members below.
    members: Vec<RingMember>,
    /// Replicas of each slot.
    width: usize,
    /// For each slot `width` positions in `members`, in order of preference.
    sets: Vec<u16>,
}

impl DatacentreRing {
    /// Places all slots over `members`, staying as close to `before` as the guarantees allow.
    fn new(members: Vec<RingMember>, factor: u16, before: Option<&Self>) -> Self {
        let width = usize::from(factor).min(members.len());
        let before = before.map(|ring| ring.carried_over(&members, width));

        let mut assignment = Assignment::new(&members, width, before.as_deref());
        assignment.settle();

        let previous: Option<Vec<u16>> =
            before.map(|sets| sets.chunks_exact(width).map(|set| set[0]).collect());
        let weights: Vec<u16> = members.iter().map(|member| member.duties.weight.max(1)).collect();
        let sets = primaries::order(assignment.into_sets(), width, &weights, previous);
        Self { members, width, sets }
    }

    /// Whether placing its slots again would change nothing.
    fn is_settled(&self) -> bool {
        Assignment::new(&self.members, self.width, Some(&self.sets)).is_settled()
    }

    /// Those of `members` who hold each slot; `None` when nobody holds any. Whoever holds none is no
    /// member of the ring.
    fn agreed(mut members: Vec<RingMember>, owners: &[Vec<NodeId>]) -> Option<Self> {
        let holders: BTreeSet<NodeId> = owners.iter().flatten().copied().collect();
        members.retain(|member| holders.contains(&member.id));
        let position = |id: &NodeId| members.binary_search_by_key(id, |member| member.id).ok();
        let of_slot: Vec<Vec<u16>> = owners
            .iter()
            .map(|ids| ids.iter().filter_map(position).map(|position| position as u16).collect())
            .collect();
        let width = of_slot.iter().map(Vec::len).max().filter(|width| *width > 0)?;
        let mut sets = Vec::with_capacity(usize::from(SLOTS) * width);
        for (slot, set) in of_slot.iter().enumerate() {
            sets.extend(set);
            sets.resize((slot + 1) * width, VACANT);
        }
        Some(Self { members, width, sets })
    }

    /// The sets of this ring in terms of positions in `members`, `width` to a slot. Places of
    /// members that left and places that are new are vacant.
    fn carried_over(&self, members: &[RingMember], width: usize) -> Vec<u16> {
        let positions: Vec<Option<u16>> = self
            .members
            .iter()
            .map(|old| {
                let position = members.binary_search_by_key(&old.id, |member| member.id);
                position.ok().map(|position| position as u16)
            })
            .collect();
        let mut sets = Vec::with_capacity(usize::from(SLOTS) * width);
        for set in self.sets.chunks_exact(self.width) {
            // A vacant first place keeps its place: it says that the slot lost its primary.
            let kept = set.iter().enumerate().filter_map(|(place, &old)| {
                let position = positions.get(usize::from(old)).copied().flatten();
                if place == 0 { Some(position.unwrap_or(VACANT)) } else { position }
            });
            let start = sets.len();
            sets.extend(kept);
            while sets.len() - start > width {
                // Fewer replicas: a vacant place goes first, then the last ones.
                let vacant = sets[start..].iter().position(|&position| position == VACANT);
                let last = sets.len() - 1;
                sets.remove(vacant.map_or(last, |place| start + place));
            }
            sets.resize(start + width, VACANT);
        }
        sets
    }

    fn replicas(&self, slot: Slot) -> impl Iterator<Item = NodeId> {
        let start = slot.index() * self.width;
        let set = &self.sets[start..start + self.width];
        set.iter().map(|&position| self.members[usize::from(position)].id)
    }
}

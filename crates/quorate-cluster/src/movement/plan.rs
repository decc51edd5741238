//! Where slots go when members join and leave.

use alloc::{collections::BTreeMap, vec::Vec};

use quorate_proto::{
    MemberNumber, NodeId, Partitioner, ReplicationFactor, Slot,
    message::{Member, View},
    numbers::NumbersUsedUp,
    ownership::{Movement, Ownership, Phase, Phases, SlotMap},
};

use super::leaving;
use crate::{
    ring::{Placement, RingMember},
    token_ring,
    topology::{self, TopologyError, of_placement, placed},
};

/// A change of a cluster, not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The next member list, with which it begins.
    pub view: View,
    /// What it comes to.
    pub summary: Summary,
}

/// What a change comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Slots that get other owners.
    pub slots: u16,
    /// Replicas of slots that are made.
    pub copies: u32,
    /// The most of them that one member takes.
    pub busiest: u32,
}

/// Why a change is not possible. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The member list is not final.
    #[error("the member list is not final; write something first")]
    NotFinal,
    /// Another change is under way.
    #[error("another change is under way; wait for its end or cancel it")]
    UnderWay,
    /// Nothing is under way.
    #[error("no change is under way")]
    NothingToCancel,
    /// The node is a member.
    #[error("node {0} is a member already")]
    AlreadyMember(NodeId),
    /// The node is no member.
    #[error("node {0} is not a member")]
    NotMember(NodeId),
    /// Nobody would be left.
    #[error("node {0} is the last member")]
    LastMember(NodeId),
    /// Nobody would hold anything.
    #[error("no member would hold data: all that would be left are witnesses (weight 0)")]
    NoHolders,
    /// Only the member that is given up holds these.
    #[error("nobody but node {0} holds slot {slot}; its data would be lost", slot = .1.number())]
    LastReplica(NodeId, Slot),
    /// There is no number for another member.
    #[error(transparent)]
    NumbersUsedUp(#[from] NumbersUsedUp),
    /// The outcome is no topology.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// A node becomes a member, and slots go to it.
pub fn join(view: &View, member: Member) -> Result<Plan, PlanError> {
    let owners = owners_at_rest(view)?;
    move_slots(with_member(view, member)?, owners, &[])
}

/// The list with one more member, nothing of which is decided yet.
fn with_member(view: &View, member: Member) -> Result<View, PlanError> {
    if view.numbers.of(member.id).is_some() {
        return Err(PlanError::AlreadyMember(member.id));
    }
    let mut next = view.clone();
    next.numbers.give(member.id)?;
    next.members.push(member);
    next.members.sort_by_key(|member| member.id);
    Ok(next)
}

/// The slots of a member go to others; then it is none any more.
pub fn leave(view: &View, id: NodeId) -> Result<Plan, PlanError> {
    let owners = owners_at_rest(view)?;
    let number = number_of(view, id)?;
    if view.members.len() == 1 {
        return Err(PlanError::LastMember(id));
    }
    move_slots(view.clone(), owners, &[number])
}

/// A node takes the place of a member: as few other slots as possible move.
pub fn replace(view: &View, id: NodeId, member: Member) -> Result<Plan, PlanError> {
    let owners = owners_at_rest(view)?;
    let joined = with_member(view, member)?;
    let number = number_of(view, id)?;
    move_slots(joined, owners, &[number])
}

/// A member that is lost for good is none any more at once, and its slots go to others. While a
/// change is under way that starts anew without it: what has moved stays moved, and whoever was to
/// leave leaves.
pub fn remove_dead(view: &View, id: NodeId) -> Result<Plan, PlanError> {
    let owners = holders(view)?;
    let number = number_of(view, id)?;
    let without = |slot| -> Vec<MemberNumber> {
        owners.get(slot).iter().copied().filter(|owner| *owner != number).collect()
    };
    if let Some(slot) = Slot::all().find(|slot| without(*slot).is_empty()) {
        return Err(PlanError::LastReplica(id, slot));
    }
    let mut next = view.clone();
    next.numbers.retire(id);
    next.members.retain(|member| member.id != id);
    let leave: Vec<MemberNumber> =
        leaving(view).iter().copied().filter(|leaver| *leaver != number).collect();
    // Somebody has to stay.
    let leave = if leave.len() < next.members.len() { leave } else { Vec::new() };
    move_slots(next, SlotMap::of_slots(without), &leave)
}

/// Every slot gets other numbers of replicas in the datacentres.
pub fn set_replication_factor(view: &View, factor: &ReplicationFactor) -> Result<Plan, PlanError> {
    let owners = owners_at_rest(view)?;
    move_slots(View { replication_factor: factor.clone(), ..view.clone() }, owners, &[])
}

/// A member gets another share of the replicas of its datacentre.
pub fn set_weight(view: &View, id: NodeId, weight: u16) -> Result<Plan, PlanError> {
    let owners = owners_at_rest(view)?;
    let mut next = view.clone();
    let member = next.members.iter_mut().find(|member| member.id == id);
    member.ok_or(PlanError::NotMember(id))?.duties.weight = weight;
    move_slots(next, owners, &[])
}

/// The way back from a change that is under way. What has moved goes back, and whoever was to
/// leave stays.
pub fn cancel(view: &View) -> Result<Plan, PlanError> {
    let ownership = view.ownership.as_deref().ok_or(PlanError::NothingToCancel)?;
    let movement = ownership.movement.as_ref().ok_or(PlanError::NothingToCancel)?;
    let is_among = |map: &SlotMap, number: &MemberNumber| {
        map.runs().iter().any(|(_, owners)| owners.contains(number))
    };
    // Who held nothing before and was to hold something has come with the change.
    let came = |number: &MemberNumber| {
        !is_among(&ownership.owners, number) && is_among(&movement.target, number)
    };
    let numbers = view.numbers.iter().map(|(_, number)| number);
    let mut leaving: Vec<MemberNumber> = numbers.filter(came).collect();
    leaving.sort_unstable();
    begin(view.clone(), holders(view)?, ownership.owners.clone(), leaving)
}

/// Who holds every slot of a cluster in which nothing moves.
fn owners_at_rest(view: &View) -> Result<SlotMap, PlanError> {
    if !view.sealed {
        return Err(PlanError::NotFinal);
    }
    match view.ownership.as_deref() {
        None => Ok(placed(view, &view.numbers)),
        Some(Ownership { movement: Some(_), .. }) => Err(PlanError::UnderWay),
        Some(Ownership { owners, movement: None }) => Ok(owners.clone()),
    }
}

/// Who holds every slot for sure: the old owners, until it has moved.
fn holders(view: &View) -> Result<SlotMap, PlanError> {
    let Some(Ownership { owners, movement: Some(movement) }) = view.ownership.as_deref() else {
        return owners_at_rest(view);
    };
    Ok(SlotMap::of_slots(|slot| match movement.phases.get(slot) {
        Phase::Waiting | Phase::Filling | Phase::Joint => owners.get(slot).clone(),
        Phase::Moved => movement.target.get(slot).clone(),
    }))
}

fn number_of(view: &View, id: NodeId) -> Result<MemberNumber, PlanError> {
    view.numbers.of(id).ok_or(PlanError::NotMember(id))
}

/// Begins to move slots from `owners` to the members of `next` without those that leave. On a ring who
/// holds what follows from the tokens of the others.
fn move_slots(next: View, owners: SlotMap, leaving: &[MemberNumber]) -> Result<Plan, PlanError> {
    let leaves = |member: &&Member| {
        next.numbers.of(member.id).is_some_and(|number| leaving.contains(&number))
    };
    let staying: Vec<&Member> = next.members.iter().filter(|member| !leaves(member)).collect();
    if !staying.iter().any(|member| member.duties.holds_data()) {
        return Err(PlanError::NoHolders);
    }
    let target = match &next.partitioner {
        Partitioner::Ring(ring) => {
            token_ring::placed(ring, staying, &next.replication_factor, &next.numbers)
        }
        Partitioner::Slots => moved(&next, &owners, &staying),
    };
    begin(next, owners, target, leaving.to_vec())
}

/// Slots that are held by `owners`, spread over those of the members that stay; few of them move.
fn moved(next: &View, owners: &SlotMap, staying: &[&Member]) -> SlotMap {
    let ids: Vec<(MemberNumber, NodeId)> =
        next.numbers.iter().map(|(id, number)| (number, id)).collect();
    let id_of =
        |number: &MemberNumber| ids.iter().find(|(found, _)| found == number).map(|(_, id)| *id);
    let everybody: Vec<RingMember> = next.members.iter().map(RingMember::from).collect();
    let staying: Vec<RingMember> = staying.iter().map(|member| RingMember::from(*member)).collect();
    let before =
        Placement::agreed(&everybody, |slot| owners.get(slot).iter().filter_map(id_of).collect());
    of_placement(&before.moved(&staying, &next.replication_factor), &next.numbers)
}

fn begin(
    view: View,
    owners: SlotMap,
    target: SlotMap,
    leaving: Vec<MemberNumber>,
) -> Result<Plan, PlanError> {
    let mut summary = Summary::default();
    let mut taken: BTreeMap<MemberNumber, u32> = BTreeMap::new();
    for slot in Slot::all() {
        let (old, new) = (owners.get(slot), target.get(slot));
        let added = new.iter().filter(|owner| !old.contains(owner)).count();
        let removed = old.iter().filter(|owner| !new.contains(owner)).count();
        summary.copies += added as u32;
        summary.slots += u16::from(added + removed > 0);
        for owner in new.iter().filter(|owner| !old.contains(owner)) {
            *taken.entry(*owner).or_default() += 1;
        }
    }
    summary.busiest = taken.values().copied().max().unwrap_or(0);
    let phases = Phases::of_slots(|_| Phase::Waiting);
    let movement = Some(Movement { target, phases, leaving });
    let ownership = Some(Ownership { owners, movement }.into());
    let view = View { epoch: view.epoch + 1, ownership, ..view };
    topology::check(&view)?;
    Ok(Plan { view, summary })
}

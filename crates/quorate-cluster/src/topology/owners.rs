//! Who has a part in each slot, of an agreed ownership.

use alloc::vec::Vec;

use quorate_proto::{
    MemberNumber, Numbers, Slot,
    message::View,
    ownership::{Ownership, Phase, SlotMap},
};

use super::TopologyError;
use crate::{
    limits::REPLICAS_MAX,
    ring::{Placement, RingMember, place},
    token_ring,
};

/// Neighbouring slots with the same owners, old and new, in the same phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) last: Slot,
    pub(super) old: &'a [MemberNumber],
    /// The same as the old ones of a slot that stays.
    pub(super) new: &'a [MemberNumber],
    pub(super) phase: Phase,
}

impl<'a> Piece<'a> {
    /// All slots, in order.
    pub(super) fn all(ownership: &'a Ownership) -> impl Iterator<Item = Self> {
        let mut next = Slot::new(0);
        core::iter::from_fn(move || {
            let piece = Self::at(ownership, next?);
            next = Slot::new(piece.last.number() + 1);
            Some(piece)
        })
    }

    pub(super) fn at(ownership: &'a Ownership, slot: Slot) -> Self {
        let (last, old) = ownership.owners.run(slot);
        let Some(movement) = &ownership.movement else {
            return Self { last, old, new: old, phase: Phase::Waiting };
        };
        let (target_last, new) = movement.target.run(slot);
        let (phase_last, phase) = movement.phases.run(slot);
        let last = last.min(target_last).min(phase_last);
        Self { last, old, new, phase: *phase }
    }

    /// Whether other members are to hold the slots.
    pub(super) fn moves(&self) -> bool {
        self.old.len() != self.new.len() || !self.old.iter().all(|owner| self.new.contains(owner))
    }

    /// Members with a part in the slots now, in order of preference: first those that serve
    /// clients, `readers` of them.
    pub(super) fn nodes(&self) -> (Vec<MemberNumber>, usize) {
        let beside = |first: &'a [MemberNumber], others: &'a [MemberNumber]| {
            let others = others.iter().filter(|owner| !first.contains(owner));
            first.iter().chain(others).copied().collect::<Vec<_>>()
        };
        match self.phase {
            _ if !self.moves() => (self.old.to_vec(), self.old.len()),
            Phase::Waiting => (self.old.to_vec(), self.old.len()),
            Phase::Filling => (beside(self.old, self.new), self.old.len()),
            Phase::Joint => {
                let nodes = beside(self.new, self.old);
                let readers = nodes.len();
                (nodes, readers)
            }
            Phase::Moved => (self.new.to_vec(), self.new.len()),
        }
    }
}

/// Who holds every slot of a cluster that nothing has moved in.
pub fn placed(view: &View, numbers: &Numbers) -> SlotMap {
    if let Some(owners) = token_ring::of_view(view, numbers) {
        return owners;
    }
    let ring: Vec<RingMember> = view.members.iter().map(RingMember::from).collect();
    of_placement(&place(&ring, &view.replication_factor), numbers)
}

/// A placement by the numbers of its members.
pub fn of_placement(placement: &Placement, numbers: &Numbers) -> SlotMap {
    let number = |id| numbers.of(id).expect("invariant: who is placed is a member");
    let names: Vec<&str> = placement.datacentres().collect();
    SlotMap::of_slots(|slot| {
        names.iter().flat_map(|name| placement.replicas(name, slot)).map(number).collect()
    })
}

/// Whether the owners of slots are members, and not too many.
pub(super) fn check_owners(view: &View, ownership: &Ownership) -> Result<(), TopologyError> {
    if !view.sealed {
        return Err(TopologyError::EarlyOwners);
    }
    let numbers: Vec<MemberNumber> = {
        let mut numbers: Vec<_> = view.numbers.iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        numbers
    };
    let target = ownership.movement.as_ref().map(|movement| &movement.target);
    let maps = core::iter::once(&ownership.owners).chain(target);
    let mut owners = maps.flat_map(SlotMap::runs).flat_map(|(_, owners)| owners);
    if let Some(stranger) = owners.find(|owner| numbers.binary_search(owner).is_err()) {
        return Err(TopologyError::StrangeOwner(*stranger));
    }
    let movement = ownership.movement.iter();
    for leaver in movement.flat_map(|movement| &movement.leaving) {
        let mut keeps = target.iter().flat_map(|target| target.runs());
        let is_member = numbers.binary_search(leaver).is_ok();
        if !is_member || keeps.any(|(_, owners)| owners.contains(leaver)) {
            return Err(TopologyError::CannotLeave(*leaver));
        }
    }
    let widths = Piece::all(ownership).map(|piece| {
        let newcomers = piece.new.iter().filter(|owner| !piece.old.contains(owner));
        piece.old.len() + newcomers.count()
    });
    match widths.max() {
        Some(width) if width > REPLICAS_MAX => Err(TopologyError::TooManyReplicas(width)),
        _ => Ok(()),
    }
}

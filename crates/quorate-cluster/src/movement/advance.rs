//! The next epoch of a movement.

use alloc::vec::Vec;

use quorate_proto::{
    Groups, MemberNumber, Slot,
    message::View,
    mutant::Mutant,
    ownership::{Movement, Ownership, Phase, Phases},
    slot::GROUPS,
};

use crate::peer_map::PeerMap;

/// What a member tells of a movement.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The epoch that all of its shards go by.
    pub epoch: u64,
    /// For each peer the groups of slots of which this member and the peer have what either of
    /// them had at a moment of this epoch.
    pub level: PeerMap<Groups>,
}

/// The next member list of a movement, by what members have reported; `None` while it has to wait,
/// or when nothing moves.
///
/// `is_up` says of whom a report is waited for at all, but for owners of slots that are under way:
/// those are always waited for. At most `groups_at_once` groups of slots are under way together.
pub fn advance(
    view: &View,
    reports: &PeerMap<Report>,
    is_up: impl Fn(MemberNumber) -> bool,
    groups_at_once: usize,
) -> Option<View> {
    let ownership = view.ownership.as_deref()?;
    let movement = ownership.movement.as_ref()?;
    let is_known = |number| reports.get(number).is_some_and(|report| report.epoch == view.epoch);
    let mut live = view.numbers.iter().map(|(_, number)| number).filter(|number| is_up(*number));
    if !live.all(is_known) {
        return None;
    }
    let state = State { ownership, movement, reports, epoch: view.epoch };
    let of_group: Vec<Option<Phase>> = (0..GROUPS).map(|group| state.phase(group)).collect();
    if of_group.iter().flatten().all(|phase| *phase == Phase::Moved) {
        return Some(ended(view, movement));
    }
    let under_way = |phases: &[Option<Phase>]| {
        phases.iter().flatten().filter(|phase| phase.is_under_way()).count()
    };
    let mut next = of_group.clone();
    for (phase, group) in next.iter_mut().zip(0..) {
        match *phase {
            Some(Phase::Filling) if state.is_level(group) => {
                let is_skipped = Mutant::PhaseSkipped.is_planted();
                *phase = Some(if is_skipped { Phase::Moved } else { Phase::Joint });
            }
            Some(Phase::Joint) if state.is_level(group) => *phase = Some(Phase::Moved),
            _ => {}
        }
    }
    let mut room = groups_at_once.max(1).saturating_sub(under_way(&next));
    for phase in next.iter_mut().filter(|phase| **phase == Some(Phase::Waiting)) {
        if room == 0 {
            break;
        }
        (*phase, room) = (Some(Phase::Filling), room - 1);
    }
    (next != of_group).then(|| with_phases(view, ownership, movement, &next))
}

/// A movement at a moment.
struct State<'a> {
    ownership: &'a Ownership,
    movement: &'a Movement,
    reports: &'a PeerMap<Report>,
    epoch: u64,
}

impl State<'_> {
    /// The slots of a group that get other owners.
    fn moving(&self, group: u16) -> impl Iterator<Item = Slot> {
        Slot::of_group(group).filter(|slot| {
            let (old, new) = (self.ownership.owners.get(*slot), self.movement.target.get(*slot));
            old.len() != new.len() || old.iter().any(|owner| !new.contains(owner))
        })
    }

    /// How far a group has come of which some slots move.
    fn phase(&self, group: u16) -> Option<Phase> {
        self.moving(group).map(|slot| *self.movement.phases.get(slot)).min()
    }

    /// Whether every new owner has, of each slot that moves, what every old one had in this epoch.
    fn is_level(&self, group: u16) -> bool {
        self.moving(group).all(|slot| {
            let (old, new) = (self.ownership.owners.get(slot), self.movement.target.get(slot));
            new.iter().all(|owner| {
                old.iter().all(|other| owner == other || self.is_proved(*owner, *other, group))
            })
        })
    }

    /// Whether either of two has reported that they are level.
    fn is_proved(&self, one: MemberNumber, other: MemberNumber, group: u16) -> bool {
        let tells = |from: MemberNumber, of: MemberNumber| {
            let report = self.reports.get(from).filter(|report| report.epoch == self.epoch);
            report
                .and_then(|report| report.level.get(of))
                .is_some_and(|found| found.contains(group))
        };
        tells(one, other) || tells(other, one)
    }
}

fn with_phases(
    view: &View,
    ownership: &Ownership,
    movement: &Movement,
    of_group: &[Option<Phase>],
) -> View {
    let phase = |slot: Slot| of_group[usize::from(slot.group())].unwrap_or(Phase::Waiting);
    let movement = Some(Movement { phases: Phases::of_slots(phase), ..movement.clone() });
    let ownership = Some(Ownership { movement, ..ownership.clone() }.into());
    View { epoch: view.epoch + 1, ownership, ..view.clone() }
}

/// Everything has moved: those who leave are members no more.
fn ended(view: &View, movement: &Movement) -> View {
    let mut next = View { epoch: view.epoch + 1, ..view.clone() };
    let leaves = |number| movement.leaving.contains(&number) && !Mutant::LeaverKept.is_planted();
    next.members.retain(|member| !view.numbers.of(member.id).is_some_and(leaves));
    for (id, _) in view.numbers.iter().filter(|(_, number)| leaves(*number)) {
        next.numbers.retire(id);
    }
    let owners = movement.target.clone();
    next.ownership = Some(Ownership { owners, movement: None }.into());
    next
}

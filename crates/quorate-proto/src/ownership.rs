//! Which members hold which slots, as members agree on it, and slots on their way to others.

use alloc::vec::Vec;

use crate::{MemberNumber, Slot, limits::OWNERS_MAX, slot::SLOTS};

/// Who holds every slot, and where slots are going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Who held each slot when the movement began; who holds it, when nothing moves.
    pub owners: SlotMap,
    /// Slots that change their owners.
    pub movement: Option<Movement>,
}

/// Slots on their way to other owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Who holds each slot in the end.
    pub target: SlotMap,
    /// How far each slot has come. It says nothing of slots whose owners stay.
    pub phases: Phases,
    /// Members that hold nothing in the end, and are none any more then. Ascending, each once.
    pub leaving: Vec<MemberNumber>,
}

/// How far a slot has come on its way from its owners to others.
///
/// ```text
///            writes go to     meet their level among     reads ask
///  Waiting   the old          the old                    the old
///  Filling   both             each of them               the old
///  Joint     both             each of them               each of them
///  Moved     the new          the new                    the new
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Its movement has not begun.
    #[default]
    Waiting = 0,
    /// The new owners are filled.
    Filling = 1,
    /// The new owners have what the old ones have, and both are asked until that is proved.
    Joint = 2,
    /// The old owners have no part in it any more, and drop what they hold.
    Moved = 3,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Filling, Self::Joint, Self::Moved];

    /// Whether old and new owners take writes.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Filling | Self::Joint)
    }
}

/// Something for every slot: runs of neighbours that have the same.
///
/// The runs are the fewest possible, so equal contents have equal runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs<T> {
    /// The last slot of each run, ascending up to the last of all, with what its slots have.
    runs: Vec<(Slot, T)>,
}

/// The owners of every slot: in each datacentre in order of preference, the datacentres in the
/// order of their names.
pub type SlotMap = Runs<Vec<MemberNumber>>;

/// A phase for every slot.
pub type Phases = Runs<Phase>;

impl<T: PartialEq> Runs<T> {
    /// The runs of what each slot has.
    pub fn of_slots(of_slot: impl Fn(Slot) -> T) -> Self {
        let mut runs: Vec<(Slot, T)> = Vec::new();
        for slot in Slot::all() {
            let item = of_slot(slot);
            match runs.last_mut() {
                Some((last, present)) if *present == item => *last = slot,
                _ => runs.push((slot, item)),
            }
        }
        Self { runs }
    }

    /// Runs as they were written down; `None` when they do not cover every slot once, or are more
    /// than they need be.
    pub fn from_runs(runs: Vec<(Slot, T)>) -> Option<Self> {
        let is_tight = runs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1);
        let is_whole = runs.last().is_some_and(|(last, _)| last.number() == SLOTS - 1);
        (is_tight && is_whole).then_some(Self { runs })
    }

    /// What `slot` has, and the last of the slots from it on that have the same.
    pub fn run(&self, slot: Slot) -> (Slot, &T) {
        let (last, item) = &self.runs[self.runs.partition_point(|(last, _)| *last < slot)];
        (*last, item)
    }

    /// What `slot` has.
    pub fn get(&self, slot: Slot) -> &T {
        self.run(slot).1
    }

    /// The runs, each by its last slot.
    pub fn runs(&self) -> &[(Slot, T)] {
        &self.runs
    }
}

/// Whether they may be the owners of a slot: some, not too many, each once.
pub fn may_own(owners: &[MemberNumber]) -> bool {
    let is_once = |(at, owner)| !owners[..at].contains(owner);
    (1..=OWNERS_MAX).contains(&owners.len()) && owners.iter().enumerate().all(is_once)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn runs_are_the_fewest_and_say_what_each_slot_has() {
        let even = |slot: Slot| slot.number() / 4_096 % 2;
        let runs = Runs::of_slots(even);
        assert_eq!(runs.runs().len(), 4);
        assert!(Slot::all().all(|slot| *runs.get(slot) == even(slot)));
        assert_eq!(Runs::from_runs(runs.runs().to_vec()), Some(runs));
    }

    #[test]
    fn what_does_not_cover_every_slot_once_is_refused() {
        let last = slot(SLOTS - 1);
        assert!(Runs::from_runs(vec![(slot(7), 1), (last, 2)]).is_some());
        let wrong = [
            vec![],
            vec![(slot(7), 1)],
            vec![(last, 1), (slot(7), 2)],
            vec![(slot(7), 1), (slot(7), 2), (last, 3)],
            vec![(slot(7), 1), (last, 1)],
        ];
        assert!(wrong.into_iter().all(|runs| Runs::from_runs(runs).is_none()));
    }

    #[test]
    fn owners_are_some_and_each_once() {
        let [a, b] = [MemberNumber(1), MemberNumber(2)];
        assert!(may_own(&[a, b]) && !may_own(&[]) && !may_own(&[a, b, a]));
        let many: Vec<MemberNumber> = (0..=OWNERS_MAX as u16).map(MemberNumber).collect();
        assert!(may_own(&many[1..]) && !may_own(&many));
    }
}

//! Which member has which number.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{MemberNumber, NodeId, Origin};

/// The numbers of a member list.
///
/// Stamps, dots and everything that is kept for a member go by its number, so a number means one
/// member for ever: the members of the first list get theirs by the order of their ids, later ones
/// the next that nobody has had. The numbers of former members stay known as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How many were given: all below this.
    given: u16,
    of: BTreeMap<NodeId, MemberNumber>,
}

/// Every number that an origin can hold was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "all {} member numbers have been given; restore a backup into a new cluster",
    Origin::NUMBERS
)]
pub struct NumbersUsedUp;

impl Numbers {
    /// The numbers of the first list of a cluster.
    pub fn of_first(members: impl IntoIterator<Item = NodeId>) -> Result<Self, NumbersUsedUp> {
        let mut ids: Vec<NodeId> = members.into_iter().collect();
        ids.sort_unstable();
        let mut numbers = Self::default();
        ids.into_iter().try_for_each(|id| numbers.give(id).map(drop))?;
        Ok(numbers)
    }

    /// Numbers as they were written down: `given` of them, of which these have members. `None` when
    /// one is beyond them, or has two members.
    pub fn from_parts(
        given: u16,
        members: impl IntoIterator<Item = (NodeId, MemberNumber)>,
    ) -> Option<Self> {
        let (mut of, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for (id, number) in members {
            if number.0 >= given || !taken.insert(number) || of.insert(id, number).is_some() {
                return None;
            }
        }
        (given <= Origin::NUMBERS).then_some(Self { given, of })
    }

    /// Gives a member its number, the one that it has if it has one.
    pub fn give(&mut self, member: NodeId) -> Result<MemberNumber, NumbersUsedUp> {
        if let Some(number) = self.of(member) {
            return Ok(number);
        }
        let number = MemberNumber(self.given);
        self.given =
            self.given.checked_add(1).filter(|n| *n <= Origin::NUMBERS).ok_or(NumbersUsedUp)?;
        self.of.insert(member, number);
        Ok(number)
    }

    /// A member leaves; nobody gets its number.
    pub fn retire(&mut self, member: NodeId) -> Option<MemberNumber> {
        self.of.remove(&member)
    }

    /// The number of a member.
    pub fn of(&self, member: NodeId) -> Option<MemberNumber> {
        self.of.get(&member).copied()
    }

    /// How many were given: all below this.
    pub fn given(&self) -> u16 {
        self.given
    }

    /// Whether the number belonged to a member that has left.
    pub fn is_former(&self, number: MemberNumber) -> bool {
        number.0 < self.given && self.of.values().all(|other| *other != number)
    }

    /// The members with their numbers, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, MemberNumber)> {
        self.of.iter().map(|(id, number)| (*id, *number))
    }

    /// Whether no number was given: the list is not final yet.
    pub fn is_empty(&self) -> bool {
        self.given == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u128) -> NodeId {
        NodeId(id)
    }

    #[test]
    fn the_first_list_is_numbered_by_id_and_later_members_as_they_come() {
        let mut numbers = Numbers::of_first([id(30), id(10), id(20)]).unwrap();
        let of = |numbers: &Numbers, member| numbers.of(id(member)).map(|number| number.0);
        assert_eq!([10, 20, 30].map(|member| of(&numbers, member)), [Some(0), Some(1), Some(2)]);
        assert_eq!(numbers.give(id(5)), Ok(MemberNumber(3)), "its id is the first");
        assert_eq!(numbers.give(id(40)), Ok(MemberNumber(4)), "its id is the last");
        assert_eq!(numbers.give(id(5)), Ok(MemberNumber(3)), "it has one");
        assert_eq!([10, 20, 30].map(|member| of(&numbers, member)), [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_number_is_given_once() {
        let mut numbers = Numbers::of_first([id(1), id(2)]).unwrap();
        assert_eq!(numbers.retire(id(2)), Some(MemberNumber(1)));
        assert!(numbers.is_former(MemberNumber(1)));
        assert!(!numbers.is_former(MemberNumber(0)) && !numbers.is_former(MemberNumber(2)));
        assert_eq!(numbers.give(id(2)), Ok(MemberNumber(2)), "not even to the one that had it");
        assert_eq!(numbers.given(), 3);
    }

    #[test]
    fn numbers_are_used_up_at_what_an_origin_holds() {
        let mut numbers = Numbers::of_first((0..u128::from(Origin::NUMBERS)).map(NodeId)).unwrap();
        assert_eq!(numbers.give(id(1 << 20)), Err(NumbersUsedUp));
        assert_eq!(numbers.given(), Origin::NUMBERS);
    }

    #[test]
    fn what_was_written_down_is_taken_only_if_it_is_possible() {
        let numbers = Numbers::of_first([id(1), id(2)]).unwrap();
        assert_eq!(Numbers::from_parts(2, numbers.iter()), Some(numbers.clone()));
        assert_eq!(Numbers::from_parts(1, numbers.iter()), None, "more than were given");
        let same = [(id(1), MemberNumber(0)), (id(2), MemberNumber(0))];
        assert_eq!(Numbers::from_parts(2, same), None, "one number for two");
        assert_eq!(Numbers::from_parts(Origin::NUMBERS + 1, []), None);
    }
}

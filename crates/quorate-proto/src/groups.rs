//! Sets of slot groups.

use crate::slot::{GROUPS, Slot};

/// A set of the [`GROUPS`] groups of slots, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups(u64);

const _: () = assert!(GROUPS as u32 == u64::BITS);

impl Groups {
    /// No group.
    pub const NONE: Self = Self(0);

    /// Every group.
    pub const ALL: Self = Self(u64::MAX);

    /// One bit for each group, the first one lowest.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// One bit for each group, the first one lowest.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The group of `slot`.
    pub const fn of_slot(slot: Slot) -> Self {
        Self(1 << slot.group())
    }

    /// The groups that hold any of the slots `first..=last`; none when there is no such slot.
    pub fn of_slots(first: Slot, last: Slot) -> Self {
        (first.group()..=last.group()).filter(|_| first <= last).collect()
    }

    /// Whether the set has no group.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of groups.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether the set has `group`.
    pub const fn contains(self, group: u16) -> bool {
        group < GROUPS && self.0 & (1 << group) != 0
    }

    /// Adds a group; one that does not exist is left out.
    pub const fn insert(&mut self, group: u16) {
        if group < GROUPS {
            self.0 |= 1 << group;
        }
    }

    /// The groups of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The groups of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The groups of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The groups, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (0..GROUPS).filter(move |group| self.contains(*group))
    }
}

impl FromIterator<u16> for Groups {
    fn from_iter<I: IntoIterator<Item = u16>>(groups: I) -> Self {
        let mut set = Self::NONE;
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SLOTS;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn a_run_of_slots_is_rounded_out_to_whole_groups() {
        assert_eq!(Groups::of_slots(slot(0), slot(0)).bits(), 1);
        assert_eq!(Groups::of_slots(slot(255), slot(256)).bits(), 3);
        assert_eq!(Groups::of_slots(slot(0), slot(SLOTS - 1)), Groups::ALL);
        assert_eq!(Groups::of_slots(slot(9), slot(8)), Groups::NONE);
        assert_eq!(Slot::of_group(1).next(), Some(slot(256)));
        assert_eq!(Slot::of_group(1).last(), Some(slot(511)));
        assert_eq!(Slot::of_group(GROUPS).next(), None);
    }

    #[test]
    fn sets_are_what_was_put_into_them() {
        let mut groups: Groups = [3, 63, GROUPS].into_iter().collect();
        assert_eq!(groups.iter().collect::<alloc::vec::Vec<_>>(), [3, 63]);
        groups.insert(0);
        assert_eq!(groups.len(), 3);
        assert_eq!(groups.without(Groups::of_slot(slot(0))).bits(), 1 << 3 | 1 << 63);
        assert!(groups.contains(63) && !groups.contains(GROUPS) && !groups.contains(1));
    }
}

//! What is kept for each of some members, by their numbers.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use quorate_proto::MemberNumber;

/// A value for each of some members.
///
/// Numbers of former members leave gaps. Values still stand in the order of the numbers, because
/// every request looks some up; a number is below
/// [`Origin::NUMBERS`](quorate_proto::Origin::NUMBERS), which bounds the table.
#[derive(Clone, Debug)]
pub struct PeerMap<T> {
    values: Vec<Option<T>>,
}

impl<T> PeerMap<T> {
    /// Without members.
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// The value of a member, if it has one.
    pub fn get(&self, member: MemberNumber) -> Option<&T> {
        self.values.get(member.index())?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, member: MemberNumber) -> Option<&mut T> {
        self.values.get_mut(member.index())?.as_mut()
    }

    /// Whether the member has a value.
    pub fn contains(&self, member: MemberNumber) -> bool {
        self.get(member).is_some()
    }

    /// Gives a member a value. Returns the one that it had.
    pub fn insert(&mut self, member: MemberNumber, value: T) -> Option<T> {
        if self.values.len() <= member.index() {
            self.values.resize_with(member.index() + 1, || None);
        }
        self.values[member.index()].replace(value)
    }

    /// The value of a member, the default one if it has none.
    pub fn get_or_default(&mut self, member: MemberNumber) -> &mut T
    where
        T: Default,
    {
        if !self.contains(member) {
            self.insert(member, T::default());
        }
        &mut self[member]
    }

    /// Takes the value of a member.
    pub fn remove(&mut self, member: MemberNumber) -> Option<T> {
        self.values.get_mut(member.index())?.take()
    }

    /// The members that have values, by number.
    pub fn members(&self) -> impl Iterator<Item = MemberNumber> + use<'_, T> {
        self.iter().map(|(member, _)| member)
    }

    /// The members with their values, by number.
    pub fn iter(&self) -> impl Iterator<Item = (MemberNumber, &T)> {
        let values = self.values.iter().zip(0..);
        values.filter_map(|(value, number)| Some((MemberNumber(number), value.as_ref()?)))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (MemberNumber, &mut T)> {
        let values = self.values.iter_mut().zip(0..);
        values.filter_map(|(value, number)| Some((MemberNumber(number), value.as_mut()?)))
    }

    /// The values, by the numbers of their members.
    pub fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.values.iter().flatten()
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }
}

impl<T> Default for PeerMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FromIterator<(MemberNumber, T)> for PeerMap<T> {
    fn from_iter<I: IntoIterator<Item = (MemberNumber, T)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (member, value) in entries {
            map.insert(member, value);
        }
        map
    }
}

/// # Panics
/// When the member has no value.
impl<T> Index<MemberNumber> for PeerMap<T> {
    type Output = T;

    fn index(&self, member: MemberNumber) -> &T {
        self.get(member).expect("invariant: the number is that of a member")
    }
}

/// # Panics
/// When the member has no value.
impl<T> IndexMut<MemberNumber> for PeerMap<T> {
    fn index_mut(&mut self, member: MemberNumber) -> &mut T {
        self.get_mut(member).expect("invariant: the number is that of a member")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go_without_moving_the_others() {
        let mut map: PeerMap<&str> =
            [(MemberNumber(4), "four"), (MemberNumber(1), "one")].into_iter().collect();
        assert_eq!(map.insert(MemberNumber(9), "nine"), None);
        assert_eq!(map.remove(MemberNumber(4)), Some("four"));
        assert_eq!(map.remove(MemberNumber(100)), None);
        let entries: Vec<_> = map.iter().map(|(member, value)| (member.0, *value)).collect();
        assert_eq!(entries, [(1, "one"), (9, "nine")]);
        assert!(map.contains(MemberNumber(1)) && !map.contains(MemberNumber(4)));
        assert_eq!((map[MemberNumber(9)], map.get(MemberNumber(2))), ("nine", None));
    }
}

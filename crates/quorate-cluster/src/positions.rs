//! Some replicas of a slot, by their positions.

use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Sub, SubAssign};

use crate::limits::REPLICAS_MAX;

/// Some replicas of a slot: positions in
/// [`Topology::replicas`](crate::topology::Topology::replicas).
///
/// They mean nothing in another topology, and leave the process only as an echo of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Positions(u64);

const _: () = assert!(REPLICAS_MAX <= u64::BITS as usize);

impl Positions {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every one that may be.
    pub const ALL: Self = Self(u64::MAX);

    /// This one.
    pub const fn of(position: usize) -> Self {
        assert!(position < REPLICAS_MAX);
        Self(1 << position)
    }

    /// The first `count`.
    pub const fn first(count: usize) -> Self {
        assert!(0 < count && count <= REPLICAS_MAX);
        Self(u64::MAX >> (u64::BITS as usize - count))
    }

    /// Whether this one is among them.
    pub const fn contains(self, position: usize) -> bool {
        self.0 & Self::of(position).0 != 0
    }

    /// How many they are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The positions, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let position = rest.trailing_zeros() as usize;
            rest &= rest.checked_sub(1)?;
            Some(position)
        })
    }
}

impl FromIterator<usize> for Positions {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        positions.into_iter().fold(Self::NONE, |all, position| all | Self::of(position))
    }
}

impl BitOr for Positions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Positions {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl BitAnd for Positions {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitAndAssign for Positions {
    fn bitand_assign(&mut self, other: Self) {
        *self = *self & other;
    }
}

/// Those without the others.
impl Sub for Positions {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl SubAssign for Positions {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn they_are_a_set() {
        let some: Positions = [3, 0, 63].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 3, 63]);
        assert_eq!((some.len(), some.contains(3), some.contains(4)), (3, true, false));
        assert_eq!(some - Positions::of(3), Positions::of(0) | Positions::of(63));
        assert_eq!(some & Positions::first(4), [0, 3].into_iter().collect());
        assert_eq!(Positions::first(REPLICAS_MAX), Positions::ALL);
        assert!(Positions::NONE.is_empty() && Positions::NONE.iter().next().is_none());
    }
}

//! Dots: names of single writes, by which replicas tell each other exactly what they lack.
//!
//! Whoever executes writes on a slot counts them, from 1 in each incarnation. The slot belongs to a
//! dot as well, but always stands beside it.

use crate::Origin;

/// One write on a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who executed it.
    pub origin: Origin,
    /// Sequence number among the effects of that origin on the slot, from 1.
    pub counter: u64,
}

impl Dot {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 4 + 8;

    /// Little-endian origin, then little-endian counter.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.origin.0.to_le_bytes());
        bytes[4..].copy_from_slice(&self.counter.to_le_bytes());
        bytes
    }

    /// The inverse of [`Dot::to_bytes`]; `None` when there is no such dot.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let [a, b, c, d, counter @ ..] = bytes;
        let counter = u64::from_le_bytes(counter);
        let origin = Origin(u32::from_le_bytes([a, b, c, d]));
        (1..=COUNTER_MAX).contains(&counter).then_some(Self { origin, counter })
    }
}

/// Some neighbouring writes of one origin on a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotRange {
    /// Who executed them.
    pub origin: Origin,
    /// The counter of the first one, from 1.
    pub first: u64,
    /// The counter of the last one, at most [`COUNTER_MAX`].
    pub last: u64,
}

/// The greatest counter of a dot. Whoever counts up to it needs longer than the sun lives, and
/// arithmetic with neighbours of counters cannot overflow.
pub const COUNTER_MAX: u64 = u64::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let dot = Dot { origin: Origin(0x0102_0304), counter: 0x0506 };
        assert_eq!(dot.to_bytes(), [4, 3, 2, 1, 6, 5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Dot::from_bytes(dot.to_bytes()), Some(dot));
        for counter in [0, u64::MAX] {
            assert_eq!(Dot::from_bytes(Dot { counter, ..dot }.to_bytes()), None);
        }
    }
}

//! Stamps: the total order in which concurrent writes are settled.
//!
//! A stamp is a hybrid logical clock reading (Kulkarni et al., "Logical Physical Clocks", 2014):
//! 48 bits of wall-clock milliseconds and a 16-bit counter, followed by the origin that issued it.
//! Comparing stamps compares time first and breaks ties by origin, so the order is total and a
//! write that has seen another always compares greater.

use crate::Start;

/// Who issued a stamp: one start of one member, or of a member of another cluster.
///
/// ```text
/// bit  31        30 .. 20           19 .. 0
///      foreign   member's number    start
/// ```
///
/// A node draws a new [`Start`] whenever it starts, so an origin is used by exactly one process,
/// and two processes never issue the same stamp, whatever was copied or restored before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u32);

impl Origin {
    /// Numbers of members: from 0 to below this.
    pub const NUMBERS: u16 = 1 << (31 - Start::BITS);

    /// The origin of the member `number` since `start`.
    ///
    /// # Panics
    /// When `number` is not below [`Origin::NUMBERS`].
    pub const fn new(number: u16, start: Start) -> Self {
        assert!(number < Self::NUMBERS);
        Self((number as u32) << Start::BITS | start.get())
    }

    /// The same for a member of another cluster.
    ///
    /// # Panics
    /// When `number` is not below [`Origin::NUMBERS`].
    pub const fn foreign(number: u16, start: Start) -> Self {
        Self(Self::new(number, start).0 | 1 << 31)
    }

    /// The number of the member in its cluster, or what stands for it in this one.
    pub const fn number(self) -> u16 {
        (self.0 >> Start::BITS) as u16 & (Self::NUMBERS - 1)
    }

    /// Whether this is the origin of a member of another cluster.
    pub const fn is_foreign(self) -> bool {
        self.0 >> 31 == 1
    }

    /// Which start of the member it is.
    pub const fn start(self) -> Start {
        Start::from_random(self.0)
    }
}

/// A moment of the hybrid logical clock together with its origin. 12 bytes, ordered by time.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    // Two halves instead of one u64: it keeps the type at 12 bytes without `repr(packed)`,
    // and the derived order still compares the whole clock first.
    high: u32,
    low: u32,
    origin: Origin,
}

const _: () = assert!(size_of::<Stamp>() == Stamp::LENGTH);

impl Stamp {
    /// Encoded length in bytes.
    pub const LENGTH: usize = 12;

    /// Before every stamp that a clock issues.
    pub const ZERO: Self = Self { high: 0, low: 0, origin: Origin(0) };

    /// A stamp from a raw clock reading (`milliseconds << 16 | counter`) and its origin.
    pub const fn new(clock: u64, origin: Origin) -> Self {
        Self { high: (clock >> 32) as u32, low: clock as u32, origin }
    }

    /// The raw clock reading: `milliseconds << 16 | counter`.
    pub const fn clock(self) -> u64 {
        ((self.high as u64) << 32) | self.low as u64
    }

    /// Wall-clock part in milliseconds since the Unix epoch.
    pub const fn milliseconds(self) -> u64 {
        self.clock() >> 16
    }

    /// Who issued the stamp.
    pub const fn origin(self) -> Origin {
        self.origin
    }

    /// Whether this is [`Stamp::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Big-endian clock, then big-endian origin: encoded stamps sort like stamps.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.clock().to_be_bytes());
        bytes[8..].copy_from_slice(&self.origin.0.to_be_bytes());
        bytes
    }

    /// The inverse of [`Stamp::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let clock = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Self::new(clock, Origin(u32::from_be_bytes([i, j, k, l])))
    }
}

impl core::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let counter = self.clock() & 0xffff;
        write!(f, "{}.{counter}@{:x}", self.milliseconds(), self.origin.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_holds_its_number_and_start() {
        let start = Start::from_random(0xfff_abcde);
        let (own, foreign) = (Origin::new(0x7ff, start), Origin::foreign(0x7ff, start));
        assert_eq!((own.0, foreign.0), (0x7ffa_bcde, 0xfffa_bcde));
        assert_eq!((own.number(), own.start(), own.is_foreign()), (0x7ff, start, false));
        assert_eq!((foreign.number(), foreign.start(), foreign.is_foreign()), (0x7ff, start, true));
    }

    #[test]
    fn order_is_time_then_origin() {
        let a = Stamp::new(7 << 16, Origin(9));
        let b = Stamp::new((7 << 16) + 1, Origin(0));
        let c = Stamp::new((7 << 16) + 1, Origin(1));
        assert!(Stamp::ZERO < a && a < b && b < c);
    }

    #[test]
    fn bytes_round_trip_and_sort_alike() {
        let stamps = [
            Stamp::ZERO,
            Stamp::new(1, Origin(7)),
            Stamp::new(u64::from(u32::MAX), Origin(3)),
            Stamp::new(u64::from(u32::MAX) + 1, Origin(2)),
            Stamp::new(u64::MAX, Origin(u32::MAX)),
        ];
        for pair in stamps.windows(2) {
            assert!(pair[0].to_bytes() < pair[1].to_bytes());
        }
        for stamp in stamps {
            assert_eq!(Stamp::from_bytes(stamp.to_bytes()), stamp);
        }
        assert_eq!(
            Stamp::new(0x0102_0304_0506_0708, Origin(0x090a_0b0c)).to_bytes(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        );
    }
}

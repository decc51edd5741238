//! Slots: the 16,384 parts of the key space.
//!
//! A key's slot is the CRC16 of its hash tag, or of the whole key, modulo 16,384: the rule of the
//! Redis Cluster specification, so every cluster-aware client computes the same slot.

/// Number of slots in the key space.
pub const SLOTS: u16 = 16_384;

/// Slots are digested and assigned to shards in groups of this many neighbours.
pub const SLOTS_PER_GROUP: u16 = 256;

/// Number of slot groups.
pub const GROUPS: u16 = SLOTS / SLOTS_PER_GROUP;

const _: () = assert!(SLOTS.is_power_of_two() && SLOTS_PER_GROUP.is_power_of_two());

/// One of the [`SLOTS`] parts of the key space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot numbered `index`, or `None` when there is no such slot.
    pub const fn new(index: u16) -> Option<Self> {
        if index < SLOTS { Some(Self(index)) } else { None }
    }

    /// The slot that holds `key`.
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOTS)
    }

    /// Position of the slot, `0..SLOTS`.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Position of the slot, `0..SLOTS`.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The group of neighbouring slots that this one belongs to, `0..GROUPS`.
    pub const fn group(self) -> u16 {
        self.0 / SLOTS_PER_GROUP
    }

    /// Every slot, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..SLOTS).map(Self)
    }

    /// The slots of a group, in order; none when there is no such group.
    pub fn of_group(group: u16) -> impl DoubleEndedIterator<Item = Self> {
        let first = u32::from(group) * u32::from(SLOTS_PER_GROUP);
        let slots = first..first + u32::from(SLOTS_PER_GROUP);
        slots.filter_map(|number| Self::new(u16::try_from(number).ok()?))
    }
}

/// The part of `key` that decides its slot: what stands between the first `{` and the next `}`
/// when that is not empty, else the whole key.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let inner = &key[open + 1..];
    match memchr::memchr(b'}', inner) {
        Some(length) if length > 0 => &inner[..length],
        _ => key,
    }
}

/// CRC16-XMODEM (polynomial 0x1021, initial value 0, no reflection).
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |crc, &byte| (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

pub(crate) const CRC16_TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_match_redis_cluster() {
        // `CLUSTER KEYSLOT` answers of a redis-server.
        assert_eq!(Slot::of_key(b"foo").number(), 12_182);
        assert_eq!(Slot::of_key(b"bar").number(), 5_061);
        assert_eq!(Slot::of_key(b"hello").number(), 866);
        assert_eq!(Slot::of_key(b"somekey").number(), 11_058);
        assert_eq!(Slot::of_key(b"foo{hash_tag}").number(), 2_515);
        assert_eq!(Slot::of_key(b"bar{hash_tag}").number(), 2_515);
    }

    #[test]
    fn hash_tag_is_the_first_non_empty_braced_part() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
        assert_eq!(hash_tag(b"}foo{bar}"), b"bar");
    }
}

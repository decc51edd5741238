//! What a record of the log holds.
//!
//! ```text
//!  slot u16 | effect                            key deltas of a slot (slots are below 0x4000)
//!  0xffff   | group u16 | floor u64 | ...       up to when everything of these groups is known
//! ```
//! All integers are little-endian. Floors stand behind the effects that they speak of, so what is
//! lost of the end of a log takes its floors along.

use quorate_proto::Slot;

/// Stands in the place of a slot where floors follow.
const FLOORS: u16 = u16::MAX;

/// Bytes before an effect.
pub(crate) const SLOT_BYTES: usize = 2;

/// Bytes of one floor.
const FLOOR_BYTES: usize = 2 + 8;

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// Key deltas of a slot.
    Effect(Slot, &'a [u8]),
    /// Up to when everything of some groups is known.
    Floors(Floors<'a>),
}

/// Groups with their floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floors<'a>(&'a [u8]);

impl Record<'_> {
    /// Reads a record; `None` when it is none.
    pub(crate) fn read(record: &[u8]) -> Option<Record<'_>> {
        let (head, rest) = record.split_first_chunk()?;
        match u16::from_le_bytes(*head) {
            FLOORS if rest.len().is_multiple_of(FLOOR_BYTES) => Some(Record::Floors(Floors(rest))),
            number => Some(Record::Effect(Slot::new(number)?, rest)),
        }
    }
}

impl Floors<'_> {
    /// Groups, and their floors in milliseconds since the Unix epoch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        let (floors, _) = self.0.as_chunks::<FLOOR_BYTES>();
        floors.iter().map(|floor| {
            let [a, b, floor_ms @ ..] = *floor;
            (u16::from_le_bytes([a, b]), u64::from_le_bytes(floor_ms))
        })
    }
}

/// Appends the record of an effect.
pub(crate) fn write_effect(out: &mut Vec<u8>, slot: Slot, effect: &[u8]) {
    out.extend_from_slice(&slot.number().to_le_bytes());
    out.extend_from_slice(effect);
}

/// Appends the record of floors.
pub(crate) fn write_floors(out: &mut Vec<u8>, floors: &[(u16, u64)]) {
    out.extend_from_slice(&FLOORS.to_le_bytes());
    for (group, floor_ms) in floors {
        out.extend_from_slice(&group.to_le_bytes());
        out.extend_from_slice(&floor_ms.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_records() {
        let mut out = Vec::new();
        write_effect(&mut out, Slot::new(0x1234).expect("a slot"), b"e");
        assert_eq!(out, [0x34, 0x12, b'e']);
        let effect = Record::Effect(Slot::new(0x1234).expect("a slot"), b"e");
        assert_eq!(Record::read(&out), Some(effect));

        out.clear();
        write_floors(&mut out, &[(3, 0x0102), (4, 5)]);
        let bytes = [0xff, 0xff, 3, 0, 2, 1, 0, 0, 0, 0, 0, 0, 4, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, bytes);
        let Some(Record::Floors(floors)) = Record::read(&out) else { panic!("floors") };
        assert_eq!(floors.iter().collect::<Vec<_>>(), [(3, 0x0102), (4, 5)]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for record in [&[][..], &[1], &[0, 0x40], &[0xff, 0xff, 1, 0]] {
            assert_eq!(Record::read(record), None, "{record:?}");
        }
    }
}

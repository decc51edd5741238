//! What a record of the log holds.
//!
//! ```text
//!  slot u16 | effect                            key deltas of a slot (slots are below 0x4000)
//!  0xfffe   | slot u16 | count u16 | dot * | effect    the same, with the writes that it is made of
//!  0xfffd   | number u64 | part *                all that transactions did, whoever owns the slots:
//!             slot u16 | length u32 | effect     each part
//!  0xfffc   | slot u16 *                        what was held of these slots before was dropped
//!  0xffff   | group u16 | floor u64 | ...       up to when everything of these groups is known
//! ```
//! All integers are little-endian; a dot is `origin u32 | counter u64`. Only hints have dots, and
//! bring them to their target. A record of transactions stands in the log of every shard that it
//! concerns, and is recovered from any of them. Floors stand behind the effects that they speak of,
//! so what is lost of the end of a log takes its floors along.

use bytes::Bytes;
use quorate_proto::{Dot, Slot, limits::DOTS_PER_EFFECT_MAX};

/// Stands in the place of a slot where floors follow.
const FLOORS: u16 = u16::MAX;

/// Stands before the slot of an effect with dots.
const DOTTED: u16 = u16::MAX - 1;

/// Stands in the place of a slot where effects of several slots follow.
const TRANSACTIONS: u16 = u16::MAX - 2;

/// Stands in the place of a slot where slots follow that were dropped.
const DISCARDED: u16 = u16::MAX - 3;

/// Bytes before an effect without dots.
pub(crate) const SLOT_BYTES: usize = 2;

/// Bytes before the effects of transactions.
const HEAD_BYTES: usize = 2 + 8;

/// Bytes of one floor.
const FLOOR_BYTES: usize = 2 + 8;

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// Key deltas of a slot.
    Effect {
        slot: Slot,
        /// The writes that it holds all of.
        dots: Dots<'a>,
        effect: &'a [u8],
    },
    /// Key deltas of several slots, of which a crash leaves all or none. Without any: all that the
    /// transactions up to this one have written to the shard of the log is in what is before it,
    /// or in the checkpoint that begins here.
    Transactions {
        /// Grows from one that concerns several shards to the next; zero for one shard.
        number: u64,
        effects: Effects<'a>,
    },
    /// Up to when everything of some groups is known.
    Floors(Floors<'a>),
    /// Slots that other nodes hold: nothing of what stands before this is here.
    Discarded(Slots<'a>),
}

/// Names of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dots<'a>(&'a [[u8; Dot::LENGTH]]);

/// Effects with their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects<'a>(&'a [u8]);

/// Slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots<'a>(&'a [[u8; 2]]);

/// Groups with their floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floors<'a>(&'a [u8]);

impl Record<'_> {
    /// Reads a record; `None` when it is none.
    pub(crate) fn read(record: &[u8]) -> Option<Record<'_>> {
        let (head, rest) = record.split_first_chunk()?;
        match u16::from_le_bytes(*head) {
            FLOORS if rest.len().is_multiple_of(FLOOR_BYTES) => Some(Record::Floors(Floors(rest))),
            DOTTED => read_dotted(rest),
            TRANSACTIONS => read_transactions(rest),
            DISCARDED => read_discarded(rest),
            number => {
                let (slot, dots) = (Slot::new(number)?, Dots::default());
                Some(Record::Effect { slot, dots, effect: rest })
            }
        }
    }
}

fn read_dotted(rest: &[u8]) -> Option<Record<'_>> {
    let (slot, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let (dots, effect) = rest.split_at_checked(count * Dot::LENGTH)?;
    let (dots, _) = dots.as_chunks();
    let sound = (1..=DOTS_PER_EFFECT_MAX).contains(&count)
        && dots.iter().all(|dot| Dot::from_bytes(*dot).is_some());
    let slot = Slot::new(u16::from_le_bytes(*slot))?;
    sound.then_some(Record::Effect { slot, dots: Dots(dots), effect })
}

fn read_discarded(rest: &[u8]) -> Option<Record<'_>> {
    let (slots, odd) = rest.as_chunks();
    let are_slots = slots.iter().all(|slot| Slot::new(u16::from_le_bytes(*slot)).is_some());
    (odd.is_empty() && are_slots).then_some(Record::Discarded(Slots(slots)))
}

fn read_transactions(rest: &[u8]) -> Option<Record<'_>> {
    let (number, rest) = rest.split_first_chunk()?;
    let mut left = rest;
    while !left.is_empty() {
        take_part(&mut left)?;
    }
    let number = u64::from_le_bytes(*number);
    Some(Record::Transactions { number, effects: Effects(rest) })
}

/// Takes the first effect, with its slot.
fn take_part<'a>(parts: &mut &'a [u8]) -> Option<(Slot, &'a [u8])> {
    let (slot, rest) = parts.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (effect, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *parts = rest;
    Some((Slot::new(u16::from_le_bytes(*slot))?, effect))
}

impl<'a> Effects<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = (Slot, &'a [u8])> {
        let mut left = self.0;
        std::iter::from_fn(move || take_part(&mut left))
    }
}

impl Dots<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Dot> {
        self.0.iter().filter_map(|dot| Dot::from_bytes(*dot))
    }
}

impl Slots<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().filter_map(|slot| Slot::new(u16::from_le_bytes(*slot)))
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

/// Appends the record of an effect that holds all of some writes. Dots beyond
/// [`DOTS_PER_EFFECT_MAX`] are left out: their receiver asks for them once more.
pub(crate) fn write_dotted(out: &mut Vec<u8>, slot: Slot, dots: &[Dot], effect: &[u8]) {
    let dots = &dots[..dots.len().min(DOTS_PER_EFFECT_MAX)];
    if !dots.is_empty() {
        for number in [DOTTED, slot.number(), dots.len() as u16] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        dots.iter().for_each(|dot| out.extend_from_slice(&dot.to_bytes()));
        out.extend_from_slice(effect);
    } else {
        write_effect(out, slot, effect);
    }
}

/// Appends the record that says up to which transaction a log has its part.
pub(crate) fn write_last_transaction(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&TRANSACTIONS.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
}

/// The record of transactions that is being put together.
#[derive(Debug)]
pub(crate) struct TransactionRecord(Vec<u8>);

impl TransactionRecord {
    /// One that will take about so many bytes.
    pub(crate) fn new(number: u64, room: usize) -> Self {
        let mut record = Vec::with_capacity(HEAD_BYTES + room);
        write_last_transaction(&mut record, number);
        Self(record)
    }

    /// Adds the effect that `write` appends, if it appends any.
    pub(crate) fn part<T>(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let Self(record) = self;
        let before = record.len();
        record.extend_from_slice(&slot.number().to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        let start = record.len();
        let returned = write(record);
        let length = record.len() - start;
        if length == 0 {
            record.truncate(before);
        } else {
            let length = u32::try_from(length).expect("invariant: an effect is below 4 GiB");
            record[start - 4..start].copy_from_slice(&length.to_le_bytes());
        }
        returned
    }

    /// The record; `None` when nothing was added.
    pub(crate) fn finish(self) -> Option<Bytes> {
        (self.0.len() > HEAD_BYTES).then(|| self.0.into())
    }
}

/// Appends the record of slots that are dropped.
pub(crate) fn write_discarded(out: &mut Vec<u8>, slots: &[Slot]) {
    out.extend_from_slice(&DISCARDED.to_le_bytes());
    slots.iter().for_each(|slot| out.extend_from_slice(&slot.number().to_le_bytes()));
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
    use quorate_proto::Origin;

    use super::*;

    #[test]
    fn golden_records() {
        let mut out = Vec::new();
        write_effect(&mut out, Slot::new(0x1234).expect("a slot"), b"e");
        assert_eq!(out, [0x34, 0x12, b'e']);
        let slot = Slot::new(0x1234).expect("a slot");
        let plain = Record::Effect { slot, dots: Dots::default(), effect: b"e" };
        assert_eq!(Record::read(&out), Some(plain));

        out.clear();
        write_dotted(&mut out, slot, &[], b"e");
        assert_eq!(Record::read(&out), Some(plain), "as it was before there were dots");

        out.clear();
        let dot = Dot { origin: Origin(0x0506), counter: 7 };
        write_dotted(&mut out, slot, &[dot], b"e");
        let bytes = [0xfe, 0xff, 0x34, 0x12, 1, 0, 6, 5, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'e'];
        assert_eq!(out, bytes);
        let Some(Record::Effect { slot: found, dots, effect: b"e" }) = Record::read(&out) else {
            panic!("an effect")
        };
        assert_eq!((found, dots.iter().collect::<Vec<_>>()), (slot, vec![dot]));

        let mut transactions = TransactionRecord::new(0x0809, 0);
        let other = Slot::new(0x0567).expect("a slot");
        for (slot, effect) in [(slot, &b"e"[..]), (slot, b""), (other, b"fg")] {
            transactions.part(slot, |record| record.extend_from_slice(effect));
        }
        let record = transactions.finish().expect("has effects");
        let head = [0xfd, 0xff, 9, 8, 0, 0, 0, 0, 0, 0];
        let parts = [0x34, 0x12, 1, 0, 0, 0, b'e', 0x67, 0x05, 2, 0, 0, 0, b'f', b'g'];
        assert_eq!(record, [&head[..], &parts].concat());
        let Some(Record::Transactions { number: 0x0809, effects }) = Record::read(&record) else {
            panic!("transactions")
        };
        let parts: Vec<_> = effects.iter().collect();
        assert_eq!(parts, [(slot, &b"e"[..]), (other, b"fg")]);
        assert_eq!(TransactionRecord::new(1, 9).finish(), None);
        out.clear();
        write_last_transaction(&mut out, 0x0809);
        assert_eq!(out, head);
        let Some(Record::Transactions { number: 0x0809, effects }) = Record::read(&out) else {
            panic!("transactions")
        };
        assert_eq!(effects.iter().count(), 0);

        out.clear();
        write_floors(&mut out, &[(3, 0x0102), (4, 5)]);
        let bytes = [0xff, 0xff, 3, 0, 2, 1, 0, 0, 0, 0, 0, 0, 4, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, bytes);
        let Some(Record::Floors(floors)) = Record::read(&out) else { panic!("floors") };
        assert_eq!(floors.iter().collect::<Vec<_>>(), [(3, 0x0102), (4, 5)]);

        out.clear();
        write_discarded(&mut out, &[slot, other]);
        assert_eq!(out, [0xfc, 0xff, 0x34, 0x12, 0x67, 0x05]);
        let Some(Record::Discarded(slots)) = Record::read(&out) else { panic!("slots") };
        assert_eq!(slots.iter().collect::<Vec<_>>(), [slot, other]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let no_dots = [0xfe, 0xff, 0, 0, 0, 0];
        let no_such_dot = [0xfe, 0xff, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let half_a_dot = &no_such_dot[..12];
        let half_an_effect = [0xfd, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'e'];
        let no_such_slot = [0xfd, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0, 0, b'e'];
        let half_a_number = &half_an_effect[..9];
        for record in [
            &[][..],
            half_a_number,
            &half_an_effect,
            &no_such_slot,
            &[1],
            &[0, 0x40],
            &[0xff, 0xff, 1, 0],
            &[0xfc, 0xff, 1],
            &[0xfc, 0xff, 0, 0x40],
            &[0xfe, 0xff, 0, 0x40, 1, 0],
            &no_dots,
            &no_such_dot,
            half_a_dot,
        ] {
            assert_eq!(Record::read(record), None, "{record:?}");
        }
    }
}

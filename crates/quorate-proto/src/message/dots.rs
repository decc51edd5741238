//! The encoding of what is said about dots.
//!
//! ```text
//! range     := origin:u32 first:u64 last:u64
//! slot dots := slot:u16 count:u16 range*         at least one; ascending, none overlapping
//! slots     := count:u16 slot dots*              ascending
//! effect    := slot:u16 count:u16 dot* bytes     at least one dot
//! ```

use alloc::vec::Vec;

use super::{
    DottedEffect, MessageError, SlotDots,
    codec::{Input, put_bytes, put_dots, put_slot},
};
use crate::{
    DotRange, Origin,
    dot::COUNTER_MAX,
    limits::{DOT_RANGES_MAX, DOT_SLOTS_MAX},
};

pub(super) fn put_slots(out: &mut Vec<u8>, slots: &[SlotDots]) {
    assert!(slots.len() <= DOT_SLOTS_MAX, "{} slots in one message", slots.len());
    out.extend_from_slice(&(slots.len() as u16).to_le_bytes());
    for SlotDots { slot, ranges } in slots {
        assert!((1..=DOT_RANGES_MAX).contains(&ranges.len()), "{} ranges", ranges.len());
        put_slot(out, *slot);
        out.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
        for range in ranges {
            out.extend_from_slice(&range.origin.0.to_le_bytes());
            out.extend_from_slice(&range.first.to_le_bytes());
            out.extend_from_slice(&range.last.to_le_bytes());
        }
    }
}

pub(super) fn put_effect(out: &mut Vec<u8>, effect: &DottedEffect) {
    assert!(!effect.dots.is_empty(), "an effect without dots");
    put_slot(out, effect.slot);
    put_dots(out, &effect.dots);
    put_bytes(out, &effect.effect);
}

impl Input {
    pub(super) fn slots_of_dots(&mut self) -> Result<Vec<SlotDots>, MessageError> {
        let count = usize::from(self.u16()?);
        if count > DOT_SLOTS_MAX {
            return Err(self.field("count of slots"));
        }
        let mut slots: Vec<SlotDots> = Vec::new();
        for _ in 0..count {
            let found = self.slot_dots()?;
            if slots.last().is_some_and(|last| last.slot >= found.slot) {
                return Err(self.field("order of slots"));
            }
            slots.push(found);
        }
        Ok(slots)
    }

    fn slot_dots(&mut self) -> Result<SlotDots, MessageError> {
        let slot = self.slot()?;
        let count = usize::from(self.u16()?);
        if !(1..=DOT_RANGES_MAX).contains(&count) {
            return Err(self.field("count of ranges"));
        }
        let mut ranges: Vec<DotRange> = Vec::new();
        for _ in 0..count {
            let range = self.range()?;
            let behind = |last: &DotRange| (last.origin, last.last) < (range.origin, range.first);
            if !ranges.last().is_none_or(behind) {
                return Err(self.field("order of ranges"));
            }
            ranges.push(range);
        }
        Ok(SlotDots { slot, ranges })
    }

    fn range(&mut self) -> Result<DotRange, MessageError> {
        let origin = Origin(u32::from_le_bytes(self.array()?));
        let (first, last) = (self.u64()?, self.u64()?);
        if 1 <= first && first <= last && last <= COUNTER_MAX {
            Ok(DotRange { origin, first, last })
        } else {
            Err(self.field("range"))
        }
    }

    pub(super) fn effect(&mut self) -> Result<DottedEffect, MessageError> {
        Ok(DottedEffect { slot: self.slot()?, dots: self.dots()?, effect: self.bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;

    use super::*;
    use crate::{Dot, Slot, message::Message};

    fn slot_dots(number: u16, ranges: &[(u32, u64, u64)]) -> SlotDots {
        let ranges = ranges.iter().map(|&(origin, first, last)| DotRange {
            origin: Origin(origin),
            first,
            last,
        });
        SlotDots { slot: Slot::new(number).expect("a slot"), ranges: ranges.collect() }
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode_body(&mut out);
        out
    }

    #[test]
    fn golden_bodies() {
        let slot = Slot::new(0x1234).expect("a slot");
        let slots = vec![slot_dots(0x1234, &[(5, 1, 6), (7, 8, 8)])];
        let ranges = [
            0x34, 0x12, 2, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0,
            0, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
        ];
        let with_ranges = |head: &[u8]| [head, &[1, 0], &ranges].concat();
        let dot = Dot { origin: Origin(5), counter: 6 };
        let effect = DottedEffect { slot, dots: vec![dot], effect: Bytes::from_static(b"e") };
        let golden = [
            (
                Message::AskClocks { group: 1, shards: 2, since: 3, from: slot },
                vec![1, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12],
            ),
            (
                Message::Clocks { shards: 2, version: 3, next: None, slots: slots.clone() },
                with_ranges(&[2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            ),
            (
                Message::Clocks { shards: 2, version: 3, next: Some(slot), slots: vec![] },
                vec![2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0],
            ),
            (Message::AskDots { group: 1, wanted: slots.clone() }, with_ranges(&[1, 0])),
            (
                Message::Dots { effects: vec![effect], absent: slots },
                with_ranges(&[
                    1, 0, 0, 0, 0x34, 0x12, 1, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                    b'e',
                ]),
            ),
        ];
        for (message, body) in golden {
            assert_eq!(encoded(&message), body, "{message:?}");
            assert_eq!(Message::decode(message.kind(), body.into()), Ok(message));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let decoded = |body: Vec<u8>| Message::decode(58, body.into());
        let wrong = |field| Err(MessageError::Field { kind: 58, field });
        let body =
            |slots: &[SlotDots]| encoded(&Message::AskDots { group: 0, wanted: slots.to_vec() });
        for ranges in [&[(1, 0, 1)][..], &[(1, 2, 1)], &[(1, 1, u64::MAX)]] {
            assert_eq!(decoded(body(&[slot_dots(1, ranges)])), wrong("range"));
        }
        for ranges in [&[(2, 1, 1), (1, 1, 1)][..], &[(1, 1, 2), (1, 2, 3)]] {
            assert_eq!(decoded(body(&[slot_dots(1, ranges)])), wrong("order of ranges"));
        }
        let one = slot_dots(1, &[(1, 1, 1)]);
        assert_eq!(decoded(body(&[one.clone(), one])), wrong("order of slots"));
        assert_eq!(decoded(vec![0, 0, 1, 0, 0, 0, 0, 0]), wrong("count of ranges"));
        assert_eq!(decoded(vec![0, 0, 1, 0, 0, 0, 1, 0x10]), wrong("count of ranges"));
        assert_eq!(decoded(vec![0, 0, 1, 4]), wrong("count of slots"));
    }
}

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
    super::{DottedEffect, SlotDots},
    Codec, Field, Input, MessageError, Plain, Sink, codec_of, record,
};
use crate::{
    Dot, DotRange, Origin, Slot,
    dot::COUNTER_MAX,
    limits::{DOT_RANGES_MAX, DOT_SLOTS_MAX, DOTS_PER_EFFECT_MAX},
};

record!(DottedEffect { slot, dots, effect });

/// The count of a short list.
fn put_short_count(count: usize, max: usize, out: &mut impl Sink) {
    assert!(count <= max, "{count} items where {max} are allowed");
    (count as u16).put(out);
}

impl Field for Dot {
    fn put(&self, out: &mut impl Sink) {
        out.put(&self.to_bytes());
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Self::from_bytes(input.array()?).ok_or(input.field("dot"))
    }

    fn put_list(dots: &[Self], out: &mut impl Sink) {
        assert!(!dots.is_empty(), "an effect without dots");
        put_short_count(dots.len(), DOTS_PER_EFFECT_MAX, out);
        dots.iter().for_each(|dot| dot.put(out));
    }

    fn take_list(input: &mut Input) -> Result<Vec<Self>, MessageError> {
        let count = usize::from(u16::take(input)?);
        if !(1..=DOTS_PER_EFFECT_MAX).contains(&count) {
            return Err(input.field("count of dots"));
        }
        (0..count).map(|_| Self::take(input)).collect()
    }
}

impl Field for Origin {
    fn put(&self, out: &mut impl Sink) {
        self.0.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        u32::take(input).map(Self)
    }
}

impl Field for DotRange {
    fn put(&self, out: &mut impl Sink) {
        self.origin.put(out);
        self.first.put(out);
        self.last.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        let origin = Origin::take(input)?;
        let (first, last) = (u64::take(input)?, u64::take(input)?);
        if 1 <= first && first <= last && last <= COUNTER_MAX {
            Ok(Self { origin, first, last })
        } else {
            Err(input.field("range"))
        }
    }

    fn put_list(ranges: &[Self], out: &mut impl Sink) {
        assert!(!ranges.is_empty(), "a slot without ranges");
        put_short_count(ranges.len(), DOT_RANGES_MAX, out);
        ranges.iter().for_each(|range| range.put(out));
    }

    fn take_list(input: &mut Input) -> Result<Vec<Self>, MessageError> {
        let count = usize::from(u16::take(input)?);
        if !(1..=DOT_RANGES_MAX).contains(&count) {
            return Err(input.field("count of ranges"));
        }
        let mut ranges: Vec<Self> = Vec::new();
        for _ in 0..count {
            let range = Self::take(input)?;
            let behind = |last: &Self| (last.origin, last.last) < (range.origin, range.first);
            if !ranges.last().is_none_or(behind) {
                return Err(input.field("order of ranges"));
            }
            ranges.push(range);
        }
        Ok(ranges)
    }
}

impl Field for SlotDots {
    fn put(&self, out: &mut impl Sink) {
        self.slot.put(out);
        self.ranges.put(out);
    }

    fn take(input: &mut Input) -> Result<Self, MessageError> {
        Ok(Self { slot: Slot::take(input)?, ranges: Vec::take(input)? })
    }

    fn put_list(slots: &[Self], out: &mut impl Sink) {
        put_short_count(slots.len(), DOT_SLOTS_MAX, out);
        slots.iter().for_each(|slot| slot.put(out));
    }

    fn take_list(input: &mut Input) -> Result<Vec<Self>, MessageError> {
        let count = usize::from(u16::take(input)?);
        if count > DOT_SLOTS_MAX {
            return Err(input.field("count of slots"));
        }
        let mut slots: Vec<Self> = Vec::new();
        for _ in 0..count {
            let found = Self::take(input)?;
            if slots.last().is_some_and(|last| last.slot >= found.slot) {
                return Err(input.field("order of slots"));
            }
            slots.push(found);
        }
        Ok(slots)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;

    use super::*;
    use crate::message::Message;

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

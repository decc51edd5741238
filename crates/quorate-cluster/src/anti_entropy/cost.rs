//! What a round costs: the bytes of its messages, and how fast they may follow one another.

use core::time::Duration;

use bytes::Bytes;
use quorate_proto::{
    Dot,
    frame::HEADER_LENGTH,
    message::{DottedEffect, Message, SlotDots},
};

use crate::{
    limits::{SYNC_BURST_BYTES, SYNC_BYTES_PER_SECOND},
    time::Instant,
};

/// A symbol of a sketch: sum, check and count.
pub(super) const SYMBOL: usize = 8 + 4 + 4;

/// Two moments.
const SETTLEMENT: usize = 8 + 8;

/// Bytes of a message and its frame on the wire, for the kinds that rounds, clocks and repairs of
/// reads send and receive.
pub fn wire_bytes(message: &Message) -> u64 {
    let body = match message {
        Message::CompareGroup { .. } => 2 + 16 + 1,
        Message::GroupSame(_) => SETTLEMENT,
        Message::GroupDiffers { slots, .. } => SETTLEMENT + 4 + slots.len() * (2 + 16),
        Message::CompareSlot { .. } => 2 + 16 + 1 + 8 + 2,
        Message::Sketch(symbols) => 4 + symbols.len() * SYMBOL,
        Message::Fingerprints { fingerprints, .. } => 8 + 4 + fingerprints.len() * 8,
        Message::AskFingerprintStates { fingerprints, .. } => 2 + 4 + fingerprints.len() * 8,
        Message::FingerprintStates { states, .. } => 4 + states.len(),
        Message::CompareElements { keys, sums, .. } => {
            2 + 1 + 8 + keys_length(keys) + 4 + sums.len() * 8
        }
        Message::Elements { buckets, fingerprints, .. } => {
            16 + 8 + 4 + buckets.len() * 2 + 4 + fingerprints.len() * 8
        }
        Message::AskElements { keys, fingerprints, .. } => {
            2 + keys_length(keys) + 4 + fingerprints.len() * 8
        }
        Message::AskStates { command, .. } => 2 + command.len(),
        Message::AskKeyDigests { .. } => 2,
        Message::KeyDigests(keys) => {
            4 + keys.iter().map(|(key, _)| 4 + key.len() + 16).sum::<usize>()
        }
        Message::AskKeyStates { keys, .. } => 2 + keys_length(keys),
        Message::States(states) => states.len(),
        Message::Replicate { dots, effect, .. } => {
            let dots = if dots.is_empty() { 0 } else { 2 + dots.len() * Dot::LENGTH };
            2 + dots + effect.len()
        }
        Message::AskClocks { .. } => 2 + 2 + 8 + 2,
        Message::Clocks { slots, .. } => 2 + 8 + 2 + slots_bytes(slots),
        Message::AskDots { wanted, .. } => 2 + slots_bytes(wanted),
        Message::Dots { effects, absent } => {
            let bytes = |found: &DottedEffect| {
                2 + 2 + found.dots.len() * Dot::LENGTH + 4 + found.effect.len()
            };
            4 + effects.iter().map(bytes).sum::<usize>() + slots_bytes(absent)
        }
        Message::Rejected { text, .. } => 1 + 2 + text.len(),
        Message::Ack | Message::SlotSame => 0,
        // No part of a round, of clocks or of a repair: nobody charges them.
        Message::Hello(_)
        | Message::Welcome(_)
        | Message::Refused(_)
        | Message::Members(_)
        | Message::Seal(_)
        | Message::SealVote { .. }
        | Message::Claim(_)
        | Message::SeatVote { .. }
        | Message::AskOutcome { .. }
        | Message::Heartbeat(_)
        | Message::HeartbeatReply(_)
        | Message::Forward(_)
        | Message::Reply(_)
        | Message::AskDigest { .. }
        | Message::KeysDigest { .. } => 0,
    };
    (HEADER_LENGTH + body) as u64
}

fn slots_bytes(slots: &[SlotDots]) -> usize {
    2 + slots.iter().map(|slot| 2 + 2 + slot.ranges.len() * (4 + 8 + 8)).sum::<usize>()
}

fn keys_length(keys: &[Bytes]) -> usize {
    4 + keys.iter().map(|key| 4 + key.len()).sum::<usize>()
}

/// Holds rounds to [`SYNC_BYTES_PER_SECOND`], with bursts of [`SYNC_BURST_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When everything so far would have been transferred at the pace.
    paid_until: Instant,
}

impl Pace {
    /// These bytes were or will be transferred.
    pub(super) fn charge(&mut self, now: Instant, bytes: u64) {
        let micros = bytes.saturating_mul(1_000_000) / SYNC_BYTES_PER_SECOND;
        self.paid_until = self.paid_until.max(now) + Duration::from_micros(micros);
    }

    /// From when on something may be asked.
    pub(super) fn free_at(&self) -> Instant {
        const BURST_MICROS: u64 = SYNC_BURST_BYTES * 1_000_000 / SYNC_BYTES_PER_SECOND;
        Instant::from_micros(self.paid_until.as_micros().saturating_sub(BURST_MICROS))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use bytes::Bytes;
    use quorate_proto::{
        DotRange, Origin, Slot,
        message::{Cause, Scope},
    };

    use super::*;

    #[test]
    fn the_cost_of_a_message_is_what_its_frame_takes() {
        let (slot, bytes) = (Slot::default(), Bytes::from_static(b"bytes"));
        let dot = Dot { origin: Origin(1), counter: 2 };
        let range = DotRange { origin: Origin(1), first: 2, last: 3 };
        let dots = vec![SlotDots { slot, ranges: vec![range, range] }];
        let effect = DottedEffect { slot, dots: vec![dot], effect: bytes.clone() };
        for message in [
            Message::CompareGroup { group: 1, digest: 2, scope: Scope::Alive },
            Message::GroupSame(Default::default()),
            Message::GroupDiffers {
                settlement: Default::default(),
                slots: vec![(slot, 1), (slot, 2)],
            },
            Message::CompareSlot { slot, digest: 1, scope: Scope::Alive, from: 2, symbols: 3 },
            Message::Sketch(vec![Default::default(); 2]),
            Message::SlotSame,
            Message::Fingerprints { until: 1, fingerprints: vec![2, 3] },
            Message::AskFingerprintStates { slot, fingerprints: vec![2, 3] },
            Message::FingerprintStates { covered: 1, states: bytes.clone() },
            Message::AskKeyDigests { slot },
            Message::KeyDigests(vec![(bytes.clone(), 1)]),
            Message::AskKeyStates { slot, keys: vec![bytes.clone()] },
            Message::States(bytes.clone()),
            Message::AskStates { slot, command: bytes.clone() },
            Message::CompareElements {
                slot,
                scope: Scope::Alive,
                from: 1,
                keys: vec![bytes.clone()],
                sums: vec![2, 3],
            },
            Message::Elements { digest: 1, until: 2, buckets: vec![3], fingerprints: vec![4, 5] },
            Message::AskElements { slot, keys: vec![bytes.clone()], fingerprints: vec![4] },
            Message::Replicate { slot, dots: vec![], outcome: None, effect: bytes.clone() },
            Message::AskClocks { group: 1, shards: 2, since: 3, from: slot },
            Message::Clocks { shards: 1, version: 2, next: None, slots: dots.clone() },
            Message::AskDots { group: 1, wanted: dots.clone() },
            Message::Dots { effects: vec![effect], absent: dots },
            Message::Replicate { slot, dots: vec![dot], outcome: None, effect: bytes },
            Message::Ack,
            Message::Rejected { cause: Cause::StoreFull, text: "full".into() },
        ] {
            let mut frame = Vec::new();
            quorate_proto::frame::encode(&mut frame, 1, 2, &message);
            assert_eq!(wire_bytes(&message), frame.len() as u64, "{message:?}");
        }
    }

    #[test]
    fn a_burst_is_free_and_then_the_pace_is_held() {
        let mut pace = Pace::default();
        let now = Instant::from_millis(10_000);
        pace.charge(now, SYNC_BURST_BYTES);
        assert_eq!(pace.free_at(), now);
        pace.charge(now, SYNC_BYTES_PER_SECOND);
        assert_eq!(pace.free_at(), now + Duration::from_secs(1));
        // A pause earns no more than one burst.
        let later = now + Duration::from_secs(60);
        pace.charge(later, SYNC_BURST_BYTES);
        assert_eq!(pace.free_at(), later);
    }
}

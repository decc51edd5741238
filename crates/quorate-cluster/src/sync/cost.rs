//! What a round costs: the bytes of its messages, and how fast they may follow one another.

use core::time::Duration;

use quorate_proto::{Dot, frame::HEADER_LENGTH, message::Message};

use crate::{
    limits::{SYNC_BURST_BYTES, SYNC_BYTES_PER_SECOND},
    time::Instant,
};

/// A symbol of a sketch: sum, check and count.
pub(super) const SYMBOL: usize = 8 + 4 + 4;

/// Two moments.
const SETTLEMENT: usize = 8 + 8;

/// Bytes of a message and its frame on the wire, for the kinds that a round sends and receives.
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
        Message::AskKeyDigests { .. } => 2,
        Message::KeyDigests(keys) => {
            4 + keys.iter().map(|(key, _)| 4 + key.len() + 16).sum::<usize>()
        }
        Message::AskKeyStates { keys, .. } => {
            2 + 4 + keys.iter().map(|key| 4 + key.len()).sum::<usize>()
        }
        Message::States(states) => states.len(),
        Message::Replicate { dots, effect, .. } => {
            let dots = if dots.is_empty() { 0 } else { 2 + dots.len() * Dot::LENGTH };
            2 + dots + effect.len()
        }
        Message::Rejected { text, .. } => 1 + 2 + text.len(),
        // `Ack`, `SlotSame`; nothing else belongs to a round.
        _ => 0,
    };
    (HEADER_LENGTH + body) as u64
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
        Origin, Slot,
        message::{Cause, Scope},
    };

    use super::*;

    #[test]
    fn the_cost_of_a_message_is_what_its_frame_takes() {
        let (slot, bytes) = (Slot::default(), Bytes::from_static(b"bytes"));
        let dot = Dot { origin: Origin(1), counter: 2 };
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
            Message::Replicate { slot, dots: vec![], effect: bytes.clone() },
            Message::Replicate { slot, dots: vec![dot], effect: bytes },
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

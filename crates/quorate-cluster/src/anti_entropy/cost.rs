//! What a round costs: the bytes of its messages, and how fast they may follow one another.

use core::time::Duration;

use quorate_proto::{frame::HEADER_LENGTH, message::Message};

use crate::{
    limits::{SYNC_BURST_BYTES, SYNC_BYTES_PER_SECOND},
    time::Instant,
};

/// A symbol of a sketch: sum, check and count.
pub(super) const SYMBOL: usize = 8 + 4 + 4;

/// Bytes of a message and its frame on the wire.
pub fn wire_bytes(message: &Message) -> u64 {
    (HEADER_LENGTH + message.body_length()) as u64
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
    use super::*;

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

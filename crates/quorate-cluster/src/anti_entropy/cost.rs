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

/// Holds rounds to so many bytes a second, [`SYNC_BYTES_PER_SECOND`] unless it is told otherwise, with
/// bursts of a quarter of a second, [`SYNC_BURST_BYTES`] then.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When everything so far would have been transferred at the pace.
    paid_until: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes_per_second: SYNC_BYTES_PER_SECOND, paid_until: Instant::ZERO }
    }
}

impl Pace {
    /// These bytes were or will be transferred.
    pub(super) fn charge(&mut self, now: Instant, bytes: u64) {
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        self.paid_until = self.paid_until.max(now) + Duration::from_micros(micros);
    }

    /// Another pace from now on, also for what is not paid yet.
    pub(super) fn set(&mut self, now: Instant, bytes_per_second: u64) {
        let bytes_per_second = bytes_per_second.max(1);
        if bytes_per_second == self.bytes_per_second {
            return;
        }
        let owed = self.paid_until.max(now).since(now).as_micros();
        let micros = owed * u128::from(self.bytes_per_second) / u128::from(bytes_per_second);
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).min(OWED_MICROS_MAX);
        self.paid_until = now + Duration::from_micros(micros);
        self.bytes_per_second = bytes_per_second;
    }

    /// From when on something may be asked.
    pub(super) fn free_at(&self) -> Instant {
        const BURST_MICROS: u64 = SYNC_BURST_BYTES * 1_000_000 / SYNC_BYTES_PER_SECOND;
        Instant::from_micros(self.paid_until.as_micros().saturating_sub(BURST_MICROS))
    }
}

/// The longest that anybody is made to wait for another pace.
const OWED_MICROS_MAX: u64 = 3_600 * 1_000_000;

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
        // Another pace holds for what is owed, too.
        pace.set(now, SYNC_BYTES_PER_SECOND / 4);
        assert_eq!(pace.free_at(), now + Duration::from_millis(5_000 - 250));
        pace.set(now, SYNC_BYTES_PER_SECOND);
        assert_eq!(pace.free_at(), now + Duration::from_secs(1));
        // A pause earns no more than one burst.
        let later = now + Duration::from_secs(60);
        pace.charge(later, SYNC_BURST_BYTES);
        assert_eq!(pace.free_at(), later);
    }
}

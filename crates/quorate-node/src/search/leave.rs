//! What the coordinator of a query allows those whom it asks: how long it waits for the answer, and
//! whether a part of it will do.

use std::time::Duration;

/// What is allowed, and which query it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Leave {
    /// Tells one query from another, so that it can be called off.
    pub(crate) number: u64,
    /// How long the answer is waited for.
    pub(crate) time_ms: u64,
    /// Whether what was found in this time is an answer.
    pub(crate) in_part: bool,
}

/// The answer has to come back in time, which takes this part of it,
const WAY_BACK: u64 = 8;

/// but no more than this.
const WAY_BACK_MAX_MS: u64 = 50;

/// What it begins with, and no query does. Whoever does not tell it is an older node, or has some
/// among the other members.
const MARK: &str = "\0leave:";

/// The time of who does not tell it: others end such a query first.
const UNTOLD_MS: u64 = 3_600_000;

impl Leave {
    /// What is not told.
    pub(super) fn untold() -> Leave {
        Leave { number: 0, time_ms: UNTOLD_MS, in_part: false }
    }

    /// Whoever asks has so much time left.
    pub(crate) fn set_left(&mut self, left: Duration) {
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.time_ms = left.saturating_sub((left / WAY_BACK).clamp(1, WAY_BACK_MAX_MS));
    }

    /// As an argument.
    pub(super) fn text(self) -> String {
        let how = if self.in_part { "part" } else { "whole" };
        format!("{MARK}{}:{}:{how}", self.number, self.time_ms)
    }

    /// As it was an argument.
    pub(super) fn read(text: &[u8]) -> Option<Leave> {
        let mut words = std::str::from_utf8(text).ok()?.strip_prefix(MARK)?.split(':');
        let (number, time_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let in_part = match words.next()? {
            "part" => true,
            "whole" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Leave { number, time_ms, in_part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_leaves_time_for_the_way() {
        let mut leave = Leave { number: 7, time_ms: 0, in_part: true };
        for (left, given) in [(0, 0), (1, 0), (80, 70), (5_000, 4_950)] {
            leave.set_left(Duration::from_millis(left));
            assert_eq!(leave.time_ms, given);
            assert_eq!(Leave::read(leave.text().as_bytes()), Some(leave));
        }
        for wrong in ["", "7:1:part", "\0leave:7:1", "\0leave:7:1:all", "\0leave:x:1:part"] {
            assert_eq!(Leave::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

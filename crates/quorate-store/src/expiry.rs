//! Which keys are due to expire.

use std::{cmp::Reverse, collections::BinaryHeap};

use quorate_proto::Slot;

/// When to look (milliseconds since the Unix epoch), and at which key.
type Reminder = (u64, Slot, Box<[u8]>);

/// Keys with a time to live, soonest first. An entry is only a reminder to look at the key: it may
/// have been given another expiry since, or be gone.
#[derive(Debug, Default)]
pub(crate) struct ExpiryQueue {
    due: BinaryHeap<Reverse<Reminder>>,
}

impl ExpiryQueue {
    pub(crate) fn push(&mut self, at_ms: u64, slot: Slot, key: &[u8]) {
        self.due.push(Reverse((at_ms, slot, key.into())));
    }

    /// The next key that is due at `wall_ms`.
    pub(crate) fn pop_due(&mut self, wall_ms: u64) -> Option<(Slot, Box<[u8]>)> {
        let Reverse((at_ms, ..)) = self.due.peek()?;
        if *at_ms > wall_ms {
            return None;
        }
        self.due.pop().map(|Reverse((_, slot, key))| (slot, key))
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// Forgets reminders for which `wanted(slot, key)` no longer gives their time.
    pub(crate) fn compact(&mut self, wanted: impl Fn(Slot, &[u8]) -> Option<u64>) {
        self.due.retain(|Reverse((at_ms, slot, key))| wanted(*slot, key) == Some(*at_ms));
    }
}

//! Which keys are due to expire.

use std::collections::BTreeMap;

use quorate_proto::Slot;

/// When a key expires (milliseconds since the Unix epoch), its slot, and the hash of its name.
type Reminder = (u64, Slot, u64);

/// The keys with a time to live, soonest first: each once, so that there is nothing to clean up,
/// however often an expiry is set anew. Names are left to the tables, which find them by their
/// hashes.
#[derive(Debug, Default)]
pub(crate) struct ExpiryQueue {
    /// How many keys: more than one where hashes meet.
    due: BTreeMap<Reminder, u32>,
    scheduled: u64,
}

impl ExpiryQueue {
    /// The expiry of a key has changed.
    pub(crate) fn reschedule(
        &mut self,
        (slot, hash): (Slot, u64),
        before: Option<u64>,
        after: Option<u64>,
    ) {
        if before == after {
            return;
        }
        if let Some(at_ms) = before {
            self.remove((at_ms, slot, hash));
        }
        if let Some(at_ms) = after {
            *self.due.entry((at_ms, slot, hash)).or_default() += 1;
            self.scheduled += 1;
        }
    }

    fn remove(&mut self, reminder: Reminder) {
        let keys = self.due.get_mut(&reminder).expect("invariant: every expiry has a reminder");
        *keys -= 1;
        if *keys == 0 {
            self.due.remove(&reminder);
        }
    }

    /// The first key, if it is due at `wall_ms`.
    pub(crate) fn first_due(&self, wall_ms: u64) -> Option<Reminder> {
        let (reminder, _) = self.due.first_key_value()?;
        Some(*reminder).filter(|(at_ms, ..)| *at_ms <= wall_ms)
    }

    /// Keys with a time to live, those that do not show included.
    #[cfg(test)]
    fn len(&self) -> u32 {
        self.due.values().sum()
    }

    /// How often an expiry was set.
    pub(crate) fn scheduled(&self) -> u64 {
        self.scheduled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = match Slot::new(7) {
        Some(slot) => slot,
        None => panic!("a slot"),
    };

    #[test]
    fn each_key_is_there_once_however_often_it_changes() {
        let mut queue = ExpiryQueue::default();
        let mut before = None;
        for at_ms in (1..1_000).rev() {
            queue.reschedule((SLOT, 1), before, Some(at_ms));
            before = Some(at_ms);
        }
        assert_eq!((queue.len(), queue.scheduled()), (1, 999));
        assert_eq!(queue.first_due(0), None);
        assert_eq!(queue.first_due(1), Some((1, SLOT, 1)));
        queue.reschedule((SLOT, 1), before, None);
        assert_eq!((queue.len(), queue.first_due(u64::MAX)), (0, None));
    }

    #[test]
    fn keys_whose_hashes_meet_are_told_apart_by_number() {
        let mut queue = ExpiryQueue::default();
        queue.reschedule((SLOT, 1), None, Some(5));
        queue.reschedule((SLOT, 1), None, Some(5));
        assert_eq!(queue.len(), 2);
        queue.reschedule((SLOT, 1), Some(5), None);
        assert_eq!((queue.len(), queue.first_due(5)), (1, Some((5, SLOT, 1))));
    }
}

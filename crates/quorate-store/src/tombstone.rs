//! Tombstones, and when they may be forgotten.
//!
//! A tombstone holds back what was removed, should it arrive again. It is needed until two things
//! are proved: no replica holds what it removed, and every replica refuses what is that old. The
//! first follows from anti-entropy rounds that began after the tombstone was made, so each
//! tombstone remembers the
//! *epoch* in which it was; the second from the floors of all replicas (see [`crate::floor`]).

use std::collections::VecDeque;

use quorate_proto::{Slot, Stamp, slot::GROUPS};

/// A tombstone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// The newest stamp that the removal saw.
    pub(crate) stamp: Stamp,
    /// The epoch of this store in which the tombstone arrived.
    pub(crate) epoch: u32,
}

impl Tombstone {
    /// Whether this is a tombstone that may be forgotten some time. One for a foreign origin may
    /// not: what it removed can come again from another cluster, which knows nothing of floors.
    pub(crate) fn is_temporary(&self) -> bool {
        !self.stamp.is_zero() && !self.stamp.origin().is_foreign()
    }

    /// Lets it belong to the epoch `to`, if it does to `from` or a later one.
    pub(crate) fn raise_epoch(&mut self, from: u32, to: u32) {
        if self.epoch >= from {
            self.epoch = self.epoch.max(to);
        }
    }
}

/// Which tombstones of a group of slots have served their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgettable {
    /// No other replica holds what was removed before this epoch.
    pub before_epoch: u32,
    /// Every replica refuses what is dated up to this moment, in milliseconds since the Unix epoch.
    pub floor_ms: u64,
}

impl Forgettable {
    /// Tombstones that no replica needs, because there is only one.
    pub(crate) const EVERYTHING: Self = Self { before_epoch: u32::MAX, floor_ms: u64::MAX };

    /// Whether `tombstone` may go.
    pub(crate) fn covers(&self, tombstone: Tombstone) -> bool {
        *self == Self::EVERYTHING
            || tombstone.epoch < self.before_epoch
                && tombstone.stamp.milliseconds() <= self.floor_ms
                && tombstone.is_temporary()
    }
}

/// The keys of one store with tombstones to forget, for each group of slots in the order of
/// arrival.
#[derive(Debug)]
pub(crate) struct TombstoneQueue {
    groups: Vec<VecDeque<Reminder>>,
    len: usize,
}

/// A key with tombstones of up to this epoch.
#[derive(Debug)]
pub(crate) struct Reminder {
    pub(crate) epoch: u32,
    pub(crate) slot: Slot,
    pub(crate) key: Box<[u8]>,
}

impl Default for TombstoneQueue {
    fn default() -> Self {
        Self { groups: (0..GROUPS).map(|_| VecDeque::new()).collect(), len: 0 }
    }
}

impl TombstoneQueue {
    pub(crate) fn push(&mut self, epoch: u32, slot: Slot, key: &[u8]) {
        self.groups[usize::from(slot.group())].push_back(Reminder { epoch, slot, key: key.into() });
        self.len += 1;
    }

    /// The oldest reminder of a group, when it is older than `epoch`.
    pub(crate) fn pop_before(&mut self, group: u16, epoch: u32) -> Option<Reminder> {
        let queue = &mut self.groups[usize::from(group)];
        let reminder = queue.pop_front_if(|oldest| oldest.epoch < epoch)?;
        self.len -= 1;
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        Some(reminder)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

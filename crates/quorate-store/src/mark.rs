//! Marks of removals, and when they may be forgotten.
//!
//! A mark holds back what was removed, should it arrive again. It is needed until two things are
//! proved: no replica holds what it removed, and every replica refuses what is that old. The first
//! follows from digest rounds that began after the mark was made, so each mark remembers the
//! *epoch* in which it was; the second from the floors of all replicas (see [`crate::floor`]).

use std::collections::VecDeque;

use quorate_proto::{Slot, Stamp, slot::GROUPS};

/// A mark of a removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The newest stamp that the removal saw.
    pub(crate) stamp: Stamp,
    /// The epoch of this store in which the mark arrived.
    pub(crate) epoch: u32,
}

impl Mark {
    /// Whether this is a mark that may be forgotten some time. One for a foreign origin may not:
    /// what it removed can come again from another cluster, which knows nothing of floors.
    pub(crate) fn is_temporary(&self) -> bool {
        !self.stamp.is_zero() && !self.stamp.origin().is_foreign()
    }
}

/// Which marks of a group of slots have served their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgettable {
    /// No other replica holds what was removed before this epoch.
    pub before_epoch: u32,
    /// Every replica refuses what is dated up to this moment, in milliseconds since the Unix epoch.
    pub floor_ms: u64,
}

impl Forgettable {
    /// Marks that no replica needs, because there is only one.
    pub(crate) const EVERYTHING: Self = Self { before_epoch: u32::MAX, floor_ms: u64::MAX };

    /// Whether `mark` may go.
    pub(crate) fn covers(&self, mark: Mark) -> bool {
        *self == Self::EVERYTHING
            || mark.epoch < self.before_epoch
                && mark.stamp.milliseconds() <= self.floor_ms
                && mark.is_temporary()
    }
}

/// The keys of one store with marks to forget, for each group of slots in the order of arrival.
#[derive(Debug)]
pub(crate) struct MarkQueue {
    groups: Vec<VecDeque<Reminder>>,
    len: usize,
}

/// A key with marks of up to this epoch.
#[derive(Debug)]
pub(crate) struct Reminder {
    pub(crate) epoch: u32,
    pub(crate) slot: Slot,
    pub(crate) key: Box<[u8]>,
}

impl Default for MarkQueue {
    fn default() -> Self {
        Self { groups: (0..GROUPS).map(|_| VecDeque::new()).collect(), len: 0 }
    }
}

impl MarkQueue {
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

//! Writes that wait behind a read-modify-write on their slot, which still reads.
//!
//! They are executed in the order in which they came. Those that read as well need not do so one
//! after the other: whatever was acknowledged before they came is found by any reading that began
//! afterwards, and once merged it stays. So a reading is also that of all who waited when it began,
//! if it is about their keys and asks as many replicas as they do.
//!
//! ```text
//!  1 comes, reads -------> executes; 2, 3 and 4 are held
//!     2, 3, 4 come         2 reads, for 3 and 4 too ------> executes, then 3, then 4
//!                             5 comes                       5 reads
//! ```

use alloc::vec::Vec;

use quorate_proto::{
    Slot,
    command::{Call, Class, Routing},
};

use super::{Attempt, Coordinator, Replica, errors};
use crate::time::Instant;

/// A write that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) attempt: Attempt,
    /// Whether the reading that is under way is its own, too.
    is_read: bool,
}

impl Coordinator {
    /// Lets a write wait if another one on its slot reads; otherwise begins it.
    pub(super) fn coordinate_write(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        attempt: Attempt,
    ) {
        let Some(queue) = self.held.get_mut(&attempt.request.call.slot()) else {
            self.begin_write(now, replica, attempt, false);
            return;
        };
        let deadline = attempt.request.terms.deadline;
        queue.push_back(Held { attempt, is_read: false });
        self.held_writes += 1;
        self.wake_by(deadline);
    }

    /// The operation begins to read: also for those behind it that it can read for.
    pub(super) fn read_for_held(&mut self, index: usize) {
        let operation = &self.operations[index];
        if !operation.holds_slot {
            return;
        }
        let Some(queue) = self.held.get_mut(&operation.slot()) else { return };
        let level = operation.terms.write_level;
        for held in queue {
            let request = &held.attempt.request;
            held.is_read |=
                request.terms.write_level == level && covers(&operation.call, &request.call);
        }
    }

    /// Lets the writes go on that waited for a read-modify-write on `slot`, which has read or ended
    /// before it had.
    pub(super) fn release(
        &mut self,
        now: Instant,
        replica: &mut impl Replica,
        slot: Slot,
        has_read: bool,
    ) {
        let Some(mut queue) = self.held.remove(&slot) else {
            return;
        };
        if !has_read {
            queue.iter_mut().for_each(|held| held.is_read = false);
        }
        while let Some(Held { attempt, is_read }) = queue.pop_front() {
            self.held_writes -= 1;
            let reading = self.begin_write(now, replica, attempt, is_read);
            if let Some(again) = self.held.get_mut(&slot) {
                // Another one reads now: the rest stays behind it, in order.
                again.extend(queue);
                return reading.into_iter().for_each(|index| self.read_for_held(index));
            }
        }
    }

    /// Answers writes that wait behind another one beyond their deadline.
    pub(super) fn expire_held(&mut self, now: Instant) {
        let mut late = Vec::new();
        for queue in self.held.values_mut() {
            queue.retain(|Held { attempt, .. }| {
                let in_time = attempt.request.terms.deadline > now;
                if !in_time {
                    late.push(attempt.requester);
                }
                in_time
            });
        }
        self.held_writes -= late.len();
        for requester in late {
            let text = "the write waited too long behind another one on its slot";
            self.reply(requester, errors::unavailable(text));
        }
    }
}

/// Keys of a call up to which it is compared with others.
const KEYS_COMPARED_MAX: usize = 8;

/// Whether what is read for a call is all that another one must have read.
fn covers(reading: &Call, other: &Call) -> bool {
    let is_over_few_keys = |call: &Call| {
        call.spec().routing != Routing::Slots
            && (1..=KEYS_COMPARED_MAX).contains(&call.keys().take(KEYS_COMPARED_MAX + 1).count())
    };
    other.class() == Class::ReadModifyWrite
        && is_over_few_keys(reading)
        && is_over_few_keys(other)
        && other.keys().all(|key| reading.keys().any(|read| read == key))
}

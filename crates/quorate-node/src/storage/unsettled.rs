//! Slots that a large write is changing here, or on its way to other replicas.
//!
//! An anti-entropy round that compared such a slot would find that it differs, and bring the whole state
//! to replicas that are about to have it: of hundreds of megabytes, in the middle of a turn of the shard.
//! So rounds leave the slot out, and are repeated.

use std::{collections::BTreeMap, time::Duration};

use quorate_cluster::{limits::on_its_way, time::Instant};
use quorate_proto::Slot;

/// Which they are.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// Effects from so many bytes on are large.
    bytes_min: usize,
    /// Changes that are made beside the shard.
    under_way: BTreeMap<Slot, usize>,
    /// By when the others have what was changed, unless something hinders it.
    until: BTreeMap<Slot, Instant>,
}

impl Unsettled {
    pub(super) fn new(bytes_min: usize) -> Self {
        Self { bytes_min, under_way: BTreeMap::new(), until: BTreeMap::new() }
    }

    /// A slot is being changed beside the shard.
    pub(super) fn begin(&mut self, slot: Slot) {
        *self.under_way.entry(slot).or_default() += 1;
    }

    /// It has been, by an effect of so many bytes.
    pub(super) fn end(&mut self, now: Instant, slot: Slot, bytes: usize) {
        if let Some(count) = self.under_way.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&slot);
            }
        }
        self.until.retain(|_, until| *until > now);
        let lasts = on_its_way(bytes);
        if bytes >= self.bytes_min && lasts > Duration::ZERO {
            let until = self.until.entry(slot).or_insert(now);
            *until = (*until).max(now + lasts);
        }
    }

    pub(super) fn contains(&self, now: Instant, slot: Slot) -> bool {
        self.under_way.contains_key(&slot)
            || self.until.get(&slot).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_settles_once_a_large_write_is_with_the_others() {
        let (slot, other) = (Slot::of_key(b"a"), Slot::of_key(b"b"));
        let mut unsettled = Unsettled::new(8 << 20);
        let now = Instant::ZERO + Duration::from_secs(1);
        unsettled.begin(slot);
        unsettled.begin(slot);
        unsettled.end(now, slot, 100);
        assert!(unsettled.contains(now, slot) && !unsettled.contains(now, other));
        unsettled.end(now, slot, 64 << 20);
        assert!(unsettled.contains(now + Duration::from_secs(3), slot));
        assert!(!unsettled.contains(now + Duration::from_secs(5), slot));
        unsettled.begin(slot);
        unsettled.end(now, slot, 1 << 20);
        assert!(unsettled.contains(now + Duration::from_secs(3), slot), "of the one before");
        unsettled.begin(other);
        unsettled.end(now, other, 1 << 20);
        assert!(!unsettled.contains(now, other), "small ones are with the others at once");
    }
}

//! Which writes this node holds: for each slot and origin, the counters whose effects were merged.
//!
//! What is in here is claimed to peers, so nothing may come in before its effect is merged. It is
//! kept in memory only: a process that starts claims nothing.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Dot, Origin, Slot, slot::SLOTS};
use smallvec::SmallVec;

use super::{
    Counters,
    recent::{Entry, Place, Recent},
};
use crate::limits::{CLOCKS_ORIGINS_MAX, CLOCKS_RANGES_MAX};

/// Which writes a shard holds, and the effects of the newest ones.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// Raised by every change.
    version: u64,
    /// By slot; empty until the first write on any.
    slots: Vec<Option<Box<SlotClock>>>,
    recent: Recent,
    /// Sorted; see [`Knowledge::set_current`].
    current: Vec<Origin>,
}

/// What is known of one slot.
#[derive(Debug, Default)]
struct SlotClock {
    /// The version of the last change.
    version: u64,
    /// Where the newest effect is.
    newest: Place,
    /// One or two for each replica.
    origins: SmallVec<[(Origin, Counters); 3]>,
}

impl Knowledge {
    /// From now on only these origins are noted
    /// ([`Topology::origins`](crate::topology::Topology::origins)). What the members' older starts
    /// have left unsettled is for anti-entropy rounds.
    pub fn set_current(&mut self, origins: impl IntoIterator<Item = Origin>) {
        self.current = origins.into_iter().collect();
        self.current.sort_unstable();
    }

    /// Names the effect that this node, which goes by `origin`, has made just now; `None` when
    /// peers have named so much that there is no room. Anti-entropy rounds bring what has no name.
    /// Returns as well the copy that is kept, unless the effect is too large for that.
    pub fn issue(
        &mut self,
        slot: Slot,
        origin: Origin,
        effect: &[u8],
    ) -> Option<(Dot, Option<&Bytes>)> {
        let (clock, recent, current) = self.changed(slot);
        let counters = clock.counters(origin, current)?;
        let counter = counters.prefix().checked_add(1).filter(|next| *next < u64::MAX)?;
        let dot = Dot { origin, counter };
        counters.insert(dot.counter);
        Some((dot, recent.push(&mut clock.newest, &[dot], effect)))
    }

    /// An effect that holds all of these writes has been merged.
    pub fn note(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) {
        let (clock, recent, current) = self.changed(slot);
        let mut new = false;
        for dot in &dots {
            if let Some(counters) = clock.counters(dot.origin, current) {
                new |= counters.insert(dot.counter);
                counters.keep_lowest(CLOCKS_RANGES_MAX);
            }
        }
        if new {
            recent.push(&mut clock.newest, &dots, effect);
        }
    }

    /// Everything that these writes did is known to be here.
    pub fn note_all(&mut self, slot: Slot, origin: Origin, settled: &Counters) {
        let (clock, _, current) = self.changed(slot);
        if let Some(counters) = clock.counters(origin, current) {
            counters.insert_all(settled);
            counters.keep_lowest(CLOCKS_RANGES_MAX);
        }
    }

    /// Forgets the effects of a slot: what follows them there has no names.
    pub fn forget_effects(&mut self, slot: Slot) {
        if let Some(clock) = self.slots.get_mut(slot.index()).and_then(Option::as_mut) {
            clock.newest = Place::default();
        }
    }

    /// Forgets effects that no peer that asks every now and then can need.
    pub fn age(&mut self) {
        self.recent.age();
    }

    /// Bytes of the effects that are kept for peers.
    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Raised by every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether anything that is known of a slot has changed since a version.
    pub(super) fn has_changed(&self, slot: Slot, since: u64) -> bool {
        self.clock(slot).is_some_and(|clock| clock.version > since && !clock.origins.is_empty())
    }

    /// What is known of a slot, by origin in ascending order.
    pub(super) fn of_slot(&self, slot: Slot) -> impl Iterator<Item = (Origin, &Counters)> {
        let origins = self.clock(slot).map_or(&[][..], |clock| &clock.origins);
        origins.iter().map(|(origin, counters)| (*origin, counters))
    }

    /// What of `claimed` is not known here; `None` when this origin is not noted any more.
    pub fn lacking(&self, slot: Slot, origin: Origin, claimed: &Counters) -> Option<Counters> {
        let clock = self.clock(slot);
        match clock.and_then(|clock| Some(&clock.origins[clock.find(origin).ok()?].1)) {
            Some(known) => Some(claimed.without(known)),
            None => is_current(&self.current, origin).then(|| claimed.clone()),
        }
    }

    /// The newest effects of a slot, the newest first.
    pub(super) fn recent(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        self.recent.of_slot(self.clock(slot).map_or(0, |clock| clock.newest))
    }

    fn clock(&self, slot: Slot) -> Option<&SlotClock> {
        self.slots.get(slot.index())?.as_deref()
    }

    /// The clock of a slot that changes now.
    fn changed(&mut self, slot: Slot) -> (&mut SlotClock, &mut Recent, &[Origin]) {
        if self.slots.is_empty() {
            self.slots.resize_with(usize::from(SLOTS), || None);
        }
        self.version += 1;
        let clock = self.slots[slot.index()].get_or_insert_default();
        clock.version = self.version;
        (clock, &mut self.recent, &self.current)
    }
}

impl SlotClock {
    fn find(&self, origin: Origin) -> Result<usize, usize> {
        // One or two for each replica of the slot: no faster search is needed.
        let at = self.origins.iter().take_while(|(other, _)| *other < origin).count();
        if self.origins.get(at).is_some_and(|(other, _)| *other == origin) {
            Ok(at)
        } else {
            Err(at)
        }
    }

    /// The counters of an origin, new ones for one that is `current`: they take the place of those
    /// of origins that are not any more, whose unsettled writes are for anti-entropy rounds.
    fn counters(&mut self, origin: Origin, current: &[Origin]) -> Option<&mut Counters> {
        let at = match self.find(origin) {
            Ok(at) => at,
            Err(_) if !is_current(current, origin) => return None,
            Err(_) => {
                self.origins.retain(|(other, _)| is_current(current, *other));
                if self.origins.len() >= CLOCKS_ORIGINS_MAX {
                    return None;
                }
                let at = self.origins.partition_point(|(other, _)| *other < origin);
                self.origins.insert(at, (origin, Counters::default()));
                at
            }
        };
        Some(&mut self.origins[at].1)
    }
}

fn is_current(current: &[Origin], origin: Origin) -> bool {
    current.binary_search(&origin).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(range: core::ops::RangeInclusive<u64>) -> Counters {
        let mut counters = Counters::default();
        counters.insert_range(*range.start(), *range.end());
        counters
    }

    fn knowing<const N: usize>(origins: [u32; N]) -> Knowledge {
        let mut knowledge = Knowledge::default();
        knowledge.set_current(origins.map(Origin));
        knowledge
    }

    fn known(knowledge: &Knowledge) -> Vec<(u32, u64)> {
        let origins = knowledge.of_slot(Slot::default());
        origins.map(|(origin, counters)| (origin.0, counters.len())).collect()
    }

    #[test]
    fn own_writes_are_counted_and_known_at_once() {
        let (mut knowledge, slot, me) = (knowing([3]), Slot::default(), Origin(3));
        for counter in 1..=3 {
            let (dot, kept) = knowledge.issue(slot, me, b"e").expect("room");
            assert_eq!((dot, &kept.expect("small")[..]), (Dot { origin: me, counter }, &b"e"[..]));
        }
        let lacking = knowledge.lacking(slot, me, &counters(2..=5)).expect("its time is not over");
        assert_eq!(lacking, counters(4..=5));
        assert_eq!(knowledge.recent(slot).count(), 3);
        assert_eq!(knowledge.version(), 3);
    }

    #[test]
    fn an_effect_that_was_known_is_not_kept_again() {
        let (mut knowledge, slot) = (knowing([7]), Slot::default());
        let dots = |counters: &[u64]| -> Vec<Dot> {
            counters.iter().map(|&counter| Dot { origin: Origin(7), counter }).collect()
        };
        let effect = Bytes::from_static(b"e");
        knowledge.note(slot, dots(&[2, 1]), &effect);
        knowledge.note(slot, dots(&[1]), &effect);
        assert_eq!(knowledge.recent(slot).count(), 1);
        knowledge.note(slot, dots(&[1, 3]), &effect);
        assert_eq!((knowledge.recent(slot).count(), known(&knowledge)), (2, alloc::vec![(7, 3)]));
    }

    #[test]
    fn effects_that_are_forgotten_are_known_and_not_told() {
        let (mut knowledge, slot, me) = (knowing([3]), Slot::default(), Origin(3));
        for _ in 0..2 {
            knowledge.issue(slot, me, b"e").expect("room");
        }
        knowledge.forget_effects(slot);
        assert_eq!((known(&knowledge), knowledge.recent(slot).count()), (alloc::vec![(3, 2)], 0));
        let (dot, _) = knowledge.issue(slot, me, b"e").expect("room");
        assert_eq!((dot.counter, knowledge.recent(slot).count()), (3, 1));
    }

    #[test]
    fn ranges_are_bounded_by_claiming_less() {
        let (mut knowledge, slot, origin) = (knowing([7]), Slot::default(), Origin(7));
        for counter in 1..=1_000 {
            knowledge.note(slot, alloc::vec![Dot { origin, counter: 2 * counter }], &Bytes::new());
        }
        assert_eq!(known(&knowledge), [(7, CLOCKS_RANGES_MAX as u64)]);
        assert!(knowledge.lacking(slot, origin, &counters(2..=2)).expect("kept").is_empty());
    }

    #[test]
    fn what_is_not_noted_changes_nothing() {
        let (mut knowledge, slot) = (knowing([3]), Slot::default());
        let effect = Bytes::from_static(b"e");
        knowledge.note(slot, alloc::vec![Dot { origin: Origin(4), counter: 1 }], &effect);
        assert!(known(&knowledge).is_empty() && !knowledge.has_changed(slot, 0));
    }

    #[test]
    fn only_current_origins_are_noted_and_take_the_place_of_others() {
        let (mut knowledge, slot) = (knowing([3, 5]), Slot::default());
        let claimed = counters(1..=2);
        let note = |knowledge: &mut Knowledge, origin| {
            knowledge.note_all(slot, Origin(origin), &claimed);
            known(knowledge).into_iter().map(|(origin, _)| origin).collect::<Vec<_>>()
        };
        assert_eq!(note(&mut knowledge, 5), [5]);
        assert_eq!(note(&mut knowledge, 3), [3, 5]);
        assert_eq!(note(&mut knowledge, 4), [3, 5], "nobody's start");
        assert_eq!(knowledge.lacking(slot, Origin(4), &claimed), None);
        knowledge.set_current([Origin(3), Origin(4)]);
        assert_eq!(knowledge.lacking(slot, Origin(5), &counters(1..=3)), Some(counters(3..=3)));
        assert_eq!(knowledge.lacking(slot, Origin(4), &claimed), Some(claimed.clone()));
        assert_eq!(note(&mut knowledge, 4), [3, 4]);
        assert_eq!(note(&mut knowledge, 5), [3, 4], "its time is over");
        assert_eq!(knowledge.lacking(slot, Origin(5), &claimed), None);
    }
}

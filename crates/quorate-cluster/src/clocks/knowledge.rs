//! Which writes this node holds: for each slot and origin, the counters whose effects were merged.
//!
//! What is in here is claimed to peers, so nothing may come in before its effect is merged. It is
//! kept in memory only: a process that starts claims nothing.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;
use quorate_proto::{Dot, Origin, Slot, slot::SLOTS};

use super::{
    Counters,
    recent::{Entry, Place, Recent},
};
use crate::limits::{CLOCKS_INCARNATIONS, CLOCKS_ORIGINS_MAX, CLOCKS_RANGES_MAX};

/// Which writes a shard holds, and the effects of the newest ones.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// Raised by every change.
    version: u64,
    /// By slot; empty until the first write on any.
    slots: Vec<Option<Box<SlotClock>>>,
    recent: Recent,
}

/// What is known of one slot.
#[derive(Debug, Default)]
struct SlotClock {
    /// The version of the last change.
    version: u64,
    /// Where the newest effect is.
    newest: Place,
    origins: Vec<(Origin, Counters)>,
}

impl Knowledge {
    /// Names the effect that this node, which goes by `origin`, has made just now; `None` when peers
    /// have named so much that there is no room. Digest rounds bring what has no name.
    pub fn issue(&mut self, slot: Slot, origin: Origin, effect: &Bytes) -> Option<Dot> {
        let (clock, recent) = self.changed(slot);
        let counters = clock.counters(origin)?;
        let counter = counters.prefix().checked_add(1).filter(|next| *next < u64::MAX)?;
        let dot = Dot { origin, counter };
        counters.insert(dot.counter);
        recent.push(&mut clock.newest, alloc::vec![dot], effect.clone());
        Some(dot)
    }

    /// An effect that holds all of these writes has been merged.
    pub fn note(&mut self, slot: Slot, dots: Vec<Dot>, effect: &Bytes) {
        let (clock, recent) = self.changed(slot);
        let mut new = false;
        for dot in &dots {
            if let Some(counters) = clock.counters(dot.origin) {
                new |= counters.insert(dot.counter);
                counters.keep_lowest(CLOCKS_RANGES_MAX);
            }
        }
        if new {
            // A copy: the effect may be a small part of a large buffer.
            recent.push(&mut clock.newest, dots, Bytes::copy_from_slice(effect));
        }
    }

    /// Everything that these writes did is known to be here.
    pub fn note_all(&mut self, slot: Slot, origin: Origin, settled: &Counters) {
        let (clock, _) = self.changed(slot);
        if let Some(counters) = clock.counters(origin) {
            counters.insert_all(settled);
            counters.keep_lowest(CLOCKS_RANGES_MAX);
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

    /// Whether anything of a slot has changed since a version.
    pub(super) fn has_changed(&self, slot: Slot, since: u64) -> bool {
        self.clock(slot).is_some_and(|clock| clock.version > since)
    }

    /// What is known of a slot, by origin in ascending order.
    pub(super) fn of_slot(&self, slot: Slot) -> impl Iterator<Item = (Origin, &Counters)> {
        let origins = self.clock(slot).map_or(&[][..], |clock| &clock.origins);
        origins.iter().map(|(origin, counters)| (*origin, counters))
    }

    /// What of `claimed` is not known here; `None` when this origin's time is over.
    pub fn lacking(&self, slot: Slot, origin: Origin, claimed: &Counters) -> Option<Counters> {
        let Some(clock) = self.clock(slot) else { return Some(claimed.clone()) };
        match clock.find(origin) {
            Ok(at) => Some(claimed.without(&clock.origins[at].1)),
            Err(_) if clock.is_outdated(origin) => None,
            Err(_) => Some(claimed.clone()),
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
    fn changed(&mut self, slot: Slot) -> (&mut SlotClock, &mut Recent) {
        if self.slots.is_empty() {
            self.slots.resize_with(usize::from(SLOTS), || None);
        }
        self.version += 1;
        let clock = self.slots[slot.index()].get_or_insert_default();
        clock.version = self.version;
        (clock, &mut self.recent)
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

    /// The counters of an origin. Of each node the newest [`CLOCKS_INCARNATIONS`] incarnations are
    /// kept: what an older one left unsettled is for digest rounds.
    fn counters(&mut self, origin: Origin) -> Option<&mut Counters> {
        let at = match self.find(origin) {
            Ok(at) => at,
            Err(_) if self.is_outdated(origin) => return None,
            Err(_) => {
                if let Some(oldest) = self.surplus(origin) {
                    self.origins.remove(oldest);
                }
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

    /// Whether enough newer incarnations of the same node are known.
    fn is_outdated(&self, origin: Origin) -> bool {
        let same = self.origins.iter().filter(|(other, _)| other.node() == origin.node());
        same.filter(|(other, _)| is_newer(*other, origin)).count() >= CLOCKS_INCARNATIONS
    }

    /// The incarnation that goes when a newer one of the same node comes.
    fn surplus(&self, origin: Origin) -> Option<usize> {
        let others = self.origins.iter().enumerate();
        let same = others.filter(|(_, (other, _))| other.node() == origin.node());
        let mut same: Vec<(usize, Origin)> = same.map(|(at, (other, _))| (at, *other)).collect();
        if same.len() < CLOCKS_INCARNATIONS {
            return None;
        }
        let oldest = same.pop()?;
        let older = |oldest: (usize, Origin), other: (usize, Origin)| {
            if is_newer(oldest.1, other.1) { other } else { oldest }
        };
        Some(same.into_iter().fold(oldest, older).0)
    }
}

/// Whether an incarnation is newer than another one of the same node. They are counted modulo
/// 65,536, so that one that is less than half of that ahead is newer.
fn is_newer(this: Origin, that: Origin) -> bool {
    (this.incarnation().wrapping_sub(that.incarnation()) as i16) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(range: core::ops::RangeInclusive<u64>) -> Counters {
        let mut counters = Counters::default();
        counters.insert_range(*range.start(), *range.end());
        counters
    }

    fn known(knowledge: &Knowledge) -> Vec<(u16, u64)> {
        let origins = knowledge.of_slot(Slot::default());
        origins.map(|(origin, counters)| (origin.incarnation(), counters.len())).collect()
    }

    #[test]
    fn own_writes_are_counted_and_known_at_once() {
        let (mut knowledge, slot, me) = (Knowledge::default(), Slot::default(), Origin::new(3, 1));
        for counter in 1..=3 {
            let dot = knowledge.issue(slot, me, &Bytes::from_static(b"e")).expect("room");
            assert_eq!(dot, Dot { origin: me, counter });
        }
        let lacking = knowledge.lacking(slot, me, &counters(2..=5)).expect("its time is not over");
        assert_eq!(lacking, counters(4..=5));
        assert_eq!(knowledge.recent(slot).count(), 3);
        assert_eq!(knowledge.version(), 3);
    }

    #[test]
    fn an_effect_that_was_known_is_not_kept_again() {
        let (mut knowledge, slot) = (Knowledge::default(), Slot::default());
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
    fn ranges_are_bounded_by_claiming_less() {
        let (mut knowledge, slot, origin) = (Knowledge::default(), Slot::default(), Origin(7));
        for counter in 1..=1_000 {
            knowledge.note(slot, alloc::vec![Dot { origin, counter: 2 * counter }], &Bytes::new());
        }
        assert_eq!(known(&knowledge), [(7, CLOCKS_RANGES_MAX as u64)]);
        assert!(knowledge.lacking(slot, origin, &counters(2..=2)).expect("kept").is_empty());
    }

    #[test]
    fn older_incarnations_go() {
        let (mut knowledge, slot) = (Knowledge::default(), Slot::default());
        let claimed = counters(1..=2);
        let mut note = |incarnation| {
            knowledge.note_all(slot, Origin::new(3, incarnation), &claimed);
            known(&knowledge).into_iter().map(|(incarnation, _)| incarnation).collect::<Vec<_>>()
        };
        assert_eq!(note(65_534), [65_534]);
        assert_eq!(note(65_535), [65_534, 65_535]);
        // The count goes round.
        assert_eq!(note(0), [0, 65_535]);
        assert_eq!(note(65_534), [0, 65_535], "its time is over");
        assert_eq!(note(2), [0, 2]);
        assert_eq!(knowledge.lacking(slot, Origin::new(3, 65_535), &claimed), None);
        assert_eq!(knowledge.lacking(slot, Origin::new(3, 1), &claimed), Some(claimed.clone()));
        assert_eq!(knowledge.lacking(slot, Origin::new(4, 1), &claimed), Some(claimed.clone()));
    }
}

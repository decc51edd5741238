//! Reading hints for delivery: what is read together is coalesced, so that a key that was written
//! again and again costs its target little.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_cluster::handoff::{Hint, Hints};
use quorate_log::{HintLog, Sequence};
use quorate_proto::{MemberNumber, Slot, limits::DOTS_PER_EFFECT_MAX};
use quorate_store::coalesce::coalesce;

use super::{Record, Storage};
use crate::limits::HINTS_READ_MAX;

impl Hints for Storage {
    fn pending(&self, target: MemberNumber) -> u64 {
        self.hints.log(target).map_or(0, HintLog::pending)
    }

    fn read(&mut self, target: MemberNumber, bytes_max: usize) -> Vec<Hint> {
        let mut batch = Batch::default();
        let mut read = 0;
        while batch.bytes() < bytes_max && read < HINTS_READ_MAX {
            let Some(log) = self.hints.log_mut(target) else { break };
            let records = log.read(bytes_max).unwrap_or_else(|error| {
                tracing::warn!(%error, "hints cannot be read; they will be tried again");
                Vec::new()
            });
            if records.is_empty() {
                break;
            }
            read += records.iter().map(|(_, record)| record.len()).sum::<usize>();
            batch.take(&records);
        }
        self.hints.note_lost(target, self.store.epoch());
        batch.hints
    }

    fn openings(&self, target: MemberNumber) -> u32 {
        self.hints.openings(target)
    }

    fn rewind(&mut self, target: MemberNumber) {
        if let Some(log) = self.hints.log_mut(target) {
            log.rewind();
        }
    }

    fn acknowledge(&mut self, target: MemberNumber, up_to: u64) {
        if let Some(log) = self.hints.log_mut(target)
            && let Err(error) = log.acknowledge(up_to)
        {
            tracing::warn!(%error, "delivered hints could not be dropped");
        }
        self.hints.note_resized();
        self.hints.give_up_failed(target, self.store.epoch());
    }

    fn is_owed(&self, target: MemberNumber, slot: Slot) -> bool {
        self.topology.is_replica(slot, target)
    }
}

/// Hints that were read together, in the order of their first places.
#[derive(Debug, Default)]
struct Batch {
    hints: Vec<Hint>,
    /// Where in `hints` the newest effects of a slot are.
    by_slot: BTreeMap<Slot, usize>,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.hints.iter().map(|hint| hint.effect.len()).sum()
    }

    /// Adds records, merging those of one slot into one.
    fn take(&mut self, records: &[(Sequence, Vec<u8>)]) {
        let mut effects: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
        for (sequence, record) in records {
            let Some(Record::Effect { slot, dots, effect }) = Record::read(record) else {
                continue;
            };
            // It says of all writes that it is made of which they are.
            let of_slot = self.by_slot.get(&slot).copied();
            let has_room = |at: &usize| {
                self.hints[*at].dots.len() + dots.iter().count() <= DOTS_PER_EFFECT_MAX
            };
            let at = of_slot.filter(has_room).unwrap_or_else(|| {
                let (first, last) = (*sequence, *sequence);
                let (dots, effect) = (Vec::new(), Bytes::new());
                self.hints.push(Hint { first, last, slot, dots, effect });
                self.hints.len() - 1
            });
            self.by_slot.insert(slot, at);
            self.hints[at].last = *sequence;
            self.hints[at].dots.extend(dots.iter());
            effects.entry(at).or_default().push(effect);
        }
        for (at, mut effects) in effects {
            let effect = &mut self.hints[at].effect;
            if !effect.is_empty() {
                effects.insert(0, effect);
            }
            // One alone is as small as it gets. What is no effect is for the target to refuse.
            let coalesced = if effects.len() == 1 { None } else { coalesce(&effects).ok() };
            *effect = coalesced.unwrap_or_else(|| effects.concat()).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_cluster::coordinator::Replica as _;
    use quorate_proto::{command::Call, resp::Command};

    use super::*;
    use crate::storage::rounds::storage;

    const PEER: MemberNumber = MemberNumber(1);

    /// Writes a key and keeps the effect for the peer.
    fn hint(storage: &mut Storage, key: &str, value: &str) {
        let slot = Slot::of_key(key.as_bytes());
        let command = Command::from_args(&["SET", key, value]);
        let executed =
            storage.execute_now(&Call::piece(slot, command), false).expect("is carried out");
        storage.hint(PEER, slot, executed.dot, &executed.effect);
        storage.write().expect("is written");
    }

    #[test]
    fn a_hot_key_is_delivered_once_and_the_rest_in_order() {
        let (mut ours, mut theirs) = (storage(0), storage(1));
        for number in 0..100 {
            hint(&mut ours, "hot", &format!("{number:0100}"));
            if number % 50 == 0 {
                hint(&mut ours, &format!("cold{number}"), "v");
            }
        }
        assert_eq!(ours.pending(PEER), 102);
        let hints = Hints::read(&mut ours, PEER, 4_096);
        let places: Vec<_> = hints.iter().map(|hint| (hint.first, hint.last)).collect();
        assert_eq!(places, [(1, 102), (2, 2), (53, 53)]);
        assert!(hints.iter().all(|hint| hint.effect.len() < 200));
        assert_eq!(hints.iter().map(|hint| hint.dots.len()).collect::<Vec<_>>(), [100, 1, 1]);
        for hint in &hints {
            theirs.merge_now(hint.slot, Vec::new(), &hint.effect).expect("is merged");
        }
        assert_eq!(Storage::digest(&mut ours), Storage::digest(&mut theirs));
        assert!(Hints::read(&mut ours, PEER, 4_096).is_empty());
        ours.acknowledge(PEER, 102);
        assert_eq!(ours.pending(PEER), 0);
    }
}

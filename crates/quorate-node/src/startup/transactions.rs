//! Completing what a crash has left of transactions over several shards.
//!
//! The record of such a transaction is whole in the log of every shard that it concerns, so one copy
//! is enough to recover all of it. Each shard recovers its part from its own log, where it stands
//! between what was written before and after it: a node without peers remembers no removals, so what
//! is merged once more later would come back. Only what a shard's own log lacks, which can be but
//! the last, is taken from other logs when all are read, and written into its own before anything
//! else: the others drop their copies some day.

use std::collections::BTreeMap;

use quorate_log::{LogError, SegmentLog};
use quorate_proto::{Slot, slot::SLOTS};

use super::write_durably;
use crate::storage::{Effects, SLOT_BYTES, write_effect, write_last_transaction};

/// Which copies there are. Transactions over several shards are numbered by one shard, and come to
/// all in the order of their numbers.
#[derive(Debug)]
pub(super) struct Copies {
    /// By slot: the last transaction that wrote to it.
    written: Vec<u64>,
    /// By log: the last transaction in it.
    last: Vec<u64>,
}

impl Copies {
    pub(super) fn new(logs: u16) -> Self {
        Self { written: vec![0; usize::from(SLOTS)], last: vec![0; usize::from(logs)] }
    }

    /// A log holds a copy.
    pub(super) fn note(&mut self, log: u16, number: u64, effects: Effects<'_>) {
        let last = &mut self.last[usize::from(log)];
        *last = (*last).max(number);
        for (slot, _) in effects.iter() {
            let written = &mut self.written[slot.index()];
            *written = (*written).max(number);
        }
    }

    /// The log of the shard that a slot is of.
    pub(super) fn log_of(&self, slot: Slot) -> u16 {
        slot.group() % self.last.len() as u16
    }

    /// Whether a part is missing in the log of its shard.
    pub(super) fn is_missing(&self, slot: Slot, number: u64) -> bool {
        number > self.last[usize::from(self.log_of(slot))]
    }

    /// Whether any is.
    pub(super) fn lacks_any(&self) -> bool {
        Slot::all().any(|slot| self.is_missing(slot, self.written[slot.index()]))
    }

    /// The last number.
    pub(super) fn last(&self) -> u64 {
        self.last.iter().copied().max().unwrap_or(0)
    }
}

/// Parts that the logs of their shards lack, by the number of the record and the slot.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<(u64, u16), Found>);

/// What a record holds of a slot: the log that it was found in, and the effects in their order.
type Found = (u16, Vec<Vec<u8>>);

impl Missing {
    /// A log holds a copy.
    pub(super) fn note(&mut self, copies: &Copies, log: u16, number: u64, effects: Effects<'_>) {
        let missing = effects.iter().filter(|(slot, _)| copies.is_missing(*slot, number));
        for (slot, effect) in missing {
            let (found_in, parts) =
                self.0.entry((number, slot.number())).or_insert_with(|| (log, Vec::new()));
            // One copy of the record is enough.
            if *found_in == log {
                parts.push(effect.to_vec());
            }
        }
    }

    /// The parts, in the order in which they were executed.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Slot, &[u8])> {
        self.0.iter().flat_map(|((_, slot), (_, effects))| {
            let effects = effects.iter().map(Vec::as_slice);
            effects.filter_map(|effect| Some((Slot::new(*slot)?, effect)))
        })
    }

    /// Writes into the log of a shard, durably, what only others hold of its part.
    pub(super) fn complete(
        &self,
        copies: &Copies,
        shard: u16,
        log: &mut SegmentLog,
    ) -> Result<(), LogError> {
        let mut own = self.parts().filter(|(slot, _)| copies.log_of(*slot) == shard).peekable();
        if own.peek().is_none() {
            return Ok(());
        }
        for (slot, effect) in own {
            log.reserve(effect.len() + SLOT_BYTES)?;
            log.append(|out| write_effect(out, slot, effect));
        }
        log.reserve(LAST_TRANSACTION_BYTES)?;
        log.append(|out| write_last_transaction(out, copies.last()));
        write_durably(log)
    }
}

/// Bytes of the record that says up to which transaction a log has its part.
const LAST_TRANSACTION_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_log::{LogOptions, disk::SimulatedDisk};
    use quorate_proto::{Origin, command::Call, resp::Command};
    use quorate_store::{Request, Store, StoreOptions};

    use super::*;
    use crate::storage::{Record, TransactionRecord};

    fn new_store() -> Store {
        Store::new(StoreOptions {
            origin: Origin(1),
            digest_secret: [7; 16],
            seed: 7,
            keep_removed: false,
        })
    }

    fn open(disk: &Arc<SimulatedDisk>, mut each: impl FnMut(&[u8])) -> SegmentLog {
        let options =
            LogOptions { log_id: 1, segment_bytes: 64 << 10, new_salt: 1, reads_back: false };
        let disk = Arc::clone(disk) as _;
        let opened = SegmentLog::open(disk, "log".as_ref(), options, |_, record| each(record));
        opened.expect("opens").0
    }

    #[test]
    fn a_log_without_its_copy_gets_its_part() {
        let mut store = new_store();
        let slot = Slot::all().find(|slot| slot.group() % 2 == 1).expect("of the second shard");
        let key = (0..).map(|number| format!("key:{number}"));
        let key = key.into_iter().find(|key| Slot::of_key(key.as_bytes()) == slot).expect("a key");
        let call = Call::piece(slot, Command::from_args(["SET", &key, "value"]));
        let mut record = TransactionRecord::new(5, 0);
        let request = Request { call: &call, wall_ms: 1, resp3: false };
        record.part(slot, |effect| store.execute(request, &mut Vec::new(), effect));
        let record = record.finish().expect("has an effect");
        let Some(Record::Transactions { number, effects }) = Record::read(&record) else {
            panic!("transactions")
        };
        let disk = Arc::new(SimulatedDisk::new());
        let written = |disk: &Arc<SimulatedDisk>| {
            let mut records = 0;
            let mut recovered = new_store();
            drop(open(disk, |record| {
                records += 1;
                match Record::read(record) {
                    Some(Record::Effect { slot, effect, .. }) => {
                        recovered.recover(slot, effect).expect("is merged");
                    }
                    Some(Record::Transactions { number: 5, effects }) => {
                        assert_eq!(effects.iter().count(), 0);
                    }
                    other => panic!("{other:?}"),
                }
            }));
            (records, recovered.slot_digest(slot) == store.slot_digest(slot))
        };
        let complete = |copies: &Copies, shard| {
            let mut missing = Missing::default();
            missing.note(copies, 0, number, effects);
            missing.note(copies, 1, number, effects);
            let mut log = open(&disk, |_| ());
            missing.complete(copies, shard, &mut log).expect("there is space");
        };
        // Both logs have it: nothing is missing.
        let mut copies = Copies::new(2);
        copies.note(0, number, effects);
        copies.note(1, number, effects);
        assert!(!copies.lacks_any());
        complete(&copies, 1);
        assert_eq!(written(&disk), (0, false));
        // Only the other one has it.
        let mut copies = Copies::new(2);
        copies.note(0, number, effects);
        copies.note(1, number - 1, effects);
        assert!(copies.lacks_any());
        complete(&copies, 0);
        assert_eq!(written(&disk), (0, false), "the slot is that of another shard");
        complete(&copies, 1);
        assert_eq!(written(&disk), (2, true));
        assert_eq!(copies.last(), 5);
    }
}

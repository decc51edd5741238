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
use quorate_store::Store;

use super::{write_durably, write_slot};
use crate::storage::{Effects, write_last_transaction};

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

    /// Slots of which another log than that of their shard knows the last transaction.
    fn incomplete(&self, log: u16) -> impl Iterator<Item = Slot> {
        Slot::all()
            .filter(move |slot| self.log_of(*slot) == log)
            .filter(|slot| self.is_missing(*slot, self.written[slot.index()]))
    }

    /// Writes into the log of a shard, durably, what only others hold of its part.
    pub(super) fn complete(
        &self,
        shard: u16,
        store: &Store,
        log: &mut SegmentLog,
    ) -> Result<(), LogError> {
        let mut slots = self.incomplete(shard).peekable();
        if slots.peek().is_none() {
            return Ok(());
        }
        slots.try_for_each(|slot| write_slot(store, slot, log))?;
        log.reserve(LAST_TRANSACTION_BYTES)?;
        log.append(|out| write_last_transaction(out, self.last()));
        write_durably(log)
    }
}

/// Parts that the logs of their shards lack, by the number of the transaction and the slot.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<(u64, u16), Vec<u8>>);

impl Missing {
    /// A log holds a copy.
    pub(super) fn note(&mut self, copies: &Copies, number: u64, effects: Effects<'_>) {
        let missing = effects.iter().filter(|(slot, _)| copies.is_missing(*slot, number));
        for (slot, effect) in missing {
            self.0.entry((number, slot.number())).or_insert_with(|| effect.to_vec());
        }
    }

    /// The parts, in the order in which they were executed.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Slot, &[u8])> {
        let parts = self.0.iter();
        parts.filter_map(|((_, slot), effect)| Some((Slot::new(*slot)?, &effect[..])))
    }
}

/// Bytes of the record that says up to which transaction a log has its part.
const LAST_TRANSACTION_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_log::{LogOptions, disk::SimulatedDisk};
    use quorate_proto::{Origin, command::Call, resp::Command};
    use quorate_store::{Request, StoreOptions};

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
    fn a_log_without_its_copy_gets_what_the_store_holds() {
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
                let Some(Record::Effect { slot, effect, .. }) = Record::read(record) else {
                    panic!("an effect")
                };
                recovered.recover(slot, effect).expect("is merged");
            }));
            (records, recovered.slot_digest(slot) == store.slot_digest(slot))
        };
        // Both logs have it: nothing is missing.
        let mut copies = Copies::new(2);
        copies.note(0, number, effects);
        copies.note(1, number, effects);
        copies.complete(1, &store, &mut open(&disk, |_| ())).expect("there is space");
        assert_eq!(written(&disk), (0, false));
        // Only the other one has it.
        let mut copies = Copies::new(2);
        copies.note(0, number, effects);
        copies.note(1, number - 1, effects);
        copies.complete(0, &store, &mut open(&disk, |_| ())).expect("there is space");
        assert_eq!(written(&disk), (0, false), "the slot is that of another shard");
        copies.complete(1, &store, &mut open(&disk, |_| ())).expect("there is space");
        assert_eq!(written(&disk), (1, true));
        assert_eq!(copies.last(), 5);
    }
}

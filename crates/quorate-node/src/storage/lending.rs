//! A store that another shard of the node may borrow, and what is written of a transaction that was
//! executed on the stores of several shards.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use quorate_log::Sequence;
use quorate_proto::{Slot, mutant::Mutant};
use quorate_store::Store;

use super::{Record, Storage, record::write_last_transaction};

/// The store of a shard, unless it is lent. Nobody may use it then.
#[derive(Debug)]
pub(crate) struct Lendable(Option<Store>);

impl Lendable {
    pub(super) fn new(store: Store) -> Self {
        Self(Some(store))
    }

    pub(super) fn is_lent(&self) -> bool {
        self.0.is_none()
    }
}

impl Deref for Lendable {
    type Target = Store;

    fn deref(&self) -> &Store {
        self.0.as_ref().expect("invariant: nobody uses a store that is lent")
    }
}

impl DerefMut for Lendable {
    fn deref_mut(&mut self) -> &mut Store {
        self.0.as_mut().expect("invariant: nobody uses a store that is lent")
    }
}

/// What a log knows of transactions, whose records those of other shards hold too.
#[derive(Debug)]
pub(super) struct Transactions {
    /// The number of the last one over several shards.
    number: u64,
    /// The last record of any.
    pub(super) last: Sequence,
    /// Up to which record the other logs hold copies durably.
    pub(super) copied: Sequence,
    /// Whether they are being synced for that.
    pub(super) syncing: bool,
}

impl Transactions {
    /// Any record that was recovered may be one.
    pub(super) fn new(recovered: Sequence, number: u64) -> Self {
        Self { number, last: recovered, copied: 0, syncing: false }
    }
}

impl Storage {
    /// Whether the store is at another shard.
    pub(crate) fn is_lent(&self) -> bool {
        self.store.is_lent()
    }

    /// Lends the store.
    pub(crate) fn lend(&mut self) -> Box<Store> {
        let store = self.store.0.take();
        Box::new(store.expect("invariant: a store is lent to one shard at a time"))
    }

    /// The store is back.
    pub(crate) fn take_back(&mut self, store: Box<Store>) {
        assert!(self.is_lent(), "invariant: only a store that is lent comes back");
        self.store.0 = Some(*store);
        self.index_changes();
    }

    /// Makes room for a record of transactions. Returns what its clients are told if there is none.
    pub(crate) fn refuse_record(&mut self, bytes: usize) -> Option<String> {
        let refused = self.reserve(bytes).err()?;
        Some(format!("MISCONF {}; nothing was done", refused.text))
    }

    /// Appends the record of transactions, all of it: whichever log keeps it, nothing is lost in
    /// part. What belongs to this shard is in its store already.
    pub(crate) fn append_transactions(&mut self, record: &Bytes) {
        let Some(Record::Transactions { number, effects }) = Record::read(record) else {
            unreachable!("invariant: a shard of this node has written the record")
        };
        self.transactions.number = self.transactions.number.max(number);
        let own = effects.iter().filter(|(slot, _)| self.owner(*slot) == self.shard);
        let own: Vec<(Slot, &[u8])> = own.collect();
        if Mutant::TransactionInParts.is_planted() {
            for (slot, effect) in own {
                self.append(slot, effect);
            }
            return;
        }
        let Some(log) = &mut self.log else { return };
        let sequence = log.append(|out| out.extend_from_slice(record));
        (self.appended, self.transactions.last) = (sequence, sequence);
        for (slot, _) in own {
            if let Some(newest) = self.newest.get_mut(slot.index()) {
                *newest = sequence;
            }
        }
    }

    /// Says in the log that it has all that transactions have written to this shard so far: what stands
    /// before a checkpoint goes, and copies in other logs would seem to be missing here.
    pub(super) fn append_last_transaction(&mut self) {
        let number = self.transactions.number;
        if let Some(log) = self.log.as_mut().filter(|_| number > 0) {
            self.appended = log.append(|out| write_last_transaction(out, number));
        }
    }

    /// The number of the next transaction over several shards.
    pub(crate) fn next_transaction(&mut self) -> u64 {
        self.transactions.number += 1;
        self.transactions.number
    }
}

//! Lending the store to the shard that executes a transaction over several.
//!
//! From then on until the store is back, a moment later, nothing is done that would need it: mail,
//! jobs of the disk that have ended, and what clients and timers want waits. Connections are read
//! and written all the same, and the control of the node is a thread of its own.

use bytes::Bytes;
use quorate_proto::command::CrossSlot;
use quorate_store::Store;

use super::{Mail, Now, Shard};
use crate::reactor::Done;

/// What has to do with lending the store.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// Who wants to borrow it, and how much room the record may take.
    wanted: Option<(u16, Option<usize>)>,
    /// What has come since it was lent.
    deferred: Vec<Deferred>,
}

/// What waits until the store is back.
#[derive(Debug)]
enum Deferred {
    Mail(Mail),
    Done(Done),
}

impl Lending {
    /// Whether a shard waits for the store.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }
}

impl Shard {
    /// Whether the store is at another shard.
    pub(crate) fn is_lent(&self) -> bool {
        self.storage.is_lent()
    }

    /// A shard wants to borrow the store.
    pub(super) fn handle_borrow(&mut self, from: u16, room: Option<usize>) {
        assert!(self.lending.wanted.is_none(), "invariant: one shard borrows, and once at a time");
        self.lending.wanted = Some((from, room));
    }

    /// Lends the store if somebody wants it. To be called when all that the turn has done is
    /// written.
    pub(super) fn lend(&mut self) {
        let Some((to, room)) = self.lending.wanted else { return };
        let is_alone = self.topology().len() == 1;
        let is_changing = room.is_some() && self.storage.is_executing_beside();
        if is_changing || is_alone && !self.may_begin(room.is_some()) {
            return;
        }
        self.lending.wanted = None;
        let refusal = match is_alone {
            true => room.and_then(|room| self.storage.refuse_record(room)),
            false => Some(CrossSlot.to_string()),
        };
        let store = refusal.map_or_else(|| Ok(self.storage.lend()), Err);
        self.outbox[usize::from(to)].push(Mail::Lent { from: self.id, store });
    }

    /// Keeps mail until the store is back.
    pub(super) fn defer_mail(&mut self, mail: Mail) {
        self.lending.deferred.push(Deferred::Mail(mail));
    }

    /// Keeps the end of a job of the disk until the store is back.
    pub(super) fn defer_done(&mut self, done: Done) {
        self.lending.deferred.push(Deferred::Done(done));
    }

    /// The store is back, with the record of what was done to it.
    pub(super) fn handle_returned(&mut self, now: Now, store: Box<Store>, record: Option<&Bytes>) {
        self.storage.take_back(store);
        if let Some(record) = record {
            self.storage.append_transactions(record);
        }
        for deferred in std::mem::take(&mut self.lending.deferred) {
            match deferred {
                Deferred::Mail(mail) => self.handle_mail(now, mail),
                Deferred::Done(done) => self.handle_done(now, done),
            }
        }
    }
}

//! Executing transactions on a node that is the only member.
//!
//! A transaction is executed in one go by one shard: by the one that owns all its slots, or else
//! by the first one, which borrows the stores of the others. Since nobody else borrows, nobody waits
//! in a circle.
//!
//! ```text
//!  home      EXEC: the commands, and the versions of what is watched, go to the executor
//!  executor  asks the shards concerned for their stores
//!  lender    at the end of a turn: makes room in its log, lends its store, and waits
//!  executor  executes, writes one record with all effects, gives the stores back, answers
//!  lender    writes the same record, all of it, before it does anything else
//! ```
//!
//! Nothing of a shard that has lent its store is shown or changed, so all happens at one moment. A
//! crash leaves a record whole or not at all, and one copy is enough to recover all of it. Transactions
//! that come meanwhile wait and are executed together, for as long as a turn may last: then the
//! stores go back, and each lender has a turn for its clients.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_proto::command::CrossSlot;
use quorate_store::Store;

use super::{
    Mail, Now, Shard, Waiter,
    bundle::{Bundle, Moment},
    job::{Plan, Step, first_error},
    mail::Question,
};
use crate::{config::SyncPolicy, limits, storage::TransactionRecord};

/// The shard that executes what concerns several.
const EXECUTOR: u16 = 0;

/// Bundles on their way.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    /// Those that wait for the start to end, for the member list to be sealed, or for a long call
    /// that is executed beside the shard.
    waiting: Vec<(Waiter, Bundle)>,
    /// Those to be executed here.
    queue: VecDeque<(Waiter, Bundle)>,
    /// Those for which stores are borrowed: all read, or all write.
    batch: VecDeque<(Waiter, Bundle)>,
    /// How many stores are on their way here.
    awaited: usize,
    borrowed: BTreeMap<u16, Box<Store>>,
    /// Shards that lend nothing, and why.
    refusals: BTreeMap<u16, String>,
}

impl Bundles {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_empty() && self.batch.is_empty()
    }

    /// Takes those whose wait is over.
    pub(super) fn take_waiting(&mut self) -> Vec<(Waiter, Bundle)> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn waiting_deadlines(&self) -> impl Iterator<Item = Instant> {
        self.waiting.iter().map(|(_, bundle)| bundle.terms.deadline)
    }

    /// Takes those that have waited for too long.
    pub(super) fn take_late(&mut self, now: Instant) -> impl Iterator<Item = Waiter> + use<> {
        let late = self.waiting.extract_if(.., |(_, bundle)| bundle.terms.deadline <= now);
        let late: Vec<_> = late.map(|(waiter, _)| waiter).collect();
        late.into_iter()
    }

    /// Takes those that are executed next, as many as a turn has room for.
    fn next_batch(&mut self) {
        let writes = self.queue.front().is_some_and(|(_, bundle)| bundle.room.is_some());
        let mut room = 0;
        while let Some(next) =
            self.queue.pop_front_if(|(_, bundle)| bundle.room.is_some() == writes)
        {
            room += next.1.room.unwrap_or(0);
            self.batch.push_back(next);
            if room >= limits::BYTES_PER_TURN_MAX {
                return;
            }
        }
    }
}

/// The room that the record of a batch may take; `None` when it only reads.
fn room_of(batch: &VecDeque<(Waiter, Bundle)>) -> Option<usize> {
    batch.iter().map(|(_, bundle)| bundle.room).sum()
}

impl Shard {
    /// Brings a bundle to its executor; the reply goes to `waiter`.
    pub(super) fn submit_bundle(&mut self, now: Now, waiter: Waiter, bundle: Bundle) {
        if !self.may_begin(bundle.room.is_some()) {
            self.seal_wanted |= bundle.room.is_some() && !self.topology().sealed();
            return self.bundles.waiting.push((waiter, bundle));
        }
        let mut shards = bundle.shards.iter().copied();
        let executor = match (shards.next(), shards.next()) {
            (first, None) => first.unwrap_or(self.id),
            (_, Some(_)) => EXECUTOR,
        };
        if executor == self.id {
            return self.take_bundle(now, waiter, bundle);
        }
        let ticket = self.waiters.insert(waiter) as u64;
        let mail = Mail::Bundle { from: self.id, ticket, bundle: Box::new(bundle) };
        self.outbox[usize::from(executor)].push(mail);
    }

    /// Whether requests that write, or only read, need not wait any more.
    pub(super) fn may_begin(&self, writes: bool) -> bool {
        self.has_started() && (self.topology().sealed() || !writes)
    }

    /// Executes a bundle, at once or when the stores are here. What is executed beside this shard goes
    /// by what it found: it belongs before a transaction or behind it.
    pub(super) fn take_bundle(&mut self, now: Now, waiter: Waiter, bundle: Bundle) {
        if self.storage.is_executing_beside() && bundle.room.is_some() {
            return self.bundles.waiting.push((waiter, bundle));
        }
        if bundle.shards.iter().all(|shard| *shard == self.id) {
            let batch = VecDeque::from([(waiter, bundle)]);
            self.execute_bundles(now, batch, &mut BTreeMap::new(), &BTreeMap::new());
            return;
        }
        self.bundles.queue.push_back((waiter, bundle));
        self.borrow();
    }

    /// Asks for the stores that the next bundles need, unless some are borrowed already.
    fn borrow(&mut self) {
        if !self.bundles.batch.is_empty() {
            return;
        }
        self.bundles.next_batch();
        self.hold_long_calls();
        let concerned = self.bundles.batch.iter().flat_map(|(_, bundle)| &bundle.shards);
        let lenders: BTreeSet<u16> = concerned.copied().filter(|shard| *shard != self.id).collect();
        self.bundles.awaited = lenders.len();
        let room = room_of(&self.bundles.batch);
        for lender in lenders {
            self.outbox[usize::from(lender)].push(Mail::Borrow { from: self.id, room });
        }
    }

    /// Keeps long calls from going on beside the shard for as long as transactions wait.
    pub(super) fn hold_long_calls(&mut self) {
        let is_awaited = !self.bundles.is_empty() || self.lending.is_wanted();
        self.storage.hold_long_calls(is_awaited);
    }

    /// A shard has lent its store, or says why it does not.
    pub(super) fn handle_lent(&mut self, now: Now, from: u16, lent: Result<Box<Store>, String>) {
        match lent {
            Ok(store) => drop(self.bundles.borrowed.insert(from, store)),
            Err(refusal) => drop(self.bundles.refusals.insert(from, refusal)),
        }
        self.bundles.awaited -= 1;
        if self.bundles.awaited > 0 {
            return;
        }
        let batch = std::mem::take(&mut self.bundles.batch);
        let mut borrowed = std::mem::take(&mut self.bundles.borrowed);
        let refusals = std::mem::take(&mut self.bundles.refusals);
        let left = self.execute_bundles(now, batch, &mut borrowed, &refusals);
        left.into_iter().rev().for_each(|bundle| self.bundles.queue.push_front(bundle));
        self.borrow();
    }

    /// Executes bundles whose stores are here, and gives those back. Returns the bundles for which
    /// no time was left.
    fn execute_bundles(
        &mut self,
        now: Now,
        mut batch: VecDeque<(Waiter, Bundle)>,
        borrowed: &mut BTreeMap<u16, Box<Store>>,
        refusals: &BTreeMap<u16, String>,
    ) -> VecDeque<(Waiter, Bundle)> {
        let room = room_of(&batch);
        let refused = room.and_then(|room| self.storage.refuse_record(room));
        let is_alone = self.topology().len() == 1;
        let number = if borrowed.is_empty() { 0 } else { self.storage.next_transaction() };
        let mut moment = Moment {
            own: (self.id, &mut self.storage.store),
            borrowed,
            shards: self.node.settings.shards,
            wall_ms: self.storage.wall_ms,
            record: TransactionRecord::new(number, room.unwrap_or(0)),
            changed: BTreeSet::new(),
        };
        let ends = self.stats.read_stopwatch() + Duration::from_micros(limits::TURN_MICROS_MAX);
        let mut replies = Vec::new();
        while let Some((waiter, bundle)) = batch.pop_front() {
            let refusal = bundle.shards.iter().find_map(|shard| refusals.get(shard));
            let reply = if !is_alone {
                error_reply(&CrossSlot.to_string())
            } else if let Some(refusal) = refused.as_ref().or(refusal) {
                error_reply(refusal)
            } else if bundle.terms.deadline <= now.monotonic {
                error_reply("UNAVAILABLE the shards of this node were too busy; nothing was done")
            } else {
                bundle.execute(&mut moment)
            };
            replies.push((waiter, bundle, reply));
            if self.stats.read_stopwatch() >= ends {
                break;
            }
        }
        let Moment { record, changed, .. } = moment;
        let record = record.finish();
        self.give_back(std::mem::take(borrowed), &changed, record);
        for (waiter, bundle, reply) in replies {
            self.answer_bundle(now, waiter, &bundle, reply);
        }
        batch
    }

    /// Writes the record, and gives the stores back with a copy for those that have changed.
    fn give_back(
        &mut self,
        borrowed: BTreeMap<u16, Box<Store>>,
        changed: &BTreeSet<u16>,
        record: Option<Bytes>,
    ) {
        if let Some(record) = &record {
            self.storage.append_transactions(record);
        }
        for (lender, store) in borrowed {
            let record = record.clone().filter(|_| changed.contains(&lender));
            self.outbox[usize::from(lender)].push(Mail::Returned { store, record });
        }
    }

    /// Answers, once all that was read or written is as durable as the policy asks.
    fn answer_bundle(&mut self, now: Now, waiter: Waiter, bundle: &Bundle, reply: Vec<u8>) {
        if self.node.settings.sync != SyncPolicy::Always {
            return self.deliver(now, waiter, reply.into());
        }
        let others = bundle.shards.iter().copied().filter(|shard| *shard != self.id);
        let shards: Vec<u16> = std::iter::once(self.id).chain(others).collect();
        let question = Question::Save { deadline: Some(bundle.terms.deadline) };
        self.ask_shards(now, waiter, &shards, question, Box::new(Durable(reply)));
    }
}

fn error_reply(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

/// A reply that waits for syncs.
#[derive(Debug)]
struct Durable(Vec<u8>);

impl Plan for Durable {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let Some(error) = first_error(replies) else {
            return Step::Done(std::mem::take(&mut self.0));
        };
        let (code, why) = match error.starts_with(b"-TIMEOUT") {
            true => ("TIMEOUT", "the log was not synced before the deadline"),
            false => ("UNKNOWN", "the log cannot be synced"),
        };
        let text = format!("{code} {why}; the request may or may not have taken effect");
        Step::Done(error_reply(&text))
    }
}

//! A transaction of a node that is the only member, over any slots, as its executor gets it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_cluster::coordinator::Terms;
use quorate_proto::{
    Partitioner, Slot,
    command::{Call, Entry, Spread},
    limits::COUNTED_REPLY_LENGTH_MAX,
    mutant::Mutant,
    resp::{Command, ReplyWriter},
};
use quorate_store::{Request, Store};

use super::{
    composite,
    job::{Job, Step, bulk, elements},
};
use crate::storage::{STAMPED_BYTES, TransactionRecord};

/// Commands that are executed as one, and the versions of keys that decide whether they are.
#[derive(Debug)]
pub struct Bundle {
    watched: Vec<(Bytes, Bytes)>,
    entries: Vec<Entry>,
    /// They hold for every call.
    pub(super) terms: Terms,
    /// The shards that own its slots.
    pub(super) shards: BTreeSet<u16>,
    /// What its record may take in a log, in bytes; `None` when it only reads.
    pub(super) room: Option<usize>,
}

impl Bundle {
    /// The partitioner tells the slots of keys, and `owner` which shard owns a slot.
    pub(super) fn new(
        watched: Vec<(Bytes, Bytes)>,
        entries: Vec<Entry>,
        terms: Terms,
        (partitioner, owner): (&Partitioner, impl Fn(Slot) -> u16),
    ) -> Self {
        let watched_keys = watched.iter().map(|(key, _)| &key[..]);
        let keys = watched_keys.chain(calls(&entries).flat_map(Call::keys));
        let shards = keys.map(|key| owner(partitioner.slot(key))).collect();
        let writes = calls(&entries).any(|call| call.class().writes());
        let room = calls(&entries)
            .map(|call| call.command().frame().len() + STAMPED_BYTES * call.command().len())
            .sum();
        Self { watched, entries, terms, shards, room: writes.then_some(room) }
    }

    /// Executes it. Returns the reply.
    pub(super) fn execute(&self, moment: &mut Moment<'_>) -> Vec<u8> {
        let resp3 = self.terms.resp3;
        let mut reply = Vec::new();
        if self.has_changed(moment) && !Mutant::WatchIgnored.is_planted() {
            ReplyWriter::new(&mut reply, resp3).null_array();
            return reply;
        }
        ReplyWriter::new(&mut reply, resp3).array(self.entries.len());
        let start = reply.len();
        for entry in &self.entries {
            let is_long = reply.len() - start > COUNTED_REPLY_LENGTH_MAX;
            match entry {
                Entry::Reply(known) => reply.extend_from_slice(known),
                Entry::Call(call) if is_long && !call.class().writes() => {
                    let error = "ERR the replies of the transaction are too long";
                    ReplyWriter::new(&mut reply, resp3).error(error);
                }
                Entry::Call(call) => self.call(moment, call, &mut reply),
            }
        }
        reply
    }

    /// Whether a watched key has another version by now.
    fn has_changed(&self, moment: &mut Moment<'_>) -> bool {
        self.watched.iter().any(|(key, version)| {
            let question = Command::from_args([b"quorate.version".as_slice(), key]);
            let mut reply = Vec::new();
            let question = Call::piece(moment.own.1.slot_of(key), question);
            moment.run(&question, false, &mut reply);
            elements(&reply).first().and_then(|encoded| bulk(encoded)) != Some(version)
        })
    }

    fn call(&self, moment: &mut Moment<'_>, call: &Call, reply: &mut Vec<u8>) {
        let resp3 = self.terms.resp3;
        if call.spread() != Spread::Several {
            return moment.run(call, resp3, reply);
        }
        let plan = match composite::plan_of(call, resp3, moment.own.1.partitioner()) {
            Ok(Some(plan)) => plan,
            // Options that the store answers with the right error.
            Ok(None) => return moment.run(call, resp3, reply),
            Err(error) => return ReplyWriter::new(reply, resp3).error(error),
        };
        let mut job = Job::new(plan, (), self.terms);
        loop {
            match job.next() {
                Step::Done(answer) => return reply.extend_from_slice(&answer),
                Step::Rows(_) => unreachable!("invariant: transactions have no queries"),
                Step::Run(pieces) => {
                    job.begin(pieces, moment.own.1.partitioner());
                    while let Some((at, piece)) = job.next_piece() {
                        let mut answer = Vec::new();
                        moment.run(&piece, resp3, &mut answer);
                        job.take(at, answer.into());
                    }
                }
            }
        }
    }
}

fn calls(entries: &[Entry]) -> impl Iterator<Item = &Call> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Call(call) => Some(call),
        Entry::Reply(_) => None,
    })
}

/// The stores of all shards that a bundle needs, at one moment.
pub(super) struct Moment<'a> {
    /// The executor's store, and its number.
    pub(super) own: (u16, &'a mut Store),
    pub(super) borrowed: &'a mut BTreeMap<u16, Box<Store>>,
    /// How many shards there are.
    pub(super) shards: u16,
    pub(super) wall_ms: u64,
    /// What has been done.
    pub(super) record: TransactionRecord,
    /// Whose stores have changed.
    pub(super) changed: BTreeSet<u16>,
}

impl Moment<'_> {
    /// Executes a call on one slot.
    fn run(&mut self, call: &Call, resp3: bool, reply: &mut Vec<u8>) {
        let owner = call.slot().group() % self.shards;
        let store = match self.borrowed.get_mut(&owner) {
            Some(store) => store,
            // Also of a call without keys.
            None => &mut *self.own.1,
        };
        let request = Request { call, wall_ms: self.wall_ms, resp3 };
        let part = |effect: &mut Vec<u8>| {
            let before = effect.len();
            let whole = store.execute(request, reply, effect);
            (whole, effect.len() > before)
        };
        let (whole, has_changed) = self.record.part(call.slot(), part);
        if has_changed {
            self.changed.insert(owner);
        }
        if let Some(whole) = whole {
            reply.extend_from_slice(&whole);
        }
    }
}

//! Long questions about an index, which are answered beside the shard: the index is lent to the
//! answer meanwhile.
//!
//! ```text
//! asked -> answered beside the shard -> replied
//!            |            ^
//!            | lacks      | is loaded, turn by turn
//!            v            |
//!          values of documents
//! ```
//!
//! What changes meanwhile is noted, and indexed once the index is back, turn by turn. Other questions
//! about this index wait until that is done, so that nobody misses what was written before. Writes
//! wait for nothing. Once nobody waits for an answer any more, work on it ends.

use std::time::Duration;

use bytes::Bytes;
use quorate_cluster::{
    coordinator::{Stored, Ticket},
    time::Instant,
};
use quorate_proto::{Groups, command::Call};
use quorate_search::{Allowance, Error, Index, Stop, query::Dialect};
use quorate_store::Store;

use super::{
    answers::Asked,
    catalog::Stamp,
    loaded::{Known, Loaded, Wanted},
    pieces::{self, Kind, PIECE},
    query::default_dialect,
    settings::query_memory,
    stored,
};
use crate::{limits, reactor::Job, storage::Storage};

/// A question, with the index.
#[derive(Debug)]
pub struct Inquiry {
    about: About,
    index: Box<Index>,
    call: Call,
    groups: Groups,
    dialect: Dialect,
    resp3: bool,
    in_part: bool,
    loaded: Loaded,
}

/// What has come of a question, with the index.
#[derive(Debug)]
pub struct Inquired {
    inquiry: Inquiry,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Reply(Bytes),
    /// These have to be known of documents first.
    Lacks(Wanted),
}

/// Who has asked, and about which index.
#[derive(Debug)]
struct About {
    ticket: Ticket,
    name: Vec<u8>,
    stamp: Stamp,
}

/// What a partition is answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// Whether the time was not enough for all of it.
    pub(super) in_part: bool,
}

impl Answer {
    pub(super) fn whole(body: Vec<u8>) -> Self {
        Self { body, in_part: false }
    }
}

/// A question that waits for an index.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    call: Call,
    resp3: bool,
    number: u64,
    until: Instant,
}

/// The question that an index is lent to.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) ticket: Ticket,
    /// Which query it is.
    number: u64,
    until: Instant,
    stop: Stop,
    /// It waits for what it lacks, and has the index with it.
    loading: Option<Loading>,
}

#[derive(Debug)]
struct Loading {
    inquiry: Box<Inquiry>,
    wanted: Wanted,
}

impl Lent {
    /// Whether it waits for what it lacks of documents.
    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Loads some of what it lacks. Returns how much work it was.
    pub(super) fn load(
        &mut self,
        documents: (&Store, u64),
        is_enough: impl Fn(usize) -> bool,
    ) -> usize {
        let Some(Loading { inquiry, wanted }) = &mut self.loading else { return 0 };
        inquiry.loaded.load(wanted, documents, is_enough)
    }

    /// The question, if it can be answered now: it lacks nothing, or has to end.
    fn take_loaded(&mut self) -> Option<Box<Inquiry>> {
        let most = |loading: &Loading| loading.inquiry.index.allowance().bytes;
        let goes_on = |loading: &Loading| {
            !loading.wanted.is_empty()
                && !self.stop.is_set()
                && loading.inquiry.loaded.bytes() <= most(loading)
        };
        if self.loading.as_ref().is_none_or(goes_on) {
            return None;
        }
        self.loading.take().map(|loading| loading.inquiry)
    }
}

impl Inquiry {
    /// Answers, on the thread that calls.
    pub fn run(mut self) -> Inquired {
        self.index.show(self.groups.bits());
        let command = self.call.command();
        let kind = Kind::named(command.arg(4)).unwrap_or(Kind::Find);
        let (_, arguments) = pieces::asked_of(command);
        let allowance = self.index.allowance().clone();
        let documents = Known::new(&self.loaded, allowance.bytes);
        let asked = Asked {
            index: &self.index,
            documents: &documents,
            statistics: command.arg(7),
            dialect: self.dialect,
        };
        let answer = asked.answer(kind, &arguments);
        let wanted = documents.into_wanted();
        let held = self.loaded.bytes() + wanted.bytes();
        let is_late = allowance.stop.is_set();
        let answer = match allowance.check(held) {
            Err(error) => Err(error.to_string()),
            Ok(()) if !is_late && !wanted.is_empty() => {
                return Inquired { inquiry: self, outcome: Outcome::Lacks(wanted) };
            }
            Ok(()) if is_late && !self.in_part => Err(Error::timeout().to_string()),
            Ok(()) => answer.map(|body| Answer { body, in_part: is_late }),
        };
        let mut reply = Vec::new();
        pieces::write_answer(&mut reply, self.resp3, self.groups, answer);
        Inquired { inquiry: self, outcome: Outcome::Reply(reply.into()) }
    }
}

impl Storage {
    /// Whether a question about an index is answered later: because it is long, or because the index
    /// is lent to another one that is.
    pub(crate) fn inquires_late(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> bool {
        if call.spec().name != PIECE || call.command().arg(4) == Kind::Cancel.name().as_bytes() {
            return false;
        }
        self.index_changes();
        let (leave, _) = pieces::asked_of(call.command());
        let until = self.monotonic + Duration::from_millis(leave.time_ms);
        let Some(partition) = self.search.partitions.get_mut(call.command().arg(5)) else {
            return false;
        };
        let number = leave.number;
        let waiting = Waiting { ticket, call: call.clone(), resp3, number, until };
        if partition.is_behind() {
            partition.waiting.push_back(waiting);
            return true;
        }
        if !self.is_long(call) {
            return false;
        }
        self.lend_index(waiting);
        true
    }

    /// Whether a question takes long.
    fn is_long(&mut self, call: &Call) -> bool {
        let command = call.command();
        let groups = self.served(command);
        let dialect = default_dialect(&self.search.catalog);
        let long_min = self.long_call_min() as u64;
        let Some(partition) = self.search.partitions.get_mut(command.arg(5)) else { return false };
        let Some(kind) = Kind::named(command.arg(4)) else { return false };
        if partition.stamp.text().as_bytes() != command.arg(6) {
            return false;
        }
        partition.index.show(groups.bits());
        let few = long_min / LEAST_PER_DOCUMENT;
        if partition.index.len() < few && (partition.index.terms() as u64) < long_min {
            return false;
        }
        let (_, arguments) = pieces::asked_of(command);
        let (index, statistics) = (&partition.index, command.arg(7));
        let documents = stored::Stored {
            store: &self.store,
            wall_ms: self.wall_ms,
            shape: stored::Shape::default(),
        };
        let asked = Asked { index, documents: &documents, statistics, dialect };
        asked.work(kind, &arguments).is_some_and(|work| work >= long_min)
    }

    fn lend_index(&mut self, Waiting { ticket, call, resp3, number, until }: Waiting) {
        let groups = self.served(call.command());
        let dialect = default_dialect(&self.search.catalog);
        let bytes = query_memory(&self.search.catalog);
        let name = call.command().arg(5);
        let in_part = pieces::asked_of(call.command()).0.in_part;
        let Some(partition) = self.search.partitions.get_mut(name) else { return };
        let about = About { ticket, name: name.to_vec(), stamp: partition.stamp };
        let stop = Stop::default();
        let lent = Lent { ticket, number, until, stop: stop.clone(), loading: None };
        let mut index = partition.lend(lent);
        index.allow(Allowance { stop, bytes });
        let command = call.command();
        let kind = Kind::named(command.arg(4)).unwrap_or(Kind::Find);
        let (_, arguments) = pieces::asked_of(command);
        let shape = Asked::shape(kind, &arguments, (&partition.schema, dialect));
        let loaded = Loaded::new(shape);
        let inquiry = Inquiry { about, index, call, groups, dialect, resp3, in_part, loaded };
        self.order_job(Job::Inquire(Box::new(inquiry)));
    }

    /// Work on a long question has ended: it is answered and the index is back, or it lacks something.
    pub(crate) fn inquiry_ended(&mut self, inquired: Inquired) {
        let Inquired { inquiry, outcome } = inquired;
        let About { ticket, stamp, .. } = inquiry.about;
        let partition = self.search.partitions.get_mut(&inquiry.about.name);
        let partition = partition.filter(|partition| partition.stamp == stamp);
        match (outcome, partition) {
            (Outcome::Reply(reply), partition) => {
                if let Some(partition) = partition {
                    partition.take_back(ticket, *inquiry.index);
                }
                self.answer_later(ticket, Stored::Reply(Some(reply)));
            }
            (Outcome::Lacks(wanted), Some(partition)) if partition.is_lent_to(ticket) => {
                let loading = Loading { inquiry: Box::new(inquiry), wanted };
                if let Some(lent) = &mut partition.lent {
                    lent.loading = Some(loading);
                }
            }
            (Outcome::Lacks(_), _) => self.search.orphans.push(ticket),
        }
        if !self.is_lent() {
            self.advance_indexing();
        }
    }

    /// Goes on with questions that lack nothing any more.
    pub(super) fn resume_inquiries(&mut self) {
        let partitions = self.search.partitions.values_mut();
        let lent = partitions.filter_map(|partition| partition.lent.as_mut());
        let loaded: Vec<Box<Inquiry>> = lent.filter_map(Lent::take_loaded).collect();
        loaded.into_iter().for_each(|inquiry| self.order_job(Job::Inquire(inquiry)));
    }

    /// No answer to a query is waited for any more.
    pub(super) fn cancel_inquiry(&mut self, number: u64) {
        self.end_those(|own, _| own == number);
    }

    /// Ends what has taken its time.
    pub(crate) fn end_inquiries(&mut self) {
        let now = self.monotonic;
        if self.next_inquiry_end().is_some_and(|next| next <= now) {
            self.end_those(|_, until| until <= now);
        }
    }

    /// When the time of a question is over next.
    pub(crate) fn next_inquiry_end(&self) -> Option<Instant> {
        let ends = self.search.partitions.values().flat_map(|partition| {
            let lent = partition.lent.iter().filter(|lent| !lent.stop.is_set());
            lent.map(|lent| lent.until).chain(partition.waiting.iter().map(|own| own.until))
        });
        ends.min()
    }

    /// Ends questions, by the numbers of their queries and the ends of their times.
    fn end_those(&mut self, ends: impl Fn(u64, Instant) -> bool) {
        let mut ended = Vec::new();
        for partition in self.search.partitions.values_mut() {
            partition.waiting.retain(|waiting| {
                let stays = !ends(waiting.number, waiting.until);
                if !stays {
                    ended.push(waiting.ticket);
                }
                stays
            });
            if let Some(lent) = partition.lent.as_ref().filter(|own| ends(own.number, own.until)) {
                self.search.stopped += u64::from(!lent.stop.is_set());
                lent.stop.set();
            }
        }
        for ticket in ended {
            self.search.stopped += 1;
            let reply = format!("-{}\r\n", Error::timeout());
            self.answer_later(ticket, Stored::Reply(Some(reply.into())));
        }
        self.resume_inquiries();
    }

    /// Answers what has waited for indexes that are up to date again.
    pub(super) fn answer_waiting(&mut self) {
        let is_ready = |name: &Vec<u8>, storage: &Self| {
            let partition = &storage.search.partitions[name];
            !partition.is_behind() && !partition.waiting.is_empty()
        };
        let names: Vec<Vec<u8>> = self.search.partitions.keys().cloned().collect();
        let mut answered = 0;
        for name in names {
            while answered < limits::WAITING_PER_TURN_MAX && is_ready(&name, self) {
                answered += 1;
                let partition = self.search.partitions.get_mut(&name);
                let Some(waiting) = partition.and_then(|found| found.waiting.pop_front()) else {
                    break;
                };
                if self.is_long(&waiting.call) {
                    self.lend_index(waiting);
                } else {
                    let mut reply = Vec::new();
                    self.answer_search(&waiting.call, waiting.resp3, &mut reply);
                    self.answer_later(waiting.ticket, Stored::Reply(Some(reply.into())));
                }
            }
        }
        for ticket in std::mem::take(&mut self.search.orphans) {
            let reply =
                b"-SEARCH_INDEX_NOT_FOUND the index has changed a moment ago; try again\r\n";
            self.answer_later(ticket, Stored::Reply(Some(Bytes::from_static(reply))));
        }
    }
}

/// The most that one document takes, as [`Asked::work`] counts it: that of a pattern.
const LEAST_PER_DOCUMENT: u64 = 64;

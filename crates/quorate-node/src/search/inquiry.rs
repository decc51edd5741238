//! Long questions about an index, which are answered beside the shard: the index is lent to the
//! answer meanwhile.
//!
//! What changes then is noted, and indexed once the index is back, turn by turn. Other questions about
//! this index wait until that is done, so that nobody misses what was written before. Writes wait for
//! nothing.

use bytes::Bytes;
use quorate_cluster::coordinator::{Stored, Ticket};
use quorate_proto::{Groups, command::Call};
use quorate_search::{Index, query::Dialect};

use super::{
    catalog::Stamp,
    pieces::{self, Asked, Kind, PIECE},
    query::{Query, SortSource, default_dialect},
};
use crate::{reactor::Job, storage::Storage};

/// A question, with the index.
#[derive(Debug)]
pub struct Inquiry {
    about: About,
    index: Box<Index>,
    call: Call,
    groups: Groups,
    dialect: Dialect,
    resp3: bool,
}

/// An answer, with the index.
#[derive(Debug)]
pub struct Inquired {
    about: About,
    index: Box<Index>,
    reply: Bytes,
}

/// Who has asked, and about which index.
#[derive(Debug)]
struct About {
    ticket: Ticket,
    name: Vec<u8>,
    stamp: Stamp,
}

/// A question that waits for an index.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    call: Call,
    resp3: bool,
}

impl Inquiry {
    /// Answers, on the thread that calls.
    pub fn run(self) -> Inquired {
        let Self { about, mut index, call, groups, dialect, resp3 } = self;
        index.show(groups.bits());
        let command = call.command();
        let kind = Kind::named(command.arg(4)).unwrap_or(Kind::Find);
        let arguments: Vec<&[u8]> = command.args().skip(pieces::HEAD).collect();
        let asked = Asked { index: &index, documents: None };
        let answer = asked.search(kind, &arguments, dialect, command.arg(7));
        let mut reply = Vec::new();
        pieces::write_answer(&mut reply, resp3, groups, answer);
        Inquired { about, index, reply: reply.into() }
    }
}

impl Storage {
    /// Whether a question about an index is answered later: because it is long, or because the index
    /// is lent to another one that is.
    pub(crate) fn inquires_late(&mut self, ticket: Ticket, call: &Call, resp3: bool) -> bool {
        if call.spec().name != PIECE {
            return false;
        }
        self.index_changes();
        let name = call.command().arg(5);
        let Some(partition) = self.search.partitions.get_mut(name) else { return false };
        if partition.is_behind() {
            partition.waiting.push_back(Waiting { ticket, call: call.clone(), resp3 });
            return true;
        }
        if !self.is_long(call) {
            return false;
        }
        self.lend_index(ticket, call, resp3);
        true
    }

    /// Whether a question takes long, and needs nothing but the index.
    fn is_long(&mut self, call: &Call) -> bool {
        let command = call.command();
        let groups = self.served(command);
        let dialect = default_dialect(&self.search.catalog);
        let long_min = self.long_call_min() as u64;
        let Some(partition) = self.search.partitions.get_mut(command.arg(5)) else { return false };
        let may_be_long = matches!(Kind::named(command.arg(4)), Some(Kind::Count | Kind::Find))
            && partition.stamp.text().as_bytes() == command.arg(6);
        partition.index.show(groups.bits());
        if !may_be_long || partition.index.len() < long_min {
            return false;
        }
        let arguments: Vec<&[u8]> = command.args().skip(pieces::HEAD).collect();
        let Ok(query) = Query::parse(&arguments, dialect) else { return false };
        let Ok(bound) = query.bind(&partition.schema) else { return false };
        let Ok(source) = query.sort_source(&partition.schema, &bound.node) else { return false };
        let request = bound.request(&partition.schema, source);
        source != Some(SortSource::Document) && partition.index.work(&request) >= long_min
    }

    fn lend_index(&mut self, ticket: Ticket, call: &Call, resp3: bool) {
        let groups = self.served(call.command());
        let dialect = default_dialect(&self.search.catalog);
        let name = call.command().arg(5);
        let Some(partition) = self.search.partitions.get_mut(name) else { return };
        let about = About { ticket, name: name.to_vec(), stamp: partition.stamp };
        let index = partition.lend(ticket);
        let inquiry = Inquiry { about, index, call: call.clone(), groups, dialect, resp3 };
        self.order_job(Job::Inquire(Box::new(inquiry)));
    }

    /// A long question is answered: the index is back.
    pub(crate) fn inquiry_ended(&mut self, inquired: Inquired) {
        let Inquired { about: About { ticket, name, stamp }, index, reply } = inquired;
        self.answer_later(ticket, Stored::Reply(Some(reply)));
        if let Some(partition) = self.search.partitions.get_mut(&name)
            && partition.stamp == stamp
        {
            partition.take_back(ticket, *index);
        }
        if !self.is_lent() {
            self.advance_indexing();
        }
    }

    /// Answers what has waited for indexes that are up to date again.
    pub(super) fn answer_waiting(&mut self) {
        let is_ready = |name: &Vec<u8>, storage: &Self| {
            let partition = &storage.search.partitions[name];
            !partition.is_behind() && !partition.waiting.is_empty()
        };
        let names: Vec<Vec<u8>> = self.search.partitions.keys().cloned().collect();
        for name in names {
            while is_ready(&name, self) {
                let partition = self.search.partitions.get_mut(&name);
                let Some(waiting) = partition.and_then(|found| found.waiting.pop_front()) else {
                    break;
                };
                let Waiting { ticket, call, resp3 } = waiting;
                if self.is_long(&call) {
                    self.lend_index(ticket, &call, resp3);
                } else {
                    let mut reply = Vec::new();
                    self.answer_search(&call, resp3, &mut reply);
                    self.answer_later(ticket, Stored::Reply(Some(reply.into())));
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

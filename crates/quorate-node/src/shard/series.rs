//! Reads that follow writes of their own connection.
//!
//! A read on a slot where a write of its connection is on its way would have to wait until that is
//! answered, and the write behind it for the read: a round trip each. Instead it begins a series,
//! with what the connection sends next on the slot. A series is executed as one
//! [batch](quorate_proto::command::Batch), in order, and sent on its way as soon as the connection's
//! turn ends.
//!
//! ```text
//!  SET k 1   GET k   SET k 2   GET k        GET k ...
//!  ───┬───   ────────────┬──────────        ────┬───
//!   a write            a batch             the next one
//! ```
//! A batch that is in a series reads first, whatever it consists of, so it goes where writes go: to
//! the same executor, on the same link, behind those before it. There it is compared with as many
//! replicas as reads and writes ask for, which must be the same; and what it shows is of the moment
//! of its execution, so that no later write of the connection can be seen in it.
//!
//! An executor that refuses a write refuses the series behind it, too, and what follows a series
//! is a series: so they go to the next executor in the same order.

use bytes::Bytes;
use quorate_cluster::coordinator::Terms;
use quorate_proto::{
    Slot,
    command::{Batch, Call, Entry, Routing},
    mutant::Mutant,
};

use super::{
    Errand, Now, Shard, Waiter, job::elements, replies::ReplyNumber, session::Session, stats::Run,
};
use crate::limits;

/// Commands of a connection on one slot that are executed as one.
#[derive(Debug)]
pub(super) struct Series {
    slot: Slot,
    terms: Terms,
    entries: Vec<Entry>,
    members: Vec<Member>,
    bytes: usize,
}

/// A command of a series, and the place of its reply.
#[derive(Clone, Debug)]
pub(super) struct Member {
    number: ReplyNumber,
    run: Run,
}

impl Series {
    fn has_room_for(&self, call: &Call, terms: Terms) -> bool {
        let levels = |terms: Terms| (terms.read_level, terms.write_level, terms.resp3);
        levels(self.terms) == levels(terms)
            && self.members.len() < limits::SERIES_COMMANDS_MAX
            && self.bytes + call.command().frame().len() <= limits::SERIES_BYTES_MAX
    }
}

impl Session {
    /// Whether a series on `slot` has yet to be sent on its way.
    fn has_series(&self, slot: Slot) -> bool {
        self.series.iter().any(|series| series.slot == slot)
    }
}

impl Shard {
    /// Lets a call join a series of its connection, or begin one. Returns it when it does not; then
    /// whatever series there is on its slot is on its way.
    pub(super) fn join_series(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        terms: Terms,
    ) -> Option<Call> {
        let slot = call.slot();
        let session = &self.sessions[key];
        let at = session.series.iter().position(|series| series.slot == slot);
        let begins = at.is_none() && session.may_begin_series(slot, call.class().writes());
        if at.is_none() && !begins || !self.suits_series(key, &call, terms) {
            self.send_series(now, key, Some(slot));
            return Some(call);
        }
        let has_room =
            at.is_some_and(|at| self.sessions[key].series[at].has_room_for(&call, terms));
        if !has_room {
            self.send_series(now, key, Some(slot));
        }
        let run = self.stats.run(call.command());
        let session = &mut self.sessions[key];
        session.started_in_series(slot);
        let number = session.replies.expect();
        if !session.has_series(slot) {
            let (entries, members) = (Vec::new(), Vec::new());
            session.series.push(Series { slot, terms, entries, members, bytes: 0 });
        }
        let open = session.series.iter_mut().find(|series| series.slot == slot);
        let series = open.expect("invariant: it has just been begun");
        series.bytes += call.command().frame().len();
        series.members.push(Member { number, run });
        series.entries.push(Entry::Call(call));
        self.stats.read_stopwatch();
        None
    }

    /// Whether a call may be a part of a series: it is short, and so, most likely, is its reply; and
    /// a comparison of replicas for writes is one for reads.
    fn suits_series(&self, key: usize, call: &Call, terms: Terms) -> bool {
        let (topology, slot) = (self.topology(), call.slot());
        let required = |level| topology.required_to_read(slot, level, topology.me());
        let is_keyed = matches!(call.spec().routing, Routing::Key | Routing::Split(_));
        is_keyed
            && !call.spec().is_whole()
            && call.keys().next().is_some()
            && call.command().frame().len() <= limits::SERIES_CALL_BYTES_MAX
            && self.sessions[key].replies.likely_bytes() <= limits::SERIES_CALL_BYTES_MAX
            && !self.storage.answers_late(call)
            && required(terms.read_level) == required(terms.write_level)
            && !Mutant::PipelineUnordered.is_planted()
    }

    /// Sends the series of a connection on their way: all, or the one on a slot.
    pub(super) fn send_series(&mut self, now: Now, key: usize, on: Option<Slot>) {
        while let Some(session) = self.sessions.get_mut(key)
            && let Some(at) =
                session.series.iter().position(|series| on.is_none_or(|slot| slot == series.slot))
        {
            let Series { slot, terms, entries, members, .. } = session.series.remove(at);
            let id = session.id;
            let batch = Batch::of(&[], &entries, self.partitioner())
                .map(Batch::in_order)
                .map(Batch::finish);
            let Ok(Ok(call)) = batch else {
                unreachable!("invariant: commands of a series have keys on one slot")
            };
            let waiter = Waiter::Series { key, id, slot, members: members.into() };
            self.submit(now, waiter, Errand { call, terms });
        }
    }

    /// The reply to a series is there: that of each command, or an error that is one for all.
    pub(super) fn end_series(
        &mut self,
        (key, id, slot): (usize, u64, Slot),
        members: &[Member],
        reply: &Bytes,
    ) {
        let parts = if reply.first() == Some(&b'*') { elements(reply) } else { Vec::new() };
        let is_whole = parts.len() == members.len();
        let part = |at: usize| if is_whole { reply.slice_ref(parts[at]) } else { reply.clone() };
        for (at, member) in members.iter().enumerate() {
            let reply = part(at);
            self.finish(key, &member.run, &reply);
            if let Some(session) = self.session(key, id) {
                session.replies.fill(member.number, &reply);
                session.finished_in_series(slot);
            }
        }
        if self.session(key, id).is_some() {
            self.touch(key);
        }
    }
}

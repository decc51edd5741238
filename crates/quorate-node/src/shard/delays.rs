//! Replies that leave later: only the connection that asked waits for them.

use std::time::Duration;

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_proto::{
    Level,
    command::Call,
    resp::{ReplyWriter, parse_integer},
};

use super::{Now, Shard, Waiter};

/// A reply, and when it leaves.
#[derive(Debug)]
pub(super) struct Delayed {
    at: Instant,
    waiter: Waiter,
    reply: Bytes,
}

impl Shard {
    /// Answers a command with `reply` after a while.
    pub(super) fn answer_later(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        after: Duration,
        reply: impl FnOnce(&mut ReplyWriter<'_>),
    ) {
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        let mut encoded = Vec::new();
        reply(&mut ReplyWriter::new(&mut encoded, self.sessions[key].resp3));
        let waiter = self.expect_alone(key, call.command());
        self.sessions[key].is_blocked = true;
        self.delayed.push(Delayed { at: now.monotonic + after, waiter, reply: encoded.into() });
    }

    /// Answers what is due. A connection waits for one reply at most, so there are few.
    pub(super) fn answer_delayed(&mut self, now: Now) {
        let is_due = |delayed: &mut Delayed| delayed.at <= now.monotonic;
        let due: Vec<_> = self.delayed.extract_if(.., is_due).collect();
        due.into_iter().for_each(|Delayed { waiter, reply, .. }| self.deliver(now, waiter, reply));
    }

    /// Forgets replies whose client has gone.
    pub(super) fn forget_delayed(&mut self) {
        let sessions = &self.sessions;
        self.delayed.retain(|delayed| match delayed.waiter {
            Waiter::Exclusive { key, id, .. } => {
                sessions.get(key).is_some_and(|session| session.id == id)
            }
            Waiter::Session { .. }
            | Waiter::Change { .. }
            | Waiter::Watch { .. }
            | Waiter::Job { .. }
            | Waiter::Copies { .. }
            | Waiter::Series { .. }
            | Waiter::Nobody
            | Waiter::Shard { .. } => true,
        });
    }

    /// When the next reply is due.
    pub(super) fn next_delayed(&self) -> Option<Instant> {
        self.delayed.iter().map(|delayed| delayed.at).min()
    }

    /// `WAIT replicas timeout`: how many more replicas than one have every write of the connection,
    /// as far as its level vouches for it. It does not change, so that there is nothing to wait for
    /// but the timeout.
    pub(super) fn wait_command(&mut self, now: Now, key: usize, call: Call) {
        let Some(wanted) = parse_integer(call.command().arg(1)) else {
            return self.refuse(key, &call, "ERR value is not an integer or out of range");
        };
        let timeout_ms = match parse_integer(call.command().arg(2)) {
            None => {
                return self.refuse(key, &call, "ERR timeout is not an integer or out of range");
            }
            Some(timeout) if timeout < 0 => {
                return self.refuse(key, &call, "ERR timeout is negative");
            }
            Some(timeout) => timeout.unsigned_abs(),
        };
        let rules = self.node.settings.levels.iter().map(|rule| rule.write);
        let level = rules.fold(self.sessions[key].weakest_write_level, Level::weaker);
        let topology = self.topology();
        let answers = |first| topology.required_to_write(first, level, topology.me()).fewest();
        let vouched = topology.ranges().map(|range| i64::from(answers(range.first)) - 1).min();
        let vouched = vouched.unwrap_or(0).max(0);
        let after = match timeout_ms {
            _ if vouched >= wanted => Duration::ZERO,
            // For ever.
            0 => Duration::MAX,
            ms => Duration::from_millis(ms),
        };
        self.answer_later(now, key, call, after, |reply| reply.integer(vouched));
    }
}

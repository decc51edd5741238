//! Long calls, which are executed beside the shard while that goes on with other keys.
//!
//! A call that goes over many words or elements is executed on copies of its keys
//! (`quorate_store::Detached`). The answer comes in a later turn. In that turn the new states take the
//! place of the old ones, and the effect is appended to the log: until then the work does not show.
//! The coordinator keeps other changes of the slot back meanwhile.

use std::{collections::VecDeque, task::Poll};

use bytes::Bytes;
use quorate_cluster::coordinator::{Durability, Executed, Rejection, Snapshot, Stored, Ticket};
use quorate_proto::{Slot, command::Call, mutant::Mutant};
use quorate_store::{Detached, Outcome, Request};

use super::Storage;
use crate::{limits, reactor::Job};

/// A call to execute beside the shard, on copies of its keys.
#[derive(Debug)]
pub struct Work {
    asked: Asked,
    detached: Detached,
    call: Call,
    resp3: bool,
}

/// A call that has been executed.
#[derive(Debug)]
pub struct Worked {
    asked: Asked,
    outcome: Outcome,
}

/// Who asks for what, and when by the wall clock.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: Ticket,
    wanted: Wanted,
    slot: Slot,
    wall_ms: u64,
}

/// What the answer is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Execution,
    Reply,
    /// The reply, and the digest that the keys had when they were copied.
    Snapshot(u128),
}

/// What a shard has done beside it.
#[derive(Debug)]
pub(super) struct Beside {
    /// A call is long from so many words and elements on.
    long_min: usize,
    /// Work to hand out at the end of the turn.
    orders: VecDeque<Job>,
    /// Questions without an answer.
    open: usize,
    /// Those of them that change something.
    executing: usize,
    /// Whether no further ones are taken.
    is_held: bool,
    /// Answers that the coordinator has yet to hear.
    answers: VecDeque<(Ticket, Stored)>,
}

impl Beside {
    pub(super) fn new(long_min: usize) -> Self {
        Self {
            long_min,
            orders: VecDeque::new(),
            open: 0,
            executing: 0,
            is_held: false,
            answers: VecDeque::new(),
        }
    }

    /// Whether so much work on so many keys is long, and worth that they are copied.
    fn takes(&self, work: usize, keys: usize) -> bool {
        let for_keys = keys.saturating_mul(limits::LONG_CALL_KEY_MIN.min(self.long_min));
        let has_room = self.open < limits::QUESTIONS_BESIDE_MAX && !self.is_held;
        keys > 0 && work >= self.long_min.max(for_keys) && has_room
    }
}

impl Work {
    pub(crate) fn run(self) -> Worked {
        let Self { asked, detached, call, resp3 } = self;
        let request = Request { call: &call, wall_ms: asked.wall_ms, resp3 };
        Worked { asked, outcome: detached.execute(request) }
    }
}

impl Storage {
    /// Whether a call takes so long that it is answered later.
    pub(crate) fn answers_late(&self, call: &Call) -> bool {
        let bytes_min = self.beside.long_min.saturating_mul(WORD_BYTES_MIN);
        let may_be_long = call.spec().is_whole() || call.command().frame().len() >= bytes_min;
        may_be_long && self.beside.takes(self.store.work(call), call.keys().count())
    }

    /// Whether a call is executed beside the shard that may change something.
    pub(crate) fn is_executing_beside(&self) -> bool {
        self.beside.executing > 0
    }

    /// Whether long calls are executed at once: what waits for an end of those beside the shard
    /// must not wait for new ones.
    pub(crate) fn hold_long_calls(&mut self, is_held: bool) {
        self.beside.is_held = is_held;
    }

    /// Has a call executed beside the shard, unless it is refused at once.
    pub(super) fn execute_late(
        &mut self,
        ticket: Ticket,
        call: &Call,
        resp3: bool,
    ) -> Poll<Result<Executed, Rejection>> {
        let may_execute = self.check_may_execute(call.slot());
        if let Err(rejection) = may_execute.and_then(|()| self.reserve_for(call).map(drop)) {
            return Poll::Ready(Err(rejection));
        }
        self.ask(ticket, Wanted::Execution, call, resp3);
        Poll::Pending
    }

    /// Has a call executed beside the shard, which goes by the keys as they are now.
    pub(super) fn ask(&mut self, ticket: Ticket, wanted: Wanted, call: &Call, resp3: bool) {
        let asked = Asked { ticket, wanted, slot: call.slot(), wall_ms: self.wall_ms };
        let detached = self.store.detach(call.slot(), call.keys());
        let work = Work { asked, detached, call: call.clone(), resp3 };
        self.beside.open += 1;
        self.beside.executing += usize::from(matches!(wanted, Wanted::Execution));
        self.beside.orders.push_back(Job::Work(Box::new(work)));
    }

    /// Work to do beside the shard.
    pub(crate) fn take_work(&mut self) -> Option<Job> {
        self.beside.orders.pop_front()
    }

    /// A call has been executed: what it has done shows from now on.
    pub(crate) fn work_ended(&mut self, Worked { asked, mut outcome }: Worked) {
        let Asked { ticket, wanted, slot, wall_ms } = asked;
        self.beside.open -= 1;
        self.beside.executing -= usize::from(matches!(wanted, Wanted::Execution));
        let discarded = self.store.attach(&mut outcome, wall_ms);
        self.beside.orders.push_back(Job::Drop(discarded));
        let reply = outcome.shared_reply.unwrap_or_else(|| outcome.reply.into());
        let stored = match wanted {
            Wanted::Execution => {
                let effect = Bytes::from(outcome.effect);
                let is_logged = !effect.is_empty() && !Mutant::LongCallUnlogged.is_planted();
                let durability =
                    if is_logged { self.append(slot, &effect) } else { Durability::Now };
                let dot = self.name_write(slot, &effect);
                Stored::Executed(Ok(Executed { reply, effect, dot, durability }))
            }
            Wanted::Reply => Stored::Reply(Some(reply)),
            Wanted::Snapshot(digest) => Stored::Snapshot(Snapshot { digest, reply: Some(reply) }),
        };
        self.beside.answers.push_back((ticket, stored));
    }

    /// The next answer.
    pub(super) fn take_answer(&mut self) -> Option<(Ticket, Stored)> {
        self.beside.answers.pop_front()
    }
}

/// Bytes of a word in a command, at least.
const WORD_BYTES_MIN: usize = b"$0\r\n\r\n".len();

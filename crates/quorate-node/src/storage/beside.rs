//! Long work, which is done beside the shard while that goes on with other keys.
//!
//! A call that goes over many words or elements is executed on copies of its keys
//! (`quorate_store::Detached`), and a large effect of another node is merged into such copies. The
//! answer comes in a later turn. In that turn the new states take the place of the old ones, and the
//! effect is appended to the log: until then the work does not show. The coordinator keeps other
//! changes of the slot back meanwhile.

use std::{collections::VecDeque, task::Poll};

use bytes::Bytes;
use quorate_cluster::coordinator::{
    Durability, Executed, Rejection, Replica as _, Snapshot, Stored, Ticket,
};
use quorate_proto::{Dot, Slot, command::Call};
use quorate_store::{Detached, MergeError, Merged, Outcome, Request};

use super::{Storage, record::SLOT_BYTES};
use crate::{limits, reactor::Job};

/// A question to answer beside the shard, about copies of keys.
#[derive(Debug)]
pub struct Work {
    asked: Asked,
    detached: Detached,
    question: Question,
}

/// Who asks, which slot it is about, and the wall clock then.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: Ticket,
    slot: Slot,
    wall_ms: u64,
}

#[derive(Debug)]
enum Question {
    Execute {
        call: Call,
        resp3: bool,
    },
    /// `digest`: of the keys, if it is wanted.
    Read {
        call: Call,
        resp3: bool,
        digest: Option<u128>,
    },
    Merge {
        dots: Vec<Dot>,
        effect: Bytes,
        expired_ms: Option<u64>,
    },
}

/// A question that has been answered.
#[derive(Debug)]
pub struct Worked {
    asked: Asked,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Executed(Outcome),
    Read { outcome: Outcome, digest: Option<u128> },
    Merged { dots: Vec<Dot>, effect: Bytes, result: Result<(Outcome, Merged), MergeError> },
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
    /// Answers that the coordinator has yet to hear.
    answers: VecDeque<(Ticket, Stored)>,
}

impl Beside {
    pub(super) fn new(long_min: usize) -> Self {
        Self { long_min, orders: VecDeque::new(), open: 0, answers: VecDeque::new() }
    }

    /// Whether so much work on so many keys is long, and worth that they are copied.
    fn takes(&self, work: usize, keys: usize) -> bool {
        let for_keys = keys.saturating_mul(limits::LONG_CALL_KEY_MIN.min(self.long_min));
        keys > 0 && work >= self.long_min.max(for_keys) && self.open < limits::QUESTIONS_BESIDE_MAX
    }
}

impl Work {
    pub(crate) fn run(self) -> Worked {
        let Self { asked, detached, question } = self;
        Worked { asked, answer: question.answer(asked.wall_ms, detached) }
    }
}

impl Question {
    fn answer(self, wall_ms: u64, detached: Detached) -> Answer {
        match self {
            Self::Execute { call, resp3 } => {
                Answer::Executed(detached.execute(Request { call: &call, wall_ms, resp3 }))
            }
            Self::Read { call, resp3, digest } => {
                let outcome = detached.execute(Request { call: &call, wall_ms, resp3 });
                Answer::Read { outcome, digest }
            }
            Self::Merge { dots, effect, expired_ms } => {
                let result = detached.merge(&effect, wall_ms, expired_ms);
                Answer::Merged { dots, effect, result }
            }
        }
    }
}

impl Storage {
    /// Whether a call takes so long that it is answered later.
    pub(crate) fn answers_late(&self, call: &Call) -> bool {
        let bytes_min = self.beside.long_min.saturating_mul(WORD_BYTES_MIN);
        let may_be_long = call.spec().is_whole() || call.command().frame().len() >= bytes_min;
        may_be_long && self.beside.takes(self.store.work(call), call.keys().count())
    }

    /// Whether to merge an effect takes so long that it is answered later.
    pub(super) fn merges_late(&self, effect: &[u8]) -> bool {
        let may_be_long = effect.len() >= self.beside.long_min;
        let takes = |(work, keys)| self.beside.takes(work, keys);
        may_be_long && takes(quorate_store::work_of_effect(effect))
    }

    /// Has a call executed beside the shard, unless it is refused at once.
    pub(super) fn execute_late(
        &mut self,
        ticket: Ticket,
        call: &Call,
        resp3: bool,
    ) -> Poll<Result<Executed, Rejection>> {
        let slot = call.slot();
        if let Err(rejection) =
            self.check_may_execute(slot).and_then(|()| self.reserve_for(call).map(drop))
        {
            return Poll::Ready(Err(rejection));
        }
        let detached = self.store.detach(slot, call.keys());
        self.ask(ticket, slot, detached, Question::Execute { call: call.clone(), resp3 });
        Poll::Pending
    }

    /// Has a call that only reads executed beside the shard.
    pub(super) fn read_late(
        &mut self,
        ticket: Ticket,
        call: &Call,
        resp3: bool,
        digest: Option<u128>,
    ) {
        let detached = self.store.detach(call.slot(), call.keys());
        self.ask(
            ticket,
            call.slot(),
            detached,
            Question::Read { call: call.clone(), resp3, digest },
        );
    }

    /// Has an effect merged beside the shard, unless it is refused at once.
    pub(super) fn merge_late(
        &mut self,
        ticket: Ticket,
        slot: Slot,
        dots: Vec<Dot>,
        effect: &Bytes,
    ) -> Poll<Result<Durability, Rejection>> {
        if let Err(rejection) = self.reserve(effect.len() + SLOT_BYTES) {
            return Poll::Ready(Err(rejection));
        }
        let detached = self.store.detach_for(slot, effect);
        let (effect, expired_ms) = (effect.clone(), (!self.is_in_doubt()).then_some(self.wall_ms));
        self.ask(ticket, slot, detached, Question::Merge { dots, effect, expired_ms });
        Poll::Pending
    }

    fn ask(&mut self, ticket: Ticket, slot: Slot, detached: Detached, question: Question) {
        let asked = Asked { ticket, slot, wall_ms: self.wall_ms };
        self.beside.open += 1;
        let work = Work { asked, detached, question };
        self.beside.orders.push_back(Job::Work(Box::new(work)));
    }

    /// Work to do beside the shard.
    pub(crate) fn take_work(&mut self) -> Option<Job> {
        self.beside.orders.pop_front()
    }

    /// The next answer.
    pub(super) fn take_answer(&mut self) -> Option<(Ticket, Stored)> {
        self.beside.answers.pop_front()
    }

    /// Work has been done: it shows from now on.
    pub(crate) fn work_ended(&mut self, Worked { asked, answer }: Worked) {
        self.beside.open -= 1;
        let stored = match answer {
            Answer::Executed(mut outcome) => {
                self.attach(asked, &mut outcome);
                let reply = reply_of(&mut outcome);
                let effect = Bytes::from(outcome.effect);
                let durability = match effect.is_empty() {
                    true => Durability::Now,
                    false => self.append(asked.slot, &effect),
                };
                let dot = self.name_write(asked.slot, &effect);
                Stored::Executed(Ok(Executed { reply, effect, dot, durability }))
            }
            Answer::Read { mut outcome, digest } => {
                self.attach(asked, &mut outcome);
                let reply = Some(reply_of(&mut outcome));
                match digest {
                    Some(digest) => Stored::Snapshot(Snapshot { digest, reply }),
                    None => Stored::Reply(reply),
                }
            }
            Answer::Merged { dots, effect, result } => {
                Stored::Merged(self.merged_late(asked, dots, &effect, result))
            }
        };
        self.beside.answers.push_back((asked.ticket, stored));
    }

    fn attach(&mut self, asked: Asked, outcome: &mut Outcome) {
        let discarded = self.store.attach(outcome, asked.wall_ms);
        self.beside.orders.push_back(Job::Drop(discarded));
    }

    fn merged_late(
        &mut self,
        asked: Asked,
        dots: Vec<Dot>,
        effect: &Bytes,
        result: Result<(Outcome, Merged), MergeError>,
    ) -> Result<Durability, Rejection> {
        let slot = asked.slot;
        let (mut outcome, merged) = match result {
            Ok((outcome, _)) if !self.store.is_current(&outcome) => {
                return self.merge_now(slot, dots, effect);
            }
            Ok(done) => done,
            Err(error) => return Err(self.refuse_effect(error)),
        };
        self.attach(asked, &mut outcome);
        let (durability, _) = self.append_merged(slot, effect, merged);
        self.note_writes(slot, dots, effect);
        Ok(durability)
    }
}

fn reply_of(outcome: &mut Outcome) -> Bytes {
    let shared = outcome.shared_reply.take();
    shared.unwrap_or_else(|| std::mem::take(&mut outcome.reply).into())
}

/// Bytes of a word in a command, at least.
const WORD_BYTES_MIN: usize = b"$0\r\n\r\n".len();

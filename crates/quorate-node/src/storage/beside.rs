//! Long calls, which are executed beside the shard while that goes on with other keys, and large
//! effects of other nodes, which are merged there.
//!
//! A call that goes over many words or elements is executed on copies of its keys
//! (`quorate_store::Detached`). The answer comes in a later turn. In that turn the new states take the
//! place of the old ones, and the effect is appended to the log: until then the work does not show.
//! The coordinator keeps other changes of the slot back meanwhile. What it does not keep back may have
//! changed the slot all the same: then a call's effect is merged into what is there, and so is the
//! effect of another node, in one turn.
//!
//! What takes long about a large value is not to look at it but to copy it and to write it to the log. So a
//! call with many bytes is long as well, and the record of a large effect is written beside the shard, into
//! a file that becomes part of the log in the turn of the answer (`quorate_log::Preparer`).

use std::{collections::VecDeque, io, task::Poll};

use bytes::Bytes;
use quorate_cluster::coordinator::{
    Durability, Executed, Rejection, Replica as _, Snapshot, Stored, Ticket,
};
use quorate_log::{LogError, Prepared, Preparer, is_full};
use quorate_proto::{
    Dot, Slot,
    command::{Call, Group},
    mutant::Mutant,
};
use quorate_store::{Detached, Merged, Outcome, Request, delta::deltas};

use super::{SLOT_BYTES, Storage};
use crate::{limits, reactor::Job};

/// Work to do beside the shard, on copies of keys.
#[derive(Debug)]
pub struct Work {
    asked: Asked,
    detached: Detached,
    task: Task,
    recorder: Option<Recorder>,
}

/// Writes the record of a large effect.
#[derive(Debug)]
struct Recorder {
    preparer: Preparer,
    /// Effects from so many bytes on are large.
    effect_min: usize,
}

/// The record of an effect, if it was written beside the log.
type Recorded = Option<io::Result<Prepared>>;

#[derive(Debug)]
enum Task {
    Execute {
        call: Call,
        resp3: bool,
    },
    Merge {
        arrived: Arrived,
        knows_time: bool,
    },
    /// The whole states, for a checkpoint.
    Export,
}

/// An effect of another node, with the names of the writes that it holds.
#[derive(Debug)]
struct Arrived {
    dots: Vec<Dot>,
    effect: Bytes,
}

/// Work that has been done.
#[derive(Debug)]
pub struct Worked {
    asked: Asked,
    done: Finished,
}

#[derive(Debug)]
enum Finished {
    Executed(Box<Outcome>, Recorded),
    /// What of the effect was merged; nothing where it was refused.
    Merged(Arrived, Option<Box<(Merged, Outcome)>>, Recorded),
    Exported(Vec<u8>, Recorded),
}

impl Finished {
    /// Bytes that are on their way to other replicas.
    fn effect_bytes(&self) -> usize {
        match self {
            Self::Executed(outcome, _) => outcome.effect.len(),
            Self::Merged(arrived, _, _) => arrived.effect.len(),
            Self::Exported(..) => 0,
        }
    }
}

/// Who asks for what, and when by the wall clock.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// None where nobody waits for an answer.
    ticket: Option<Ticket>,
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
    /// Whether the effect of another node is merged.
    Merge,
    /// That a state is in the log.
    Record,
}

impl Wanted {
    /// Whether it may change something.
    fn changes(self) -> bool {
        matches!(self, Self::Execution | Self::Merge)
    }
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
    changing: usize,
    /// States that are being written to the log.
    recording: usize,
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
            changing: 0,
            recording: 0,
            is_held: false,
            answers: VecDeque::new(),
        }
    }

    /// Effects from so many bytes on have their records written beside the log. Where every call is
    /// long every effect is large.
    pub(super) fn effect_min(&self) -> usize {
        self.long_min.saturating_sub(1).saturating_mul(limits::PREPARED_BYTES_PER_WORD)
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
        let Self { asked, detached, task, recorder } = self;
        let wall_ms = asked.wall_ms;
        let is_export = matches!(task, Task::Export);
        let record = |effect: &[u8]| {
            let Recorder { preparer, .. } = recorder.filter(|recorder| {
                !effect.is_empty() && (is_export || effect.len() >= recorder.effect_min)
            })?;
            Some(preparer.write(&asked.slot.number().to_le_bytes(), effect))
        };
        let done = match task {
            Task::Execute { call, resp3 } => {
                let request = Request { call: &call, wall_ms, resp3 };
                let outcome = detached.execute(request);
                let recorded = record(&outcome.effect);
                Finished::Executed(Box::new(outcome), recorded)
            }
            Task::Merge { arrived, knows_time } => {
                let merged = detached.merge(&arrived.effect, wall_ms, knows_time);
                let recorded = match &merged {
                    Ok((Merged::Whole, _)) => record(&arrived.effect),
                    Ok((Merged::Part { kept, .. }, _)) => record(kept),
                    Err(_) => None,
                };
                Finished::Merged(arrived, merged.ok().map(Box::new), recorded)
            }
            Task::Export => {
                let effect = detached.export();
                let recorded = record(&effect);
                Finished::Exported(effect, recorded)
            }
        };
        Worked { asked, done }
    }
}

impl Storage {
    /// Whether a call takes so long that it is answered later.
    pub(crate) fn answers_late(&self, call: &Call) -> bool {
        let bytes_min = self.beside.long_min.saturating_mul(WORD_BYTES_MIN);
        let spec = call.spec();
        let bytes = call.command().frame().len();
        let may_be_long = spec.is_whole() || spec.group == Group::Json || bytes >= bytes_min;
        may_be_long && self.beside.takes(self.work_of(call), call.keys().count())
    }

    /// How much work a call is about, in words and elements, and bytes that take as long.
    pub(crate) fn work_of(&self, call: &Call) -> usize {
        self.store.work(call) + call.command().frame().len() / limits::LONG_CALL_BYTES_PER_WORD
    }

    /// Whether something is under way beside the shard that may change something.
    pub(crate) fn is_executing_beside(&self) -> bool {
        self.beside.changing > 0
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
        let room = self.room_for(call).min(self.beside.effect_min());
        if let Err(rejection) = may_execute.and_then(|()| self.reserve(room)) {
            return Poll::Ready(Err(rejection));
        }
        self.ask(ticket, Wanted::Execution, call, resp3);
        Poll::Pending
    }

    /// Has a call executed beside the shard, which goes by the keys as they are now.
    pub(super) fn ask(&mut self, ticket: Ticket, wanted: Wanted, call: &Call, resp3: bool) {
        let detached = self.store.detach(call.slot(), call.keys());
        let task = Task::Execute { call: call.clone(), resp3 };
        self.order(Some(ticket), wanted, call.slot(), (detached, task));
    }

    /// Whether merging an effect takes so long that it is done beside the shard. What is no effect is
    /// refused at once.
    pub(super) fn merges_late(&self, effect: &[u8]) -> bool {
        let bytes_min = self.beside.long_min.saturating_mul(PART_BYTES_MIN);
        if effect.len() < bytes_min {
            return false;
        }
        let counted = deltas(effect).try_fold((0, 0), |(keys, parts), delta| {
            Some((keys + 1, parts + delta.ok()?.parts().count()))
        });
        let work = effect.len() / limits::LONG_CALL_BYTES_PER_WORD;
        counted.is_some_and(|(keys, parts)| self.beside.takes(parts + work, keys))
    }

    /// Has an effect of another node merged beside the shard, unless there is no room for it.
    pub(super) fn merge_late(
        &mut self,
        ticket: Ticket,
        slot: Slot,
        (dots, effect): (Vec<Dot>, &Bytes),
    ) -> Poll<Result<Durability, Rejection>> {
        let room = (effect.len() + SLOT_BYTES).min(self.beside.effect_min());
        if let Err(rejection) = self.reserve(room) {
            return Poll::Ready(Err(rejection));
        }
        let keys = deltas(effect).map_while(Result::ok).map(|delta| delta.key);
        let detached = self.store.detach(slot, keys);
        let arrived = Arrived { dots, effect: effect.clone() };
        let task = Task::Merge { arrived, knows_time: !self.is_in_doubt() };
        self.order(Some(ticket), Wanted::Merge, slot, (detached, task));
        Poll::Pending
    }

    /// Has the state of a key written to the log for a checkpoint. It is there once nothing
    /// [is being recorded](Self::is_recording).
    pub(super) fn record_beside(&mut self, slot: Slot, key: &[u8]) {
        let detached = self.store.detach(slot, std::iter::once(key));
        self.beside.recording += 1;
        self.order(None, Wanted::Record, slot, (detached, Task::Export));
    }

    /// Whether states are being written to the log.
    pub(super) fn is_recording(&self) -> bool {
        self.beside.recording > 0
    }

    fn order(
        &mut self,
        ticket: Option<Ticket>,
        wanted: Wanted,
        slot: Slot,
        (detached, task): (Detached, Task),
    ) {
        let asked = Asked { ticket, wanted, slot, wall_ms: self.wall_ms };
        self.beside.open += 1;
        if wanted.changes() {
            self.beside.changing += 1;
            self.unsettled.begin(slot);
        }
        let effect_min = self.beside.effect_min();
        let is_logged = wanted.changes() || matches!(wanted, Wanted::Record);
        let log = self.log.as_mut().filter(|_| is_logged);
        let recorder = log.map(|log| Recorder { preparer: log.preparer(), effect_min });
        self.beside.orders.push_back(Job::Work(Box::new(Work { asked, detached, task, recorder })));
    }

    /// Work to do beside the shard.
    pub(crate) fn take_work(&mut self) -> Option<Job> {
        self.beside.orders.pop_front()
    }

    /// Work has been done: what has come of it shows from now on.
    pub(crate) fn work_ended(&mut self, Worked { asked, done }: Worked) {
        self.beside.open -= 1;
        if asked.wanted.changes() {
            self.beside.changing -= 1;
            self.unsettled.end(self.monotonic, asked.slot, done.effect_bytes());
        }
        let stored = match done {
            Finished::Executed(outcome, Some(Err(error))) if is_full(&error) => Stored::Executed(
                Err(self.missed_space(LogError::Full(error), outcome.effect.len())),
            ),
            Finished::Merged(Arrived { effect, .. }, _, Some(Err(error))) if is_full(&error) => {
                Stored::Merged(Err(self.missed_space(LogError::Full(error), effect.len())))
            }
            Finished::Executed(outcome, recorded) => {
                self.execution_ended(asked, *outcome, recorded)
            }
            Finished::Merged(arrived, merged, recorded) => {
                let merged = merged.map(|merged| *merged);
                Stored::Merged(self.merge_ended(asked.slot, arrived, merged, recorded))
            }
            Finished::Exported(effect, recorded) => {
                self.beside.recording -= 1;
                return self.export_ended(asked.slot, &effect, recorded);
            }
        };
        self.beside.answers.extend(asked.ticket.map(|ticket| (ticket, stored)));
    }

    fn execution_ended(
        &mut self,
        asked: Asked,
        mut outcome: Outcome,
        recorded: Recorded,
    ) -> Stored {
        let Asked { wanted, slot, wall_ms, .. } = asked;
        let discarded = self.store.attach(&mut outcome, wall_ms);
        self.index_changes();
        self.beside.orders.push_back(Job::Drop(discarded));
        let reply = outcome.shared_reply.unwrap_or_else(|| outcome.reply.into());
        match wanted {
            Wanted::Execution => {
                let effect = Bytes::from(outcome.effect);
                let is_logged = !effect.is_empty() && !Mutant::LongCallUnlogged.is_planted();
                let durability = if is_logged {
                    self.append_recorded(slot, &effect, recorded)
                } else {
                    Durability::Now
                };
                let dot = self.name_write(slot, &effect).map(|(dot, _)| dot);
                Stored::Executed(Ok(Executed { reply, effect, dot, durability }))
            }
            Wanted::Reply => Stored::Reply(Some(reply)),
            Wanted::Snapshot(digest) => Stored::Snapshot(Snapshot { digest, reply: Some(reply) }),
            Wanted::Merge | Wanted::Record => {
                unreachable!("invariant: each task ends as what it is")
            }
        }
    }

    fn merge_ended(
        &mut self,
        slot: Slot,
        Arrived { dots, effect }: Arrived,
        merged: Option<(Merged, Outcome)>,
        recorded: Recorded,
    ) -> Result<Durability, Rejection> {
        if let Some((merged, mut outcome)) = merged {
            let (is_current, discarded) = self.store.attach_merged(&mut outcome);
            self.index_merged();
            self.beside.orders.push_back(Job::Drop(discarded));
            if is_current && Mutant::LongMergeUnlogged.is_planted() {
                return Ok(Durability::Now);
            }
            if is_current {
                let durability = match &merged {
                    Merged::Part { kept, .. } if kept.is_empty() => Durability::Now,
                    Merged::Part { kept, .. } => self.append_recorded(slot, kept, recorded),
                    Merged::Whole => self.append_recorded(slot, &effect, recorded),
                };
                self.note_dots(slot, dots, &effect);
                return Ok(durability);
            }
        }
        // Into what has become of the slot, or refused once more, and reported.
        self.merge_now(slot, dots, &effect)
    }

    /// A state was written beside the log. What has changed of it since has records of its own.
    fn export_ended(&mut self, slot: Slot, effect: &[u8], recorded: Recorded) {
        match recorded {
            Some(Err(error)) if is_full(&error) => self.give_up_checkpoint(),
            recorded if !effect.is_empty() => {
                self.append_recorded(slot, effect, recorded);
            }
            _ => {}
        }
    }

    /// Appends an effect to the log, as the record that was written beside it if there is one.
    fn append_recorded(&mut self, slot: Slot, effect: &[u8], recorded: Recorded) -> Durability {
        if let (Some(Ok(prepared)), Some(log)) = (recorded, &mut self.log)
            && let Ok(sequence) = log.append_prepared(prepared)
        {
            return self.note_appended(slot, sequence);
        }
        // Where the log has failed, the end of the turn finds out, and nothing of it is shown.
        self.append(slot, effect)
    }

    /// A call is long from so many words and elements on, and so is a query from so many documents on.
    pub(crate) fn long_call_min(&self) -> usize {
        self.beside.long_min
    }

    /// Has a job done beside the shard.
    pub(crate) fn order_job(&mut self, job: Job) {
        self.beside.orders.push_back(job);
    }

    /// Answers a question later than it was asked.
    pub(crate) fn answer_later(&mut self, ticket: Ticket, stored: Stored) {
        self.beside.answers.push_back((ticket, stored));
    }

    /// The next answer.
    pub(super) fn take_answer(&mut self) -> Option<(Ticket, Stored)> {
        self.beside.answers.pop_front()
    }
}

/// Bytes of a word in a command, at least.
const WORD_BYTES_MIN: usize = b"$0\r\n\r\n".len();

/// Bytes of a part of an effect, at least: its name or value, and a stamp.
const PART_BYTES_MIN: usize = 16;

//! `SAVE`, `BGSAVE`, `BGREWRITEAOF`, `LASTSAVE`: the log of the node stands for Redis's files.

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_log::Sequence;
use quorate_proto::command::Call;

use super::{
    Now, Shard, Waiter,
    job::{Plan, Step, first_error},
    mail::Question,
};

const IN_MEMORY: &str =
    "ERR everything is kept in memory (memory: true): there is no disk to save to";

/// Somebody who waits for everything up to a record to be on disk.
#[derive(Debug)]
pub(super) struct Saving {
    upto: Sequence,
    deadline: Instant,
    waiter: Waiter,
}

/// Answers with a text once all shards have answered, or with the error of one.
#[derive(Debug)]
struct Saved(&'static str);

impl Plan for Saved {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match first_error(replies) {
            Some(error) => Step::Done(error.to_vec()),
            None => Step::Done(format!("+{}\r\n", self.0).into_bytes()),
        }
    }
}

impl Shard {
    /// `SAVE`: `OK` once everything that is in memory now is synced.
    pub(super) fn save(&mut self, now: Now, key: usize, call: Call) {
        self.save_by(now, key, call, Question::Save { deadline: Some(Instant::NEVER) }, "OK");
    }

    /// `BGSAVE [SCHEDULE]`: a sync begins now, and nobody waits for it.
    pub(super) fn background_save(&mut self, now: Now, key: usize, call: Call) {
        let fits = call.command().get(1).is_none_or(|word| word.eq_ignore_ascii_case(b"SCHEDULE"));
        if !fits || call.command().len() > 2 {
            return self.refuse(key, &call, "ERR syntax error");
        }
        let question = Question::Save { deadline: None };
        self.save_by(now, key, call, question, "Background saving started");
    }

    /// `BGREWRITEAOF`: a checkpoint begins, after which the log holds what is alive.
    pub(super) fn rewrite(&mut self, now: Now, key: usize, call: Call) {
        let text = "Background append only file rewriting started";
        self.save_by(now, key, call, Question::Rewrite, text);
    }

    fn save_by(
        &mut self,
        now: Now,
        key: usize,
        call: Call,
        question: Question,
        text: &'static str,
    ) {
        if self.node.settings.memory {
            return self.refuse(key, &call, IN_MEMORY);
        }
        self.gather(now, key, call, question, Box::new(Saved(text)));
    }

    /// Begins a sync, and answers when it is done or the deadline has passed; without one at once.
    pub(super) fn begin_save(&mut self, now: Now, waiter: Waiter, deadline: Option<Instant>) {
        let upto = self.storage.want_sync();
        match deadline {
            Some(deadline) => {
                self.savings.push(Saving { upto, deadline, waiter });
                self.answer_saved(now);
            }
            None => self.deliver(now, waiter, Bytes::new()),
        }
    }

    /// Has the copies of transactions synced that a checkpoint waits for.
    pub(super) fn sync_copies(&mut self, now: Now) {
        let Some(upto) = self.storage.copies_to_sync() else { return };
        let others = (0..self.node.settings.shards).filter(|shard| *shard != self.id);
        let (others, question) =
            (others.collect::<Vec<_>>(), Question::Save { deadline: Some(Instant::NEVER) });
        let waiter = Waiter::Copies { upto };
        self.ask_shards(now, waiter, &others, question, Box::new(Saved("OK")));
    }

    /// Answers those whose data is on disk, or will not get there, or not in time.
    pub(super) fn answer_saved(&mut self, now: Now) {
        let (synced, has_failed) = (self.storage.synced(), self.storage.has_failed());
        let is_over = |saving: &mut Saving| {
            has_failed || saving.upto <= synced || saving.deadline <= now.monotonic
        };
        let over: Vec<_> = self.savings.extract_if(.., is_over).collect();
        for Saving { upto, waiter, .. } in over {
            let reply: &[u8] = match upto <= synced {
                true => b"",
                false if has_failed => {
                    b"-MISCONF the log could not be synced; its data may not be on disk\r\n"
                }
                false => b"-TIMEOUT the log was not synced before the deadline\r\n",
            };
            self.deliver(now, waiter, Bytes::from_static(reply));
        }
    }
}

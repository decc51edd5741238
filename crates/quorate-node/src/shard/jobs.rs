//! Jobs on their way: their steps, a batch of pieces at a time, here or beside the shard.

use quorate_cluster::coordinator::Terms;

use super::{
    Errand, Now, Shard, Waiter,
    job::{Conclusion, Job, Plan, Step},
};
use crate::{limits, reactor};

impl Shard {
    /// Starts a job for `waiter`.
    pub(super) fn start_job(
        &mut self,
        now: Now,
        waiter: Waiter,
        plan: Box<dyn Plan>,
        terms: Terms,
    ) {
        let key = self.jobs.insert(Job::new(plan, waiter, terms));
        self.continue_job(now, key);
    }

    /// A job is to go on: with its next step, or with further pieces of the one that runs.
    pub(super) fn continue_job(&mut self, now: Now, key: usize) {
        if !self.jobs[key].is_complete() {
            return self.await_turn(key);
        }
        if self.jobs[key].is_queued {
            // What it had yet to send is not wanted any more: it goes on when its turn comes.
            return;
        }
        self.jobs[key].tell_time(now.monotonic);
        if let Some(thought) = self.jobs[key].detach(key) {
            return self.storage.order_job(reactor::Job::Think(Box::new(thought)));
        }
        let step = self.jobs[key].next();
        self.take_step(now, key, step);
    }

    /// A plan was carried on beside the shard.
    pub(super) fn thought_ended(&mut self, now: Now, conclusion: Conclusion) {
        let key = conclusion.key;
        let step = self.jobs[key].attach(conclusion);
        self.take_step(now, key, step);
    }

    fn take_step(&mut self, now: Now, key: usize, step: Step) {
        match step {
            Step::Run(pieces) => {
                self.jobs[key].begin(pieces, self.storage.topology.partitioner());
                self.await_turn(key);
            }
            Step::Done(reply) => {
                let job = self.jobs.remove(key);
                self.deliver(now, job.waiter, reply.into());
            }
            Step::Rows(rows) => {
                let job = self.jobs.remove(key);
                let reply = self.answer_rows(now, *rows);
                self.deliver(now, job.waiter, reply.into());
            }
        }
    }

    /// A job has pieces to send on their way, as many as fit into a turn.
    fn await_turn(&mut self, key: usize) {
        if !std::mem::replace(&mut self.jobs[key].is_queued, true) {
            self.ready_jobs.push_back(key);
        }
    }

    /// Sends a batch of pieces of a job on their way, at most `most`. Returns how many.
    pub(super) fn run_pieces(&mut self, now: Now, key: usize, most: u32) -> u32 {
        let job = &mut self.jobs[key];
        job.is_queued = false;
        if job.is_complete() {
            self.continue_job(now, key);
            return 1;
        }
        let terms = job.terms;
        let most = most.min(limits::PIECES_PER_BATCH_MAX) as usize;
        let pieces: Vec<_> = std::iter::from_fn(|| job.next_piece()).take(most).collect();
        if pieces.len() == most && job.has_waiting() {
            self.await_turn(key);
        }
        let sent = pieces.len() as u32;
        for (piece, call) in pieces {
            self.submit(now, Waiter::Job { key, piece }, Errand { call, terms });
        }
        self.service(now);
        self.stats.read_stopwatch();
        sent
    }
}

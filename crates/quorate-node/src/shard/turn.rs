//! A turn of a shard: the clocks that it goes by, and what it leaves.

use std::io;

use bytes::Bytes;
use quorate_cluster::time::Instant;
use quorate_proto::{Fitness, Unfit};

use super::{Mail, Shard, Stopwatch};
use crate::{
    reactor::{ControlMail, Done, Job, Output, Ready},
    storage::SyncTask,
};

/// The answer to whoever waits at another shard for what could not be written.
const NOT_WRITTEN: &[u8] =
    b"-UNKNOWN the log cannot be written; the request may or may not have taken effect\r\n";

/// The two clocks, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back.
    pub monotonic: Instant,
    /// Microseconds since the Unix epoch.
    pub wall_us: u64,
}

impl Now {
    /// Milliseconds since the Unix epoch.
    pub fn wall_ms(self) -> u64 {
        self.wall_us / 1_000
    }
}

impl Shard {
    /// What this shard may do, by what is so at the moment.
    pub(super) fn fitness(&self) -> Fitness {
        Fitness::FIT
            .with(Unfit::CatchingUp, !self.peers.is_ready())
            .with(Unfit::Incomplete, self.storage.incomplete)
            .with(Unfit::ClockInDoubt, self.clock.is_in_doubt())
            .with(Unfit::ReadOnly, self.storage.is_read_only())
            .with(Unfit::Drained, self.is_drained())
    }

    fn is_drained(&self) -> bool {
        let topology = self.topology();
        topology.member(topology.me()).duties.is_drained
    }

    /// The node is about to stop: this shard leaves writes to others, and says so, if there is
    /// anybody else. Returns whether there is.
    pub(crate) fn leave(&mut self) -> bool {
        self.is_leaving = self.peers.met().any(|met| met);
        if self.is_leaving {
            self.coordinator.handle_leaving();
        }
        self.is_leaving
    }

    /// Lets the coordinator go by it from now on.
    pub(super) fn note_fitness(&mut self) {
        let (me, fitness) = (self.topology().me(), self.fitness());
        self.coordinator.handle_fitness(me, fitness);
    }

    /// Begins a turn at this time. Returns the time that the turn goes by: its wall clock is the
    /// machine's as far as that is believed.
    pub(crate) fn begin_turn(&mut self, now: Now) -> Now {
        let alone = self.topology().len() == 1;
        let monotonic = now.monotonic;
        self.machine = now;
        let was_in_doubt = self.clock.is_in_doubt();
        let awaits = self.peers.readiness.awaits_clocks(monotonic, self.clock.started());
        let peers = self.peers.clocks();
        let (wall_us, jumped) = self.clock.read(monotonic, now.wall_us, alone, awaits, peers);
        let now = Now { monotonic, wall_us };
        if let Some(ms) = jumped {
            tracing::warn!(ms, "the clock has jumped");
            self.peers.handle_clock_jump(ms);
        }
        match (was_in_doubt, self.clock.is_in_doubt()) {
            (false, true) => {
                tracing::warn!("most peers contradict this node's clock: it dates no write");
            }
            (true, false) => tracing::info!("this node's clock is in doubt no more"),
            _ => {}
        }
        self.note_fitness();
        self.hold_long_calls();
        self.pace_rounds(monotonic);
        self.storage.note_time(monotonic);
        self.storage.begin_turn(now.wall_ms(), self.fitness());
        self.stats.begin_turn(monotonic, self.node.adjustable.slow_micros());
        self.end_start(now);
        now
    }

    /// What has just arrived had not when the turn began, and is executed at the moment at which it
    /// arrived: by the clock of its sender, no time to live may be longer than it was set. Returns
    /// the turn's time with the wall clock of now.
    pub(crate) fn advance_wall_clock(&mut self, now: Now, monotonic: Instant) -> Now {
        let passed = u64::try_from(monotonic.since(now.monotonic).as_micros()).unwrap_or(0);
        let now = Now { wall_us: now.wall_us.saturating_add(passed), ..now };
        self.storage.wall_ms = self.storage.wall_ms.max(now.wall_ms());
        self.storage.monotonic = now.monotonic;
        now
    }

    /// The clocks show this in the middle of a turn. A long one must not answer for others' clocks
    /// with what its own showed when it began.
    pub(crate) fn read_clocks(&mut self, now: Now) {
        self.machine = now;
    }

    /// Times commands inside of turns.
    pub(crate) fn use_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.stats.use_stopwatch(stopwatch);
    }

    /// Hands the log of this turn to the operating system. Returns whether what the turn has done
    /// may be shown.
    pub(crate) fn write_log(&mut self) -> bool {
        let written = self.storage.write();
        if let Err(error) = &written {
            self.storage.report_failure(error);
        }
        written.is_ok()
    }

    /// Takes back everything that would say what this turn has done. Returns the sessions with
    /// replies, whose connections must be closed.
    pub(crate) fn withdraw(&mut self) -> Vec<usize> {
        for mail in &mut self.outbox {
            mail.retain(|mail| !matches!(mail, Mail::PeerResponse { .. }));
            for mail in mail {
                if let Mail::Reply { reply, .. } = mail {
                    *reply = Bytes::from_static(NOT_WRITTEN);
                }
            }
        }
        let sessions = self.take_dirty_sessions();
        for key in &sessions {
            if let Some(session) = self.sessions.get_mut(*key) {
                session.replies.ready = Ready::default();
            }
        }
        sessions
    }

    /// What a turn asks of others: jobs, and mail.
    pub(crate) fn take_orders(&mut self, mut order: impl FnMut(Output)) {
        let second_passed = std::mem::take(&mut self.second_passed);
        if let Some(job) = self.storage.due_sync(second_passed) {
            order(Output::Run(Job::Sync { task: SyncTask::Log(job), hints: None }));
        }
        if second_passed {
            for (hints, task) in self.storage.hint_syncs() {
                order(Output::Run(Job::Sync { task, hints: Some(hints) }));
            }
        }
        if let Some(scrub) = self.scrub.take_order() {
            order(Output::Run(Job::Scrub(scrub)));
        }
        while let Some(job) = self.storage.take_work() {
            order(Output::Run(job));
        }
        if !self.is_lent() {
            self.lend();
        }
        for (shard, mail) in (0..).zip(&mut self.outbox) {
            mail.drain(..).for_each(|mail| order(Output::Mail { shard, mail }));
        }
        if self.storage.take_failed() {
            order(Output::Control(ControlMail::LogFailed));
        }
        let of = self.incarnation();
        if self.storage.has_regained() && self.regained_told != Some(of) {
            self.regained_told = Some(of);
            order(Output::Control(ControlMail::Regained { shard: self.id, of }));
        }
        self.to_control.drain(..).for_each(|mail| order(Output::Control(mail)));
        if self.storage.take_level_news() {
            let (shard, epoch) = (self.id, self.topology().epoch());
            order(Output::Control(ControlMail::Adopted { shard, epoch }));
            for (peer, groups) in self.storage.level().iter() {
                let groups = *groups;
                order(Output::Control(ControlMail::Level { shard, peer, groups }));
            }
        }
        if std::mem::take(&mut self.seal_wanted) {
            order(Output::Control(ControlMail::SealWanted));
        }
    }

    /// A job has ended.
    pub(crate) fn handle_done(&mut self, now: Now, done: Done) {
        if self.is_lent() {
            return self.defer_done(done);
        }
        match done {
            Done::Synced { hints: Some(sync), result } => {
                self.storage.hint_sync_ended(sync, &result);
            }
            Done::Synced { hints: None, result } => {
                let sequence = self.storage.sync_ended(&result);
                self.handle_durable(now, sequence);
            }
            Done::Scrubbed(ended) => {
                self.scrub.handle_read(now.monotonic, &mut self.storage, ended);
                self.service(now);
            }
            Done::Worked(worked) => {
                self.storage.work_ended(*worked);
                if !self.storage.is_executing_beside() {
                    self.run_waiting(now);
                }
                self.service(now);
            }
            Done::Inquired(inquired) => {
                self.storage.inquiry_ended(*inquired);
                self.service(now);
            }
            Done::Thought(conclusion) => {
                self.thought_ended(now, *conclusion);
                self.service(now);
            }
            Done::Dropped => {}
        }
    }

    /// Makes the log durable, and closes it.
    pub(crate) fn close_log(&mut self) -> io::Result<()> {
        self.storage.close().map_err(io::Error::other)?;
        self.storage.keep_graphs(&self.node);
        Ok(())
    }
}

//! What a shard counts of its clients and their commands, and what of it is gathered for the node.

mod errors;
mod latency;
mod rate;
mod slow_log;
mod tallies;

use std::{sync::Arc, time::Duration};

use quorate_cluster::time::Instant;
use quorate_proto::{
    command::{Call, CommandId},
    resp::Command,
};

use super::{job::elements, transaction::is_exec};
use crate::command_bytes::Counted;
use errors::Errors;
pub(crate) use latency::Latency;
use rate::Rate;
pub(crate) use slow_log::{Sender, SlowLog};
pub(crate) use tallies::Tallies;

/// A command under way: what it counts as, since when, and its words, should it turn out to be
/// slow.
#[derive(Clone, Debug)]
pub(super) struct Run {
    begun: Begun,
    pub(super) command: Command,
    /// The commands of a transaction.
    parts: Box<[Call]>,
    /// Its bytes, if it is a large one: they count for as long as this is kept.
    _counted: Option<Arc<Counted>>,
}

impl Run {
    /// The run of a transaction of these commands.
    pub(super) fn with_parts(self, parts: Box<[Call]>) -> Self {
        Self { parts, ..self }
    }
}

/// A command that was slow, and how long it took.
pub(super) type Slow<'a> = (Duration, &'a Command);

/// When which kind of command began.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    id: CommandId,
    at: Instant,
}

/// Shows the monotonic clock in the middle of a turn. It times commands and ends turns, and decides
/// nothing else.
pub(crate) type Stopwatch = Box<dyn Fn() -> Instant + Send>;

/// What a shard counts.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    pub(crate) breakdown: Breakdown,
    pub(crate) slow_log: SlowLog,
    /// Microseconds beyond which a command is slow; negative: none is.
    slow_micros: i64,
    rates: [Rate; 3],
    /// Without it a turn takes no time.
    stopwatch: Option<Stopwatch>,
    /// What it showed when it was read last: where one command ends, the next one begins.
    shown: Instant,
    /// The command that a client has just begun.
    begun: Begun,
    /// Its bytes, while it may become a run.
    counted: Option<Arc<Counted>>,
}

/// Sums since the start, or since they were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Clients that have connected, those that were turned away included.
    pub(crate) connections: u64,
    /// Clients that were turned away, because there were `maxclients` already.
    pub(crate) rejected_connections: u64,
    /// Attempts to be a user that there is not.
    pub(crate) denied_users: u64,
    pub(crate) commands: u64,
    pub(crate) error_replies: u64,
    /// Reads from, and writes to, the sockets of clients.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) keyspace_hits: u64,
    pub(crate) keyspace_misses: u64,
    /// By the last 1.6 seconds: commands, bytes read and bytes sent a second.
    pub(crate) commands_per_second: u64,
    pub(crate) input_bytes_per_second: u64,
    pub(crate) output_bytes_per_second: u64,
}

/// What is counted by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breakdown {
    pub(crate) commands: Tallies,
    pub(crate) errors: Errors,
}

impl Breakdown {
    pub(crate) fn add(&mut self, other: &Self) {
        self.commands.add(&other.commands);
        self.errors.add(&other.errors);
    }
}

impl Stats {
    /// Times commands inside of turns.
    pub(crate) fn use_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = Some(stopwatch);
    }

    pub(super) fn begin_turn(&mut self, now: Instant, slow_micros: i64) {
        self.shown = now;
        self.slow_micros = slow_micros;
    }

    pub(super) fn read_stopwatch(&mut self) -> Instant {
        if let Some(stopwatch) = &self.stopwatch {
            self.shown = stopwatch();
        }
        self.shown
    }

    /// What the stopwatch showed when it was read last.
    pub(super) fn shown(&self) -> Instant {
        self.shown
    }

    /// A command begins, where the last one has ended.
    pub(super) fn begin(&mut self, id: CommandId) {
        self.begun = Begun { id, at: self.shown };
    }

    /// The bytes of the command that begins, or that has been begun, count or do not.
    pub(super) fn count_bytes(&mut self, counted: Option<Arc<Counted>>) {
        self.counted = counted;
    }

    /// The command that has just begun has ended with this reply. Returns how long it took, if it
    /// was slow.
    pub(super) fn end(&mut self, reply: &[u8]) -> Option<Duration> {
        self.note(self.begun, reply)
    }

    /// The command that has just begun, which is to end later.
    pub(super) fn run(&self, command: &Command) -> Run {
        let (begun, _counted) = (self.begun, self.counted.clone());
        Run { begun, command: command.clone(), parts: Box::default(), _counted }
    }

    /// A command that has waited for others has ended with this reply. Returns what of it was slow,
    /// and how long that took: the commands of a transaction, as far as they are known to be, rather
    /// than its `EXEC`.
    pub(super) fn finish<'a>(&mut self, run: &'a Run, reply: &[u8]) -> Vec<Slow<'a>> {
        let took = self.note(run.begun, reply);
        let mut slow = self.note_parts(run, reply);
        let executed_none = || is_exec(run.begun.id.spec()) && elements(reply).is_empty();
        if slow.is_empty() && !executed_none() {
            slow.extend(took.map(|took| (took, &run.command)));
        }
        slow
    }

    /// The commands of a transaction have these replies, if it was executed. How long each took is
    /// not known: they share the time evenly.
    fn note_parts<'a>(&mut self, run: &'a Run, reply: &[u8]) -> Vec<Slow<'a>> {
        if run.parts.is_empty() {
            return Vec::new();
        }
        let count = u32::try_from(run.parts.len()).unwrap_or(u32::MAX);
        let share = self.shown.since(run.begun.at) / count;
        let mut slow = Vec::new();
        for (part, reply) in run.parts.iter().zip(elements(reply)) {
            self.tally(part.id(), share, reply);
            if self.is_slow(share) {
                slow.push((share, part.command()));
            }
        }
        slow
    }

    /// A command of this kind was refused before it began.
    pub(super) fn rejected(&mut self, id: Option<CommandId>, reply: &[u8]) {
        self.note_error(reply);
        if let Some(id) = id {
            self.breakdown.commands.tally(id).rejected += 1;
        }
    }

    fn note(&mut self, Begun { id, at }: Begun, reply: &[u8]) -> Option<Duration> {
        let took = self.read_stopwatch().since(at);
        self.tally(id, took, reply);
        self.is_slow(took).then_some(took)
    }

    fn is_slow(&self, took: Duration) -> bool {
        u128::try_from(self.slow_micros).is_ok_and(|slow_micros| took.as_micros() >= slow_micros)
    }

    fn tally(&mut self, id: CommandId, took: Duration, reply: &[u8]) {
        self.counters.commands += 1;
        let failed = reply.first() == Some(&b'-');
        if failed {
            self.note_error(reply);
        }
        self.breakdown.commands.tally(id).note(took, failed);
    }

    fn note_error(&mut self, reply: &[u8]) {
        self.counters.error_replies += 1;
        self.breakdown.errors.note(reply);
    }

    /// Brings the metrics a second up to date, at most ten times a second.
    pub(super) fn sample(&mut self, now: Instant) {
        let Self { counters, rates: [commands, input, output], .. } = self;
        counters.commands_per_second = commands.sample(now, counters.commands);
        counters.input_bytes_per_second = input.sample(now, counters.input_bytes);
        counters.output_bytes_per_second = output.sample(now, counters.output_bytes);
    }

    /// Begins to count anew.
    pub(super) fn reset(&mut self) {
        self.counters = Counters::default();
        self.breakdown = Breakdown::default();
        self.rates = Default::default();
    }
}

impl Counters {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.rejected_connections += other.rejected_connections;
        self.denied_users += other.denied_users;
        self.commands += other.commands;
        self.error_replies += other.error_replies;
        self.reads += other.reads;
        self.writes += other.writes;
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
        self.keyspace_hits += other.keyspace_hits;
        self.keyspace_misses += other.keyspace_misses;
        self.commands_per_second += other.commands_per_second;
        self.input_bytes_per_second += other.input_bytes_per_second;
        self.output_bytes_per_second += other.output_bytes_per_second;
    }
}

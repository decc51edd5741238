//! `MEMORY`: what a key takes, and what the process does.

use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::{
    Partitioner,
    command::Call,
    resp::{Command, ReplyWriter, parse_integer},
};

use super::{
    Now, Shard,
    job::{Plan, Step},
    mail::Question,
    session_commands::write_help,
};
use crate::{node::Node, process::Process};

/// Elements whose size is looked at, as in Redis.
const SAMPLES: u64 = 5;

impl Shard {
    /// `MEMORY USAGE key [SAMPLES count]`, `MEMORY STATS`
    pub(super) fn memory(&mut self, now: Now, key: usize, subcommand: &[u8], call: Call) {
        if subcommand == b"usage" {
            return match usage(call.command(), self.partitioner()) {
                Ok(piece) => {
                    let terms = self.terms(now, key, &piece);
                    self.by_piece(now, key, call, (piece, terms));
                }
                Err(error) => self.refuse(key, &call, error),
            };
        }
        let plan = Stats { node: Arc::clone(&self.node), resp3: self.sessions[key].resp3 };
        let question = Question::Metrics { breakdown: false };
        self.gather(now, key, call, question, Box::new(plan));
    }
}

/// The subcommands that need no metrics.
pub(super) fn answer(writer: &mut ReplyWriter<'_>, subcommand: &[u8]) {
    match subcommand {
        b"doctor" => writer.verbatim(
            "Memory is not limited here (maxmemory is 0), and its allocator is not asked. MEMORY \
             STATS and INFO memory show what the process has in RAM.\n",
        ),
        b"malloc-stats" => writer.text("Stats not supported for the current allocator"),
        // As Redis without jemalloc: the allocator returns free memory by itself.
        b"purge" => writer.ok(),
        _ => write_help(writer, "memory"),
    }
}

/// `MEMORY USAGE key [SAMPLES count]` as the store understands it.
pub(super) fn usage(command: &Command, partitioner: &Partitioner) -> Result<Call, &'static str> {
    let (key, samples) = (command.arg(2), samples(command)?.to_string());
    let words = [b"quorate.memoryusage", key, samples.as_bytes()];
    Ok(Call::piece(partitioner.slot(key), Command::from_args(words)))
}

/// The number of samples of `MEMORY USAGE key [SAMPLES count]`; zero stands for all elements.
fn samples(command: &Command) -> Result<u64, &'static str> {
    let mut samples = SAMPLES;
    let mut at = 3;
    while let Some(word) = command.get(at) {
        let value = command.get(at + 1).ok_or("ERR syntax error")?;
        if !word.eq_ignore_ascii_case(b"SAMPLES") {
            return Err("ERR syntax error");
        }
        let count = parse_integer(value).ok_or("ERR value is not an integer or out of range")?;
        samples = u64::try_from(count).map_err(|_| "ERR syntax error")?;
        at += 2;
    }
    Ok(samples)
}

/// Waits for the shards to publish, and writes what the process takes.
#[derive(Debug)]
struct Stats {
    node: Arc<Node>,
    resp3: bool,
}

impl Plan for Stats {
    fn next(&mut self, _: &[Bytes]) -> Step {
        let metrics = self.node.metrics();
        let process = Process::read();
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.resp3);
        let rows = [
            ("peak.allocated", process.resident_bytes_max),
            ("total.allocated", process.resident_bytes),
            ("replication.backlog", 0),
            ("clients.slaves", 0),
            ("keys.count", metrics.keys),
            ("keys.bytes-per-key", process.resident_bytes / metrics.keys.max(1)),
            ("log.bytes", metrics.log_bytes),
        ];
        writer.map(rows.len());
        for (name, value) in rows {
            writer.text(name);
            writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
        }
        Step::Done(reply)
    }
}

//! `SLOWLOG` and `LATENCY`: which commands took long, and how long commands take.

use std::{cmp::Reverse, sync::Arc};

use bytes::Bytes;
use quorate_proto::{
    command::Call,
    resp::{Command, ReplyWriter, parse_integer, quoted},
};

use super::{
    Now, Shard,
    job::{Plan, Step, elements, integer},
    mail::{Question, SlowLogOrder},
    session_commands::write_help,
    status::Gathered,
};
use crate::node::Node;

/// Entries that `SLOWLOG GET` shows without a count.
const SHOWN: usize = 10;

impl Shard {
    /// `SLOWLOG GET [count]`, `SLOWLOG LEN`, `SLOWLOG RESET`
    pub(super) fn slow_log(&mut self, now: Now, key: usize, call: Call) {
        let len_max = self.node.adjustable.slow_log_len();
        let (order, plan): (_, Box<dyn Plan>) = match call
            .command()
            .arg(1)
            .to_ascii_lowercase()
            .as_slice()
        {
            b"get" if call.command().len() > 3 => {
                let error = "ERR unknown subcommand or wrong number of arguments for 'GET'. Try \
                             SLOWLOG HELP.";
                return self.refuse(key, &call, error);
            }
            b"get" => {
                let count = match call.command().get(2).map(parse_integer) {
                    None => SHOWN,
                    Some(Some(-1)) => len_max,
                    Some(Some(count @ 0..)) => usize::try_from(count).unwrap_or(usize::MAX),
                    Some(_) => {
                        let error = "ERR count should be greater than or equal to -1";
                        return self.refuse(key, &call, error);
                    }
                };
                (SlowLogOrder::Show, Box::new(Newest { count: count.min(len_max) }))
            }
            b"len" => (SlowLogOrder::Count, Box::new(Gathered::Count { most: len_max })),
            b"reset" => (SlowLogOrder::Reset, Box::new(Gathered::Done)),
            _ => {
                let mut reply = Vec::new();
                write_help(&mut ReplyWriter::new(&mut reply, false), "slowlog");
                return self.reply(key, &call, &reply);
            }
        };
        self.gather(now, key, call, Question::SlowLog(order), plan);
    }

    pub(super) fn describe_slow_log(&mut self, order: SlowLogOrder) -> Vec<u8> {
        let log = &mut self.stats.slow_log;
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, false);
        match order {
            SlowLogOrder::Show => log.write(&mut writer),
            SlowLogOrder::Count => writer.integer(log.len() as i64),
            SlowLogOrder::Reset => log.clear(),
        }
        reply
    }

    /// `LATENCY HISTOGRAM [command...]`
    pub(super) fn latency_histogram(&mut self, now: Now, key: usize, call: Call) {
        let names = call.command().args().skip(2);
        let names = names.map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
        let plan =
            Histogram { node: Arc::clone(&self.node), names, resp3: self.sessions[key].resp3 };
        let question = Question::Metrics { breakdown: true };
        self.gather(now, key, call, question, Box::new(plan));
    }

    /// The rest of `LATENCY`: no events are watched, so there are none.
    pub(super) fn latency(
        &self,
        writer: &mut ReplyWriter<'_>,
        subcommand: &[u8],
        command: &Command,
    ) -> Result<(), String> {
        match subcommand {
            b"graph" => {
                let event = quoted(command.arg(2));
                return Err(format!("ERR No samples available for event '{event}'"));
            }
            b"latest" | b"history" => writer.array(0),
            b"reset" => writer.integer(0),
            b"doctor" => writer.verbatim(
                "Events are not watched here (latency-monitor-threshold is 0 and fixed). SLOWLOG GET \
                 shows the commands that took long, LATENCY HISTOGRAM and INFO latencystats how \
                 long each kind takes.\n",
            ),
            _ => write_help(writer, "latency"),
        }
        Ok(())
    }
}

/// Joins the logs of all shards, newest first.
#[derive(Debug)]
struct Newest {
    count: usize,
}

impl Plan for Newest {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let id = |entry: &[u8]| elements(entry).first().and_then(|id| integer(id));
        let mut entries: Vec<_> = replies.iter().flat_map(|reply| elements(reply)).collect();
        entries.sort_by_key(|entry| Reverse(id(entry)));
        entries.truncate(self.count);
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, false);
        writer.array(entries.len());
        entries.iter().for_each(|entry| writer.raw(entry));
        Step::Done(reply)
    }
}

/// Waits for the shards to publish what they count by kind, and writes the durations.
#[derive(Debug)]
struct Histogram {
    node: Arc<Node>,
    /// Commands, or containers with all their subcommands; all when there is none.
    names: Vec<String>,
    resp3: bool,
}

impl Histogram {
    fn wants(&self, name: &str) -> bool {
        let container = name.split('|').next();
        let is_named = |wanted: &String| wanted == name || Some(wanted.as_str()) == container;
        self.names.is_empty() || self.names.iter().any(is_named)
    }
}

impl Plan for Histogram {
    fn next(&mut self, _: &[Bytes]) -> Step {
        let breakdown = self.node.breakdown();
        let shown: Vec<_> = breakdown
            .commands
            .iter()
            .map(|(id, tally)| (id.to_string(), tally))
            .filter(|(name, tally)| tally.calls > 0 && self.wants(name))
            .collect();
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.resp3);
        writer.map(shown.len());
        for (name, tally) in shown {
            let buckets: Vec<_> = tally.latency.cumulative().collect();
            writer.text(&name);
            writer.map(2);
            writer.text("calls");
            writer.integer(tally.calls as i64);
            writer.text("histogram_usec");
            writer.map(buckets.len());
            for (micros, count) in buckets {
                writer.integer(micros as i64);
                writer.integer(count as i64);
            }
        }
        Step::Done(reply)
    }
}

//! `INFO`: metrics about the node, in the format of Redis.
//!
//! One figure is one row of [`metrics`]: its name, and how it comes out of a [`Report`].
//! `QUORATE STATUS` shows some of them as well, as typed values. Whoever is
//! asked has all shards publish their metrics first, so that what is told is true at this moment.

mod channel;
mod metrics;
mod owed;

use std::sync::Arc;

use bytes::Bytes;
use quorate_cluster::topology::Topology;
use quorate_proto::{command::Call, resp::ReplyWriter};

use super::{
    Breakdown, Metrics, Now, Shard,
    job::{Plan, Step},
    mail::Question,
};
use crate::{node::Node, process::Process};
use metrics::{SECTIONS, Section};
pub(super) use metrics::{status_len, write_status};

/// A figure's name and its value.
type Line = (String, String);

/// What metrics are made from.
pub(super) struct Report<'a> {
    node: &'a Node,
    topology: &'a Topology,
    pub(super) metrics: Metrics,
    breakdown: Breakdown,
    buffers: Buffers,
    process: Process,
    wall_ms: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(node: &'a Node, topology: &'a Topology, wall_ms: u64) -> Self {
        Self {
            node,
            topology,
            metrics: node.metrics(),
            breakdown: node.breakdown(),
            buffers: Buffers::default(),
            process: Process::read(),
            wall_ms,
        }
    }
}

/// Bytes that clients have sent and are not executed, and those that wait to be sent to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Buffers {
    input: u64,
    output: u64,
    /// The most of one client.
    input_max: u64,
    output_max: u64,
}

impl Shard {
    /// `INFO [section...]`
    pub(super) fn info(&mut self, now: Now, key: usize, call: Call) {
        let words: Vec<&[u8]> = call.command().args().skip(1).collect();
        let sections = wanted(&words);
        let breakdown = sections.iter().any(|section| section.needs_breakdown);
        let plan = Box::new(Info {
            node: Arc::clone(&self.node),
            topology: Arc::clone(self.topology()),
            sections,
            wall_ms: now.wall_ms(),
            resp3: self.sessions[key].resp3,
        });
        self.gather(now, key, call, Question::Metrics { breakdown }, plan);
    }

    /// Publishes this shard's metrics, and tells of the buffers of its clients.
    pub(super) fn describe_metrics(&mut self, now: Now, breakdown: bool) -> String {
        self.publish_metrics(now);
        if breakdown {
            self.node.publish_breakdown(self.id, self.stats.breakdown.clone());
        }
        let mut buffers = Buffers::default();
        for (_, session) in &self.sessions {
            let (input, output) = (session.inbox.len() as u64, session.unsent_bytes() as u64);
            buffers.add(Buffers { input, output, input_max: input, output_max: output });
        }
        buffers.to_line()
    }
}

impl Buffers {
    fn add(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.input_max = self.input_max.max(other.input_max);
        self.output_max = self.output_max.max(other.output_max);
    }

    fn to_line(self) -> String {
        let Self { input, output, input_max, output_max } = self;
        format!("{input} {output} {input_max} {output_max}")
    }

    fn from_line(line: &[u8]) -> Self {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let mut numbers = text.split(' ').filter_map(|number| number.parse().ok());
        let mut next = || numbers.next().unwrap_or_default();
        Self { input: next(), output: next(), input_max: next(), output_max: next() }
    }
}

/// Waits for the shards to publish, and writes the sections.
#[derive(Debug)]
struct Info {
    node: Arc<Node>,
    topology: Arc<Topology>,
    sections: Vec<&'static Section>,
    wall_ms: u64,
    resp3: bool,
}

impl Plan for Info {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let mut report = Report::new(&self.node, &self.topology, self.wall_ms);
        replies.iter().for_each(|reply| report.buffers.add(Buffers::from_line(reply)));
        let sections = self.sections.iter().filter_map(|section| {
            let lines = section.lines(&report)?;
            let lines = lines.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
            Some(format!("# {}\r\n{}", section.name, lines.collect::<String>()))
        });
        let text = sections.collect::<Vec<_>>().join("\r\n");
        let mut reply = Vec::new();
        ReplyWriter::new(&mut reply, self.resp3).verbatim(&text);
        Step::Done(reply)
    }
}

/// The sections that these words ask for: the usual ones without any.
fn wanted(words: &[&[u8]]) -> Vec<&'static Section> {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let asks = |section: &Section, word: &[u8]| {
        is(word, section.name)
            || is(word, "default") && section.is_usual
            || is(word, "all")
            || is(word, "everything")
    };
    let default: &[&[u8]] = &[b"default"];
    let words = if words.is_empty() { default } else { words };
    let sections = SECTIONS.iter();
    sections.filter(|section| words.iter().any(|word| asks(section, word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        wanted(&words).iter().map(|section| section.name).collect()
    }

    #[test]
    fn sections_come_in_their_order_and_once() {
        assert_eq!(names(&["keyspace", "server", "KEYSPACE"]), ["Server", "Keyspace"]);
        assert!(names(&["nosuch"]).is_empty());
        assert_eq!(names(&[]), names(&["default"]));
        assert!(!names(&[]).contains(&"Commandstats"));
        assert_eq!(names(&["all"]).len(), SECTIONS.len());
        assert_eq!(names(&["default", "commandstats"]).len(), names(&[]).len() + 1);
    }

    #[test]
    fn no_metric_has_two_rows() {
        let rows = SECTIONS.iter().flat_map(|section| section.metrics);
        let mut names: Vec<_> = rows.map(|metric| metric.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let shown: std::collections::BTreeSet<_> =
            metrics::in_status().map(|(name, _)| name).collect();
        assert_eq!(shown.len(), status_len());
    }

    #[test]
    fn buffers_are_read_as_written() {
        let one = Buffers { input: 1, output: 2, input_max: 1, output_max: 2 };
        let mut sum = Buffers::from_line(one.to_line().as_bytes());
        assert_eq!(sum, one);
        sum.add(Buffers { input: 3, output: 1, input_max: 3, output_max: 1 });
        assert_eq!(sum, Buffers { input: 4, output: 3, input_max: 3, output_max: 2 });
    }
}

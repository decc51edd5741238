//! `QUORATE SCRUB`: the check of digests and disk, on demand, and what it has come to.
//!
//! Every shard scrubs by itself; a reply joins them, a map of:
//!
//! | field | meaning |
//! |---|---|
//! | `state` | `running` while any shard is at it, else `idle` |
//! | `outcome` | of the last pass: `none`, `clean`, `stopped`, `failed` or `found`; or `running` |
//! | `keys`, `keys_total` | keys checked in this or the last pass, and those there are |
//! | `bytes`, `bytes_total` | bytes read, and those on disk |
//! | `mismatches` | digests that were wrong |
//! | `damages` | damaged places on disk |
//! | `last_done_ms` | wall clock when the last pass ended, 0 when a shard has had none |
//! | `findings` | what was wrong, in words, as far as it is kept |

use std::fmt::Write as _;

use bytes::Bytes;
use quorate_proto::{command::Call, resp::ReplyWriter};

use super::{
    Now, Shard,
    job::{Plan, Step},
    mail::{Question, ScrubCommand},
};
use crate::storage::ScrubTally;

/// Joins the answers of all shards.
#[derive(Debug)]
struct Joined {
    resp3: bool,
}

/// What one shard says: a line of numbers in this order, and a line for each finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    outcome: u64,
    keys: u64,
    keys_total: u64,
    bytes: u64,
    bytes_total: u64,
    mismatches: u64,
    damages: u64,
    done_ms: u64,
}

/// In the order of [`ScrubOutcome`].
const OUTCOMES: [&str; 6] = ["none", "clean", "stopped", "failed", "found", "running"];

impl Line {
    fn write(&self, out: &mut String) {
        let Self { outcome, keys, keys_total, bytes, bytes_total, mismatches, damages, done_ms } =
            self;
        let _ = writeln!(
            out,
            "{outcome} {keys} {keys_total} {bytes} {bytes_total} {mismatches} {damages} {done_ms}"
        );
    }

    fn read(line: &str) -> Self {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            outcome: next(),
            keys: next(),
            keys_total: next(),
            bytes: next(),
            bytes_total: next(),
            mismatches: next(),
            damages: next(),
            done_ms: next(),
        }
    }

    /// Both shards together.
    fn join(self, other: Self) -> Self {
        Self {
            outcome: self.outcome.max(other.outcome),
            keys: self.keys + other.keys,
            keys_total: self.keys_total + other.keys_total,
            bytes: self.bytes + other.bytes,
            bytes_total: self.bytes_total + other.bytes_total,
            mismatches: self.mismatches + other.mismatches,
            damages: self.damages + other.damages,
            done_ms: self.done_ms.min(other.done_ms),
        }
    }
}

impl Plan for Joined {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let texts: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        let lines = texts.iter().map(|text| Line::read(text.lines().next().unwrap_or_default()));
        let line = lines.reduce(Line::join).unwrap_or_default();
        let findings: Vec<&str> = texts.iter().flat_map(|text| text.lines().skip(1)).collect();
        let outcome = OUTCOMES.get(line.outcome as usize).copied().unwrap_or("none");
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.resp3);
        writer.map(10);
        let state = if outcome == "running" { "running" } else { "idle" };
        for (field, value) in [("state", state), ("outcome", outcome)] {
            writer.text(field);
            writer.text(value);
        }
        for (field, value) in [
            ("keys", line.keys),
            ("keys_total", line.keys_total),
            ("bytes", line.bytes),
            ("bytes_total", line.bytes_total),
            ("mismatches", line.mismatches),
            ("damages", line.damages),
            ("last_done_ms", line.done_ms),
        ] {
            writer.text(field);
            writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
        }
        writer.text("findings");
        writer.array(findings.len());
        findings.iter().for_each(|finding| writer.text(finding));
        Step::Done(reply)
    }
}

impl Shard {
    /// Goes on with the scrub.
    pub(super) fn advance_scrub(&mut self, now: Now) {
        if self.scrub.handle_timeout(now.monotonic, &mut self.storage) {
            // A peer that is down is compared with once it is up.
            let peers = self.storage.topology.peers().filter(|peer| self.peers.is_up(*peer));
            peers.for_each(|peer| self.anti_entropy.request(now.monotonic, peer));
        }
    }

    /// `QUORATE SCRUB [STATUS | START | STOP]`
    pub(super) fn scrub_command(&mut self, now: Now, key: usize, call: Call) {
        let word = call.command().get(2).unwrap_or(b"STATUS").to_ascii_uppercase();
        let order = match (&*word, call.command().len()) {
            (b"STATUS", ..=3) => None,
            (b"START", 3) => Some(ScrubCommand::Start),
            (b"STOP", 3) => Some(ScrubCommand::Stop),
            _ => {
                let error = "ERR syntax error: SCRUB [STATUS | START | STOP]";
                return self.refuse(key, &call, error);
            }
        };
        let plan = Box::new(Joined { resp3: self.sessions[key].resp3 });
        self.gather(now, key, call, Question::Scrub(order), plan);
    }

    /// Starts or stops the scrub as ordered, and says how far this shard's has come.
    pub(super) fn describe_scrub(&mut self, now: Now, order: Option<ScrubCommand>) -> String {
        match order {
            Some(ScrubCommand::Start) => self.scrub.start(now.monotonic),
            Some(ScrubCommand::Stop) => self.scrub.stop(now.monotonic),
            None => {}
        }
        let ScrubTally { keys, bytes, mismatches, damages } = self.scrub.of_pass();
        let line = Line {
            outcome: self.scrub.outcome() as u64,
            keys,
            keys_total: self.storage.store.len() as u64,
            bytes,
            bytes_total: self.storage.log_bytes() + self.storage.hint_bytes(),
            mismatches,
            damages,
            done_ms: self.scrub.done_ms(),
        };
        let mut lines = String::new();
        line.write(&mut lines);
        for finding in self.scrub.findings() {
            // Paths may hold anything.
            let _ = writeln!(lines, "{}", finding.replace(['\r', '\n'], " "));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::ScrubOutcome;

    #[test]
    fn lines_are_read_as_written_and_shards_are_joined() {
        let line = Line {
            outcome: ScrubOutcome::Found as u64,
            keys: 2,
            keys_total: 3,
            bytes: 4,
            bytes_total: 5,
            mismatches: 6,
            damages: 7,
            done_ms: 8,
        };
        let mut text = String::new();
        line.write(&mut text);
        assert_eq!(Line::read(text.trim_end()), line);
        let joined = line.join(Line { outcome: ScrubOutcome::Clean as u64, done_ms: 9, ..line });
        assert_eq!((joined.keys, joined.damages, joined.done_ms), (4, 14, 8));
        assert_eq!(OUTCOMES[joined.outcome as usize], "found");
        let running = joined.join(Line { outcome: ScrubOutcome::Running as u64, ..line });
        assert_eq!(OUTCOMES[running.outcome as usize], "running");
    }
}

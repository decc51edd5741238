//! `QUORATE REPAIR`: anti-entropy rounds on demand, and what they have come to.
//!
//! `RANGE` takes two slots, rounded out to the groups of 256 that are compared.
//!
//! Every shard has rounds of its own with every peer; a reply joins them. It lists the peers:
//!
//! | field | meaning |
//! |---|---|
//! | `name`, `dc` | the peer |
//! | `state` | `running` while a round of any shard runs, else `idle` |
//! | `rounds` | whole rounds that every shard has finished |
//! | `keys`, `bytes` | keys that differed and bytes both ways, in all rounds since the start |
//! | `slots_differing` | slots that differed in the last rounds |
//! | `last_done_ms` | wall clock when the last whole round ended, 0 when a shard has had none |
//! | `repair` | the rounds of the last `START`: `none`, `running`, `done` or `failed` |
//! | `repair_keys`, `repair_bytes`, `repair_slots` | what differed in those rounds, and their bytes |

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use quorate_cluster::anti_entropy::{Order, Repair, Tally};
use quorate_proto::{
    Groups, MemberNumber,
    command::Call,
    resp::{Command, ReplyWriter},
};

use super::{
    Now, Shard,
    cluster_commands::parse_slot,
    job::{Plan, Step},
    mail::{Question, RepairOrder},
};

const SYNTAX: &str = "REPAIR [STATUS | START [DC name] [RANGE first last] [DRY]]";

/// Joins the lines of all shards, one for each peer.
#[derive(Debug)]
struct Joined {
    /// Name and datacentre of every peer.
    peers: Vec<(String, String)>,
    resp3: bool,
}

/// What one shard says of one peer: a line of numbers in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    running: u64,
    rounds: u64,
    keys: u64,
    bytes: u64,
    slots: u64,
    done_ms: u64,
    repair: u64,
    repaired: Tally,
}

/// Codes of [`Line::repair`]. Of several shards the largest stands for all.
mod outcome {
    pub(super) const NONE: u64 = 0;
    pub(super) const DONE: u64 = 1;
    pub(super) const FAILED: u64 = 2;
    pub(super) const RUNNING: u64 = 3;
}

impl Line {
    fn write(&self, out: &mut String) {
        let Self { running, rounds, keys, bytes, slots, done_ms, repair, repaired } = self;
        let _ = write!(out, "{running} {rounds} {keys} {bytes} {slots} {done_ms} {repair}");
        let Tally { keys, bytes, slots } = repaired;
        let _ = writeln!(out, " {keys} {bytes} {slots}");
    }

    fn read(line: &str) -> Self {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            running: next(),
            rounds: next(),
            keys: next(),
            bytes: next(),
            slots: next(),
            done_ms: next(),
            repair: next(),
            repaired: Tally { keys: next(), bytes: next(), slots: next() },
        }
    }

    /// Both shards together.
    fn join(self, other: Self) -> Self {
        Self {
            running: self.running.max(other.running),
            rounds: self.rounds.min(other.rounds),
            keys: self.keys + other.keys,
            bytes: self.bytes + other.bytes,
            slots: self.slots + other.slots,
            done_ms: self.done_ms.min(other.done_ms),
            repair: self.repair.max(other.repair),
            repaired: Tally {
                keys: self.repaired.keys + other.repaired.keys,
                bytes: self.repaired.bytes + other.repaired.bytes,
                slots: self.repaired.slots + other.repaired.slots,
            },
        }
    }
}

impl Plan for Joined {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let texts: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.resp3);
        writer.array(self.peers.len());
        for (index, (name, datacentre)) in self.peers.iter().enumerate() {
            // A shard that knows another topology already or still may have no such line.
            let lines = texts.iter().map(|text| text.lines().nth(index).unwrap_or_default());
            let line = lines.map(Line::read).reduce(Line::join).unwrap_or_default();
            write_peer(&mut writer, name, datacentre, line);
        }
        Step::Done(reply)
    }
}

fn write_peer(writer: &mut ReplyWriter<'_>, name: &str, datacentre: &str, line: Line) {
    let repair = match line.repair {
        outcome::NONE => "none",
        outcome::DONE => "done",
        outcome::RUNNING => "running",
        _ => "failed",
    };
    writer.map(12);
    for (field, value) in [
        ("name", name),
        ("dc", datacentre),
        ("state", if line.running > 0 { "running" } else { "idle" }),
        ("repair", repair),
    ] {
        writer.text(field);
        writer.text(value);
    }
    for (field, value) in [
        ("rounds", line.rounds),
        ("keys", line.keys),
        ("bytes", line.bytes),
        ("slots_differing", line.slots),
        ("last_done_ms", line.done_ms),
        ("repair_keys", line.repaired.keys),
        ("repair_bytes", line.repaired.bytes),
        ("repair_slots", line.repaired.slots),
    ] {
        writer.text(field);
        writer.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

impl Shard {
    /// `QUORATE REPAIR [STATUS | START [DC name] [RANGE first last] [DRY]]`
    pub(super) fn repair_command(&mut self, now: Now, key: usize, call: Call) {
        let order = match self.parse_repair(call.command()) {
            Ok(order) => order,
            Err(error) => return self.refuse(key, &call, error),
        };
        let topology = self.topology();
        let peers = topology.peers().map(|peer| topology.member(peer));
        let peers = peers.map(|peer| (peer.name.clone(), peer.datacentre.clone())).collect();
        let plan = Box::new(Joined { peers, resp3: self.sessions[key].resp3 });
        self.gather(now, key, call, Question::Repair(order), plan);
    }

    fn parse_repair(&self, command: &Command) -> Result<Option<RepairOrder>, String> {
        let is = |at: usize, word: &[u8]| {
            command.get(at).is_some_and(|found| found.eq_ignore_ascii_case(word))
        };
        if command.len() == 2 || (command.len() == 3 && is(2, b"STATUS")) {
            return Ok(None);
        }
        if !is(2, b"START") {
            return Err(format!("ERR syntax error: {SYNTAX}"));
        }
        let (mut datacentre, mut order, mut at) = (None, Order::WHOLE, 3);
        while at < command.len() {
            if is(at, b"DRY") {
                order.dry = true;
                at += 1;
            } else if is(at, b"RANGE") && at + 2 < command.len() {
                let (first, last) =
                    (parse_slot(command.arg(at + 1))?, parse_slot(command.arg(at + 2))?);
                if first > last {
                    return Err("ERR the first slot of the range is behind the last".into());
                }
                order.groups = Groups::of_slots(first, last);
                at += 3;
            } else if is(at, b"DC") && at + 1 < command.len() {
                datacentre = Some(String::from_utf8_lossy(command.arg(at + 1)).into_owned());
                at += 2;
            } else {
                return Err(format!("ERR syntax error: {SYNTAX}"));
            }
        }
        let topology = self.topology();
        let wanted = |peer: &MemberNumber| {
            let found = &topology.member(*peer).datacentre;
            datacentre.as_ref().is_none_or(|name| name == found)
        };
        let peers: Arc<[MemberNumber]> = topology.peers().filter(wanted).collect();
        match datacentre {
            Some(name) if peers.is_empty() => Err(format!("ERR no peer is in datacentre '{name}'")),
            _ => Ok(Some(RepairOrder { peers, order })),
        }
    }

    /// Starts the rounds ordered, and says how far this shard's have come.
    pub(super) fn describe_repair(&mut self, now: Now, order: Option<&RepairOrder>) -> String {
        let topology = Arc::clone(self.topology());
        if let Some(RepairOrder { peers, order }) = order {
            // The order may come from a shard that knows other members already.
            for peer in peers.iter().filter(|peer| topology.get(**peer).is_some()) {
                self.anti_entropy.repair(now.monotonic, *peer, *order);
            }
        }
        let mut lines = String::new();
        for peer in topology.peers() {
            let record = self.anti_entropy.record(peer);
            let done_ms = record.done_at.map_or(0, |at| {
                let ago = now.monotonic.since(at).as_millis();
                now.wall_ms().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
            });
            let line = Line {
                running: u64::from(self.anti_entropy.running_with() == Some(peer)),
                rounds: record.rounds,
                keys: record.keys,
                bytes: record.bytes,
                slots: record.slots,
                done_ms,
                repair: match record.repair {
                    Repair::None => outcome::NONE,
                    Repair::Done => outcome::DONE,
                    Repair::Failed => outcome::FAILED,
                    Repair::Waiting(_) | Repair::Running => outcome::RUNNING,
                },
                repaired: record.repaired,
            };
            line.write(&mut lines);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        let repaired = Tally { keys: 7, bytes: 8, slots: 9 };
        let (keys, bytes, slots) = (3, 4, 5);
        let line =
            Line { running: 1, rounds: 2, keys, bytes, slots, done_ms: 6, repair: 3, repaired };
        let mut text = String::new();
        line.write(&mut text);
        assert_eq!(Line::read(text.trim_end()), line);
    }

    #[test]
    fn shards_are_joined() {
        let done =
            Line { rounds: 4, keys: 1, done_ms: 9, repair: outcome::DONE, ..Line::default() };
        let running = Line { running: 1, rounds: 3, keys: 2, repair: outcome::RUNNING, ..done };
        let failed = Line { repair: outcome::FAILED, ..done };
        let joined = done.join(running);
        assert_eq!((joined.running, joined.rounds, joined.keys), (1, 3, 3));
        assert_eq!(joined.repair, outcome::RUNNING);
        assert_eq!(done.join(failed).repair, outcome::FAILED);
    }
}

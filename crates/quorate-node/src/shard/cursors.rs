//! Cursors: rows of a query that a client reads in parts.
//!
//! The shard that has coordinated the query keeps them. The number of a cursor names that shard and
//! its node, so any node passes a command about it on, as a call that is forwarded:
//!
//! ```text
//! quorate.cursor slot slot READ|DEL index cursor count   -> reply
//! ```
//!
//! `slot` is one of the shard's. A node that is gone has taken its cursors along: the client is told
//! that there is none. One that does not answer is named.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use quorate_cluster::{anti_entropy::PeerRequest, time::Instant};
use quorate_proto::{
    CallId, MemberNumber, Slot,
    command::Call,
    message::{Forward, Message},
    resp::{Command, ReplyWriter, parse_integer},
};
use quorate_search::cursors::{self, Cursors, Part, home_of};

use super::{Errand, Now, Shard, Waiter, correlation::Machine};
use crate::search::{
    not_found,
    rows::{Rows, Shape, Style, write_part},
};

/// The name of the command by which cursors are read elsewhere.
pub(super) const CURSOR: &str = "quorate.cursor";

/// How a question about a cursor begins as a peer encodes it.
const QUESTION: &[u8] = b"*7\r\n$14\r\nquorate.cursor\r\n";

/// Bits of a home that name the shard.
const SHARD_BITS: u32 = 8;

/// The cursors of a shard, and what it has asked other nodes about theirs.
#[derive(Debug)]
pub(super) struct Kept {
    cursors: Cursors,
    asked: BTreeMap<u64, Asked>,
    next: u64,
    drawn: u64,
}

/// A question to another node.
#[derive(Debug)]
struct Asked {
    to: MemberNumber,
    deadline: Instant,
    waiter: Waiter,
}

impl Kept {
    /// None yet. `secret` is a random number.
    pub(super) fn new(secret: u64) -> Kept {
        Kept { cursors: Cursors::new(0), asked: BTreeMap::new(), next: 0, drawn: secret }
    }

    /// The next random number: SplitMix64 (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.drawn ^ (self.drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Shard {
    /// A random number, to be shared by all partitions of a query.
    pub(super) fn draw(&mut self) -> u64 {
        self.kept.draw()
    }

    /// The reply to a query that is answered with rows.
    pub(super) fn answer_rows(&mut self, now: Now, rows: Rows) -> Vec<u8> {
        let Rows { index, answer, cursor, style } = rows;
        let Some(options) = cursor else {
            return write_part(now.monotonic, &Part { answer, cursor: 0 }, false, style);
        };
        let home = u32::from(self.topology().me().0) << SHARD_BITS | u32::from(self.id);
        let drawn = self.draw();
        self.kept.cursors.move_to(home);
        let opened = self.kept.cursors.open(millis(now), drawn, &index, answer, options);
        match opened {
            Ok(part) => write_part(now.monotonic, &part, true, style),
            Err(error) => error_reply(&error.to_string()),
        }
    }

    /// `FT.CURSOR READ|DEL index cursor`, `FT.CURSOR GC index`
    pub(super) fn cursor_command(&mut self, now: Now, key: usize, call: Call) {
        let arguments: Vec<&[u8]> = call.command().args().skip(1).collect();
        let read = match cursors::Command::parse(&arguments) {
            Ok(read) => read,
            Err(error) => return self.refuse(key, &call, error.to_string()),
        };
        let (verb, index, cursor, count) = match read {
            cursors::Command::Read { index, cursor, count } => ("READ", index, cursor, count),
            cursors::Command::Delete { index, cursor } => ("DEL", index, cursor, None),
            cursors::Command::Collect => {
                let ended = self.kept.cursors.collect(millis(now));
                return self.reply(key, &call, format!(":{ended}\r\n").as_bytes());
            }
        };
        let Some(index) = self.storage.search.target(&index).map(|target| target.name) else {
            return self.refuse(key, &call, not_found(&index));
        };
        let home = home_of(cursor);
        let member = MemberNumber((home >> SHARD_BITS) as u16);
        let shard = (home & ((1 << SHARD_BITS) - 1)) as u16;
        let terms = self.terms(now, key, &call);
        let waiter = self.expect_alone(key, call.command());
        let is_me = member == self.topology().me();
        let is_known = self.topology().get(member).is_some();
        let slot = Slot::of_group(shard).next();
        let slot = slot.filter(|_| is_known && (!is_me || shard < self.node.settings.shards));
        let Some(slot) = slot else {
            return self.deliver(now, waiter, missing(verb, cursor).into());
        };
        let number = slot.number().to_string();
        let (cursor, count) = (cursor.to_string(), count.unwrap_or(0).to_string());
        let words = [CURSOR, &number, &number, verb].map(str::as_bytes);
        let words = words.into_iter().chain([&index, cursor.as_bytes(), count.as_bytes()]);
        let call = Call::piece(slot, Command::from_args(words));
        if is_me {
            return self.submit(now, waiter, Errand { call, terms });
        }
        self.ask_home(now, member, waiter, Errand { call, terms });
    }

    /// Asks another node about a cursor that it keeps.
    fn ask_home(&mut self, now: Now, to: MemberNumber, waiter: Waiter, errand: Errand) {
        let Errand { call, terms } = errand;
        if !self.peers.is_up(to) {
            let reply = unanswered(self.topology().get(to).map(|member| &*member.name), "is down");
            return self.deliver(now, waiter, reply.into());
        }
        let left = terms.deadline.since(now.monotonic).as_millis();
        let message = Message::Forward(Forward {
            slot: call.slot(),
            read_level: terms.read_level,
            write_level: terms.write_level,
            resp3: terms.resp3,
            budget_ms: u32::try_from(left).unwrap_or(u32::MAX),
            // A read by nature: nobody asks what became of it.
            id: CallId::from_bytes([0; CallId::LENGTH]),
            command: call.command().frame().clone(),
        });
        self.kept.next += 1;
        let correlation = self.kept.next;
        let asked = Asked { to, deadline: terms.deadline, waiter };
        self.kept.asked.insert(correlation, asked);
        self.send(to, Machine::Cursors, correlation, &message);
    }

    /// Another node has answered.
    pub(super) fn take_cursor_reply(&mut self, now: Now, correlation: u64, message: Message) {
        let Some(asked) = self.kept.asked.remove(&correlation) else { return };
        let reply = match message {
            Message::Reply(reply) => reply,
            Message::Rejected { text, .. } => error_reply(&format!("ERR {text}")).into(),
            _ => error_reply("ERR unexpected answer of another node").into(),
        };
        self.deliver(now, asked.waiter, reply);
    }

    /// Ends cursors that nobody reads, and questions that nobody answers.
    pub(super) fn expire_cursors(&mut self, now: Now) {
        self.kept.cursors.collect(millis(now));
        let peers = &self.peers;
        let is_over = |asked: &Asked| asked.deadline <= now.monotonic || !peers.is_up(asked.to);
        let over: Vec<u64> = self
            .kept
            .asked
            .iter()
            .filter(|(_, asked)| is_over(asked))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            let Some(Asked { to, waiter, .. }) = self.kept.asked.remove(&number) else { continue };
            let name = self.topology().get(to).map(|member| &*member.name);
            let reply = unanswered(name, "does not answer");
            self.deliver(now, waiter, reply.into());
        }
    }

    /// Ends the cursors of indexes that are gone.
    pub(super) fn drop_cursors(&mut self) {
        let catalog = &self.storage.search.catalog;
        self.kept.cursors.retain_indexes(|index| catalog.index(index).is_some());
    }

    /// Answers about a cursor of this shard, if that is what a call is about.
    pub(super) fn answer_cursor(&mut self, now: Now, call: &Call, resp3: bool) -> Option<Bytes> {
        if call.spec().name != CURSOR {
            return None;
        }
        let command = call.command();
        let number = |at: usize| {
            let number = parse_integer(command.arg(at))?;
            u64::try_from(number).ok()
        };
        let (Some(cursor), Some(count)) = (number(5), number(6)) else {
            return Some(error_reply("ERR invalid question about a cursor").into());
        };
        let count = usize::try_from(count).ok().filter(|count| *count > 0);
        let (index, now_ms) = (command.arg(4), millis(now));
        let kept = &mut self.kept.cursors;
        let reply = if command.arg(3) == b"READ" {
            let style = Style { resp3, shape: Shape::Aggregate, profiled: false, in_part: false };
            let part = kept.read(now_ms, index, cursor, count);
            part.map(|part| write_part(now.monotonic, &part, true, style))
        } else {
            kept.delete(index, cursor).map(|()| b"+OK\r\n".to_vec())
        };
        Some(reply.unwrap_or_else(|error| error_reply(&error.to_string())).into())
    }

    /// Answers a peer that asks about a cursor. Returns whether that is what it asks.
    pub(super) fn serve_cursor(&mut self, now: Now, request: &PeerRequest) -> bool {
        let Message::Forward(forward) = &request.message else { return false };
        // Other calls, which are many, are not decoded for this.
        if !forward.command.starts_with(QUESTION) {
            return false;
        }
        let call = Call::decode(forward.slot, forward.command.clone());
        let reply = call.and_then(|call| self.answer_cursor(now, &call, forward.resp3));
        let Some(reply) = reply else { return false };
        self.respond(now, request.link, request.correlation, Message::Reply(reply));
        true
    }
}

fn millis(now: Now) -> u64 {
    now.monotonic.as_micros() / Duration::from_millis(1).as_micros() as u64
}

/// What is answered about a cursor that nobody has.
fn missing(verb: &str, cursor: u64) -> Vec<u8> {
    error_reply(&match verb {
        "READ" => format!("Cursor not found, id: {cursor}"),
        _ => "Cursor does not exist".to_owned(),
    })
}

fn unanswered(name: Option<&str>, what: &str) -> Vec<u8> {
    let name = name.unwrap_or("of the cursor");
    error_reply(&format!(
        "ERR the node {name}, which keeps the cursor, {what}; try again, or repeat the query"
    ))
}

fn error_reply(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    ReplyWriter::new(&mut out, false).error(text);
    out
}

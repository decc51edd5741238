//! Commands over the whole keyspace, as commands over runs of slots.
//!
//! A run is a stretch of neighbouring slots in one slot group with one replica set, so any node
//! that serves its first slot serves all of it, and one shard owns it. The pieces are internal
//! commands on the first slot of a run:
//!
//! ```text
//! quorate.count first last                                  -> number of keys
//! quorate.keys first last pattern                           -> keys
//! quorate.scan first last position count pattern type       -> next position (0: end), keys...
//! quorate.randomkey first last                              -> key or nil
//! quorate.occupied first last                               -> numbers of the slots that hold keys
//! quorate.flush slot slot                                   -> number of keys deleted
//! ```
//!
//! Each is answered for as many replicas as its level asks: where their digests of the run differ,
//! whoever coordinates it adds what the others tell.

use bytes::Bytes;
use quorate_proto::{
    Slot,
    command::{Call, FLUSH},
    resp::{Command, ReplyWriter},
    slot::SLOTS,
};

use super::job::{OCCUPIED, Plan, Step, bulk, elements, integer, is_null};
use crate::limits;

/// Neighbouring slots, first and last.
pub(crate) type Run = (Slot, Slot);

fn run_piece(name: &str, run: Run, arguments: &[&[u8]]) -> Call {
    let (first, last) = (run.0.number().to_string(), run.1.number().to_string());
    let mut all = vec![name.as_bytes(), first.as_bytes(), last.as_bytes()];
    all.extend_from_slice(arguments);
    Call::piece(run.0, Command::from_args(all))
}

/// The runs of neighbouring slots that have the same replicas: one a group.
pub(crate) fn runs(first: Slot, last: Slot) -> impl Iterator<Item = Run> {
    (first.group()..=last.group()).filter_map(move |group| {
        let mut slots = Slot::of_group(group);
        Some((slots.next()?.max(first), slots.next_back()?.min(last)))
    })
}

/// `DBSIZE`: the sum over all runs.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) runs: Vec<Run>,
}

impl Plan for Count {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        if replies.is_empty() && !self.runs.is_empty() {
            let pieces = self.runs.iter().map(|run| run_piece("quorate.count", *run, &[]));
            return Step::Run(pieces.collect());
        }
        let sum: i64 = replies.iter().filter_map(|reply| integer(reply)).sum();
        Step::Done(format!(":{sum}\r\n").into_bytes())
    }
}

/// `KEYS`: everything that matches, of all runs.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) runs: Vec<Run>,
    pub(crate) pattern: Bytes,
    pub(crate) limit: usize,
}

impl Plan for Keys {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        if replies.is_empty() && !self.runs.is_empty() {
            let keys = |run: &Run| run_piece("quorate.keys", *run, &[&self.pattern]);
            return Step::Run(self.runs.iter().map(keys).collect());
        }
        let keys: Vec<&[u8]> =
            replies.iter().flat_map(|reply| elements(reply)).take(self.limit).collect();
        let mut joined = format!("*{}\r\n", keys.len()).into_bytes();
        keys.iter().for_each(|key| joined.extend_from_slice(key));
        Step::Done(joined)
    }
}

/// `FLUSHALL`: the slots that hold keys, each by itself, because an effect belongs to one slot.
#[derive(Debug)]
pub(crate) struct Flush {
    runs: Vec<Run>,
    /// Those to come, once as many replicas as the level of writes asks have said which hold keys.
    occupied: Option<std::vec::IntoIter<Slot>>,
}

/// Slots flushed side by side.
const FLUSH_WIDTH: usize = limits::PIECES_UNDER_WAY_MAX;

impl Flush {
    pub(crate) fn new(runs: Vec<Run>) -> Self {
        Self { runs, occupied: None }
    }
}

impl Plan for Flush {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        let Some(occupied) = &mut self.occupied else {
            if replies.is_empty() {
                let ask = |run: &Run| run_piece(OCCUPIED, *run, &[]);
                return Step::Run(self.runs.iter().map(ask).collect());
            }
            let numbers = replies.iter().flat_map(|reply| elements(reply)).filter_map(integer);
            let slots = numbers.filter_map(|number| Slot::new(u16::try_from(number).ok()?));
            self.occupied = Some(slots.collect::<Vec<_>>().into_iter());
            return self.next(&[]);
        };
        let pieces: Vec<Call> =
            occupied.take(FLUSH_WIDTH).map(|slot| run_piece(FLUSH, (slot, slot), &[])).collect();
        if pieces.is_empty() { Step::Done(b"+OK\r\n".to_vec()) } else { Step::Run(pieces) }
    }

    fn untried(&self) -> usize {
        self.occupied.as_ref().map_or(0, ExactSizeIterator::len)
    }
}

/// `RANDOMKEY`: the first run with a key, from a random one on.
#[derive(Debug)]
pub(crate) struct RandomKey {
    /// Runs in the order in which they are tried.
    pub(crate) runs: std::vec::IntoIter<Run>,
}

impl Plan for RandomKey {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        match replies.first() {
            Some(reply) if !is_null(reply) => Step::Done(reply.to_vec()),
            last => match self.runs.next() {
                Some(run) => Step::Run(vec![run_piece("quorate.randomkey", run, &[])]),
                None => Step::Done(last.map_or(b"$-1\r\n".to_vec(), |reply| reply.to_vec())),
            },
        }
    }
}

/// `SCAN`: one call. Goes on over runs until it has `count` keys.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Runs from the cursor's slot on.
    pub(crate) runs: std::vec::IntoIter<Run>,
    /// Where in the current run: slot and position inside the slot.
    pub(crate) cursor: Cursor,
    pub(crate) count: usize,
    pub(crate) pattern: Bytes,
    pub(crate) kind: Bytes,
    pub(crate) current: Option<Run>,
    pub(crate) keys: Vec<Bytes>,
}

/// A place in the keyspace: a slot, and a position by key hash inside it.
///
/// Clients carry it as one number below 2^63: the position in the upper 49 bits, the slot in the
/// lower 14. Zero is the beginning, and, in a reply, the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) slot: u16,
    pub(crate) position: u64,
}

impl Cursor {
    pub(crate) fn from_number(number: u64) -> Self {
        Self { slot: (number % u64::from(SLOTS)) as u16, position: number / u64::from(SLOTS) }
    }

    pub(crate) fn number(self) -> u64 {
        self.position * u64::from(SLOTS) + u64::from(self.slot)
    }
}

impl Scan {
    fn ask(&self, run: Run) -> Step {
        let slot = Slot::new(self.cursor.slot).unwrap_or(run.0);
        let position = self.cursor.position.to_string();
        let count = self.count.saturating_sub(self.keys.len()).max(1).to_string();
        let arguments: [&[u8]; 4] =
            [position.as_bytes(), count.as_bytes(), &self.pattern, &self.kind];
        Step::Run(vec![run_piece("quorate.scan", (slot, run.1), &arguments)])
    }

    fn reply(&self, cursor: Cursor) -> Step {
        let number = cursor.number().to_string();
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, false);
        writer.array(2);
        writer.text(&number);
        writer.array(self.keys.len());
        self.keys.iter().for_each(|key| writer.raw(key));
        Step::Done(reply)
    }
}

impl Plan for Scan {
    fn next(&mut self, replies: &[Bytes]) -> Step {
        if let (Some(reply), Some(run)) = (replies.first(), self.current) {
            let found = elements(reply);
            let place = found.first().and_then(|first| bulk(first)).and_then(parse_number);
            self.keys.extend(found.iter().skip(1).map(|key| Bytes::copy_from_slice(key)));
            self.cursor = Cursor::from_number(place.unwrap_or(0));
            let run_ended = self.cursor == Cursor::default();
            if !run_ended {
                return if self.keys.len() >= self.count {
                    self.reply(self.cursor)
                } else {
                    self.ask(run)
                };
            }
        }
        match self.runs.next() {
            None => self.reply(Cursor::default()),
            Some(run) => {
                if self.current.is_some() {
                    self.cursor = Cursor { slot: run.0.number(), position: 0 };
                }
                self.current = Some(run);
                if self.keys.len() >= self.count { self.reply(self.cursor) } else { self.ask(run) }
            }
        }
    }
}

fn parse_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use quorate_proto::command::Class;

    use super::*;

    #[test]
    fn without_slots_there_are_no_keys() {
        let (runs, pattern) = (Vec::new(), Bytes::from_static(b"*"));
        let plans: [(Box<dyn Plan>, &[u8]); 4] = [
            (Box::new(Count { runs: runs.clone() }), b":0\r\n"),
            (Box::new(Keys { runs: runs.clone(), pattern, limit: 1 }), b"*0\r\n"),
            (Box::new(RandomKey { runs: runs.clone().into_iter() }), b"$-1\r\n"),
            (
                Box::new(Scan {
                    runs: runs.into_iter(),
                    cursor: Cursor { slot: 7, position: 8 },
                    count: 1,
                    pattern: Bytes::new(),
                    kind: Bytes::new(),
                    current: None,
                    keys: Vec::new(),
                }),
                b"*2\r\n$1\r\n0\r\n*0\r\n",
            ),
        ];
        for (mut plan, expected) in plans {
            assert!(matches!(plan.next(&[]), Step::Done(reply) if reply == expected), "{plan:?}");
        }
    }

    fn asked(step: Step) -> Vec<(String, Class)> {
        let Step::Run(pieces) = step else { panic!("nothing to run") };
        let words = |piece: &Call| {
            let words: Vec<_> = piece.command().args().map(String::from_utf8_lossy).collect();
            words.join(" ")
        };
        pieces.iter().map(|piece| (words(piece), piece.class())).collect()
    }

    fn flush() -> Flush {
        let slot = |number| Slot::new(number).expect("a slot");
        Flush::new(vec![(slot(0), slot(255)), (slot(256), slot(511))])
    }

    #[test]
    fn only_slots_with_keys_are_flushed_and_the_level_of_writes_says_which() {
        let mut flush = flush();
        let question = |words: &str| (words.to_owned(), Class::ReadModifyWrite);
        assert_eq!(
            asked(flush.next(&[])),
            [question("quorate.occupied 0 255"), question("quorate.occupied 256 511")]
        );
        let replies = ["*2\r\n:3\r\n:255\r\n", "*1\r\n:400\r\n"].map(Bytes::from);
        let deletions = asked(flush.next(&replies));
        assert_eq!(
            deletions,
            [3, 255, 400].map(|slot| question(&format!("quorate.flush {slot} {slot}")))
        );
        let done = vec![Bytes::from(":1\r\n"); 3];
        assert!(matches!(flush.next(&done), Step::Done(reply) if reply == b"+OK\r\n"));
    }

    #[test]
    fn nothing_to_flush_ends_with_the_question() {
        let mut flush = flush();
        asked(flush.next(&[]));
        let replies = vec![Bytes::from("*0\r\n"); 2];
        assert!(matches!(flush.next(&replies), Step::Done(reply) if reply == b"+OK\r\n"));
    }

    #[test]
    fn slots_that_wait_for_their_turn_are_counted() {
        let mut flush = flush();
        asked(flush.next(&[]));
        let numbers: String = (0..512).map(|slot| format!(":{slot}\r\n")).collect();
        let replies = [format!("*512\r\n{numbers}"), "*1\r\n:600\r\n".into()].map(Bytes::from);
        assert_eq!(asked(flush.next(&replies)).len(), FLUSH_WIDTH);
        assert_eq!(flush.untried(), 1);
    }
}
